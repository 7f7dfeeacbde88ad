/* What the commands send: JSON made of a user's words. */
#ifndef LUADUCT_CLIENT_OUTGOING_H
#define LUADUCT_CLIENT_OUTGOING_H

#include "memory/buffer.h"

/* The payload that a user's words stand for: a JSON object or array as it is, any other text as {"text": "…"}. */
void outgoing_payload(struct buffer *out, struct slice words);

struct outgoing_envelope {
    struct slice to, intent, from; /* empty: left out, the bridge has its defaults */
    struct slice words;            /* see outgoing_payload; empty: no payload */
};

/* {"to":…,"intent":…,"from":…,"payload":…} */
void outgoing_envelope(struct buffer *out, const struct outgoing_envelope *envelope);

#endif
