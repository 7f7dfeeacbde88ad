#include "net/channel.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

/* What gathers before it is sent, and what one read takes. */
#define PIECE_BYTES (256u << 10)
/* No record is longer: the largest message, in JSON and in MessagePack, which may be thrice as long (MSGPACK_BOUND),
 * with what stands around it. */
#define RECORD_BYTES_MAXIMUM (5u << 28)

struct head {
    uint32_t length; /* of what follows */
    uint32_t kind;
};

bool channel_pair(int ends[2], uint32_t timeout_ms)
{
    struct timeval timeout = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return false;
    for (int i = 0; i < 2; i++) {
        setsockopt(ends[i], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
        setsockopt(ends[i], SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    }
    return true;
}

/* --- Writing --- */

static void writer_fail(struct channel_writer *writer, int error)
{
    if (!writer->failed)
        writer->error = error;
    writer->failed = true;
}

void channel_begin(struct channel_writer *writer, uint32_t kind)
{
    struct head head = {0, kind};
    writer->record = writer->out.length;
    buffer_append(&writer->out, &head, sizeof head);
}

void channel_put(struct channel_writer *writer, uint64_t number)
{
    buffer_append(&writer->out, &number, sizeof number);
}

void channel_put_bytes(struct channel_writer *writer, struct slice bytes)
{
    channel_put(writer, bytes.length);
    buffer_append_slice(&writer->out, bytes);
}

void channel_put_fd(struct channel_writer *writer, int fd)
{
    if (writer->fd_count < CHANNEL_FDS)
        writer->fds[writer->fd_count++] = fd;
    else
        writer_fail(writer, EMFILE);
}

void channel_end(struct channel_writer *writer)
{
    if (writer->out.failed || writer->failed)
        return;
    size_t whole = writer->out.length - writer->record - sizeof(struct head);
    uint32_t length = (uint32_t)whole;
    if (whole > RECORD_BYTES_MAXIMUM) { /* the reader would refuse it */
        writer_fail(writer, EMSGSIZE);
        return;
    }
    memcpy(writer->out.data + writer->record, &length, sizeof length);
    if (writer->out.length >= PIECE_BYTES || writer->fd_count == CHANNEL_FDS)
        channel_flush(writer);
}

static ssize_t send_piece(struct channel_writer *writer, struct slice piece)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof writer->fds)];
    } control;
    struct iovec vector = {(void *)(uintptr_t)piece.data, piece.length};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    if (writer->fd_count > 0) {
        size_t size = writer->fd_count * sizeof(int);
        memset(&control, 0, sizeof control);
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(size);
        control.head = (struct cmsghdr){.cmsg_len = CMSG_LEN(size), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.head), writer->fds, size);
    }
    ssize_t sent;
    do
        sent = sendmsg(writer->fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent;
}

bool channel_flush(struct channel_writer *writer)
{
    if (writer->out.failed)
        writer_fail(writer, 0);
    for (size_t at = 0; !writer->failed && at < writer->out.length;) {
        ssize_t sent = send_piece(writer, slice_from(writer->out.data + at, writer->out.length - at));
        if (sent < 0) {
            writer_fail(writer, errno);
            break;
        }
        writer->fd_count = 0; /* they went with the first byte */
        at += (size_t)sent;
        writer->sent += (uint64_t)sent;
    }
    writer->out.length = 0;
    return !writer->failed;
}

void channel_writer_free(struct channel_writer *writer)
{
    buffer_free(&writer->out);
}

/* --- Reading --- */

static void reader_fail(struct channel_reader *reader, const char *error, int number)
{
    if (!reader->failed) {
        reader->error = error;
        reader->number = number;
    }
    reader->failed = true;
}

void channel_reject(struct channel_reader *reader, const char *why)
{
    reader_fail(reader, why, 0);
}

const char *channel_problem(const struct channel_reader *reader)
{
    if (reader->error)
        return reader->error;
    return reader->number == EAGAIN ? "nothing came in time" : strerror(reader->number);
}

