/* When an envelope expires: its sender may say so in `context.expiresAt`. */
#ifndef LUADUCT_BRIDGE_EXPIRY_H
#define LUADUCT_BRIDGE_EXPIRY_H

#include "protocol/code.h"
#include "protocol/envelope.h"

/* Whether contexts are looked at (agents.expiry). Main thread, before any lane runs; false without it. */
void expiry_start(bool from_context);

/* Written by expiry_start alone. */
extern bool expiry_from_context;

/* For expiry_of. */
enum code expiry_read(struct slice context, int64_t now_ms, int64_t *until_ms, struct slice *why);

/* CODE_OK and the wall time in milliseconds (0: never); CODE_EXPIRED; or CODE_BAD_FIELD, for what is no time. *why is
 * static. Costs two branches when the context is absent or {}. Any thread. */
static inline enum code expiry_of(const struct envelope *envelope, int64_t now_ms, int64_t *until_ms, struct slice *why)
{
    *until_ms = 0;
    if (__builtin_expect(envelope->json[FIELD_CONTEXT].length <= 2 || !expiry_from_context, 1))
        return CODE_OK;
    return expiry_read(envelope->json[FIELD_CONTEXT], now_ms, until_ms, why);
}

#endif
