#include "bridge/state/history.h"

#include "base/threads/lock.h"
#include <stdatomic.h>
#include <stdlib.h>

#include "memory/pool.h"

struct entry {
    struct frame *frame;
    uint64_t sender;
    bool everyone;
    uint32_t recipient_count;
    union {
        uint64_t one;
        uint64_t *many; /* when recipient_count is more than 1 */
    } recipients;
};

static struct lock lock = LOCK_INITIALIZER;
static struct entry *ring;
static uint32_t limit, count, head; /* head: the oldest */
static uint64_t next_number;
static uint64_t bytes_limit, bytes;
static uint64_t bytes_configured;
static atomic_ullong bytes_shown; /* for readers on other threads than lanes, which the lock may not keep out */

bool history_start(uint32_t envelope_limit, uint64_t byte_limit)
{
    limit = envelope_limit;
    bytes_limit = bytes_configured = byte_limit;
    count = head = 0;
    bytes = 0;
    ring = limit ? calloc(limit, sizeof *ring) : NULL;
    return ring || limit == 0;
}

/* What an entry holds, recipients included: one envelope to 50,000 agents is more list than text. */
static uint64_t cost(const struct entry *entry)
{
    return entry->frame->length + (entry->recipient_count > 1 ? entry->recipient_count * sizeof(uint64_t) : 0);
}

static void release_entry(struct entry *entry)
{
    if (entry->recipient_count > 1)
        pool_release(POOL_ARRAYS, entry->recipients.many, entry->recipient_count * sizeof(uint64_t));
    frame_release(entry->frame);
}

void history_stop(void)
{
    for (uint32_t i = 0; i < count; i++)
        release_entry(&ring[(head + i) % limit]);
    free(ring);
    ring = NULL;
    limit = count = 0;
}

void history_append(struct frame *frame, const struct history_parties *parties)
{
    if (limit == 0)
        return;
    struct entry entry = {.frame = frame,
                          .sender = parties->sender,
                          .everyone = parties->everyone,
                          .recipient_count = parties->recipient_count};
    uint64_t size = cost(&entry);
    if (size > bytes_configured)
        return;
    if (parties->recipient_count == 1) {
        entry.recipients.one = parties->recipients[0];
    } else if (parties->recipient_count > 1) {
        size_t list = parties->recipient_count * sizeof(uint64_t);
        entry.recipients.many = pool_acquire(POOL_ARRAYS, list);
        if (!entry.recipients.many)
            return;
        memcpy(entry.recipients.many, parties->recipients, list);
    }
    frame_retain(frame);

    /* What falls out is released outside of the lock: usually one entry, more when this one is large. */
    for (bool in = false; !in;) {
        struct entry oldest = {0};
        lock_acquire(&lock);
        bool fits = size <= bytes_limit; /* the limit may have been lowered: then it is left out */
        if (fits && (count == limit || (count > 0 && bytes + size > bytes_limit))) {
            oldest = ring[head];
            head = head + 1 == limit ? 0 : head + 1;
            count--;
            bytes -= cost(&oldest);
        }
        if (fits && count < limit && bytes + size <= bytes_limit) {
            uint32_t at = head + count;
            ring[at >= limit ? at - limit : at] = entry;
            count++;
            next_number++;
            bytes += size;
            in = true;
        }
        atomic_store_explicit(&bytes_shown, bytes, memory_order_relaxed);
        lock_release(&lock);
        if (oldest.frame)
            release_entry(&oldest);
        if (!fits) {
            release_entry(&entry);
            return;
        }
    }
}

uint64_t history_set_bytes(uint64_t byte_limit)
{
    uint64_t released = 0;
    for (bool more = true; more;) {
        struct entry oldest = {0};
        lock_acquire(&lock);
        bytes_limit = byte_limit < bytes_configured ? byte_limit : bytes_configured;
        if (count > 0 && bytes > bytes_limit) {
            oldest = ring[head];
            head = head + 1 == limit ? 0 : head + 1;
            count--;
            bytes -= cost(&oldest);
            released += cost(&oldest);
        }
        more = count > 0 && bytes > bytes_limit;
        atomic_store_explicit(&bytes_shown, bytes, memory_order_relaxed);
        lock_release(&lock);
        if (oldest.frame)
            release_entry(&oldest);
    }
    return released;
}

uint64_t history_bytes(void)
{
    return atomic_load_explicit(&bytes_shown, memory_order_relaxed);
}

static bool concerns(const struct entry *entry, uint64_t party)
{
    if (party == 0 || entry->everyone || entry->sender == party)
        return true;
    if (entry->recipient_count == 1)
        return entry->recipients.one == party;
    for (uint32_t i = 0; i < entry->recipient_count; i++)
        if (entry->recipients.many[i] == party)
            return true;
    return false;
}

unsigned history_newest(struct frame **out, unsigned capacity, uint64_t party)
{
    unsigned found = 0;
    lock_acquire(&lock);
    for (uint32_t i = count; i-- > 0 && found < capacity;) {
        const struct entry *entry = &ring[(head + i) % limit];
        if (concerns(entry, party))
            out[found++] = frame_retain(entry->frame);
    }
    lock_release(&lock);
    for (unsigned i = 0; i < found / 2; i++) {
        struct frame *newer = out[i];
        out[i] = out[found - 1 - i];
        out[found - 1 - i] = newer;
    }
    return found;
}

bool history_read(uint64_t *number, struct history_entry *out)
{
    *out = (struct history_entry){0};
    lock_acquire(&lock);
    uint64_t oldest = next_number - count;
    if (*number < oldest)
        *number = oldest;
    bool there = *number < next_number;
    if (there) {
        const struct entry *entry = &ring[(head + (uint32_t)(*number - oldest)) % limit];
        size_t list = entry->recipient_count * sizeof(uint64_t);
        out->frame = frame_retain(entry->frame);
        out->parties = (struct history_parties){.sender = entry->sender, .everyone = entry->everyone};
        if (entry->recipient_count == 1)
            out->one = entry->recipients.one;
        else if (entry->recipient_count > 1 && (out->many = pool_acquire(POOL_ARRAYS, list)))
            memcpy(out->many, entry->recipients.many, list);
        if (entry->recipient_count == 1 || out->many)
            out->parties.recipient_count = entry->recipient_count;
        ++*number;
    }
    lock_release(&lock);
    out->parties.recipients = out->many ? out->many : &out->one;
    return there;
}

void history_entry_free(struct history_entry *entry)
{
    pool_release(POOL_ARRAYS, entry->many, entry->many ? entry->parties.recipient_count * sizeof(uint64_t) : 0);
    frame_release(entry->frame);
}

uint64_t history_next_number(void)
{
    lock_acquire(&lock);
    uint64_t next = next_number;
    lock_release(&lock);
    return next;
}

uint32_t history_count(void)
{
    lock_acquire(&lock);
    uint32_t now = count;
    lock_release(&lock);
    return now;
}

uint32_t history_limit(void)
{
    return limit;
}
