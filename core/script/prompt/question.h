/* What the scripts of a state would decide about an envelope, and who would get it. Inside of the script room. */
#ifndef LUADUCT_SCRIPT_PROMPT_QUESTION_H
#define LUADUCT_SCRIPT_PROMPT_QUESTION_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/buffer.h"
#include "protocol/envelope.h"

struct script_state;
struct script_sender;

struct question {
    struct script_state *state;
    struct slice envelope;              /* JSON, as a peer would send it */
    const struct script_sender *sender; /* NULL: a caller over HTTP */
    struct message_rules rules;
    bool drops_on_error;  /* script.onError */
    uint64_t deadline_ns; /* steady clock: a hook that still sleeps then is given up */
};

/* Runs the chain's route and appends what came of it, an object (workers/value.h): `decision` as a script writes it,
 * `recipients`, `mailboxes`, `assigned`, `us`, and where it is so `failed`, `waits`, `refused`, `more` (recipients left
 * out). Or a string: why the bridge would refuse the envelope. How a hook failed the state's log says. */
void question_answer(const struct question *question, struct buffer *out);

#endif
