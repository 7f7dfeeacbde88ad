/* RFC 6455 5 to 8, case by case, on the receiving half. */
#include "../../support/unit.h"

#include "memory/pool.h"
#include "protocol/websocket/websocket.h"

#define LIMIT 100000u

/* Behind what is fed: with the one byte 03 of a close frame that is too short it would make 1000. */
#define SLACK_BYTE 0xe8

/* A stream of client frames being written. */
struct stream {
    unsigned char bytes[500000];
    size_t length;
};

/* What came out, as text: "T:hello P:a C:1000:bye F:1002". */
struct record {
    char text[600000];
    size_t length;
    unsigned fails;
};

static struct stream stream;
static struct record whole, split;

static const struct deflate_agreement plain;
static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};

/* first: FIN, reserved bits and opcode. */
static void add_header(unsigned first, uint64_t length)
{
    unsigned char *at = stream.bytes + stream.length;
    *at++ = (unsigned char)first;
    unsigned wide = length < 126 ? 0 : length < 65536 ? 2 : 8;
    *at++ = (unsigned char)(0x80 | (wide == 0 ? length : wide == 2 ? 126 : 127));
    for (unsigned i = 0; i < wide; i++)
        *at++ = (unsigned char)(length >> (8 * (wide - 1 - i)));
    memcpy(at, mask, 4);
    stream.length = (size_t)(at + 4 - stream.bytes);
}

static void add_bytes(unsigned first, const void *payload, size_t length)
{
    add_header(first, length);
    for (size_t i = 0; i < length; i++)
        stream.bytes[stream.length++] = ((const unsigned char *)payload)[i] ^ mask[i & 3];
}

static void add(unsigned first, const char *payload)
{
    add_bytes(first, payload, strlen(payload));
}

static void add_close(unsigned status, const char *reason)
{
    char payload[125] = {(char)(status >> 8), (char)status};
    memcpy(payload + 2, reason, strlen(reason));
    add_bytes(0x88, payload, 2 + strlen(reason));
}

static void start(void)
{
    stream.length = 0;
}

static void note(struct record *record, enum websocket_event event, const struct websocket_message *message)
{
    static const char names[] = {[WEBSOCKET_ON_PING] = 'P', [WEBSOCKET_ON_PONG] = 'Q'};
    char *at = record->text + record->length;
    if (record->length > 0)
        *at++ = ' ';
    if (event == WEBSOCKET_ON_FAIL) {
        at += sprintf(at, "F:%u", message->status);
        record->fails++;
        CHECK(message->reason && strlen(message->reason) <= 123);
    } else {
        if (event == WEBSOCKET_ON_CLOSE)
            at += sprintf(at, "C:%u:", message->status);
        else
            at += sprintf(at, "%c:",
                          event != WEBSOCKET_ON_MESSAGE       ? names[event]
                          : message->opcode == WEBSOCKET_TEXT ? 'T'
                                                              : 'B');
        memcpy(at, message->data, message->length);
        at += message->length;
        /* The slack is ours to write, as long as we put it back. */
        char kept[WEBSOCKET_SLACK];
        memcpy(kept, message->data + message->length, sizeof kept);
        memset(message->data + message->length, 0, sizeof kept);
        memcpy(message->data + message->length, kept, sizeof kept);
    }
    record->length = (size_t)(at - record->text);
    *at = 0;
}

/* Feeds one piece from a block of its own, so that a sanitizer sees every step outside. */
static void feed(struct websocket *websocket, const unsigned char *bytes, size_t length, uint32_t limit,
                 struct record *record)
{
    char *block = malloc(length + WEBSOCKET_SLACK);
    CHECK(block);
    if (length > 0)
        memcpy(block, bytes, length);
    memset(block + length, SLACK_BYTE, WEBSOCKET_SLACK);
    char *at = block, *end = block + length;
    struct websocket_message message;
    enum websocket_event event;
    while ((event = websocket_next(websocket, &at, end, limit, &message)) != WEBSOCKET_NEED_BYTES)
        note(record, event, &message);
    CHECK(at == end);
    for (size_t i = 0; i < WEBSOCKET_SLACK; i++)
        CHECK((unsigned char)end[i] == SLACK_BYTE);
    free(block);
}

static uint64_t held_blocks(void)
{
    struct pool_statistics statistics;
    pool_read_statistics(POOL_BUFFERS, &statistics);
    return statistics.acquired - statistics.released;
}

