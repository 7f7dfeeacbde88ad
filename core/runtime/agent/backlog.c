#include "runtime/agent/backlog.h"

#include "memory/admission.h"
#include "memory/pool.h"
#include "protocol/json/json.h"

struct backlog *backlog_new(void)
{
    struct backlog *backlog = pool_acquire(POOL_ARRAYS, sizeof *backlog);
    if (!backlog)
        return NULL;
    *backlog = (struct backlog){0};
    backlog->last = &backlog->first;
    return backlog;
}

void backlog_clear(struct backlog *backlog)
{
    struct backlog_entry *entry;
    if (!backlog)
        return;
    while ((entry = backlog_take(backlog)))
        backlog_entry_free(entry);
    buffer_free(&backlog->unread);
}

void backlog_free(struct backlog *backlog)
{
    if (!backlog)
        return;
    backlog_clear(backlog);
    pool_release(POOL_ARRAYS, backlog, sizeof *backlog);
}

static size_t entry_size(size_t length)
{
    return sizeof(struct backlog_entry) + length + JSON_SLACK;
}

/* A close frame is small, and what makes room: it is always admitted. */
static struct backlog_entry *entry_new(struct backlog *backlog, enum websocket_event event,
                                       const struct websocket_message *message)
{
    size_t size = entry_size(message->length);
    bool admitted = event == WEBSOCKET_ON_CLOSE || admission_take(size);
    struct backlog_entry *entry = admitted ? pool_acquire(POOL_BUFFERS, size) : NULL;
    if (!entry)
        return NULL;
    backlog->count++;
    backlog->bytes += size;
    *entry = (struct backlog_entry){.event = event, .message = *message};
    entry->message.data = entry->bytes;
    if (message->length > 0)
        memcpy(entry->bytes, message->data, message->length);
    memset(entry->bytes + message->length, 0, JSON_SLACK);
    return entry;
}

bool backlog_add(struct backlog *backlog, enum websocket_event event, const struct websocket_message *message)
{
    struct backlog_entry *entry = entry_new(backlog, event, message);
    if (!entry)
        return false;
    *backlog->last = entry;
    backlog->last = &entry->next;
    return true;
}

bool backlog_put_back(struct backlog *backlog, enum websocket_event event, const struct websocket_message *message)
{
    struct backlog_entry *entry = entry_new(backlog, event, message);
    if (!entry)
        return false;
    entry->next = backlog->first;
    if (!backlog->first)
        backlog->last = &entry->next;
    backlog->first = entry;
    return true;
}

struct backlog_entry *backlog_take(struct backlog *backlog)
{
    struct backlog_entry *entry = backlog->first;
    if (!entry)
        return NULL;
    backlog->first = entry->next;
    if (!entry->next)
        backlog->last = &backlog->first;
    backlog->count--;
    backlog->bytes -= entry_size(entry->message.length);
    return entry;
}

void backlog_entry_free(struct backlog_entry *entry)
{
    pool_release(POOL_BUFFERS, entry, entry_size(entry->message.length));
}

/* --- Another process --- */

void backlog_put(const struct backlog *backlog, struct channel_writer *channel)
{
    channel_put(channel, backlog != NULL);
    channel_put_bytes(channel, backlog ? slice_from(backlog->unread.data, backlog->unread.length) : slice_from("", 0));
}

void backlog_put_entries(const struct backlog *backlog, uint32_t kind, struct channel_writer *channel)
{
    for (const struct backlog_entry *entry = backlog ? backlog->first : NULL; entry; entry = entry->next) {
        channel_begin(channel, kind);
        channel_put(channel, entry->event);
        channel_put(channel, entry->message.opcode);
        channel_put(channel, entry->message.status);
        channel_put_bytes(channel, slice_from(entry->message.data, entry->message.length));
        channel_end(channel);
    }
}

bool backlog_get(struct backlog **backlog, struct channel_reader *channel)
{
    bool there = channel_get(channel) != 0;
    struct slice unread = channel_get_bytes(channel);
    if (channel->failed || !there)
        return !channel->failed;
    *backlog = backlog_new();
    if (*backlog && unread.length > 0) {
        buffer_reserve(&(*backlog)->unread, unread.length + WEBSOCKET_SLACK);
        buffer_append_slice(&(*backlog)->unread, unread);
    }
    return *backlog && !(*backlog)->unread.failed;
}

bool backlog_get_entry(struct backlog *backlog, struct channel_reader *channel)
{
    enum websocket_event event = (enum websocket_event)channel_get(channel);
    struct websocket_message message = {.opcode = (uint8_t)channel_get(channel)};
    message.status = (uint16_t)channel_get(channel);
    struct slice bytes = channel_get_bytes(channel);
    message.data = (char *)(uintptr_t)bytes.data;
    message.length = bytes.length;
    return !channel->failed && backlog_add(backlog, event, &message);
}
