/* A bridge's stream of server-sent events (WHATWG HTML 9.2), as far as bridges write them: records of JSON, one in each
 * `data` line. Also what commands put into a path. */
#ifndef LUADUCT_CLIENT_STREAM_H
#define LUADUCT_CLIENT_STREAM_H

#include <stdbool.h>

#include "client/arguments/target.h"
#include "memory/buffer.h"

/* Gets each record (validated JSON), valid during the call, and gives whether it wants more. */
typedef bool stream_taker(void *context, struct slice record);

/* Follows the path until `take` wants no more or the bridge ends it. What was lost because it was not read as fast as
 * it came is said on standard error. Gives 0; or the exit code 1, after a line on standard error. */
int stream_follow(const char *command, const struct target *target, const char *path, stream_taker *take,
                  void *context);

/* Appends "?name=value" to the path, or "&name=value" (RFC 3986 2.1). A value that is NULL: nothing. */
void path_add_parameter(struct buffer *path, const char *name, const char *value);

#endif
