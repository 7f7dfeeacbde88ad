/* Matching one pattern against one subject, for pattern.c, which knows what find, match, gmatch and gsub make of it.
 * Raises Lua errors (malformed pattern, stopped); owns nothing, so there is nothing to free then. */
#ifndef LUADUCT_SCRIPT_MATCHER_H
#define LUADUCT_SCRIPT_MATCHER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include <lua.h>

#include "base/slice.h"

#define MATCHER_CAPTURES 32 /* LUA_MAXCAPTURES of the stock library */
#define MATCHER_CHOICES 199 /* it allows 200 nested matches, and the first one leaves no choice behind */

/* What makes a text a pattern, for find. */
#define MATCHER_MAGIC "^$*+?.([%-"

enum capture_state {
    CAPTURE_OPEN,
    CAPTURE_CLOSED,
    CAPTURE_POSITION,
};

struct capture {
    const char *start;
    size_t length;
    enum capture_state state;
};

enum choice_kind {
    CHOICE_FEWER,    /* "*", "+": one repetition less, down to `subject` */
    CHOICE_NONE,     /* "?": without the character */
    CHOICE_MORE,     /* "-": one repetition more */
    CHOICE_OPENED,   /* no other way, but a capture to take back */
    CHOICE_FINISHED, /* the same for a capture's end */
};

struct choice {
    enum choice_kind kind;
    const char *subject;
    const char *item; /* CHOICE_MORE: what is repeated */
    const char *rest; /* the pattern behind the item */
    size_t count;     /* CHOICE_FEWER: repetitions that are left; CHOICE_FINISHED: which capture */
};

struct matcher {
    lua_State *L;
    const atomic_bool *stop;
    int steps_left;
    unsigned capture_count, choice_count;
    const char *subject, *subject_end; /* the byte at subject_end is a NUL: Lua's strings end with one */
    const char *pattern, *pattern_end; /* behind a leading "^" */
    bool anchored;
    struct capture captures[MATCHER_CAPTURES];
    struct choice choices[MATCHER_CHOICES];
};

/* Makes ready for searches. Both texts are whole Lua strings and stay where they are. anchor: whether a leading "^"
 * means the start of the subject, as everywhere but in gmatch. Looks at the flag once. */
void matcher_start(struct matcher *matcher, lua_State *L, const atomic_bool *stop, struct slice subject,
                   struct slice pattern, bool anchor);

/* Gives the start of the leftmost match from `from` on and its end in *end; its captures are in the matcher until the
 * next search. NULL: none. */
const char *matcher_search(struct matcher *matcher, const char *from, const char **end);

/* Raises the error when the flag is set. */
void matcher_look(struct matcher *matcher);

/* Counts one step of work, and looks at the flag every so many. */
static inline void matcher_step(struct matcher *matcher)
{
    if (--matcher->steps_left < 0)
        matcher_look(matcher);
}

#endif
