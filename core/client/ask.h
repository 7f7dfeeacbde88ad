/* One question to a bridge over HTTP, and its answer or the one line that says why there is none. */
#ifndef LUADUCT_CLIENT_ASK_H
#define LUADUCT_CLIENT_ASK_H

#include <stdbool.h>

#include "base/slice.h"
#include "client/target.h"
#include "memory/buffer.h"

/* 0: *answer is the body, the caller's to free. Else the exit code 1, after a line on standard error. */
int ask_bridge(const char *command, const struct target *target, const char *method, const char *path,
               struct slice body, int timeout_ms, struct buffer *answer);

/* An answer that goes on until `take`, which gets each piece of it, wants no more, or the bridge ends it: then 0. */
int follow_bridge(const char *command, const struct target *target, const char *path,
                  bool (*take)(void *context, struct slice piece), void *context);

/* The one line for an answer that refuses: the bridge's own words. */
struct http_answer;
void ask_print_refusal(const char *command, const struct http_answer *answer);

#endif
