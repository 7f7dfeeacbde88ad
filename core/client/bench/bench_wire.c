/* The generator shares a machine with the server that it measures, so a message costs it one copy of a prebuilt frame
 * and two patches. The mask key is drawn once for each template: a server cannot know and has to unmask every byte. */
#include "client/bench/bench_wire.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "client/connection/frames.h"
#include "client/connection/upgrade.h"
#include "memory/buffer.h"
#include "protocol/json/json_write.h"
#include "protocol/msgpack/msgpack.h"
#include "protocol/websocket/handshake.h"

static const char upgrade_key[] = "bHVhZHVjdC1iZW5jaGtleQ=="; /* any 16 bytes in base64 */
static const char stamp_name[] = "\"stamp\":\"";
#define STAMP_NAME_LENGTH (sizeof stamp_name - 1)

/* The same in MessagePack: keys, and the headers of a string of WIRE_STAMP_LENGTH and one of WIRE_ID_LENGTH bytes. */
static const char packed_stamp_name[] = "\xa5stamp\xb0", packed_to_name[] = "\xa2to\xa8";

const char *wire_protocol_name(enum wire_protocol protocol)
{
    static const char *const names[] = {"websocket", "msgpack", "nats"};
    return names[protocol];
}

/* The key as the eight bytes at an offset of the payload meet it. */
static uint64_t turn_mask(uint32_t mask, size_t offset)
{
    char zeros[8] = {0};
    uint64_t turned;
    client_frame_mask(zeros, sizeof zeros, mask, offset);
    memcpy(&turned, zeros, sizeof turned);
    return turned;
}

/* The message itself is two levels and its payload the third; `filling` is the first array's. */
#define DEPTH_OF_FILLING 4

/* Fills the room with arrays nested to the depth, side by side, and spaces where no more of them fit. */
static void fill_deep(char *out, size_t room, unsigned depth)
{
    size_t levels = depth > DEPTH_OF_FILLING ? depth - DEPTH_OF_FILLING : 1, each = 2 * levels + 1;
    memset(out, ' ', room);
    for (size_t used = 0; used + each <= room; used += each) {
        char *at = out + used;
        if (used > 0)
            at[0] = ',';
        memset(at + 1, '[', levels);
        memset(at + 1 + levels, ']', levels);
    }
}

/* Fills the room with numbers as measurements and embeddings are, and spaces where no more of them fit. */
static void fill_numbers(char *out, size_t room)
{
    static const char number[] = ",0.1234567890123457";
    memset(out, ' ', room);
    for (size_t used = 0, each = sizeof number - 1; used + each <= room; used += each) {
        memcpy(out + used, number, each);
        out[used] = used > 0 ? ',' : ' ';
        out[used + each - 2] = (char)('1' + used % 9); /* not all the same, nor ending in 0 */
    }
}

/* The message as MessagePack, in a block to be freed; NULL: no memory. */
static char *pack(struct slice json, size_t *length)
{
    char *packed = malloc(MSGPACK_BOUND(json.length));
    char *end = packed ? msgpack_write_json(packed, json) : NULL;
    if (!end) {
        free(packed);
        return NULL;
    }
    *length = (size_t)(end - packed);
    return packed;
}

