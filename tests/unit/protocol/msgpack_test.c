/* MessagePack to JSON and back: every format, every refusal, and twins that carry fields as they came. */
#include "protocol/msgpack/msgpack.h"

#include "../../support/unit.h"
#include "protocol/message.h"
#include "protocol/msgpack/msgpack_frame.h"

#define BYTES(literal) slice_from((literal), sizeof(literal) - 1)

static struct buffer json;
static struct msgpack_fields fields;
static char error[ERROR_TEXT_BYTES];

static enum code unpack_with(struct slice packed, unsigned depth, size_t bytes)
{
    /* A block of exactly that size, so that a sanitizer sees a byte read behind it. */
    char *copy = malloc(packed.length + !packed.length);
    memcpy(copy, packed.data, packed.length);
    json.length = 0;
    error[0] = '\0';
    enum code code = msgpack_to_json(slice_from(copy, packed.length),
                                     &(struct msgpack_rules){.depth = depth, .bytes = bytes}, &json, &fields, error);
    free(copy);
    return code;
}

static enum code unpack(struct slice packed)
{
    return unpack_with(packed, 16, 1 << 20);
}

#define CHECK_JSON(packed, text)                                                                                       \
    do {                                                                                                               \
        CHECK(unpack(BYTES(packed)) == CODE_OK);                                                                       \
        CHECK_TEXT(json.data, json.length, text);                                                                      \
    } while (0)

#define CHECK_REFUSED(packed, text)                                                                                    \
    do {                                                                                                               \
        CHECK(unpack(BYTES(packed)) == CODE_BAD_JSON);                                                                 \
        CHECK_TEXT(error, strlen(error), text);                                                                        \
    } while (0)

TEST("msgpack: integers of every width become their exact digits")
{
    CHECK_JSON("\x00", "0");
    CHECK_JSON("\x7f", "127");
    CHECK_JSON("\xe0", "-32");
    CHECK_JSON("\xff", "-1");
    CHECK_JSON("\xcc\xff", "255");
    CHECK_JSON("\xcd\xff\xff", "65535");
    CHECK_JSON("\xce\xff\xff\xff\xff", "4294967295");
    CHECK_JSON("\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615");
    CHECK_JSON("\xcf\x00\x20\x00\x00\x00\x00\x00\x01", "9007199254740993");
    CHECK_JSON("\xd0\x80", "-128");
    CHECK_JSON("\xd0\x05", "5");
    CHECK_JSON("\xd1\x80\x00", "-32768");
    CHECK_JSON("\xd2\x80\x00\x00\x00", "-2147483648");
    CHECK_JSON("\xd3\x80\x00\x00\x00\x00\x00\x00\x00", "-9223372036854775808");
    CHECK_JSON("\xd3\x7f\xff\xff\xff\xff\xff\xff\xff", "9223372036854775807");
}

TEST("msgpack: floats become the shortest digits of their value, and what JSON has no digits for is refused")
{
    CHECK_JSON("\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", "1.5");
    CHECK_JSON("\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", "0.1");
    CHECK_JSON("\xca\x3f\xc0\x00\x00", "1.5");
    CHECK_JSON("\xca\x3d\xcc\xcc\xcd", "0.10000000149011612");
    CHECK_JSON("\xcb\x80\x00\x00\x00\x00\x00\x00\x00", "-0");
    CHECK_REFUSED("\xca\x7f\xc0\x00\x00", "MessagePack that JSON cannot say: NaN at byte 0");
    CHECK_REFUSED("\xca\x7f\x80\x00\x00", "MessagePack that JSON cannot say: an infinity at byte 0");
    CHECK_REFUSED("\x91\xcb\xff\xf0\x00\x00\x00\x00\x00\x00",
                  "MessagePack that JSON cannot say: an infinity at byte 1");
}