/* The stream in pieces of at most `piece` bytes. */
static void run(struct record *record, size_t piece, uint32_t limit)
{
    struct websocket websocket;
    websocket_start(&websocket, &plain);
    record->length = 0;
    record->fails = 0;
    record->text[0] = 0;
    for (size_t at = 0; at < stream.length; at += piece)
        feed(&websocket, stream.bytes + at, stream.length - at < piece ? stream.length - at : piece, limit, record);
    websocket_stop(&websocket);
    CHECK(held_blocks() == 0);
}

/* The events of the stream: the same when it comes whole, byte by byte, and cut in two anywhere. */
static void expect_within(uint32_t limit, const char *events)
{
    run(&whole, sizeof stream.bytes, limit);
    CHECK_TEXT(whole.text, whole.length, events);
    run(&split, 1, limit);
    CHECK_TEXT(split.text, split.length, events);
    for (size_t cut = 0; cut <= stream.length && stream.length < 2000; cut++) {
        struct websocket websocket;
        websocket_start(&websocket, &plain);
        split.length = 0;
        split.text[0] = 0;
        feed(&websocket, stream.bytes, cut, limit, &split);
        feed(&websocket, stream.bytes + cut, stream.length - cut, limit, &split);
        websocket_stop(&websocket);
        CHECK_TEXT(split.text, split.length, events);
    }
}

static void expect(const char *events)
{
    expect_within(LIMIT, events);
}

TEST("websocket: an idle connection is one cache line and holds no block")
{
    CHECK(sizeof(struct websocket) <= 64);
    start();
    add(0x81, "hello");
    add(0x89, "ping");
    struct websocket websocket;
    websocket_start(&websocket, &plain);
    whole.length = 0;
    for (size_t i = 0; i < stream.length; i++)
        feed(&websocket, stream.bytes + i, 1, LIMIT, &whole);
    CHECK(held_blocks() <= 1);
    websocket_message_done(&websocket);
    CHECK(held_blocks() == 0);
    CHECK(!websocket.buffer && !websocket.history);
}

TEST("websocket: gives text and binary messages of every length form, however the bytes are split")
{
    start();
    add(0x81, "");
    add(0x81, "Hello");
    add(0x82, "bin");
    add(0x81, "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80");
    expect("T: T:Hello B:bin T:\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80");

    static const size_t lengths[] = {125, 126, 127, 128, 65535, 65536, 65537};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        static char payload[70000], events[70010];
        for (size_t j = 0; j < lengths[i]; j++)
            payload[j] = (char)('a' + j % 26);
        payload[lengths[i]] = 0;
        start();
        add(0x81, payload);
        sprintf(events, "T:%s", payload);
        run(&whole, sizeof stream.bytes, LIMIT);
        CHECK_TEXT(whole.text, whole.length, events);
        for (size_t piece = 1; piece < 70000; piece = piece * 3 + 1) {
            run(&split, piece, LIMIT);
            CHECK_TEXT(split.text, split.length, events);
        }
    }
}

TEST("websocket: a message that came whole is given where it lies, and needs no block")
{
    start();
    add(0x81, "one");
    add(0x81, "two");
    char block[64 + WEBSOCKET_SLACK];
    memcpy(block, stream.bytes, stream.length);
    struct pool_statistics before, after;
    pool_read_statistics(POOL_BUFFERS, &before);
    struct websocket websocket = {0};
    struct websocket_message message;
    char *at = block, *end = block + stream.length;
    CHECK(websocket_next(&websocket, &at, end, LIMIT, &message) == WEBSOCKET_ON_MESSAGE);
    CHECK(message.data == block + 6 && message.length == 3);
    CHECK(websocket_next(&websocket, &at, end, LIMIT, &message) == WEBSOCKET_ON_MESSAGE);
    CHECK(message.data == block + 15 && memcmp(message.data, "two", 3) == 0);
    CHECK(websocket_next(&websocket, &at, end, LIMIT, &message) == WEBSOCKET_NEED_BYTES);
    pool_read_statistics(POOL_BUFFERS, &after);
    CHECK(before.acquired == after.acquired);
}

TEST("websocket: joins fragments, empty ones too, with control frames between them")
{
    start();
    add(0x01, "Hel");
    add(0x80, "lo");
    add(0x02, "");
    add(0x00, "");
    add(0x80, "");
    add(0x01, "");
    add(0x89, "p1");
    add(0x00, "a");
    add(0x8a, "");
    add(0x89, "p2");
    add(0x00, "");
    add(0x80, "b");
    add(0x81, "after");
    expect("T:Hello B: P:p1 Q: P:p2 T:ab T:after");
}

