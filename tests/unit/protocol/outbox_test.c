#include "../../support/unit.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocol/websocket/outbox.h"

static struct outbox_scratch scratch;

struct wire {
    struct transport ours;
    int theirs;
};

static struct wire open_wire(int send_buffer)
{
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    if (send_buffer > 0)
        CHECK(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer) == 0);
    return (struct wire){{.fd = pair[0]}, pair[1]};
}

static void close_wire(struct wire *wire)
{
    transport_close(&wire->ours);
    close(wire->theirs);
}

static void push_text(struct outbox *outbox, enum frame_kind kind, const char *text)
{
    CHECK(outbox_push(outbox, frame_from(kind, 1, slice_from_string(text))));
}

static void push_filled(struct outbox *outbox, size_t length, char with)
{
    struct frame *frame = frame_new(FRAME_ENVELOPE, 1, length);
    memset(frame_payload(frame), with, length);
    CHECK(outbox_push(outbox, frame));
}

TEST("small and large frames leave in the order in which they were queued")
{
    struct wire wire = open_wire(1 << 20);
    struct outbox outbox = {0};
    static char got[200000];
    uint64_t bytes = 0, frames = 0;
    push_filled(&outbox, 100, 'a');
    push_filled(&outbox, 5000, 'b');
    push_filled(&outbox, 10, 'c');
    push_filled(&outbox, 70000, 'd');
    push_filled(&outbox, 20, 'e');
    CHECK(outbox_flush(&outbox, &wire.ours, &scratch, &bytes, &frames) == OUTBOX_EMPTY);
    CHECK(frames == 5 && bytes == 102 + 5004 + 12 + 70010 + 22);
    ssize_t n = read(wire.theirs, got, sizeof got);
    CHECK(n == (ssize_t)bytes);
    CHECK(got[2] == 'a' && got[102 + 4] == 'b' && got[102 + 5004 + 2] == 'c' && got[102 + 5004 + 12 + 10] == 'd');
    CHECK(got[n - 1] == 'e' && outbox.queue.slots == NULL);
    close_wire(&wire);
}

TEST("a socket that takes little at a time gets every byte once")
{
    struct wire wire = open_wire(4096);
    struct outbox outbox = {0};
    uint64_t bytes = 0, frames = 0;
    size_t received = 0, expected = 0;
    unsigned char got[1000];
    for (unsigned i = 0; i < 300; i++) {
        size_t length = i * 37 % 9000;
        push_filled(&outbox, length, (char)i);
        expected += length + frame_header_length(length);
    }
    static unsigned char all[4000000];
    for (;;) {
        enum outbox_result result = outbox_flush(&outbox, &wire.ours, &scratch, &bytes, &frames);
        CHECK(result != OUTBOX_BROKEN);
        ssize_t n = read(wire.theirs, got, sizeof got);
        if (n > 0) {
            memcpy(all + received, got, (size_t)n);
            received += (size_t)n;
        } else if (result == OUTBOX_EMPTY) {
            break;
        }
    }
    CHECK(received == expected && bytes == expected && frames == 300);
    size_t at = 0;
    for (unsigned i = 0; i < 300; i++) {
        size_t length = i * 37 % 9000;
        at += frame_header_length(length);
        for (size_t k = 0; k < length; k++)
            CHECK(all[at + k] == (unsigned char)i);
        at += length;
    }
    close_wire(&wire);
}

TEST("what the kernel did not take whole comes back, oldest first, and the cut is known")
{
    struct wire wire = open_wire(4096);
    struct outbox outbox = {0};
    uint64_t bytes = 0, frames = 0;
    for (char i = 0; i < 20; i++)
        push_filled(&outbox, 20000, (char)('a' + i));
    push_text(&outbox, FRAME_CONTROL, "an answer");
    CHECK(outbox_flush(&outbox, &wire.ours, &scratch, &bytes, &frames) == OUTBOX_BLOCKED);
    CHECK(frames < 20 && bytes > 0);
    struct frame_queue unsent = {0};
    CHECK(outbox_take_unsent(&outbox, &unsent) == 0);
    CHECK(unsent.count == 20 - frames);
    CHECK(frame_payload(frame_queue_at(&unsent, 0))[0] == (char)('a' + frames));
    CHECK(outbox.cut == (bytes % 20004 != 0));
    frame_queue_clear(&unsent);
    close_wire(&wire);
}

TEST("an agent that reads batches gets its waiting envelopes in one message")
{
    struct wire wire = open_wire(0);
    struct outbox outbox = {.batches = true};
    char got[500];
    uint64_t bytes = 0, frames = 0;
    push_text(&outbox, FRAME_CONTROL, "first");
    push_text(&outbox, FRAME_ENVELOPE, FRAME_ENVELOPE_PREFIX "{\"n\":1}" FRAME_ENVELOPE_SUFFIX);
    push_text(&outbox, FRAME_ENVELOPE, FRAME_ENVELOPE_PREFIX "{\"n\":2}" FRAME_ENVELOPE_SUFFIX);
    CHECK(outbox_flush(&outbox, &wire.ours, &scratch, &bytes, &frames) == OUTBOX_EMPTY);
    CHECK(frames == 2);
    ssize_t n = read(wire.theirs, got, sizeof got);
    static const char expected[] = "\x81\x05"
                                   "first"
                                   "\x81\x2e"
                                   "{\"type\":\"batch\",\"envelopes\":[{\"n\":1},{\"n\":2}]}";
    CHECK_TEXT(got, (size_t)n, expected);
    close_wire(&wire);
}

TEST("the oldest waiting envelope can be dropped, but not one that is half written")
{
    struct wire wire = open_wire(4096);
    struct outbox outbox = {0};
    uint64_t bytes = 0, frames = 0;
    push_filled(&outbox, 400000, 'a');
    push_filled(&outbox, 10, 'b');
    push_filled(&outbox, 10, 'c');
    CHECK(outbox_flush(&outbox, &wire.ours, &scratch, &bytes, &frames) == OUTBOX_BLOCKED && frames == 0);
    struct frame *oldest = outbox_take_oldest(&outbox);
    CHECK(oldest && frame_payload(oldest)[0] == 'b');
    frame_release(oldest);
    CHECK(outbox.queue.count == 2);
    struct frame_queue unsent = {0};
    outbox_take_unsent(&outbox, &unsent);
    CHECK(outbox.cut && unsent.count == 2);
    frame_queue_clear(&unsent);
    close_wire(&wire);
}
