#include "../../support/unit.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "memory/pool.h"
#include "net/channel.h"
#include "protocol/websocket/frame_carry.h"

struct pair {
    int ends[2];
    struct channel_writer writer;
    struct channel_reader reader;
};

static struct pair open_pair(void)
{
    struct pair pair = {0};
    CHECK(channel_pair(pair.ends, 200));
    pair.writer.fd = pair.ends[0];
    pair.reader.fd = pair.ends[1];
    return pair;
}

static void close_pair(struct pair *pair)
{
    channel_writer_free(&pair->writer);
    channel_reader_free(&pair->reader);
    close(pair->ends[0]);
    close(pair->ends[1]);
}

/* Bytes as they are, then the end. */
static struct pair pair_with(const void *bytes, size_t length)
{
    struct pair pair = open_pair();
    CHECK(write(pair.ends[0], bytes, length) == (ssize_t)length);
    CHECK(shutdown(pair.ends[0], SHUT_WR) == 0);
    return pair;
}

TEST("channel: records come as they went, with descriptors")
{
    struct pair pair = open_pair();
    int pipes[2];
    char byte;
    CHECK(pipe(pipes) == 0);
    for (uint32_t number = 1; number <= 1000; number++) {
        channel_begin(&pair.writer, number);
        channel_put(&pair.writer, number * 7ull << 32);
        channel_put_bytes(&pair.writer, slice_from("0123456789", number % 11));
        channel_end(&pair.writer);
    }
    channel_begin(&pair.writer, 5000);
    channel_put_fd(&pair.writer, pipes[1]);
    channel_end(&pair.writer);
    CHECK(channel_flush(&pair.writer));
    for (uint32_t number = 1; number <= 1000; number++) {
        CHECK(channel_next(&pair.reader) == number);
        CHECK(channel_get(&pair.reader) == number * 7ull << 32);
        struct slice bytes = channel_get_bytes(&pair.reader);
        CHECK(bytes.length == number % 11 && memcmp(bytes.data, "0123456789", bytes.length) == 0);
    }
    CHECK(channel_next(&pair.reader) == 5000);
    int passed = channel_get_fd(&pair.reader);
    CHECK(passed >= 0 && fcntl(passed, F_GETFD) == FD_CLOEXEC);
    CHECK(write(passed, "x", 1) == 1 && read(pipes[0], &byte, 1) == 1 && byte == 'x');
    close(passed);
    close(pipes[0]);
    close(pipes[1]);
    close_pair(&pair);
}

TEST("channel: a record that is cut, too long, too short or of no kind is none")
{
    static const uint32_t wrong[][4] = {{8, 1, 0, 0}, {UINT32_MAX, 1, 0, 0}, {8, 0, 0, 0}};
    static const size_t lengths[] = {12, 16, 16};
    for (unsigned i = 0; i < 3; i++) {
        struct pair pair = pair_with(wrong[i], lengths[i]);
        CHECK(channel_next(&pair.reader) == 0 && pair.reader.failed && channel_problem(&pair.reader)[0]);
        close_pair(&pair);
    }
    static const uint32_t empty[] = {0, 1}, lying[] = {16, 1, 9, 0, 0, 0};
    struct pair pair = pair_with(empty, sizeof empty);
    CHECK(channel_next(&pair.reader) == 1 && channel_get(&pair.reader) == 0 && pair.reader.failed);
    close_pair(&pair);
    pair = pair_with(lying, sizeof lying);
    CHECK(channel_next(&pair.reader) == 1 && channel_get_bytes(&pair.reader).length == 0 && pair.reader.failed);
    close_pair(&pair);
    pair = pair_with(empty, sizeof empty);
    CHECK(channel_next(&pair.reader) == 1 && channel_get_fd(&pair.reader) == -1 && pair.reader.failed);
    close_pair(&pair);
}

TEST("channel: who does not write, or read, is not waited for without end")
{
    struct pair pair = open_pair();
    CHECK(channel_next(&pair.reader) == 0 && strcmp(channel_problem(&pair.reader), "nothing came in time") == 0);
    static char much[1 << 20];
    channel_begin(&pair.writer, 1);
    channel_put_bytes(&pair.writer, slice_from(much, sizeof much));
    channel_end(&pair.writer);
    CHECK(!channel_flush(&pair.writer) && pair.writer.failed);
    close_pair(&pair);
}

TEST("carried frames: one that stands in several places goes once and is shared again")
{
    struct pair pair = open_pair();
    struct frame_writer writer = {.channel = &pair.writer};
    struct frame_reader reader = {.channel = &pair.reader};
    struct frame *frames[300];
    for (unsigned i = 0; i < 300; i++) {
        frames[i] = frame_from(FRAME_ENVELOPE, 1, slice_from("0123456789", 1 + i % 10));
        frames[i]->expires_ms = i;
        frames[i]->level = i & 1;
        frames[i]->accepted_ms = 7 + i;
    }
    frames[3]->trace = pool_acquire(POOL_ARRAYS, sizeof *frames[3]->trace);
    *frames[3]->trace = (struct frame_trace){.context = {.span_id = "abc", .sampled = true}, .received_ns = 5};
    CHECK(!frame_writer_knows(&writer, frames[0]));
    channel_begin(&pair.writer, 1);
    for (unsigned i = 0; i < 600; i++)
        frame_put(&writer, frames[i % 300]);
    channel_end(&pair.writer);
    CHECK(frame_writer_knows(&writer, frames[0]));
    CHECK(channel_flush(&pair.writer) && channel_next(&pair.reader) == 1);
    struct frame *got[600];
    for (unsigned i = 0; i < 600; i++) {
        got[i] = frame_get(&reader);
        CHECK(got[i] && got[i]->expires_ms == i % 300 && got[i]->level == (i & 1));
        CHECK(got[i]->length == frames[i % 300]->length &&
              memcmp(got[i]->data, frames[i % 300]->data, got[i]->length) == 0);
        CHECK(i < 300 || got[i] == got[i - 300]);
        CHECK(got[i]->accepted_ms == 7 + i % 300 && (got[i]->trace != NULL) == (i % 300 == 3));
    }
    CHECK(memcmp(got[3]->trace, frames[3]->trace, sizeof *got[3]->trace) == 0);
    for (unsigned i = 0; i < 600; i++)
        frame_release(got[i]);
    for (unsigned i = 0; i < 300; i++)
        frame_release(frames[i]);
    frame_writer_free(&writer);
    frame_reader_free(&reader);
    close_pair(&pair);
}

TEST("carried frames: one whose header says another length is none")
{
    struct pair pair = open_pair();
    struct frame_reader reader = {.channel = &pair.reader};
    channel_begin(&pair.writer, 1);
    channel_put(&pair.writer, 0); /* its number */
    for (unsigned i = 0; i < 4; i++)
        channel_put(&pair.writer, 0);
    channel_put_bytes(&pair.writer, slice_from("\x81\x7e\x00\x01x", 5)); /* one byte does not need so long a header */
    channel_put_bytes(&pair.writer, slice_from("", 0));
    channel_end(&pair.writer);
    CHECK(channel_flush(&pair.writer) && channel_next(&pair.reader) == 1);
    CHECK(!frame_get(&reader) && pair.reader.failed);
    frame_reader_free(&reader);
    close_pair(&pair);
}
