/* Frames on their way to another process of the bridge (net/channel.h): one that stands in many places goes once, and
 * is shared there again. */
#ifndef LUADUCT_PROTOCOL_FRAME_CARRY_H
#define LUADUCT_PROTOCOL_FRAME_CARRY_H

#include "net/channel.h"
#include "protocol/websocket/frame.h"

/* All zero but for the channel. */
struct frame_writer {
    struct channel_writer *channel;
    struct frame **seen; /* a table by address, a reference each, with the number of each in `numbers` */
    uint32_t *numbers;
    uint32_t capacity, count;
};

/* Into the record that is being written. The frame is kept until the writer is freed. */
void frame_put(struct frame_writer *writer, struct frame *frame);

/* Whether it went already: then putting it again costs a number. */
bool frame_writer_knows(const struct frame_writer *writer, const struct frame *frame);
void frame_writer_free(struct frame_writer *writer);

struct frame_reader {
    struct channel_reader *channel;
    struct frame **frames; /* by number, a reference each */
    uint32_t capacity, count;
};

/* From the record that is being read: a reference for the caller; NULL: the channel's reader has failed. */
struct frame *frame_get(struct frame_reader *reader);
void frame_reader_free(struct frame_reader *reader);

#endif