TEST("websocket: a close between fragments ends everything")
{
    start();
    add(0x01, "Hel");
    add_close(1000, "bye");
    add(0x80, "lo");
    expect("C:1000:bye");
}

TEST("websocket: swallows what follows a close or a failure")
{
    start();
    add_close(1001, "");
    add(0x81, "late");
    expect("C:1001:");
    start();
    add(0x83, "");
    add(0x81, "late");
    expect("F:1002");
}

TEST("websocket: refuses reserved bits, reserved opcodes and compression nobody agreed on")
{
    static const unsigned firsts[] = {0xc1, 0xa1, 0x91, 0xf1, 0xc9, 0xa9, 0x99, 0xc8, 0x83, 0x84,
                                      0x85, 0x86, 0x87, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f, 0x03, 0x0b};
    for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++) {
        start();
        add(0x81, "x");
        add(firsts[i], "y");
        expect("T:x F:1002");
    }
}

TEST("websocket: refuses a frame that is not masked")
{
    start();
    memcpy(stream.bytes, "\x81\x05Hello", 7);
    stream.length = 7;
    expect("F:1002");
    memcpy(stream.bytes, "\x88\x00", 2);
    stream.length = 2;
    expect("F:1002");
}

TEST("websocket: refuses a length that is not minimal or has its top bit set")
{
    static const struct {
        const char *bytes;
        size_t length;
    } headers[] = {
        {"\x82\xfe\x00\x7d", 4},
        {"\x82\xfe\x00\x00", 4},
        {"\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff", 10},
        {"\x82\xff\x00\x00\x00\x00\x00\x00\x00\x01", 10},
        {"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x01", 10},
        {"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", 10},
    };
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        start();
        memcpy(stream.bytes, headers[i].bytes, headers[i].length);
        memcpy(stream.bytes + headers[i].length, mask, 4);
        stream.length = headers[i].length + 4;
        expect("F:1002");
        stream.length = headers[i].length; /* decided without the mask */
        expect("F:1002");
    }
}

TEST("websocket: refuses control frames that are fragmented or longer than 125 bytes")
{
    static const unsigned opcodes[] = {8, 9, 10};
    char payload[127];
    memset(payload, 'x', 126);
    payload[126] = 0;
    for (size_t i = 0; i < 3; i++) {
        start();
        add(opcodes[i], "");
        expect("F:1002");
        start();
        add(0x80 | opcodes[i], payload);
        expect("F:1002");
    }
    payload[125] = 0;
    char events[300];
    sprintf(events, "P:%s Q:%s", payload, payload);
    start();
    add(0x89, payload);
    add(0x8a, payload);
    expect(events);
}

TEST("websocket: refuses a continuation without a start and a new message inside a fragmented one")
{
    start();
    add(0x80, "x");
    expect("F:1002");
    start();
    add(0x81, "done");
    add(0x00, "x");
    expect("T:done F:1002");
    start();
    add(0x01, "a");
    add(0x81, "b");
    expect("F:1002");
    start();
    add(0x02, "a");
    add(0x89, "p");
    add(0x01, "b");
    expect("P:p F:1002");
}

TEST("websocket: decides from the header that a message is too large")
{
    start();
    add_header(0x81, 11);
    expect_within(10, "F:1009");
    start();
    add_header(0x82, 1ull << 40);
    expect("F:1009");
    start();
    add(0x81, "0123456789");
    expect_within(10, "T:0123456789");
    start();
    add(0x01, "01234");
    add(0x00, "");
    add_header(0x80, 6);
    expect_within(10, "F:1009");
    start();
    add(0x01, "01234");
    add(0x89, "a ping does not count");
    add(0x80, "56789");
    expect_within(10, "P:a ping does not count T:0123456789");
}

TEST("websocket: allocates no announced length before bytes justify it")
{
    start();
    add_header(0x82, 900u << 20);
    struct websocket websocket = {0};
    whole.length = 0;
    struct pool_statistics before, after;
    pool_read_statistics(POOL_BUFFERS, &before);
    feed(&websocket, stream.bytes, stream.length, 1u << 30, &whole);
    static unsigned char zeros[200000];
    feed(&websocket, zeros, 1, 1u << 30, &whole);
    pool_read_statistics(POOL_BUFFERS, &after);
    CHECK(after.bytes - before.bytes <= 80 * 1024);
    for (int i = 0; i < 4; i++)
        feed(&websocket, zeros, sizeof zeros, 1u << 30, &whole);
    pool_read_statistics(POOL_BUFFERS, &after);
    CHECK(after.bytes - before.bytes <= 2 * 4 * sizeof zeros + 80 * 1024);
    CHECK(whole.length == 0);
    websocket_stop(&websocket);
    CHECK(held_blocks() == 0);
}

