/* What the clients write and show, and what the load generator sends. */
#include "../../support/unit.h"

#include "client/agent/view.h"
#include "client/bench/bench_wire.h"
#include "client/connection/frames.h"
#include "client/connection/upgrade.h"
#include "client/outgoing.h"
#include "protocol/json/json.h"

static void check_payload(const char *words, const char *expected)
{
    struct buffer out = {0};
    outgoing_payload(&out, slice_from_string(words));
    CHECK_TEXT(out.data, out.length, expected);
    buffer_free(&out);
}

TEST("outgoing: objects and arrays go as they are, anything else as text")
{
    check_payload("{\"a\":1e400}", "{\"a\":1e400}");
    check_payload(" [1, 2]", "[1, 2]");
    check_payload("hello \"you\"", "{\"text\":\"hello \\\"you\\\"\"}");
    check_payload("42", "{\"text\":\"42\"}");
    check_payload("[todo] fix", "{\"text\":\"[todo] fix\"}");
    check_payload("{\"a\":}", "{\"text\":\"{\\\"a\\\":}\"}");
}

TEST("outgoing: an envelope holds what was given and is valid JSON for any words")
{
    struct buffer out = {0};
    struct outgoing_envelope envelope = {.to = SLICE("a\"b"), .words = SLICE("\xff\x01\n")};
    outgoing_envelope(&out, &envelope);
    CHECK(json_validate(slice_from(out.data, out.length), 16, NULL) == CODE_OK);
    CHECK(strncmp(out.data, "{\"to\":\"a\\\"b\",\"payload\":{\"text\":", 31) == 0);
    out.length = 0;
    outgoing_envelope(&out, &(struct outgoing_envelope){.intent = SLICE("i"), .from = SLICE("f")});
    CHECK_TEXT(out.data, out.length, "{\"intent\":\"i\",\"from\":\"f\",\"payload\":{}}");
    buffer_free(&out);
}

static void check_view(void (*show)(FILE *, struct slice), const char *text, const char *expected)
{
    char *shown = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&shown, &length);
    show(out, slice_from_string(text));
    fclose(out);
    CHECK_TEXT(shown, length, expected);
    free(shown);
}

TEST("view: nothing that a bridge sends can move a terminal's cursor or start a line")
{
    check_view(view_value, "\"a\\u001b[2Jb\\u009bc\\nd\\u007fe\\u0085f\"", "a [2Jb c d e f");
    check_view(view_value, "\"gr\xc3\xbc\xc3\x9f \\u20ac\"", "gr\xc3\xbc\xc3\x9f \xe2\x82\xac");
    check_view(view_text, "x\x1b]0;t\x07y\xc2\x9bz", "x ]0;t y z");
}

TEST("view: nothing turns the direction of writing, and what is no UTF-8 shows that it is none")
{
    check_view(view_text,
               "a\xe2\x80\xae"
               "b\xe2\x81\xa6"
               "c\xd8\x9c"
               "d\xe2\x80\x8f"
               "e\xe2\x80\xa8"
               "f\xef\xbb\xbf.",
               "a b c d e f .");
    check_view(view_text, "\xe2\x80\x94\xe2\x80\x8d\xd8\xa7\xef\xbb\xbe",
               "\xe2\x80\x94\xe2\x80\x8d\xd8\xa7\xef\xbb\xbe"); /* kept */
    check_view(view_text,
               "a\x9b"
               "b\xff\xe2\x80",
               "a\xef\xbf\xbd"
               "b\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
}

TEST("view: an envelope on a pipe is one line, its bytes as they came")
{
    check_view(view_envelope_json, "{\"a\":\r\n1,\n\"b\":\"\\n\"}", "{\"a\":  1, \"b\":\"\\n\"}\n");
}

static void show_to_bob(FILE *out, struct slice envelope)
{
    view_envelope(out, envelope, SLICE("bob"));
}

static void check_shown(const char *envelope, const char *expected_after_time)
{
    char *shown = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&shown, &length);
    show_to_bob(out, slice_from_string(envelope));
    fclose(out);
    CHECK(length > 9);
    CHECK_TEXT(shown + 9, length - 9, expected_after_time);
    free(shown);
}

TEST("view: a person sees who says what, and the recipient and the intent only where they tell more")
{
    check_shown("{\"intent\":\"agent.message\",\"from\":\"al\",\"to\":\"bob\",\"payload\":{\"text\":\"hi\\n\"}}",
                "al: hi \n");
    check_shown("{\"intent\":\"x.y\",\"from\":\"al\",\"to\":null,\"payload\":{\"text\":\"hi\",\"n\":1}}",
                "al → all [x.y]: {\"text\":\"hi\",\"n\":1}\n");
    check_shown("{\"intent\":\"agent.message\",\"from\":\"al\",\"to\":\"group\",\"payload\":[1]}", "al → group: [1]\n");
}

TEST("load generator: a filled frame unmasks to the message with that recipient and stamp")
{
    struct wire_template template;
    for (size_t size = 128; size < 140; size++) {
        struct wire_shape shape = {.size = size, .to = "12345678", .intent = "bench.message"};
        CHECK(wire_template_make(&template, WIRE_WEBSOCKET, &shape));
        char *frame = malloc(template.length);
        wire_fill(&template, frame, "b0000042", 0x0123456789abcdef);
        size_t header = size < 126 ? 6 : 8;
        CHECK(template.length == header + size && (unsigned char)frame[0] == 0x81);
        uint32_t mask;
        memcpy(&mask, frame + header - 4, 4);
        CHECK(mask != 0);
        client_frame_mask(frame + header, size, mask, 0);
        struct slice text = slice_from(frame + header, size);
        CHECK(json_validate(text, 8, NULL) == CODE_OK);
        struct slice envelope = view_member(text, SLICE("envelope")), to = view_member(envelope, SLICE("to"));
        CHECK_TEXT(to.data, to.length, "\"b0000042\"");
        uint64_t stamp = 0;
        size_t offset = 0;
        CHECK(wire_stamp(text, &offset, &stamp) && stamp == 0x0123456789abcdef);
        CHECK(offset > 0 && wire_stamp(text, &offset, &stamp) && stamp == 0x0123456789abcdef);
        free(frame);
        wire_template_free(&template);
    }
}

