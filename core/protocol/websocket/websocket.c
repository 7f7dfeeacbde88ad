/* A header is judged byte by byte as it comes, so that a broken rule is answered at once and the same way however the
 * bytes were split. A message that lies whole in the fed buffer is unmasked there and given as it lies: no copy, and
 * UTF-8 is looked at only when a byte was not ASCII. Every other message is moved to a pool block: the size of its
 * frame when that is small, else doubling behind what has really come, so that announcing a length costs the client as
 * many bytes as it costs us. The payload of a control frame that is not complete waits in the same block, behind the
 * message that it interrupts. Compressed messages are collected and inflated when they are complete, with one inflater
 * per thread, so their UTF-8 is judged at the end. */
#include "protocol/websocket/websocket.h"

#include "memory/admission.h"
#include "memory/pool.h"

#define FIN 0x80u
#define RSV1 0x40u
#define RSV23 0x30u
#define OPCODE 0x0fu
#define CONTROL 0x08u
#define MASKED 0x80u

#define CONTROL_PAYLOAD_MOST 125u

/* An announced length up to this is believed at once: typical messages then need one block and no second copy. */
#define BELIEVED_BYTES (64u << 10)

/* The rest of a message of which most came with others in one read: see admission_take_rest. */
#define ASSEMBLED_REST_BYTES (96u << 10)

/* Sizes are kept in 32 bits together with slack and a control frame. */
#define LIMIT_MOST (UINT32_MAX - 4096u)

/* A fragment that is not the last and brings fewer bytes than this costs us more than its sender. So many of them in
 * one message are taken: none that is cut up for a reason, such as text that grows by a word, comes near. */
#define TINY_FRAGMENT_BYTES 16u
#define TINY_FRAGMENTS_MOST 16384u

enum state {
    STATE_HEADER,  /* between frames, or inside a header */
    STATE_PAYLOAD, /* inside a frame's payload */
    STATE_GIVEN,   /* between messages, and the block holds what the last event gave */
    STATE_CLOSED,  /* nothing more is read */
};

enum progress { PROGRESS_PARTIAL, PROGRESS_DONE, PROGRESS_FAILED };

void websocket_start(struct websocket *websocket, const struct deflate_agreement *agreement)
{
    *websocket = (struct websocket){
        .receive_window_bits = agreement->send_window_bits ? agreement->receive_window_bits : 0,
        .receive_takeover = agreement->receive_takeover,
    };
}

static void release_buffer(struct websocket *websocket)
{
    if (websocket->buffer)
        pool_release(POOL_BUFFERS, websocket->buffer, websocket->buffer_size);
    websocket->buffer = NULL;
    websocket->buffer_size = 0;
    websocket->assembled = 0;
}

bool websocket_in_message(const struct websocket *websocket)
{
    return websocket->message || websocket->header_length > 0 || websocket->state == STATE_PAYLOAD;
}

void websocket_message_done(struct websocket *websocket)
{
    if (websocket->state != STATE_GIVEN)
        return;
    release_buffer(websocket);
    websocket->state = STATE_HEADER;
}

void websocket_stop(struct websocket *websocket)
{
    release_buffer(websocket);
    deflate_history_free(websocket->history);
    websocket->history = NULL;
    websocket->state = STATE_CLOSED;
}

static enum websocket_event fail(struct websocket *websocket, struct websocket_message *out,
                                 enum websocket_status status, const char *reason)
{
    websocket_stop(websocket);
    *out = (struct websocket_message){.status = (uint16_t)status, .reason = reason};
    return WEBSOCKET_ON_FAIL;
}

static enum websocket_event fail_memory(struct websocket *websocket, struct websocket_message *out)
{
    return fail(websocket, out, WEBSOCKET_TRY_LATER, "out of memory");
}

/* What the frames of one message may hold. A compressed one may be a little longer than its content: zlib adds up to
 * 4 % to what does not shrink when a client saves memory. */
