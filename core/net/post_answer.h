/* What a server elsewhere answers to a POST, as far as somebody wants to know more than its status: the beginning of
 * it, from the status line on (RFC 9112). */
#ifndef LUADUCT_NET_POST_ANSWER_H
#define LUADUCT_NET_POST_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* Of head and body together; what comes behind that is not read. */
#define POST_ANSWER_BYTES 8192

struct post_answer {
    uint32_t retry_after_s; /* Retry-After in seconds (RFC 9110 10.2.3); 0: none, or a date */
    struct slice body;      /* in `text`; cut where it did not come whole */
    size_t length;          /* of what came */
    char text[POST_ANSWER_BYTES];
};

/* Whether all of it has come, as far as it says itself where it ends. */
bool post_answer_whole(const struct post_answer *answer);

/* Sets the rest of it, once no more comes. A body in chunks is put together in its place. */
void post_answer_read(struct post_answer *answer);

#endif
