/* A version in the shadow: it is asked beside the one in use, and what it would have done is compared. */
#ifndef LUADUCT_RUNTIME_SHADOW_H
#define LUADUCT_RUNTIME_SHADOW_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/dispatch/dispatch.h"
#include "script/hook.h"

/* Asks the version on trial for a decision of its own on what this dispatch was sent, and compares it with what the
 * version in use has decided and made of the envelope. On the reactor's thread, before anything is delivered. */
void shadow_compare(struct reactor *reactor, const struct dispatch *dispatch, const struct script_sender *sender,
                    const struct decision *decided);

/* Differences that are kept, and bytes of each text in them. */
#define SHADOW_SAMPLES 20
#define SHADOW_TEXT_BYTES 4096

/* Counts since the trial began. Any thread. */
void shadow_read(uint64_t *compared, uint64_t *different);

/* The newest differences, the newest first, as a JSON array. Any thread. */
void shadow_write_samples(struct buffer *out);

/* When a trial begins, and at the end of all. */
void shadow_forget(void);

#endif
