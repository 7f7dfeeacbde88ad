/* The terminal of `luaduct top`, by ncurses: it knows what each terminal understands and sends only what has changed,
 * which is what counts over ssh. One for the process. */
#ifndef LUADUCT_CLIENT_TOP_SCREEN_H
#define LUADUCT_CLIENT_TOP_SCREEN_H

#include <stdbool.h>
#include <stddef.h>

#include "client/screen/sampler.h"

/* How the person wants to see it. */
struct top_choice {
    enum sender_order order;
    bool reversed, paused, typing_filter;
    char filter[64]; /* UTF-8; whole characters */
    size_t first;    /* of the selected agents: the one at the top */
};

/* Takes the terminal over. False: it cannot be used; nothing has changed then. */
bool top_screen_start(void);

/* Gives it back as it was. */
void top_screen_stop(void);

void top_screen_draw(const struct target *target, const struct sight *sight, struct top_choice *choice);

/* Takes all keys that wait. False: the person is done. */
bool top_screen_keys(struct top_choice *choice);

#endif