static bool make_packed(struct wire_template *template, struct slice json, bool with_to)
{
    char header[CLIENT_HEADER_MAXIMUM];
    size_t length;
    uint32_t mask = 0;
    char *packed = pack(json, &length);
    if (!packed)
        return false;
    while (mask == 0)
        mask = (uint32_t)random_u64();
    size_t header_length = client_frame_header(header, WEBSOCKET_BINARY, length, mask);
    char *bytes = malloc(header_length + length);
    if (!bytes) {
        free(packed);
        return false;
    }
    memcpy(bytes, header, header_length);
    memcpy(bytes + header_length, packed, length);
    size_t name = sizeof packed_stamp_name - 1, to_name = sizeof packed_to_name - 1;
    size_t stamp = (size_t)((char *)memmem(packed, length, packed_stamp_name, name) - packed) + name;
    size_t to = with_to ? (size_t)((char *)memmem(packed, length, packed_to_name, to_name) - packed) + to_name : 0;
    free(packed);
    client_frame_mask(bytes + header_length, length, mask, 0);
    *template = (struct wire_template){
        .protocol = WIRE_MSGPACK,
        .bytes = bytes,
        .length = header_length + length,
        .to_offset = with_to ? header_length + to : 0,
        .stamp_offset = header_length + stamp,
        .to_mask = turn_mask(mask, to),
        .stamp_mask = turn_mask(mask, stamp),
    };
    return true;
}

bool wire_template_make(struct wire_template *template, enum wire_protocol protocol, const struct wire_shape *shape)
{
    bool array = shape->depth > 0 || shape->numbers;
    const char *to = shape->to, *after = array ? "]}}}" : "\"}}}";
    char before[512], header[64];
    int before_length =
        snprintf(before, sizeof before,
                 "{\"type\":\"envelope\",\"envelope\":{%s%s%s\"intent\":\"%.128s\",\"payload\":{"
                 "\"stamp\":\"0000000000000000\",\"pad\":%c",
                 to ? "\"to\":\"" : "", to ? to : "", to ? "\"," : "", shape->intent, array ? '[' : '"');
    size_t fixed = (size_t)before_length + strlen(after), pad = shape->size > fixed ? shape->size - fixed : 0;
    size_t text_length = fixed + pad, header_length;
    uint32_t mask = 0;
    if (protocol == WIRE_NATS) {
        header_length =
            (size_t)snprintf(header, sizeof header, "PUB %s %zu\r\n", to ? to : shape->subject, text_length);
    } else {
        while (mask == 0) /* a zero key would mask nothing */
            mask = (uint32_t)random_u64();
        header_length = client_frame_header(header, WEBSOCKET_TEXT, text_length, mask);
    }

    char *bytes = malloc(header_length + text_length + 2);
    if (!bytes)
        return false;
    char *text = bytes + header_length;
    memcpy(bytes, header, header_length);
    memcpy(text, before, (size_t)before_length);
    if (shape->numbers)
        fill_numbers(text + before_length, pad);
    else if (shape->depth > 0)
        fill_deep(text + before_length, pad, shape->depth);
    else
        memset(text + before_length, 'x', pad);
    memcpy(text + before_length + pad, after, strlen(after));
    if (protocol == WIRE_MSGPACK) {
        bool made = make_packed(template, slice_from(text, text_length), to != NULL);
        free(bytes);
        return made;
    }
    size_t stamp =
        (size_t)((char *)memmem(text, text_length, stamp_name, STAMP_NAME_LENGTH) - text) + STAMP_NAME_LENGTH;
    size_t in_text = to ? sizeof "{\"type\":\"envelope\",\"envelope\":{\"to\":\"" - 1 : 0;
    *template = (struct wire_template){
        .protocol = protocol,
        .bytes = bytes,
        .length = header_length + text_length,
        .to_offset = to ? header_length + in_text : 0,
        .stamp_offset = header_length + stamp,
        .to_mask = turn_mask(mask, in_text),
        .stamp_mask = turn_mask(mask, stamp),
    };
    if (protocol == WIRE_NATS) {
        memcpy(text + text_length, "\r\n", 2);
        template->length += 2;
    } else {
        client_frame_mask(text, text_length, mask, 0);
    }
    return true;
}

void wire_template_free(struct wire_template *template)
{
    free(template->bytes);
    *template = (struct wire_template){0};
}

static void write_masked_word(char *out, const char word[8], uint64_t mask)
{
    uint64_t value;
    memcpy(&value, word, 8);
    value ^= mask;
    memcpy(out, &value, 8);
}