TEST("load generator: a deep message has the size and the depth that were asked for, and is JSON")
{
    struct wire_template template;
    struct wire_shape shape = {.size = 20000, .to = "12345678", .intent = "bench.message", .depth = 128};
    CHECK(wire_template_make(&template, WIRE_WEBSOCKET, &shape));
    char *text = template.bytes + template.length - shape.size;
    uint32_t mask;
    memcpy(&mask, text - 4, 4);
    client_frame_mask(text, shape.size, mask, 0);
    CHECK(json_validate(slice_from(text, shape.size), 128, NULL) == CODE_OK);
    CHECK(json_validate(slice_from(text, shape.size), 127, NULL) == CODE_TOO_DEEP);
    wire_template_free(&template);
}

TEST("load generator: the same payload goes to nats-server, in its own frame")
{
    struct wire_template template;
    struct wire_shape shape = {.size = 256, .to = "12345678", .intent = "bench.message"};
    CHECK(wire_template_make(&template, WIRE_NATS, &shape));
    char *frame = malloc(template.length + 1);
    wire_fill(&template, frame, "b0000042", 7);
    CHECK(strncmp(frame, "PUB b0000042 256\r\n{\"type\":\"envelope\"", 36) == 0);
    CHECK(memcmp(frame + template.length - 2, "\r\n", 2) == 0 && template.length == 18 + 256 + 2);
    free(frame);
    wire_template_free(&template);
}

TEST("load generator: takes nats-server's messages apart at any cut")
{
    static const char bytes[] = "INFO {}\r\nPONG\r\nMSG b0000042 1 5\r\nhello\r\nPING\r\n-ERR 'x'\r\n";
    static const enum wire_event expected[] = {WIRE_NOTHING, WIRE_REGISTERED, WIRE_DELIVERY, WIRE_PING, WIRE_REFUSAL};
    for (size_t cut = 0; cut <= sizeof bytes - 1; cut++) {
        struct slice rest = slice_from(bytes, cut), text;
        size_t events = 0;
        enum wire_event event;
        for (int part = 0; part < 2; part++) {
            while ((event = wire_next(WIRE_NATS, true, &rest, &text)) != WIRE_MORE) {
                CHECK(events < 5 && event == expected[events]);
                if (event == WIRE_DELIVERY)
                    CHECK_TEXT(text.data, text.length, "hello");
                events++;
            }
            rest = slice_from(rest.data, (size_t)(bytes + sizeof bytes - 1 - rest.data));
        }
        CHECK(events == 5);
    }
}

#define ACCEPTED                                                                                                       \
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: Upgrade\r\n"                                \
    "Sec-WebSocket-Accept:  s3pPLMBiTxaQ9kYGzzhZRbK+xOo= \r\n\r\n"

TEST("upgrade: takes the answer of RFC 6455 1.3 and leaves the frames behind it")
{
    struct slice key = SLICE("dGhlIHNhbXBsZSBub25jZQ==");
    char error[UPGRADE_ERROR_SIZE];
    size_t used = 0;
    CHECK(upgrade_read(SLICE(ACCEPTED "\x81\x02hi"), key, &used, error) == UPGRADE_DONE);
    CHECK(used == sizeof ACCEPTED - 1);
    for (size_t cut = 0; cut < sizeof ACCEPTED - 1; cut++)
        CHECK(upgrade_read(slice_from(ACCEPTED, cut), key, &used, error) == UPGRADE_PARTIAL);
}

TEST("upgrade: refuses an answer to another key, another status and an extension nobody asked for")
{
    struct slice key = SLICE("dGhlIHNhbXBsZSBub25jZQ==");
    char error[UPGRADE_ERROR_SIZE];
    size_t used = 0;
    CHECK(upgrade_read(SLICE(ACCEPTED), SLICE("AAAAAAAAAAAAAAAAAAAAAA=="), &used, error) == UPGRADE_REFUSED);
    CHECK(upgrade_read(SLICE("HTTP/1.1 403 Forbidden\r\n\r\n"), key, &used, error) == UPGRADE_REFUSED);
    CHECK_TEXT(error, strlen(error), "the upgrade was refused: 403 Forbidden");
    CHECK(upgrade_read(SLICE("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "
                             "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
                       key, &used, error) == UPGRADE_REFUSED);
    CHECK(upgrade_read(SLICE("SSH-2.0-x\r\n\r\n"), key, &used, error) == UPGRADE_REFUSED);
}

TEST("upgrade: a key is sixteen bytes in base64, a new one each time")
{
    char one[UPGRADE_KEY_LENGTH], other[UPGRADE_KEY_LENGTH];
    upgrade_make_key(one);
    upgrade_make_key(other);
    CHECK(memcmp(one, other, sizeof one) != 0);
    CHECK(memcmp(one + 22, "==", 2) == 0);
    CHECK(one[21] == 'A' || one[21] == 'Q' || one[21] == 'g' || one[21] == 'w'); /* its last four bits are padding */
}