TEST("msgpack: strings of every format are checked for UTF-8 and escaped, binary becomes base64")
{
    CHECK_JSON("\xc0", "null");
    CHECK_JSON("\xc2", "false");
    CHECK_JSON("\xc3", "true");
    CHECK_JSON("\xa0", "\"\"");
    CHECK_JSON("\xa2hi", "\"hi\"");
    CHECK_JSON("\xd9\x02hi", "\"hi\"");
    CHECK_JSON("\xda\x00\x02hi", "\"hi\"");
    CHECK_JSON("\xdb\x00\x00\x00\x02hi", "\"hi\"");
    CHECK_JSON("\xa5"
               "a\"\\\n\x7f",
               "\"a\\\"\\\\\\n\\u007f\"");
    CHECK_JSON("\xac"
               "0123456789\0b",
               "\"0123456789\\u0000b\"");
    CHECK_JSON("\xaa\xf0\x9f\x98\x80 \xc3\xa4 \xc3\xb6", "\"\xf0\x9f\x98\x80 \xc3\xa4 \xc3\xb6\"");
    CHECK_REFUSED("\xa2\xc3(", "not MessagePack: a string that is not UTF-8 at byte 1");
    CHECK_REFUSED("\x91\xa9"
                  "01234567\xff",
                  "not MessagePack: a string that is not UTF-8 at byte 10");
    CHECK_REFUSED("\xa3\xed\xa0\x80", "not MessagePack: a string that is not UTF-8 at byte 1");
    CHECK_JSON("\xc4\x00", "\"\"");
    CHECK_JSON("\xc4\x01\xff", "\"/w==\"");
    CHECK_JSON("\xc5\x00\x02\x00\xff", "\"AP8=\"");
    CHECK_JSON("\xc6\x00\x00\x00\x03\x00\x01\x02", "\"AAEC\"");
}

TEST("msgpack: arrays and maps of every format, nested up to the depth and not beyond")
{
    CHECK_JSON("\x90", "[]");
    CHECK_JSON("\x80", "{}");
    CHECK_JSON("\xdc\x00\x00", "[]");
    CHECK_JSON("\xdf\x00\x00\x00\x00", "{}");
    CHECK_JSON("\x93\x01\x91\x02\x80", "[1,[2],{}]");
    CHECK_JSON("\xdc\x00\x02\x01\x02", "[1,2]");
    CHECK_JSON("\xdd\x00\x00\x00\x01\xc0", "[null]");
    CHECK_JSON("\x82\xa1"
               "a\x01\xa1"
               "b\x92\x02\xde\x00\x01\xd9\x01\x63\xc3",
               "{\"a\":1,\"b\":[2,{\"c\":true}]}");
    CHECK(unpack_with(BYTES("\x91\x91\x91\x01"), 3, 100) == CODE_OK);
    CHECK(unpack_with(BYTES("\x91\x91\x91\x91\x01"), 3, 100) == CODE_TOO_DEEP);
    CHECK_TEXT(error, strlen(error), "nested deeper than 3 at byte 3");
    char deep[JSON_DEPTH_MAXIMUM + 2];
    memset(deep, '\x91', sizeof deep);
    deep[JSON_DEPTH_MAXIMUM] = 1;
    CHECK(unpack_with(slice_from(deep, JSON_DEPTH_MAXIMUM + 1), JSON_DEPTH_MAXIMUM, 1 << 20) == CODE_OK);
    CHECK(json.length == 2 * JSON_DEPTH_MAXIMUM + 1);
    deep[JSON_DEPTH_MAXIMUM] = '\x91';
    deep[JSON_DEPTH_MAXIMUM + 1] = 1;
    CHECK(unpack_with(slice_from(deep, sizeof deep), JSON_DEPTH_MAXIMUM, 1 << 20) == CODE_TOO_DEEP);
}