void wire_fill(const struct wire_template *template, char *out, const char to[WIRE_ID_LENGTH], uint64_t stamp)
{
    static const char digits[] = "0123456789abcdef";
    char text[WIRE_STAMP_LENGTH];
    memcpy(out, template->bytes, template->length);
    if (template->to_offset > 0)
        write_masked_word(out + template->to_offset, to, template->to_mask);
    if (template->to_offset > 0 && template->protocol == WIRE_NATS)
        memcpy(out + 4, to, WIRE_ID_LENGTH); /* the subject after "PUB " */
    for (int i = WIRE_STAMP_LENGTH - 1; i >= 0; i--, stamp >>= 4)
        text[i] = digits[stamp & 15];
    write_masked_word(out + template->stamp_offset, text, template->stamp_mask);
    write_masked_word(out + template->stamp_offset + 8, text + 8, template->stamp_mask);
}

static size_t write_frame(char out[WIRE_TEXT_MAXIMUM], enum websocket_opcode opcode, struct slice payload)
{
    if (payload.length > WIRE_TEXT_MAXIMUM - CLIENT_HEADER_MAXIMUM)
        return 0;
    uint32_t mask = (uint32_t)random_u64();
    size_t header_length = client_frame_header(out, opcode, payload.length, mask);
    if (payload.length > 0)
        memcpy(out + header_length, payload.data, payload.length);
    client_frame_mask(out + header_length, payload.length, mask, 0);
    return header_length + payload.length;
}

#define TOKEN_JSON_MAXIMUM 12288

/* The token as a JSON member, or nothing without one. False: too long. */
static bool write_token(char out[TOKEN_JSON_MAXIMUM], const char *token, const char *name)
{
    out[0] = '\0';
    if (!token)
        return true;
    struct slice text = slice_from_string(token);
    if (strlen(name) + json_string_length(text) >= TOKEN_JSON_MAXIMUM)
        return false;
    *json_write_string(stpcpy(out, name), text) = '\0';
    return true;
}

size_t wire_opening(enum wire_protocol protocol, char out[WIRE_TEXT_MAXIMUM], const struct bridge_url *url,
                    const char *token, const char id[WIRE_ID_LENGTH], const char *subject)
{
    if (protocol == WIRE_WEBSOCKET)
        return upgrade_write(out, url, SLICE(upgrade_key), token);
    if (protocol == WIRE_MSGPACK) {
        static const char offer[] = "Sec-WebSocket-Protocol: " HANDSHAKE_MSGPACK "\r\n\r\n";
        size_t written = upgrade_write(out, url, SLICE(upgrade_key), token);
        if (written == 0)
            return 0;
        memcpy(out + written - 2, offer, sizeof offer - 1); /* in place of the empty line */
        return written - 2 + sizeof offer - 1;
    }
    char secret[TOKEN_JSON_MAXIMUM];
    if (!write_token(secret, token, ",\"auth_token\":"))
        return 0;
    int length = snprintf(out, WIRE_TEXT_MAXIMUM,
                          "CONNECT {\"verbose\":false,\"pedantic\":false%s}\r\nSUB %.*s 1\r\n%s%s%sPING\r\n", secret,
                          WIRE_ID_LENGTH, id, subject ? "SUB " : "", subject ? subject : "", subject ? " 2\r\n" : "");
    return length < WIRE_TEXT_MAXIMUM ? (size_t)length : 0;
}

