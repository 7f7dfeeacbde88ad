#include "../../support/unit.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "memory/pool.h"
#include "runtime/agent/backlog.h"

#define KIND 7u

static void add(struct backlog *backlog, const char *text)
{
    const struct websocket_message message = {
        .data = (char *)(uintptr_t)text, .length = strlen(text), .opcode = WEBSOCKET_TEXT};
    CHECK(backlog_add(backlog, WEBSOCKET_ON_MESSAGE, &message));
}

static struct backlog *filled(void)
{
    char text[32];
    struct backlog *backlog = backlog_new();
    for (unsigned number = 0; number < BACKLOG_MAXIMUM; number++) {
        snprintf(text, sizeof text, "message %u", number);
        add(backlog, text);
    }
    buffer_append_slice(&backlog->unread, SLICE("rest"));
    return backlog;
}

TEST("backlog: goes to another process with each message in a record of its own, however many there are")
{
    int ends[2];
    CHECK(channel_pair(ends, 1000));
    struct channel_writer writer = {.fd = ends[0]};
    struct channel_reader reader = {.fd = ends[1]};
    struct backlog *backlog = filled(), *taken = NULL;
    char text[32];

    channel_begin(&writer, KIND);
    backlog_put(backlog, &writer);
    channel_end(&writer);
    backlog_put_entries(backlog, KIND, &writer);
    CHECK(channel_flush(&writer));
    CHECK(shutdown(ends[0], SHUT_WR) == 0);

    CHECK(channel_next(&reader) == KIND);
    CHECK(backlog_get(&taken, &reader));
    CHECK(taken->count == 0);
    CHECK(taken->unread.length == 4 && memcmp(taken->unread.data, "rest", 4) == 0);
    for (unsigned number = 0; number < BACKLOG_MAXIMUM; number++) {
        CHECK(channel_next(&reader) == KIND);
        CHECK(backlog_get_entry(taken, &reader));
        CHECK(taken->count == number + 1);
        CHECK(reader.at == reader.record_end);
    }
    CHECK(channel_next(&reader) == 0);
    for (unsigned number = 0; number < BACKLOG_MAXIMUM; number++) {
        struct backlog_entry *entry = backlog_take(taken);
        snprintf(text, sizeof text, "message %u", number);
        CHECK(entry->message.length == strlen(text) && memcmp(entry->message.data, text, strlen(text)) == 0);
        backlog_entry_free(entry);
    }
    backlog_free(backlog);
    backlog_free(taken);
    channel_writer_free(&writer);
    channel_reader_free(&reader);
    close(ends[0]);
    close(ends[1]);
    pool_trim();
}

TEST("backlog: none is none for another process as well")
{
    int ends[2];
    CHECK(channel_pair(ends, 1000));
    struct channel_writer writer = {.fd = ends[0]};
    struct channel_reader reader = {.fd = ends[1]};
    struct backlog *taken = NULL;
    channel_begin(&writer, KIND);
    backlog_put(NULL, &writer);
    channel_end(&writer);
    backlog_put_entries(NULL, KIND, &writer);
    CHECK(channel_flush(&writer));
    CHECK(channel_next(&reader) == KIND);
    CHECK(backlog_get(&taken, &reader) && !taken);
    channel_writer_free(&writer);
    channel_reader_free(&reader);
    close(ends[0]);
    close(ends[1]);
}