TEST("msgpack: what is cut short, goes on, promises too much or is no format is refused")
{
    static const char whole[] =
        "\x87\xa4type\xa8"
        "envelope\xa1x\xcf\x01\x02\x03\x04\x05\x06\x07\x08\xa1y\xda\x00\x02hi\xa1z\xc5\x00\x01"
        "a\xa1q\xdc\x00\x01\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00\xa1r\xd2\x00\x00\x00\x01\xa1s\x81"
        "\xa0\xc0";
    CHECK(unpack(BYTES(whole)) == CODE_OK);
    for (size_t length = 0; length < sizeof whole - 1; length++) {
        CHECK(unpack(slice_from(whole, length)) == CODE_BAD_JSON);
        CHECK(strncmp(error, "not MessagePack: unexpected end at byte ", 40) == 0);
    }
    CHECK_REFUSED("\x01\x01", "not MessagePack: bytes behind the message at byte 1");
    CHECK_REFUSED("\xc1", "not MessagePack: 0xc1, which is no format at byte 0");
    CHECK_REFUSED("\xdd\xff\xff\xff\xff\x01", "not MessagePack: unexpected end at byte 6");
    CHECK_REFUSED("\xdf\xff\xff\xff\xff\x01", "not MessagePack: unexpected end at byte 6");
    CHECK_REFUSED("\xdb\xff\xff\xff\xff\x01", "not MessagePack: unexpected end at byte 6");
    CHECK_REFUSED("\x81\x01\x02", "MessagePack that JSON cannot say: a key that is no string at byte 1");
    CHECK_REFUSED("\x81\xc4\x01x\x02", "MessagePack that JSON cannot say: a key that is no string at byte 1");
    static const char *const extensions[] = {"\xd4\x01\x00", "\xd5\x01\x00\x00", "\xd6\xff\x00\x00\x00\x00",
                                             "\xd7\x01",     "\xd8\x01",         "\xc7\x01",
                                             "\xc8\x01",     "\xc9\x01"};
    for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++) {
        CHECK(unpack(slice_from(extensions[i], 2)) == CODE_BAD_JSON);
        CHECK_TEXT(error, strlen(error), "MessagePack that JSON cannot say: an extension type at byte 0");
    }
}

TEST("msgpack: a message whose JSON is over the limit is too large, also where few bytes make many")
{
    char packed[300];
    memset(packed, 1, sizeof packed);
    packed[0] = '\xd9';
    packed[1] = (char)200;
    CHECK(unpack_with(slice_from(packed, 202), 1, 6 * 200 + 2) == CODE_OK);
    CHECK(unpack_with(slice_from(packed, 202), 1, 6 * 200 + 1) == CODE_TOO_LARGE);
    CHECK_TEXT(error, strlen(error), "as JSON the message is larger than 1201 bytes");
    buffer_free(&json);
    CHECK(unpack_with(slice_from(packed, 202), 1, 10) == CODE_TOO_LARGE);
}

static char *packed_json;

static struct slice pack(const char *text)
{
    struct slice from = slice_from_string(text);
    free(packed_json);
    packed_json = malloc(MSGPACK_BOUND(from.length));
    char *end = msgpack_write_json(packed_json, from);
    CHECK(end && end <= packed_json + MSGPACK_BOUND(from.length) && msgpack_skip(packed_json) == end);
    return slice_from(packed_json, (size_t)(end - packed_json));
}

#define CHECK_PACKED(text, packed) CHECK(slice_equal(pack(text), BYTES(packed)))

TEST("msgpack: JSON is written in the shortest formats")
{
    CHECK_PACKED("null", "\xc0");
    CHECK_PACKED(" true ", "\xc3");
    CHECK_PACKED("false", "\xc2");
    CHECK_PACKED("0", "\x00");
    CHECK_PACKED("127", "\x7f");
    CHECK_PACKED("128", "\xcc\x80");
    CHECK_PACKED("256", "\xcd\x01\x00");
    CHECK_PACKED("65536", "\xce\x00\x01\x00\x00");
    CHECK_PACKED("18446744073709551615", "\xcf\xff\xff\xff\xff\xff\xff\xff\xff");
    CHECK_PACKED("18446744073709551616", "\xcb\x43\xf0\x00\x00\x00\x00\x00\x00");
    CHECK_PACKED("-1", "\xff");
    CHECK_PACKED("-33", "\xd0\xdf");
    CHECK_PACKED("-128", "\xd0\x80");
    CHECK_PACKED("-129", "\xd1\xff\x7f");
    CHECK_PACKED("-9223372036854775808", "\xd3\x80\x00\x00\x00\x00\x00\x00\x00");
    CHECK_PACKED("-9223372036854775809", "\xcb\xc3\xe0\x00\x00\x00\x00\x00\x00");
    CHECK_PACKED("-0", "\xcb\x80\x00\x00\x00\x00\x00\x00\x00");
    CHECK_PACKED("1.10", "\xcb\x3f\xf1\x99\x99\x99\x99\x99\x9a");
    CHECK_PACKED("1e400", "\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00");
    CHECK_PACKED("-1E+400", "\xcb\xff\xf0\x00\x00\x00\x00\x00\x00");
    CHECK_PACKED("\"\"", "\xa0");
    CHECK_PACKED("\"a\\\"\\u00e4\\\\\"", "\xa5"
                                         "a\"\xc3\xa4\\");
    CHECK_PACKED("\"\\ud800\"", "\xa3\xef\xbf\xbd"); /* half a pair has no UTF-8 */
    CHECK_PACKED("[ ]", "\x90");
    CHECK_PACKED("{ }", "\x80");
    CHECK_PACKED(" { \"a\" : [ 1 , { \"b\" : [ ] } ] , \"c\" : -2 } ", "\x82\xa1"
                                                                       "a\x92\x01\x81\xa1"
                                                                       "b\x90\xa1"
                                                                       "c\xfe");
}