static void keep_fds(struct channel_reader *reader, const int *fds, unsigned count)
{
    if (reader->fd_first == reader->fd_count)
        reader->fd_first = reader->fd_count = 0;
    if (reader->fd_count + count > reader->fd_capacity) {
        unsigned capacity = (reader->fd_count + count) * 2;
        int *grown = realloc(reader->fds, capacity * sizeof(int));
        if (!grown) {
            for (unsigned i = 0; i < count; i++)
                close(fds[i]);
            reader_fail(reader, "out of memory", 0);
            return;
        }
        reader->fds = grown;
        reader->fd_capacity = capacity;
    }
    memcpy(reader->fds + reader->fd_count, fds, count * sizeof(int));
    reader->fd_count += count;
}

/* Behind what is not used up, which moves to the front. */
static bool receive(struct channel_reader *reader)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(CHANNEL_FDS * sizeof(int))];
    } control;
    reader->in.length -= reader->next;
    if (reader->next > 0 && reader->in.length > 0)
        memmove(reader->in.data, reader->in.data + reader->next, reader->in.length);
    reader->next = 0;
    char *room = buffer_reserve(&reader->in, PIECE_BYTES);
    if (!room) {
        reader_fail(reader, "out of memory", 0);
        return false;
    }
    struct iovec vector = {room, PIECE_BYTES};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t got;
    do
        got = recvmsg(reader->fd, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got <= 0) {
        reader_fail(reader, got == 0 ? "the other side is gone" : NULL, errno);
        return false;
    }
    reader->in.length += (size_t)got;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS) {
            int fds[CHANNEL_FDS];
            size_t size = part->cmsg_len - CMSG_LEN(0);
            memcpy(fds, CMSG_DATA(part), size);
            keep_fds(reader, fds, (unsigned)(size / sizeof(int)));
        }
    }
    if (message.msg_flags & MSG_CTRUNC)
        reader_fail(reader, "no descriptors are left", 0);
    return !reader->failed;
}

uint32_t channel_next(struct channel_reader *reader)
{
    struct head head = {0};
    if (reader->failed)
        return 0;
    for (;;) {
        size_t there = reader->in.length - reader->next;
        if (there >= sizeof head) {
            memcpy(&head, reader->in.data + reader->next, sizeof head);
            if (head.length > RECORD_BYTES_MAXIMUM || head.kind == 0) {
                reader_fail(reader, "a record has no length that could be", 0);
                return 0;
            }
            if (there - sizeof head >= head.length)
                break;
        }
        if (!receive(reader))
            return 0;
    }
    reader->at = reader->next + sizeof head;
    reader->next = reader->record_end = reader->at + head.length;
    return head.kind;
}

uint64_t channel_get(struct channel_reader *reader)
{
    uint64_t number;
    if (reader->failed || reader->record_end - reader->at < sizeof number) {
        reader_fail(reader, "a record is too short", 0);
        return 0;
    }
    memcpy(&number, reader->in.data + reader->at, sizeof number);
    reader->at += sizeof number;
    return number;
}

struct slice channel_get_bytes(struct channel_reader *reader)
{
    uint64_t length = channel_get(reader);
    if (reader->failed || length > reader->record_end - reader->at) {
        reader_fail(reader, "a record is too short", 0);
        return slice_from(NULL, 0);
    }
    struct slice bytes = slice_from(reader->in.data + reader->at, (size_t)length);
    reader->at += (size_t)length;
    return bytes;
}

int channel_get_fd(struct channel_reader *reader)
{
    if (reader->fd_first == reader->fd_count) {
        reader_fail(reader, "a record is without its descriptor", 0);
        return -1;
    }
    return reader->fds[reader->fd_first++];
}

void channel_reader_free(struct channel_reader *reader)
{
    while (reader->fd_first < reader->fd_count)
        close(reader->fds[reader->fd_first++]);
    free(reader->fds);
    reader->fds = NULL;
    buffer_free(&reader->in);
}
