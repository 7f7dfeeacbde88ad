/* Work that peers ask for: by an envelope with the intent `bridge.execute`, or by POST /workers/execute. Both carry the
 * same object, {"operation", "data", "priority"?, "timeoutMs"?}. */
#ifndef LUADUCT_RUNTIME_EXECUTE_H
#define LUADUCT_RUNTIME_EXECUTE_H

#include "runtime/work/work.h"

#define EXECUTE_INTENT "bridge.execute"

/* Reads the object (validated JSON) and hands the work over; `finished` and `owner` are the work's. The data is copied,
 * or goes along without a copy in `whole`, the buffer that the object lies in (NULL: it is not the caller's to give).
 * CODE_OK and *out, or the code of the refusal and what to say in `error`. On the reactor's thread. */
enum code execute_start(struct reactor *reactor, struct slice json, struct buffer *whole,
                        void (*finished)(struct work *), void *owner, struct work **out, char error[ERROR_TEXT_BYTES]);

/* At the beginning of `finished`: the data of peers that is out counts no more. */
void execute_finished(const struct work *work);

/* {"result":…,"ms":…} of work that was done. */
void execute_append_result(struct buffer *out, const struct work *work);

#endif