TEST("msgpack: containers of 15, 16, 65535 and 65536 values get the header that fits, nested ones too")
{
    static const unsigned counts[] = {15, 16, 17, 65535, 65536, 70000};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        for (int map = 0; map < 2; map++) {
            struct buffer text = {0};
            buffer_append_format(&text, "[[1],%c", map ? '{' : '[');
            for (unsigned n = 0; n < counts[i]; n++)
                buffer_append_format(&text, map ? "%s\"%u\":[%u]" : "%s[\"%u\",%u]", n > 0 ? "," : "", n, n);
            buffer_append_format(&text, "%c,2]", map ? '}' : ']');
            buffer_append(&text, "", 1);
            struct slice packed = pack(text.data);
            static const char *const headers[2][3] = {{"\x9f", "\xdc", "\xdd"}, {"\x8f", "\xde", "\xdf"}};
            CHECK(packed.data[3] == headers[map][counts[i] < 16 ? 0 : counts[i] < 65536 ? 1 : 2][0]);
            CHECK(unpack_with(packed, 16, 1 << 24) == CODE_OK);
            CHECK_TEXT(json.data, json.length, text.data);
            buffer_free(&text);
        }
    }
}

static struct message message;
static struct text_store store;
static const struct envelope_defaults defaults = {NULL, "2026-01-31T12:00:00.000Z"};

/* A payload in formats that JSON would lose: {"b": bin 00 ff, "i": uint32 1, "f": float32 0.1} */
#define PAYLOAD                                                                                                        \
    "\x83\xa1"                                                                                                         \
    "b\xc4\x02\x00\xff\xa1"                                                                                            \
    "i\xce\x00\x00\x00\x01\xa1"                                                                                        \
    "f\xca\x3d\xcc\xcc\xcd"
#define MESSAGE                                                                                                        \
    "\x82\xa4type\xa8"                                                                                                 \
    "envelope\xa8"                                                                                                     \
    "envelope\x84\xa2to\xa1"                                                                                           \
    "b\xa7payload" PAYLOAD "\xa5tools\xdc\x00\x01\xa1t\xa5"                                                            \
    "trace\xc0"

static void scan_message(void)
{
    json.length = 0;
    CHECK(msgpack_to_json(BYTES(MESSAGE), &(struct msgpack_rules){16, 1 << 20}, &json, &fields, error) == CODE_OK);
    struct message_rules rules = {.depth = 16, .utf8_checked = true};
    CHECK(message_scan(json.data, json.length, &rules, &store, &message) == CODE_OK);
    CHECK(message.type == MESSAGE_ENVELOPE);
    msgpack_keep_fields(&fields, slice_from(json.data, json.length), &message.envelope);
}

static bool contains(const struct frame *frame, struct slice bytes)
{
    struct slice payload = frame_payload_slice(frame);
    return memmem(payload.data, payload.length, bytes.data, bytes.length) != NULL;
}

TEST("msgpack: an envelope's twin has its opaque fields byte for byte and says what the frame says")
{
    scan_message();
    CHECK(message.envelope.packed_kept == (1u << FIELD_PAYLOAD | 1u << FIELD_TOOLS)); /* a null takes the default */
    struct frame *frame = envelope_build(&message.envelope, &defaults, FRAME_ENVELOPE);
    struct frame *twin = msgpack_twin(frame);
    CHECK(twin != frame && msgpack_twin(frame) == twin && msgpack_twin(twin) == twin);
    CHECK((unsigned char)twin->data[0] == 0x82);
    CHECK(contains(twin, BYTES("\xa7payload" PAYLOAD "\xa5tools\xdc\x00\x01\xa1t\xab"
                               "attachments\x90\xa5trace\x80")));
    CHECK(contains(frame, SLICE("\"payload\":{\"b\":\"AP8=\",\"i\":1,\"f\":0.10000000149011612},\"tools\":[\"t\"]")));
    CHECK(unpack(frame_payload_slice(twin)) == CODE_OK);
    CHECK(slice_equal(slice_from(json.data, json.length), frame_payload_slice(frame)));
    frame_release(frame);
}

