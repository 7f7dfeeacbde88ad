/* How what a bridge sends is shown: to a person, or to a program that reads lines. */
#ifndef LUADUCT_CLIENT_VIEW_H
#define LUADUCT_CLIENT_VIEW_H

#include <stdio.h>

#include "base/slice.h"

/* The text on one line and harmless to a terminal: control characters, of C1 too, become spaces. */
void view_text(FILE *out, struct slice text);

/* The value of an object's member, empty where there is none. The object is validated JSON. */
struct slice view_member(struct slice object, struct slice name);

/* A string value's meaning, through view_text; any other value as its JSON. */
void view_value(FILE *out, struct slice value);

/* An envelope (validated JSON) as one line of JSON. */
void view_envelope_json(FILE *out, struct slice envelope);

/* An envelope (validated JSON) for a person: "14:02:11 bob: hello", with the recipient and the intent where they say
 * more than that. `reader` is the id of the agent that shows it. */
void view_envelope(FILE *out, struct slice envelope, struct slice reader);

#endif