static uint32_t payload_limit(bool compressed, uint32_t message_limit)
{
    uint64_t limit = message_limit;
    if (compressed)
        limit += limit / 16 + 64;
    return limit < LIMIT_MOST ? (uint32_t)limit : LIMIT_MOST;
}

/* Judges the first byte (5.2, 5.4, 5.5; RFC 7692 6). NULL: fine. */
static const char *judge_first(const struct websocket *websocket, unsigned first)
{
    unsigned opcode = first & OPCODE;
    if (first & RSV23)
        return "reserved bit set";
    if ((first & RSV1) && !(websocket->receive_window_bits && (opcode == WEBSOCKET_TEXT || opcode == WEBSOCKET_BINARY)))
        return "reserved bit set";
    switch (opcode) {
    case WEBSOCKET_CONTINUATION:
        return websocket->message ? NULL : "continuation without a message";
    case WEBSOCKET_TEXT:
    case WEBSOCKET_BINARY:
        return websocket->message ? "new message inside a fragmented one" : NULL;
    case WEBSOCKET_CLOSE:
    case WEBSOCKET_PING:
    case WEBSOCKET_PONG:
        return first & FIN ? NULL : "fragmented control frame";
    default:
        return "reserved opcode";
    }
}

/* Judges the second byte. NULL: fine. */
static const char *judge_second(unsigned first, unsigned second)
{
    if (!(second & MASKED))
        return "frame is not masked";
    if ((first & CONTROL) && (second & ~MASKED) > CONTROL_PAYLOAD_MOST)
        return "control frame is too long";
    return NULL;
}

static uint64_t read_big_endian(const unsigned char *bytes, unsigned count)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < count; i++)
        number = number << 8 | bytes[i];
    return number;
}

/* Bytes of the length behind the first two bytes of a header. */
static unsigned extended_length(unsigned second)
{
    unsigned length = second & ~MASKED;
    return length < 126 ? 0 : length == 126 ? 2 : 8;
}

static uint64_t payload_length(const unsigned char *header)
{
    unsigned extended = extended_length(header[1]);
    return extended ? read_big_endian(header + 2, extended) : header[1] & ~MASKED;
}

/* Judges the payload length, of which all bytes are there. NULL: fine. */
static const char *judge_length(const struct websocket *websocket, const unsigned char *header, uint32_t message_limit,
                                enum websocket_status *status)
{
    unsigned extended = extended_length(header[1]);
    uint64_t length = payload_length(header);
    if (length >> 63)
        return "length has its top bit set";
    if ((extended == 2 && length < 126) || (extended == 8 && length < 65536))
        return "length is not minimal";
    if (header[0] & CONTROL)
        return NULL;
    bool compressed = (websocket->message ? websocket->message : header[0]) & RSV1;
    uint32_t limit = payload_limit(compressed, message_limit);
    if (length > limit || websocket->assembled > limit - length) {
        *status = WEBSOCKET_TOO_LARGE;
        return "message is too large";
    }
    return NULL;
}

static void enter_frame(struct websocket *websocket, const unsigned char *header)
{
    if (!(header[0] & CONTROL) && !websocket->message)
        websocket->message = header[0];
    websocket->tiny_fragments += !(header[0] & (FIN | CONTROL)) && payload_length(header) < TINY_FRAGMENT_BYTES;
    websocket->frame = header[0];
    websocket->remaining = (uint32_t)payload_length(header);
    memcpy(&websocket->mask, header + 2 + extended_length(header[1]), sizeof websocket->mask);
    websocket->header_length = 0;
    websocket->state = STATE_PAYLOAD;
}

