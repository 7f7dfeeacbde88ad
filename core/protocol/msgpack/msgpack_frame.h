/* Frames in MessagePack: the twin of a JSON frame for peers that agreed on it in the handshake, and messages that are
 * put together of such twins. */
#ifndef LUADUCT_PROTOCOL_MSGPACK_FRAME_H
#define LUADUCT_PROTOCOL_MSGPACK_FRAME_H

#include <stdbool.h>

#include "protocol/websocket/frame.h"

struct envelope;
struct envelope_defaults;

/* The frame to send to a peer that speaks MessagePack: the twin of a text frame, built by whoever asks first and kept
 * with the frame, or the frame itself when it is none. Borrowed: lives as long as `frame`. NULL: memory is out. Any
 * number of threads at once. */
struct frame *msgpack_twin(struct frame *frame);

/* Attaches the twin of a frame that was just built of this envelope, with the bytes of the fields that it kept packed.
 * False: no memory. */
bool msgpack_attach(struct frame *frame, struct envelope *envelope, const struct envelope_defaults *defaults);

/* The envelope was scanned from this FRAME_ENVELOPE: what its twin has packed, if it has one, is kept. Borrowed from
 * the frame. */
void msgpack_keep_twin(struct envelope *envelope, const struct frame *frame);

/* A message {type, …, list: […]} of the envelopes of `count` frames, 1 to 65535: `head` is all before the array. A
 * reference for the caller; NULL: memory is out. */
struct frame *msgpack_list(struct slice head, struct frame *const *frames, unsigned count);

/* {"type":"batch","envelopes": */
extern const struct slice msgpack_batch_head;

#endif
