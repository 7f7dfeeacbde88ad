/* WebSocket frames as a client sees them (RFC 6455 5): its own go out masked, the server's come in plain. */
#ifndef LUADUCT_CLIENT_FRAMES_H
#define LUADUCT_CLIENT_FRAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "protocol/websocket/websocket.h"

struct server_frame {
    enum websocket_opcode opcode;
    bool final;
    struct slice payload; /* in the bytes that were read */
    size_t length;        /* of the whole frame, header included */
};

enum server_frame_result {
    SERVER_FRAME_WHOLE,
    SERVER_FRAME_PARTIAL, /* more bytes are needed */
    SERVER_FRAME_BROKEN,  /* against RFC 6455: the connection has to end (1002) */
};

/* Reads one frame from the front of the bytes. */
enum server_frame_result server_frame_read(struct slice bytes, struct server_frame *frame);

#define CLIENT_HEADER_MAXIMUM 14

/* Writes the header of a final client frame with that mask key (its bytes as they lie in memory) and gives its length.
 */
size_t client_frame_header(char out[CLIENT_HEADER_MAXIMUM], enum websocket_opcode opcode, uint64_t payload_length,
                           uint32_t mask);

/* Masks in place. `offset` is how far into the frame's payload the text lies. */
void client_frame_mask(char *text, size_t length, uint32_t mask, size_t offset);

#endif
