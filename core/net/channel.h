/* Records between two processes of this machine, over a Unix stream socket: each with its length, its kind and, beside
 * its bytes, open descriptors (unix(7), SCM_RIGHTS). Numbers are in the machine's own order: both ends run on it.
 *
 * What fails does so for good: later calls do nothing, so that a writer or reader checks once at its end. */
#ifndef LUADUCT_NET_CHANNEL_H
#define LUADUCT_NET_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "memory/buffer.h"

/* Two ends, close-on-exec, whose reads and writes give up when nothing moves for that long. False: errno says why. */
bool channel_pair(int ends[2], uint32_t timeout_ms);

/* --- Writing --- */

#define CHANNEL_FDS 64 /* that one message carries */

struct channel_writer {
    int fd;
    struct buffer out;
    size_t record; /* where the one begins that is being written */
    int fds[CHANNEL_FDS];
    unsigned fd_count;
    uint64_t sent;
    bool failed;
    int error; /* errno; 0: memory is out */
};

/* One after the other: a record has an unsigned kind, and what is put into it. */
void channel_begin(struct channel_writer *writer, uint32_t kind);
void channel_put(struct channel_writer *writer, uint64_t number);
void channel_put_bytes(struct channel_writer *writer, struct slice bytes);
void channel_put_fd(struct channel_writer *writer, int fd); /* stays the caller's, open until the next flush */
void channel_end(struct channel_writer *writer);            /* may send what has gathered */

/* Sends what has gathered. Gives whether all went well so far. */
bool channel_flush(struct channel_writer *writer);
void channel_writer_free(struct channel_writer *writer); /* the descriptor stays the caller's */

/* --- Reading --- */

struct channel_reader {
    int fd;
    struct buffer in;
    size_t at, record_end, next; /* where reading stands, the record's end, where the next one begins */
    int *fds;                    /* that came and were not asked for yet */
    unsigned fd_first, fd_count, fd_capacity;
    bool failed;
    const char *error; /* static; NULL: errno was `number` */
    int number;
};

/* The next record's kind; its contents are then read in the order in which they were put. 0: it failed, or the other
 * end is closed. */
uint32_t channel_next(struct channel_reader *reader);
uint64_t channel_get(struct channel_reader *reader);
struct slice channel_get_bytes(struct channel_reader *reader); /* valid until channel_next */
int channel_get_fd(struct channel_reader *reader);             /* the caller's; -1: it failed */

/* The rest of the record is not as it should be. */
void channel_reject(struct channel_reader *reader, const char *why);

const char *channel_problem(const struct channel_reader *reader);
void channel_reader_free(struct channel_reader *reader); /* closes descriptors that nobody asked for */

#endif
