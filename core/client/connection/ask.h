/* One question to a bridge over HTTP, and its answer or the one line that says why there is none. */
#ifndef LUADUCT_CLIENT_ASK_H
#define LUADUCT_CLIENT_ASK_H

#include <stdbool.h>

#include "base/slice.h"
#include "client/arguments/target.h"
#include "memory/buffer.h"

/* 0: *answer is the body, the caller's to free. Else the exit code 1, after a line on standard error. */
int ask_bridge(const char *command, const struct target *target, const char *method, const char *path,
               struct slice body, int timeout_ms, struct buffer *answer);

/* The same without standard error: `problem` is the line, without the command's name. False: there is no answer. A
 * refusal, whose body is an answer too, is one where `status` is given. */
#define ASK_PROBLEM_SIZE 1200
bool ask_quietly(const struct target *target, const char *path, int timeout_ms, struct buffer *answer, unsigned *status,
                 char problem[ASK_PROBLEM_SIZE]);

/* An answer that goes on until `take`, which gets each piece of it, wants no more, or the bridge ends it: then 0. */
int follow_bridge(const char *command, const struct target *target, const char *path,
                  bool (*take)(void *context, struct slice piece), void *context);

/* The one line for an answer that refuses: the bridge's own words. */
struct http_answer;
void ask_describe_refusal(const struct http_answer *answer, char problem[ASK_PROBLEM_SIZE]);

#endif
