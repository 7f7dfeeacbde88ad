/* The repl: prompts (script/prompt/prompt.h) for administrators, in sessions of the version of the scripts that was in
 * use when they began. They have a thread of their own, which may block: a line may run for seconds, loading a script
 * too, and no reactor nor a reload waits for either. It is started by the first line. */
#ifndef LUADUCT_RUNTIME_REPL_H
#define LUADUCT_RUNTIME_REPL_H

#include <stdbool.h>

#include "base/random.h"
#include "protocol/code.h"
#include "runtime/reactor.h"
#include "script/prompt/prompt.h"

/* Each has a state as large as a script's may be; one more takes the place of the one that is idle for longest. */
#define REPL_SESSIONS 4

/* A session that nobody uses: long enough to read something up, short enough for what a lost client leaves behind. */
#define REPL_IDLE_MS 600000

/* The text of one line. */
#define REPL_LINE_BYTES (64u << 10)

/* One line for the repl, and what came of it. */
struct repl_line {
    struct errand errand; /* brings it back to its reactor */
    struct repl_line *next;
    struct reactor *reactor;
    char session[UUID_LENGTH + 1]; /* empty: a new one; then the one that it ran in */
    bool ends;                     /* runs nothing, and the session is over */
    struct buffer text;

    enum code code; /* CODE_OK, or why it has not run, with text in `error` */
    char error[512];
    enum prompt_result result;
    struct buffer output;
    bool renewed;              /* there was no such session (any more): this is a new one */
    unsigned version, current; /* of the scripts: the session's, and the one in use */

    void (*answered)(struct repl_line *line); /* on the reactor's thread, inside a pass; it owns the line */
    void *owner;                              /* whoever `answered` tells */
};

struct repl_line *repl_line_new(void); /* NULL: no memory */
void repl_line_free(struct repl_line *line);

/* Main: the reactor whose thread lets this one look at what reactors share. */
void repl_start(struct reactor *first);

/* A reactor's thread. Takes the line. */
void repl_submit(struct repl_line *line);

/* Main, before the reactors stop: what is under way is ended; supervision_wait(repl_ended), then repl_stop. */
void repl_request_stop(void);
bool repl_ended(void);
void repl_stop(void);

#endif