/* Reads what has come of a header. PROGRESS_FAILED: *status and *reason say why. */
static enum progress read_header(struct websocket *websocket, char **at, char *end, uint32_t message_limit,
                                 enum websocket_status *status, const char **reason)
{
    *status = WEBSOCKET_PROTOCOL_ERROR;
    const unsigned char *bytes = (const unsigned char *)*at;
    size_t have = (size_t)(end - *at);
    if (websocket->header_length == 0 && have >= 2 && have >= 6 + extended_length(bytes[1])) {
        *reason = judge_first(websocket, bytes[0]);
        if (!*reason)
            *reason = judge_second(bytes[0], bytes[1]);
        if (!*reason)
            *reason = judge_length(websocket, bytes, message_limit, status);
        if (*reason)
            return PROGRESS_FAILED;
        *at += 6 + extended_length(bytes[1]);
        enter_frame(websocket, bytes);
        return PROGRESS_DONE;
    }
    unsigned char *header = websocket->header;
    while (*at < end) {
        header[websocket->header_length++] = (unsigned char)*(*at)++;
        if (websocket->header_length == 1) {
            *reason = judge_first(websocket, header[0]);
            if (*reason)
                return PROGRESS_FAILED;
            continue;
        }
        *reason = websocket->header_length == 2 ? judge_second(header[0], header[1]) : NULL;
        if (!*reason && websocket->header_length == 2 + extended_length(header[1]))
            *reason = judge_length(websocket, header, message_limit, status);
        if (*reason)
            return PROGRESS_FAILED;
        if (websocket->header_length == 6 + extended_length(header[1])) {
            enter_frame(websocket, header);
            return PROGRESS_DONE;
        }
    }
    return PROGRESS_PARTIAL;
}

/* Makes the block hold `needed` bytes, and more if that is worth it: `expected` are announced, and the message cannot
 * grow past `most`. */
static bool reserve(struct websocket *websocket, uint64_t needed, uint64_t expected, uint64_t most)
{
    uint64_t capacity = websocket->buffer ? websocket->buffer_size - WEBSOCKET_SLACK : 0;
    if (needed <= capacity)
        return true;
    uint64_t believed = capacity * 2 > BELIEVED_BYTES ? capacity * 2 : BELIEVED_BYTES;
    uint64_t wanted = capacity * 2 < most ? capacity * 2 : most; /* fragments must not cost a copy each */
    if (wanted < expected)
        wanted = expected;
    if (wanted > believed)
        wanted = believed;
    if (wanted < needed)
        wanted = needed;
    size_t size = pool_usable_size(wanted + WEBSOCKET_SLACK);
    if (size > UINT32_MAX)
        return false;
    if (size > ADMISSION_SMALL_BYTES && !(size <= ASSEMBLED_REST_BYTES ? admission_take_rest : admission_take)(size))
        return false;
    char *buffer = pool_acquire(POOL_BUFFERS, size);
    if (!buffer)
        return false;
    if (websocket->buffer) {
        memcpy(buffer, websocket->buffer, websocket->assembled);
        pool_release(POOL_BUFFERS, websocket->buffer, websocket->buffer_size);
    }
    websocket->buffer = buffer;
    websocket->buffer_size = (uint32_t)size;
    return true;
}

/* Moves the next `length` bytes of payload to `to`, unmasked, and turns the mask. Gives the OR of the bytes. */
static unsigned move_payload(struct websocket *websocket, char *to, char **at, uint32_t length)
{
    unsigned seen = 0;
    if (length > 0) {
        /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): whoever calls has reserved `length` bytes */
        memcpy(to, *at, length);
        seen = websocket_unmask(to, length, websocket->mask);
    }
    unsigned char mask[4], turned[4];
    memcpy(mask, &websocket->mask, sizeof mask);
    for (unsigned i = 0; i < 4; i++)
        turned[i] = mask[(length + i) & 3];
    memcpy(&websocket->mask, turned, sizeof turned);
    *at += length;
    websocket->remaining -= length;
    return seen;
}