TEST("websocket: many small fragments cost few copies, and no more memory than the limit")
{
    struct websocket websocket = {0};
    struct pool_statistics before, after;
    pool_read_statistics(POOL_BUFFERS, &before);
    start();
    add(0x02, "x");
    for (int i = 0; i < 16000; i++)
        add(0x00, "x");
    whole.length = 0;
    feed(&websocket, stream.bytes, stream.length, 16001, &whole);
    pool_read_statistics(POOL_BUFFERS, &after);
    CHECK(after.acquired - before.acquired < 20);
    CHECK(whole.length == 0 && websocket.assembled == 16001);
    CHECK(websocket.buffer_size == pool_usable_size(16001 + WEBSOCKET_SLACK));
    websocket_stop(&websocket);
}

/* How a message of so many fragments of that text ends: "" when it does not. */
static const char *after_fragments(unsigned count, const char *text)
{
    struct websocket websocket = {0};
    start();
    add(0x02, text);
    for (unsigned i = 1; i < count; i++)
        add(0x00, text);
    whole.length = 0;
    whole.text[0] = 0;
    feed(&websocket, stream.bytes, stream.length, 1u << 20, &whole);
    websocket_stop(&websocket);
    return whole.text;
}

TEST("websocket: fragments that bring next to nothing are a limited number in one message")
{
    CHECK(strcmp(after_fragments(16384, ""), "") == 0);
    CHECK(strstr(after_fragments(16385, ""), "F:1008"));
    CHECK(strstr(after_fragments(16385, "123456789012345"), "F:1008"));
    CHECK(strcmp(after_fragments(20000, "1234567890123456"), "") == 0);
}

TEST("websocket: the next message may have as many again")
{
    struct websocket websocket = {0};
    for (unsigned round = 0; round < 3; round++) {
        start();
        add(0x02, "");
        for (unsigned i = 1; i < 16000; i++)
            add(0x00, "");
        add(0x80, "x");
        whole.length = 0;
        whole.text[0] = 0;
        feed(&websocket, stream.bytes, stream.length, 100, &whole);
        CHECK(!strstr(whole.text, "F:"));
    }
    websocket_stop(&websocket);
}

TEST("websocket: close frames carry no status, or an allowed one and a reason in UTF-8")
{
    start();
    add(0x88, "");
    expect("C:1005:");
    start();
    add(0x88, "\x03");
    expect("F:1002");
    static const unsigned allowed[] = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010,
                                       1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999};
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++) {
        char events[40];
        sprintf(events, "C:%u:why \xe2\x82\xac", allowed[i]);
        start();
        add_close(allowed[i], "why \xe2\x82\xac");
        expect(events);
    }
    start();
    add_close(1000, "\xe2\x82");
    expect("F:1007");
    start();
    add_close(1000, "a\xc0\xaf");
    expect("F:1007");
}

TEST("websocket: refuses every close status that may not be sent")
{
    for (unsigned status = 0; status < 65536; status++) {
        bool allowed = (status >= 1000 && status <= 1003) || (status >= 1007 && status <= 1014) ||
                       (status >= 3000 && status <= 4999);
        CHECK(websocket_status_valid(status) == allowed);
        if (allowed)
            continue;
        struct websocket websocket = {0};
        start();
        add_close(status, "");
        whole.length = 0;
        feed(&websocket, stream.bytes, stream.length, LIMIT, &whole);
        CHECK_TEXT(whole.text, whole.length, "F:1002");
    }
}

TEST("websocket: refuses text that is not UTF-8, in one frame, in fragments and cut short")
{
    static const char *const bad[] = {
        "\x80",         "a\xff",     "\xc0\x80",    "\xed\xa0\x80", "\xf4\x90\x80\x80",
        "\xf8\x88\x80", "\xe2\x82 ", "ok \xe2\x82", "\xc3",         "\xf0\x9f\x98",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        start();
        add(0x81, bad[i]);
        expect("F:1007");
        for (size_t cut = 0; cut <= strlen(bad[i]); cut++) {
            start();
            add_bytes(0x01, bad[i], cut);
            add_bytes(0x80, bad[i] + cut, strlen(bad[i]) - cut);
            expect("F:1007");
        }
        start();
        add(0x82, bad[i]); /* binary may be anything */
        run(&whole, 1, LIMIT);
        CHECK(whole.fails == 0);
    }
    start();
    add(0x01, "\xe2");
    add(0x89, "\xff");
    add(0x00, "\x82");
    add(0x80, "\xac");
    expect("P:\xff T:\xe2\x82\xac");
}

