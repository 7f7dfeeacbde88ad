/* What an agent sent while a hook that one of its messages called waits: it is handled afterwards, in its order. */
#ifndef LUADUCT_RUNTIME_BACKLOG_H
#define LUADUCT_RUNTIME_BACKLOG_H

#include <stdbool.h>

#include "memory/buffer.h"
#include "net/channel.h"
#include "protocol/websocket/websocket.h"

/* With this many waiting, the agent is not read any more. */
#define BACKLOG_MAXIMUM 64u

struct backlog_entry {
    struct backlog_entry *next;
    enum websocket_event event;       /* WEBSOCKET_ON_MESSAGE or WEBSOCKET_ON_CLOSE */
    struct websocket_message message; /* its data lies in `bytes`, with JSON_SLACK behind */
    char bytes[];
};

struct backlog {
    struct backlog_entry *first, **last;
    unsigned count;
    size_t bytes;         /* that the entries take */
    struct buffer unread; /* bytes that came behind the last entry there was room for */
};

struct backlog *backlog_new(void);          /* NULL: no memory */
void backlog_free(struct backlog *backlog); /* NULL is fine */

/* Gives back all that it keeps; NULL is fine. */
void backlog_clear(struct backlog *backlog);

/* Copies what came to the end. False: no memory, or the bridge may not grow now. */
bool backlog_add(struct backlog *backlog, enum websocket_event event, const struct websocket_message *message);

/* Copies a message to the front: it is to be handled again. False: the same. */
bool backlog_put_back(struct backlog *backlog, enum websocket_event event, const struct websocket_message *message);

/* The oldest, for the caller to free with backlog_entry_free; NULL when it is empty. */
struct backlog_entry *backlog_take(struct backlog *backlog);
void backlog_entry_free(struct backlog_entry *entry);

/* For another process of the bridge: into the record that is being written, all but the entries, and each of them in a
 * record of its own, of that kind; NULL is fine. And out of them: false: no memory, or the reader has failed. */
void backlog_put(const struct backlog *backlog, struct channel_writer *channel);
void backlog_put_entries(const struct backlog *backlog, uint32_t kind, struct channel_writer *channel);
bool backlog_get(struct backlog **backlog, struct channel_reader *channel);
bool backlog_get_entry(struct backlog *backlog, struct channel_reader *channel);

/* What it takes in memory; NULL takes nothing. */
static inline size_t backlog_bytes(const struct backlog *backlog)
{
    return backlog ? backlog->bytes + backlog->unread.capacity : 0;
}

#endif
