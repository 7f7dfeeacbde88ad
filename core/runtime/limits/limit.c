#include "runtime/limits/limit.h"

#include <stdatomic.h>

#include "bridge/queue/mailbox.h"

static atomic_ullong counted[LIMIT_COUNT];

const char *limit_name(enum limit limit)
{
    static const char *const names[LIMIT_COUNT] = {
        [LIMIT_NONE] = "none",
        [LIMIT_CONNECTIONS] = "connections",
        [LIMIT_CONNECTIONS_PER_ADDRESS] = "connections_per_address",
        [LIMIT_CONNECTIONS_PER_IDENTITY] = "connections_per_identity",
        [LIMIT_HANDSHAKES] = "handshakes",
        [LIMIT_HANDSHAKES_PER_ADDRESS] = "handshakes_per_address",
        [LIMIT_AGENTS] = "agents",
        [LIMIT_AGENTS_PER_ADDRESS] = "agents_per_address",
        [LIMIT_AGENTS_PER_IDENTITY] = "agents_per_identity",
        [LIMIT_MESSAGES] = "messages",
        [LIMIT_MESSAGES_PER_ADDRESS] = "messages_per_address",
        [LIMIT_MESSAGES_TOTAL] = "messages_total",
        [LIMIT_BYTES] = "bytes",
        [LIMIT_BYTES_PER_ADDRESS] = "bytes_per_address",
        [LIMIT_BYTES_TOTAL] = "bytes_total",
        [LIMIT_REQUESTS] = "requests",
        [LIMIT_SCRIPT_TIME] = "script_time",
        [LIMIT_MAILBOX_PER_SENDER] = "mailbox_per_sender",
        [LIMIT_MESSAGE_TIME] = "message_time",
        [LIMIT_COSTLY] = "costly_messages",
        [LIMIT_PINGS] = "pings",
        [LIMIT_PROXY_HEADER] = "proxy_header",
        [LIMIT_CREDENTIALS] = "credentials",
    };
    return names[limit];
}

enum code limit_code(enum limit limit)
{
    switch (limit) {
    case LIMIT_CONNECTIONS:
    case LIMIT_CONNECTIONS_PER_ADDRESS:
    case LIMIT_CONNECTIONS_PER_IDENTITY:
    case LIMIT_AGENTS:
    case LIMIT_AGENTS_PER_ADDRESS:
    case LIMIT_AGENTS_PER_IDENTITY:
        return CODE_OVERLOADED;
    default:
        return CODE_RATE_LIMITED;
    }
}

void limit_count(enum limit limit)
{
    atomic_fetch_add_explicit(&counted[limit], 1, memory_order_relaxed);
}

uint64_t limit_counted(enum limit limit)
{
    if (limit == LIMIT_MAILBOX_PER_SENDER)
        return mailbox_share_refusals();
    return atomic_load_explicit(&counted[limit], memory_order_relaxed);
}