/* 5.5.1, 7.1.5, 7.4 */
static enum websocket_event give_close(struct websocket *websocket, struct websocket_message *out)
{
    if (out->length == 0) {
        out->status = WEBSOCKET_NO_STATUS;
    } else {
        if (out->length == 1)
            return fail(websocket, out, WEBSOCKET_PROTOCOL_ERROR, "close frame with one byte");
        out->status = (uint16_t)read_big_endian((const unsigned char *)out->data, 2);
        if (!websocket_status_valid(out->status))
            return fail(websocket, out, WEBSOCKET_PROTOCOL_ERROR, "close status is not allowed");
        out->data += 2;
        out->length -= 2;
        if (!utf8_valid(out->data, out->length))
            return fail(websocket, out, WEBSOCKET_BAD_DATA, "close reason is not UTF-8");
    }
    websocket->state = STATE_CLOSED; /* the block, if any, is released by the next call */
    return WEBSOCKET_ON_CLOSE;
}

static enum websocket_event read_control(struct websocket *websocket, char **at, char *end,
                                         struct websocket_message *out)
{
    uint32_t remaining = websocket->remaining;
    uint32_t length = (size_t)(end - *at) < remaining ? (uint32_t)(end - *at) : remaining;
    *out = (struct websocket_message){.data = *at, .length = length, .opcode = websocket->frame & OPCODE};
    bool in_place = websocket->control_length == 0 && length == remaining;
    if (in_place) {
        websocket_unmask(*at, length, websocket->mask);
        *at += length;
    } else {
        uint64_t whole = (uint64_t)websocket->assembled + websocket->control_length + remaining;
        if (!reserve(websocket, whole, whole, whole))
            return fail_memory(websocket, out);
        char *payload = websocket->buffer + websocket->assembled;
        move_payload(websocket, payload + websocket->control_length, at, length);
        websocket->control_length = (uint8_t)(websocket->control_length + length);
        if (websocket->remaining > 0)
            return WEBSOCKET_NEED_BYTES;
        out->data = payload;
        out->length = websocket->control_length;
        websocket->control_length = 0;
    }
    /* An interrupted message keeps its block. */
    websocket->state = websocket->buffer && !websocket->message ? STATE_GIVEN : STATE_HEADER;
    if (out->opcode == WEBSOCKET_CLOSE)
        return give_close(websocket, out);
    return out->opcode == WEBSOCKET_PING ? WEBSOCKET_ON_PING : WEBSOCKET_ON_PONG;
}

/* Puts the inflated message in the place of the compressed one. */
static enum websocket_event inflate_message(struct websocket *websocket, uint32_t message_limit,
                                            struct websocket_message *out)
{
    struct deflate_output inflated;
    enum deflate_result result =
        deflate_inflate(websocket->receive_takeover ? &websocket->history : NULL, websocket->receive_window_bits,
                        slice_from(out->data, out->length), message_limit, &inflated);
    switch (result) {
    case DEFLATE_DONE:
        break;
    case DEFLATE_TOO_LARGE:
        return fail(websocket, out, WEBSOCKET_TOO_LARGE, "message is too large");
    case DEFLATE_BAD_DATA:
        return fail(websocket, out, WEBSOCKET_BAD_DATA, "message cannot be inflated");
    case DEFLATE_TOO_COSTLY:
        return fail(websocket, out, WEBSOCKET_POLICY, "message costs too much to inflate");
    case DEFLATE_OUT_OF_MEMORY:
        return fail_memory(websocket, out);
    }
    release_buffer(websocket);
    websocket->buffer = inflated.data;
    websocket->buffer_size = inflated.size;
    out->data = inflated.data;
    out->length = inflated.length;
    if (out->opcode == WEBSOCKET_TEXT && !utf8_valid(out->data, out->length))
        return fail(websocket, out, WEBSOCKET_BAD_DATA, "text is not UTF-8");
    return WEBSOCKET_ON_MESSAGE;
}

