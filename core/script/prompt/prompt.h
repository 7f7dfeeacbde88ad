/* A prompt: lines of Lua in a state of its own, made of the scripts as they are now, in which one looks at the bridge
 * and asks the scripts what they would decide. Whatever would act on the bridge raises. Lines share globals, which lie
 * before the scripts' own and hide them; a line is bounded as a hook is, and by PROMPT_LINE_MS. lua/luaduct/repl.lua is
 * what one finds there.
 *
 * One thread, for all of it; agents are looked at under the bridge's locks. */
#ifndef LUADUCT_SCRIPT_PROMPT_PROMPT_H
#define LUADUCT_SCRIPT_PROMPT_PROMPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "memory/buffer.h"
#include "script/hook.h"

/* All of a line: what it runs itself and the hooks that it asks. As long as loading may take. */
#define PROMPT_LINE_MS 5000

/* What one line may print; the rest is cut. */
#define PROMPT_OUTPUT_BYTES (64u << 10)

struct prompt;

struct prompt_options {
    struct script_options script; /* inert, reads_only, caching, the log, the breaker and `switched` are set here */
    bool drops_on_error;          /* script.onError */
    bool lenient;                 /* how strictly envelopes are read, and how deep they nest */
    unsigned json_depth;
};

/* Loads the scripts. NULL: `error` says why in one line. */
struct prompt *prompt_open(const struct prompt_options *options, char *error, size_t error_size);
void prompt_close(struct prompt *prompt); /* NULL is fine; the supervisor has let go of the watchdog */

struct watchdog *prompt_watchdog(struct prompt *prompt);

enum prompt_result {
    PROMPT_DONE,
    PROMPT_INCOMPLETE, /* more is needed: nothing has run */
    PROMPT_FAILED,     /* the output says why */
};

/* Runs an expression (`=` before it is fine) or statements, and appends what they print and give: lines, without
 * control characters but the ends of lines. Memory's end is out->failed. */
enum prompt_result prompt_run(struct prompt *prompt, struct slice text, struct buffer *out);

#endif
