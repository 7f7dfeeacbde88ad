/* The receiving half of a WebSocket, server side (RFC 6455 5 to 8, RFC 7692): turns a client's bytes into messages and
 * control frames, and builds the control frames that answer them. Idle it is one cache line and owns no buffer. */
#ifndef LUADUCT_PROTOCOL_WEBSOCKET_H
#define LUADUCT_PROTOCOL_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "net/channel.h"
#include "protocol/json/utf8.h"
#include "protocol/websocket/deflate.h"
#include "protocol/websocket/frame.h"

/* Bytes that must be readable and writable behind the end of what websocket_next is fed, and that are behind every
 * message it gives: readers load whole vectors and put a terminator behind a message for a while. */
#define WEBSOCKET_SLACK 64

/* Close status codes (RFC 6455 7.4.1 and the IANA registry) that the bridge itself uses. */
enum websocket_status {
    WEBSOCKET_NORMAL = 1000,
    WEBSOCKET_GOING_AWAY = 1001,
    WEBSOCKET_PROTOCOL_ERROR = 1002,
    WEBSOCKET_NO_STATUS = 1005, /* said of a close frame without one; never on the wire */
    WEBSOCKET_BAD_DATA = 1007,
    WEBSOCKET_POLICY = 1008,
    WEBSOCKET_TOO_LARGE = 1009,
    WEBSOCKET_TRY_LATER = 1013,
};

enum websocket_opcode {
    WEBSOCKET_CONTINUATION = 0,
    WEBSOCKET_TEXT = 1,
    WEBSOCKET_BINARY = 2,
    WEBSOCKET_CLOSE = 8,
    WEBSOCKET_PING = 9,
    WEBSOCKET_PONG = 10,
};

enum websocket_event {
    WEBSOCKET_NEED_BYTES, /* all that was fed is used up */
    WEBSOCKET_ON_MESSAGE, /* opcode is WEBSOCKET_TEXT (valid UTF-8) or WEBSOCKET_BINARY */
    WEBSOCKET_ON_PING,    /* answer with websocket_pong */
    WEBSOCKET_ON_PONG,
    WEBSOCKET_ON_CLOSE, /* status (WEBSOCKET_NO_STATUS: none was sent), data is the reason: answer in kind, then close
                         */
    WEBSOCKET_ON_FAIL,  /* the client broke the rules or a limit, or memory is out: close with status and reason */
};

struct websocket_message {
    char *data; /* unmasked, inflated, yours to change; WEBSOCKET_SLACK bytes are behind it, but in the fed buffer
                   they are the next frame's: put back what you overwrite there */
    size_t length;
    uint8_t opcode;
    uint16_t status;    /* ON_CLOSE, ON_FAIL */
    const char *reason; /* ON_FAIL only: static, ASCII, at most 123 bytes, fit for a close frame */
};

/* Embedded in every connection; nobody looks inside but websocket.c. All zero is a valid start without compression. */
struct websocket {
    char *buffer;                    /* what waits for more bytes; NULL while nothing does */
    struct deflate_history *history; /* with receive takeover only */
    uint32_t buffer_size;            /* of the pool block */
    uint32_t assembled;              /* bytes of the message at the start of the buffer */
    uint32_t remaining;              /* payload bytes of the current frame that have not come */
    uint32_t mask;                   /* turned so that the next payload byte meets its first byte in memory */
    struct utf8_stream utf8;         /* of the text message so far */
    uint8_t header[14];              /* the part of a frame header that has come */
    uint16_t tiny_fragments;         /* of the message so far */
    uint8_t header_length;
    uint8_t control_length; /* bytes of a control frame's payload, behind the message in the buffer */
    uint8_t frame;          /* first byte of the current frame while its payload is incomplete */
    uint8_t message;        /* first byte of the current message's first frame; 0: none has begun */
    uint8_t state;
    uint8_t receive_window_bits; /* 0: the client may not compress */
    bool receive_takeover;
};

_Static_assert(sizeof(struct websocket) <= 64, "an idle connection pays for every byte here");

/* Starts with what the handshake agreed on. Owns nothing yet. */
void websocket_start(struct websocket *websocket, const struct deflate_agreement *agreement);

/* Reads on at *at and moves it behind what it used; call in a loop until WEBSOCKET_NEED_BYTES, then *at == end and the
 * buffer may be used for something else. message_limit: the most payload bytes of one message, all frames together;
 * a compressed one must keep it when inflated, and may be a sixteenth longer on the wire. The data of an event is valid
 * until the next call here (with any buffer), websocket_message_done or websocket_stop; a message that came whole is
 * unmasked where it lies. After ON_CLOSE and ON_FAIL the rest is swallowed. */
enum websocket_event websocket_next(struct websocket *websocket, char **at, char *end, uint32_t message_limit,
                                    struct websocket_message *out);

/* Whether a message or a frame has begun and is not complete. */
bool websocket_in_message(const struct websocket *websocket);

/* Gives the block of the message last returned back to its pool now and not at the next call: for a connection that
 * may stay quiet. Harmless when there is none. */
void websocket_message_done(struct websocket *websocket);

/* Into a record for another process of the bridge, between two calls of websocket_next, and out of it: there it goes on
 * where it stood. False: no memory. */
void websocket_put(const struct websocket *websocket, struct channel_writer *channel);
bool websocket_get(struct websocket *websocket, struct channel_reader *channel);

/* Frees what the connection holds. It may be started again. */
void websocket_stop(struct websocket *websocket);

/* Control frames, with one reference for the caller; NULL when memory is out. Payloads past 125 bytes are cut. */
struct frame *websocket_ping(struct slice payload);
struct frame *websocket_pong(struct slice payload);

/* status WEBSOCKET_NO_STATUS: an empty close frame. The reason is cut to 123 bytes at a character's start. */
struct frame *websocket_close(unsigned status, struct slice reason);

/* Whether a close frame may carry that status (RFC 6455 7.4). */
bool websocket_status_valid(unsigned status);

/* XORs bytes in place with the mask, whose first byte in memory meets bytes[0], and gives the OR of the resulting
 * bytes: below 0x80 means that all is ASCII. Touches nothing outside. Any thread. */
unsigned websocket_unmask(char *bytes, size_t length, uint32_t mask);

#endif