size_t wire_registration(enum wire_protocol protocol, char out[WIRE_TEXT_MAXIMUM], const char id[WIRE_ID_LENGTH],
                         const char *token)
{
    char text[WIRE_TEXT_MAXIMUM], secret[TOKEN_JSON_MAXIMUM];
    if (!write_token(secret, token, ",\"authToken\":"))
        return 0;
    /* Any feature makes deliveries start at once instead of agents.registerGraceMs later. */
    int length = snprintf(text, sizeof text, "{\"type\":\"register\",\"clientId\":\"%.*s\",\"features\":[\"bench\"]%s}",
                          WIRE_ID_LENGTH, id, secret);
    if (length >= WIRE_TEXT_MAXIMUM)
        return 0;
    if (protocol != WIRE_MSGPACK)
        return write_frame(out, WEBSOCKET_TEXT, slice_from(text, (size_t)length));
    size_t packed_length, written = 0;
    char *packed = pack(slice_from(text, (size_t)length), &packed_length);
    if (packed)
        written = write_frame(out, WEBSOCKET_BINARY, slice_from(packed, packed_length));
    free(packed);
    return written;
}

size_t wire_pong(enum wire_protocol protocol, char out[WIRE_TEXT_MAXIMUM], struct slice text)
{
    if (protocol != WIRE_NATS)
        return write_frame(out, WEBSOCKET_PONG, text);
    memcpy(out, "PONG\r\n", 6);
    return 6;
}

size_t wire_ping(enum wire_protocol protocol, char out[WIRE_TEXT_MAXIMUM])
{
    if (protocol != WIRE_NATS)
        return write_frame(out, WEBSOCKET_PING, slice_from(NULL, 0));
    memcpy(out, "PING\r\n", 6);
    return 6;
}

size_t wire_close(enum wire_protocol protocol, char out[WIRE_TEXT_MAXIMUM])
{
    return protocol != WIRE_NATS ? write_frame(out, WEBSOCKET_CLOSE, SLICE("\x03\xe8")) : 0; /* 1000 */
}

static bool starts_with(struct slice text, struct slice prefix)
{
    return text.length >= prefix.length && memcmp(text.data, prefix.data, prefix.length) == 0;
}

static enum wire_event next_upgrade(enum wire_protocol protocol, struct slice *rest, struct slice *text)
{
    static char error[UPGRADE_ERROR_SIZE];
    size_t used = 0;
    enum upgrade_result result = upgrade_read(*rest, SLICE(upgrade_key), &used, error);
    if (result == UPGRADE_PARTIAL)
        return WIRE_MORE;
    if (result == UPGRADE_REFUSED) {
        *text = slice_from_string(error);
        return WIRE_BROKEN;
    }
    if (protocol == WIRE_MSGPACK && !memmem(rest->data, used, HANDSHAKE_MSGPACK, sizeof HANDSHAKE_MSGPACK - 1)) {
        *text = SLICE("the server does not take the subprotocol " HANDSHAKE_MSGPACK);
        return WIRE_BROKEN;
    }
    *rest = slice_from(rest->data + used, rest->length - used);
    return WIRE_OPENED;
}

/* An error in MessagePack as JSON, for people; until the next one. */
static struct slice readable(struct slice packed)
{
    static struct buffer json;
    char error[ERROR_TEXT_BYTES];
    json.length = 0;
    struct msgpack_rules rules = {.depth = 16, .bytes = WIRE_TEXT_MAXIMUM};
    if (msgpack_to_json(packed, &rules, &json, NULL, error) != CODE_OK)
        return SLICE("an error that is not MessagePack");
    return slice_from(json.data, json.length);
}