TEST("websocket: fails as soon as the bad byte came, not at the end of frame or message")
{
    start();
    add_header(0x81, 1000);
    size_t header = stream.length;
    static const char text[] = "good \xce\xba\xe1\xbd\xb9 \xed\xa0";
    for (size_t i = 0; i < sizeof text - 1; i++)
        stream.bytes[stream.length++] = (unsigned char)text[i] ^ mask[i & 3];
    struct websocket websocket = {0};
    whole.length = 0;
    feed(&websocket, stream.bytes, stream.length - 1, LIMIT, &whole);
    CHECK(whole.length == 0);
    feed(&websocket, stream.bytes + stream.length - 1, 1, LIMIT, &whole);
    CHECK_TEXT(whole.text, whole.length, "F:1007");
    CHECK(header == 8);
    CHECK(held_blocks() == 0);
    start();
    add(0x01, "\xe2\x82");
    add(0x00, "a");
    expect("F:1007");
}

TEST("websocket: a pure ASCII piece inside a character is noticed")
{
    start();
    add_header(0x81, 10);
    static const char text[] = "aa\xe2"
                               "bbbbbbb";
    for (size_t i = 0; i < 10; i++)
        stream.bytes[stream.length++] = (unsigned char)text[i] ^ mask[i & 3];
    expect("F:1007");
}

TEST("websocket: unmasking in vectors equals unmasking byte by byte, at every offset and length")
{
    static char block[1200], reference[1200];
    uint32_t key = 0xf10980a3;
    for (size_t offset = 0; offset < 40; offset++) {
        for (size_t length = 0; length < 1000; length = length < 300 ? length + 1 : length + 37) {
            for (size_t i = 0; i < sizeof block; i++)
                block[i] = reference[i] = (char)(i * 7 + length);
            unsigned seen = 0;
            for (size_t i = 0; i < length; i++) {
                reference[offset + i] = (char)(reference[offset + i] ^ ((const char *)&key)[i & 3]);
                seen |= (unsigned char)reference[offset + i];
            }
            CHECK(websocket_unmask(block + offset, length, key) == seen);
            CHECK(memcmp(block, reference, sizeof block) == 0);
        }
    }
}

TEST("websocket: a single byte past ASCII is seen wherever it lies")
{
    static char block[700];
    for (size_t length = 1; length < sizeof block; length += length < 140 ? 1 : 61) {
        for (size_t at = 0; at < length; at++) {
            memset(block, 0x41, length);
            block[at] = (char)0x80;
            CHECK(websocket_unmask(block, length, 0) >= 0x80);
            block[at] = 0x7f;
            CHECK(websocket_unmask(block, length, 0) < 0x80);
        }
    }
}

static void expect_frame(struct frame *frame, const char *bytes, size_t length)
{
    CHECK(frame);
    CHECK(frame->kind == FRAME_CONTROL && frame->length == length && memcmp(frame->data, bytes, length) == 0);
    frame_release(frame);
}

TEST("websocket: builds ping, pong and close frames")
{
    expect_frame(websocket_ping(SLICE("")), "\x89\x00", 2);
    expect_frame(websocket_pong(SLICE("Hello")), "\x8a\x05Hello", 7);
    expect_frame(websocket_close(1001, SLICE("bye")),
                 "\x88\x05\x03\xe9"
                 "bye",
                 7);
    expect_frame(websocket_close(4001, SLICE("")), "\x88\x02\x0f\xa1", 4);
    expect_frame(websocket_close(WEBSOCKET_NO_STATUS, SLICE("never said")), "\x88\x00", 2);

    char reason[140];
    memset(reason, 'x', sizeof reason);
    memcpy(reason + 121, "\xe2\x82\xac", 3); /* 123 bytes end inside this character */
    struct frame *cut = websocket_close(1000, slice_from(reason, sizeof reason));
    CHECK(cut && cut->length == 2 + 2 + 121 && memcmp(cut->data + 4, reason, 121) == 0);
    frame_release(cut);
    struct frame *ping = websocket_ping(slice_from(reason, sizeof reason));
    CHECK(ping && ping->length == 2 + 125);
    frame_release(ping);
}