static enum websocket_event read_data(struct websocket *websocket, char **at, char *end, uint32_t message_limit,
                                      struct websocket_message *out)
{
    unsigned message = websocket->message;
    bool last = websocket->frame & FIN, compressed = message & RSV1;
    bool text = (message & OPCODE) == WEBSOCKET_TEXT && !compressed;
    uint32_t remaining = websocket->remaining;
    uint32_t length = (size_t)(end - *at) < remaining ? (uint32_t)(end - *at) : remaining;
    *out = (struct websocket_message){.data = *at, .length = length, .opcode = message & OPCODE};

    if (last && length == remaining && websocket->assembled == 0) {
        unsigned seen = websocket_unmask(*at, length, websocket->mask);
        *at += length;
        if (text && seen >= 0x80 && !utf8_valid(out->data, length))
            return fail(websocket, out, WEBSOCKET_BAD_DATA, "text is not UTF-8");
    } else {
        uint64_t needed = (uint64_t)websocket->assembled + length;
        uint64_t expected = (uint64_t)websocket->assembled + remaining;
        if (!reserve(websocket, needed, expected, last ? expected : payload_limit(compressed, message_limit)))
            return fail_memory(websocket, out);
        char *piece = websocket->buffer ? websocket->buffer + websocket->assembled : NULL; /* NULL: no byte came yet */
        unsigned seen = move_payload(websocket, piece, at, length);
        websocket->assembled += length;
        if (text && (seen >= 0x80 || websocket->utf8.missing) && !utf8_stream_feed(&websocket->utf8, piece, length))
            return fail(websocket, out, WEBSOCKET_BAD_DATA, "text is not UTF-8");
        if (websocket->remaining > 0)
            return WEBSOCKET_NEED_BYTES;
        websocket->state = STATE_HEADER;
        if (!last) {
            if (websocket->tiny_fragments > TINY_FRAGMENTS_MOST)
                return fail(websocket, out, WEBSOCKET_POLICY, "too many tiny fragments");
            return WEBSOCKET_NEED_BYTES;
        }
        if (text && !utf8_stream_complete(&websocket->utf8))
            return fail(websocket, out, WEBSOCKET_BAD_DATA, "text is not UTF-8");
        out->data = websocket->buffer;
        out->length = websocket->assembled;
    }
    websocket->message = 0;
    websocket->assembled = 0;
    websocket->tiny_fragments = 0;
    if (compressed && inflate_message(websocket, message_limit, out) == WEBSOCKET_ON_FAIL)
        return WEBSOCKET_ON_FAIL;
    websocket->state = websocket->buffer ? STATE_GIVEN : STATE_HEADER;
    return WEBSOCKET_ON_MESSAGE;
}

enum websocket_event websocket_next(struct websocket *websocket, char **at, char *end, uint32_t message_limit,
                                    struct websocket_message *out)
{
    if (websocket->state == STATE_GIVEN)
        websocket_message_done(websocket);
    if (websocket->state == STATE_CLOSED) {
        websocket_stop(websocket);
        *at = end;
        return WEBSOCKET_NEED_BYTES;
    }
    /* An event ends the loop; so does the end of the bytes, but a frame without payload still has to be entered. */
    for (;;) {
        if (websocket->state == STATE_HEADER) {
            enum websocket_status status;
            const char *reason;
            enum progress progress = read_header(websocket, at, end, message_limit, &status, &reason);
            if (progress == PROGRESS_FAILED)
                return fail(websocket, out, status, reason);
            if (progress == PROGRESS_PARTIAL)
                return WEBSOCKET_NEED_BYTES;
        }
        enum websocket_event event = websocket->frame & CONTROL ? read_control(websocket, at, end, out)
                                                                : read_data(websocket, at, end, message_limit, out);
        if (event != WEBSOCKET_NEED_BYTES || websocket->state == STATE_PAYLOAD)
            return event;
    }
}