static enum wire_event next_frame(struct slice *rest, struct slice *text)
{
    struct server_frame frame;
    enum server_frame_result result = server_frame_read(*rest, &frame);
    if (result == SERVER_FRAME_PARTIAL)
        return WIRE_MORE;
    *text = SLICE("a frame against RFC 6455, or a fragment, which no server here needs");
    if (result == SERVER_FRAME_BROKEN || !frame.final)
        return WIRE_BROKEN;
    *rest = slice_from(rest->data + frame.length, rest->length - frame.length);
    *text = frame.payload;
    if (frame.opcode == WEBSOCKET_PING)
        return WIRE_PING;
    if (frame.opcode == WEBSOCKET_CLOSE)
        return WIRE_REFUSAL;
    if (frame.opcode == WEBSOCKET_PONG)
        return WIRE_PONG;
    if (starts_with(frame.payload, SLICE("{\"type\":\"envelope\"")))
        return WIRE_DELIVERY;
    if (frame.opcode == WEBSOCKET_BINARY && frame.payload.length > 0) {
        /* Behind the map's header the keys have the order of the JSON. */
        struct slice behind = slice_from(frame.payload.data + 1, frame.payload.length - 1);
        if (starts_with(behind, SLICE("\xa4type\xa8"
                                      "envelope")))
            return WIRE_DELIVERY;
        if (starts_with(behind, SLICE("\xa4type\xaaregistered")))
            return WIRE_REGISTERED;
        if (!starts_with(behind, SLICE("\xa4type\xa5"
                                       "error")))
            return WIRE_NOTHING;
        *text = readable(frame.payload);
        return WIRE_REFUSAL;
    }
    if (starts_with(frame.payload, SLICE("{\"type\":\"registered\"")))
        return WIRE_REGISTERED;
    return starts_with(frame.payload, SLICE("{\"type\":\"error\"")) ? WIRE_REFUSAL : WIRE_NOTHING;
}

/* MSG subject sid length CR LF payload CR LF */
static enum wire_event next_nats(struct slice *rest, struct slice *text)
{
    const char *end = rest->length > 0 ? memchr(rest->data, '\n', rest->length) : NULL;
    if (!end)
        return WIRE_MORE;
    struct slice line = slice_from(rest->data, (size_t)(end - rest->data));
    size_t used = line.length + 1;
    enum wire_event event = WIRE_NOTHING;
    *text = line;
    if (starts_with(line, SLICE("MSG "))) {
        const char *number = end;
        while (number[-1] != ' ')
            number--;
        size_t length = strtoul(number, NULL, 10); /* stops at the line's end */
        if (rest->length < used + length + 2)
            return WIRE_MORE;
        *text = slice_from(end + 1, length);
        used += length + 2;
        event = WIRE_DELIVERY;
    } else if (starts_with(line, SLICE("PING"))) {
        event = WIRE_PING;
    } else if (starts_with(line, SLICE("PONG"))) {
        event = WIRE_REGISTERED;
    } else if (starts_with(line, SLICE("-ERR"))) {
        event = WIRE_REFUSAL;
    } else if (!starts_with(line, SLICE("INFO")) && !starts_with(line, SLICE("+OK"))) {
        return WIRE_BROKEN;
    }
    *rest = slice_from(rest->data + used, rest->length - used);
    return event;
}

enum wire_event wire_next(enum wire_protocol protocol, bool opened, struct slice *rest, struct slice *text)
{
    if (protocol == WIRE_NATS)
        return next_nats(rest, text);
    return opened ? next_frame(rest, text) : next_upgrade(protocol, rest, text);
}

static int hexadecimal_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool wire_stamp(struct slice text, size_t *offset, uint64_t *stamp)
{
    bool packed = text.length > 0 && (unsigned char)text.data[0] >= 0x80;
    const char *name = packed ? packed_stamp_name : stamp_name;
    size_t name_length = packed ? sizeof packed_stamp_name - 1 : STAMP_NAME_LENGTH;
    size_t needed = name_length + WIRE_STAMP_LENGTH;
    if (text.length < needed)
        return false;
    if (*offset > text.length - needed || memcmp(text.data + *offset, name, name_length) != 0) {
        const char *found = memmem(text.data, text.length, name, name_length);
        if (!found || (size_t)(found - text.data) > text.length - needed)
            return false;
        *offset = (size_t)(found - text.data);
    }
    const char *digits = text.data + *offset + name_length;
    *stamp = 0;
    for (int i = 0; i < WIRE_STAMP_LENGTH; i++) {
        int digit = hexadecimal_digit(digits[i]);
        if (digit < 0)
            return false;
        *stamp = *stamp << 4 | (uint64_t)digit;
    }
    return true;
}
