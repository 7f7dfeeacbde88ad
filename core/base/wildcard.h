/* Patterns of ids, roles and intents: text in which * stands for any text, also none. */
#ifndef LUADUCT_BASE_WILDCARD_H
#define LUADUCT_BASE_WILDCARD_H

#include "base/slice.h"

bool wildcard_matches(struct slice pattern, struct slice text);

/* Whether one of the patterns fits. */
bool wildcard_list_matches(const struct slice_list *patterns, struct slice text);

#endif
