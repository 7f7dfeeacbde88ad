/* What the load generator says and hears, for the protocols it speaks: the bridge's JSON over WebSocket, the same as
 * MessagePack, and the text protocol of nats-server with the same payload bytes. Knows bytes only; who sends what when
 * is bench_load's. */
#ifndef LUADUCT_CLIENT_BENCH_WIRE_H
#define LUADUCT_CLIENT_BENCH_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "client/arguments/bridge_url.h"

enum wire_protocol {
    WIRE_WEBSOCKET,
    WIRE_MSGPACK, /* the subprotocol luaduct.msgpack */
    WIRE_NATS,
};

const char *wire_protocol_name(enum wire_protocol protocol); /* as --protocol has it */

/* All ids have this length, so that one template serves all senders: `to` is patched into the copy as one word. */
#define WIRE_ID_LENGTH 8

/* The nanosecond at which a message was (or should have been) sent, in hexadecimal. Unique and rising for each sender.
 */
#define WIRE_STAMP_LENGTH 16

/* A whole message, framed and masked, but for the recipient and the stamp. */
struct wire_template {
    enum wire_protocol protocol;
    char *bytes;
    size_t length;
    size_t to_offset; /* 0: a broadcast */
    size_t stamp_offset;
    uint64_t to_mask, stamp_mask; /* the mask key, turned to meet those offsets, twice */
};

struct wire_shape {
    size_t size;         /* bytes of JSON; one too small for the fields gives the smallest there is */
    const char *to;      /* NULL: a broadcast; else any id, later replaced by wire_fill's */
    const char *subject; /* NATS's for a broadcast */
    const char *intent;
    unsigned depth; /* of the message's JSON: filled with arrays nested that deep instead of one string; 0: a string */
    bool numbers;   /* filled with one array of numbers */
};

/* False: out of memory. */
bool wire_template_make(struct wire_template *template, enum wire_protocol protocol, const struct wire_shape *shape);

/* Copies the template to `out` with that recipient (ignored for a broadcast) and stamp. */
void wire_fill(const struct wire_template *template, char *out, const char to[WIRE_ID_LENGTH], uint64_t stamp);

void wire_template_free(struct wire_template *template);

#define WIRE_TEXT_MAXIMUM 16384

/* The first bytes on a new connection. WebSocket: the upgrade; NATS: everything up to the PING whose PONG says that the
 * subscription stands. subject may be NULL. Each gives a length, 0 when the text does not fit. */
size_t wire_opening(enum wire_protocol protocol, char out[WIRE_TEXT_MAXIMUM], const struct bridge_url *url,
                    const char *token, const char id[WIRE_ID_LENGTH], const char *subject);

/* The register message in its frame; WebSocket only. */
size_t wire_registration(enum wire_protocol protocol, char out[WIRE_TEXT_MAXIMUM], const char id[WIRE_ID_LENGTH],
                         const char *token);

enum wire_event {
    WIRE_MORE,       /* nothing whole is left */
    WIRE_OPENED,     /* the upgrade succeeded */
    WIRE_REGISTERED, /* ready to send and receive */
    WIRE_DELIVERY,   /* text is an envelope message, in JSON or MessagePack */
    WIRE_PING,       /* to be answered with wire_pong(text) */
    WIRE_PONG,       /* the answer to wire_ping: all that was sent before it has been looked at */
    WIRE_REFUSAL,    /* text says what the server did not like; the connection goes on */
    WIRE_NOTHING,    /* something that needs no action */
    WIRE_BROKEN,     /* not this protocol, or the upgrade was refused: text says which; the connection has to end */
};

/* Takes one event off the front of *rest. opened: the upgrade is behind us (NATS: always true). */
enum wire_event wire_next(enum wire_protocol protocol, bool opened, struct slice *rest, struct slice *text);

/* Finds the stamp in a delivery. *offset remembers where it was: the next one is usually there again. False: none. */
bool wire_stamp(struct slice text, size_t *offset, uint64_t *stamp);

size_t wire_pong(enum wire_protocol protocol, char out[WIRE_TEXT_MAXIMUM], struct slice text);

size_t wire_ping(enum wire_protocol protocol, char out[WIRE_TEXT_MAXIMUM]);

/* A polite end; NATS has none, gives 0. */
size_t wire_close(enum wire_protocol protocol, char out[WIRE_TEXT_MAXIMUM]);

#endif