void websocket_put(const struct websocket *websocket, struct channel_writer *channel)
{
    bool holds = websocket->buffer && websocket->state != STATE_GIVEN;
    channel_put(channel, websocket->receive_window_bits);
    channel_put(channel, websocket->receive_takeover);
    channel_put(channel, websocket->state == STATE_GIVEN ? STATE_HEADER : websocket->state);
    channel_put(channel, websocket->message);
    channel_put(channel, websocket->frame);
    channel_put(channel, websocket->tiny_fragments);
    channel_put(channel, websocket->remaining);
    channel_put(channel, websocket->mask);
    channel_put_bytes(channel, slice_from((const char *)&websocket->utf8, sizeof websocket->utf8));
    channel_put_bytes(channel, slice_from((const char *)websocket->header, websocket->header_length));
    channel_put(channel, websocket->assembled);
    channel_put(channel, websocket->control_length);
    channel_put_bytes(channel, holds ? slice_from(websocket->buffer, websocket->assembled + websocket->control_length)
                                     : slice_from("", 0));
    deflate_history_put(websocket->history, channel);
}

bool websocket_get(struct websocket *websocket, struct channel_reader *channel)
{
    *websocket = (struct websocket){.receive_window_bits = (uint8_t)channel_get(channel)};
    websocket->receive_takeover = channel_get(channel) != 0;
    websocket->state = (uint8_t)channel_get(channel);
    websocket->message = (uint8_t)channel_get(channel);
    websocket->frame = (uint8_t)channel_get(channel);
    websocket->tiny_fragments = (uint16_t)channel_get(channel);
    websocket->remaining = (uint32_t)channel_get(channel);
    websocket->mask = (uint32_t)channel_get(channel);
    struct slice utf8 = channel_get_bytes(channel), header = channel_get_bytes(channel);
    uint64_t assembled = channel_get(channel), control = channel_get(channel);
    struct slice held = channel_get_bytes(channel);
    if (utf8.length != sizeof websocket->utf8 || header.length > sizeof websocket->header ||
        control > CONTROL_PAYLOAD_MOST || held.length != (held.length > 0 ? assembled + control : 0))
        channel_reject(channel, "a connection stands where none can");
    if (channel->failed)
        return false;
    memcpy(&websocket->utf8, utf8.data, utf8.length);
    memcpy(websocket->header, header.data, header.length);
    websocket->header_length = (uint8_t)header.length;
    if (held.length > 0) {
        if (!reserve(websocket, held.length, held.length, held.length))
            return false;
        memcpy(websocket->buffer, held.data, held.length);
        websocket->assembled = (uint32_t)assembled;
        websocket->control_length = (uint8_t)control;
    }
    return deflate_history_get(&websocket->history, websocket->receive_window_bits, channel);
}

bool websocket_status_valid(unsigned status)
{
    if (status >= 3000 && status <= 4999)
        return true;
    return (status >= 1000 && status <= 1003) || (status >= 1007 && status <= 1014);
}

static struct frame *control_frame(unsigned opcode, struct slice payload)
{
    if (payload.length > CONTROL_PAYLOAD_MOST)
        payload.length = CONTROL_PAYLOAD_MOST;
    return frame_from(FRAME_CONTROL, opcode, payload);
}

struct frame *websocket_ping(struct slice payload)
{
    return control_frame(WEBSOCKET_PING, payload);
}

struct frame *websocket_pong(struct slice payload)
{
    return control_frame(WEBSOCKET_PONG, payload);
}

struct frame *websocket_close(unsigned status, struct slice reason)
{
    if (status == WEBSOCKET_NO_STATUS)
        return control_frame(WEBSOCKET_CLOSE, slice_from(NULL, 0));
    char payload[CONTROL_PAYLOAD_MOST] = {(char)(status >> 8), (char)status};
    size_t most = reason.length < sizeof payload - 2 ? reason.length : sizeof payload - 2;
    size_t length = utf8_valid_length(reason.data, most); /* stops before a character that the cut went through */
    if (length > 0)
        memcpy(payload + 2, reason.data, length);
    return control_frame(WEBSOCKET_CLOSE, slice_from(payload, 2 + length));
}