TEST("msgpack: what a script sets goes out as it was set, the other fields as they came")
{
    scan_message();
    CHECK(envelope_set_json(&message.envelope, FIELD_PAYLOAD, SLICE("{\"n\":[1.5]}"), error) == CODE_OK);
    struct frame *frame = envelope_build(&message.envelope, &defaults, FRAME_ENVELOPE);
    CHECK(contains(msgpack_twin(frame), BYTES("\xa7payload\x81\xa1n\x91\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"
                                              "\xa5tools\xdc\x00\x01\xa1t\xab")));
    frame_release(frame);
    CHECK(envelope_set_json(&message.envelope, FIELD_TOOLS, slice_from(NULL, 0), error) == CODE_OK);
    CHECK(message.envelope.packed_kept == 0);
}

TEST("msgpack: an envelope that is moved takes its packed fields along")
{
    scan_message();
    struct slice text = slice_from(json.data, json.length);
    size_t size = text.length + JSON_SLACK + envelope_packed_length(&message.envelope);
    char *copy = malloc(size);
    memcpy(copy, text.data, text.length);
    memset(copy + text.length, 0, JSON_SLACK);
    struct envelope moved;
    struct text_store kept = {0};
    envelope_move(&moved, &message.envelope, text, copy, &kept);
    CHECK(moved.packed[FIELD_PAYLOAD - FIELD_TEXT_COUNT].data >= copy + text.length + JSON_SLACK);
    memset(json.data, 0, json.length);
    struct frame *frame = envelope_build(&moved, &defaults, FRAME_ENVELOPE);
    CHECK(contains(msgpack_twin(frame), BYTES("\xa7payload" PAYLOAD "\xa5tools\xdc\x00\x01\xa1t\xab")));
    frame_release(frame);
    text_store_free(&kept);
    free(copy);
}

TEST("msgpack: an envelope that is read back from its frame finds the packed fields in the twin")
{
    scan_message();
    struct frame *frame = envelope_build(&message.envelope, &defaults, FRAME_ENVELOPE);
    struct envelope again;
    struct message_rules rules = {.depth = 16, .utf8_checked = true};
    CHECK(envelope_scan(frame_envelope(frame), &rules, &store, &again, error) == CODE_OK);
    CHECK(again.packed_kept == 0);
    msgpack_keep_twin(&again, frame);
    struct frame *second = envelope_build(&again, &defaults, FRAME_ENVELOPE);
    CHECK(slice_equal(frame_payload_slice(msgpack_twin(second)), frame_payload_slice(msgpack_twin(frame))));
    frame_release(second);
    frame_release(frame);
}

TEST("msgpack: a list of envelopes is one message, of one or of many")
{
    scan_message();
    static struct frame *frames[40];
    for (unsigned i = 0; i < 40; i++)
        frames[i] = envelope_build(&message.envelope, &defaults, FRAME_ENVELOPE);
    static const unsigned counts[] = {0, 1, 15, 16, 40};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct frame *list = msgpack_list(msgpack_batch_head, frames, counts[i]);
        CHECK(unpack(frame_payload_slice(list)) == CODE_OK);
        struct buffer text = {0};
        buffer_append_slice(&text, SLICE("{\"type\":\"batch\",\"envelopes\":["));
        for (unsigned n = 0; n < counts[i]; n++) {
            buffer_append(&text, ",", n > 0);
            buffer_append_slice(&text, frame_envelope(frames[n]));
        }
        buffer_append_slice(&text, SLICE("]}"));
        CHECK(slice_equal(slice_from(json.data, json.length), slice_from(text.data, text.length)));
        buffer_free(&text);
        frame_release(list);
    }
    for (unsigned i = 0; i < 40; i++)
        frame_release(frames[i]);
}
