/* Whose hooks run in a version on trial: a share of all agents, always the same ones, or those with a label or an id.
 */
#ifndef LUADUCT_RUNTIME_TRIAL_H
#define LUADUCT_RUNTIME_TRIAL_H

#include <stdbool.h>

#include "base/slice.h"

#define TRIAL_SHARE_ALL 10000u
#define TRIAL_TEXT_BYTES 257

struct trial {
    bool shadow;                  /* decides beside the version in use for them; what it decides is only compared */
    unsigned share;               /* ten thousandths of those who match the rest */
    char label[TRIAL_TEXT_BYTES]; /* empty: any */
    char id[TRIAL_TEXT_BYTES];    /* with * for any text; empty: any */
};

/* `labels` is a JSON array. */
bool trial_takes(const struct trial *trial, struct slice id, struct slice labels);

#endif
