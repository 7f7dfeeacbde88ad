#include "runtime/agent/backlog.h"

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

void backlog_free(struct backlog *backlog)
{
    struct backlog_entry *entry;
    if (!backlog)
        return;
    while ((entry = backlog_take(backlog)))
        backlog_entry_free(entry);
    buffer_free(&backlog->unread);
    pool_release(POOL_ARRAYS, backlog, sizeof *backlog);
}

static size_t entry_size(size_t length)
{
    return sizeof(struct backlog_entry) + length + JSON_SLACK;
}

static struct backlog_entry *entry_new(enum websocket_event event, const struct websocket_message *message)
{
    struct backlog_entry *entry = pool_acquire(POOL_BUFFERS, entry_size(message->length));
    if (!entry)
        return NULL;
    *entry = (struct backlog_entry){.event = event, .message = *message};
    entry->message.data = entry->bytes;
    if (message->length > 0)
        memcpy(entry->bytes, message->data, message->length);
    memset(entry->bytes + message->length, 0, JSON_SLACK);
    return entry;
}

bool backlog_add(struct backlog *backlog, enum websocket_event event, const struct websocket_message *message)
{
    struct backlog_entry *entry = entry_new(event, message);
    if (!entry)
        return false;
    *backlog->last = entry;
    backlog->last = &entry->next;
    backlog->count++;
    return true;
}

bool backlog_put_back(struct backlog *backlog, enum websocket_event event, const struct websocket_message *message)
{
    struct backlog_entry *entry = entry_new(event, message);
    if (!entry)
        return false;
    entry->next = backlog->first;
    if (!backlog->first)
        backlog->last = &entry->next;
    backlog->first = entry;
    backlog->count++;
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
    return entry;
}

void backlog_entry_free(struct backlog_entry *entry)
{
    pool_release(POOL_BUFFERS, entry, entry_size(entry->message.length));
}
