/* The limits that somebody can meet, by name, and how often each has refused. Any thread. */
#ifndef LUADUCT_RUNTIME_LIMITS_LIMIT_H
#define LUADUCT_RUNTIME_LIMITS_LIMIT_H

#include <stdint.h>

#include "protocol/code.h"

/* What refused. Each is a figure on /metrics: luaduct_limited. */
enum limit {
    LIMIT_NONE,
    LIMIT_CONNECTIONS,
    LIMIT_CONNECTIONS_PER_ADDRESS,
    LIMIT_CONNECTIONS_PER_IDENTITY,
    LIMIT_HANDSHAKES,
    LIMIT_HANDSHAKES_PER_ADDRESS,
    LIMIT_AGENTS,
    LIMIT_AGENTS_PER_ADDRESS,
    LIMIT_AGENTS_PER_IDENTITY,
    LIMIT_MESSAGES,
    LIMIT_MESSAGES_PER_ADDRESS,
    LIMIT_MESSAGES_TOTAL,
    LIMIT_BYTES,
    LIMIT_BYTES_PER_ADDRESS,
    LIMIT_BYTES_TOTAL,
    LIMIT_REQUESTS,
    LIMIT_SCRIPT_TIME,
    LIMIT_MAILBOX_PER_SENDER,
    LIMIT_MESSAGE_TIME,
    LIMIT_COSTLY,
    LIMIT_PINGS,
    LIMIT_PROXY_HEADER,
    LIMIT_CREDENTIALS,
    LIMIT_COUNT,
};

enum code limit_code(enum limit limit);   /* rate_limited where it is a matter of time, else overloaded */
const char *limit_name(enum limit limit); /* "connections", "connections_per_address" … */
void limit_count(enum limit limit);
uint64_t limit_counted(enum limit limit);

#endif
