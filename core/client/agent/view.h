/* How what a bridge sends is shown: to a person, or to a program that reads lines. */
#ifndef LUADUCT_CLIENT_VIEW_H
#define LUADUCT_CLIENT_VIEW_H

#include <stdio.h>

#include "base/slice.h"
#include "memory/buffer.h"

/* The text on one line and harmless to a terminal: control characters, of C1 too, those that change the direction of
 * writing, and separators of lines become spaces; bytes that are no UTF-8 become U+FFFD. */
void view_text(FILE *out, struct slice text);
void view_append_text(struct buffer *out, struct slice text);

/* The value of an object's member, empty where there is none. The object is validated JSON. */
struct slice view_member(struct slice object, struct slice name);

/* The value at the end of names with dots between them; a number there, or `absent`. */
struct slice view_at(struct slice object, const char *path);
double view_number(struct slice object, const char *path, double absent);

/* A string value's meaning, through view_text; any other value as its JSON. */
void view_value(FILE *out, struct slice value);
void view_append_value(struct buffer *out, struct slice value);

/* An envelope, or other JSON that is valid, as one line: its bytes as they are, but on a terminal what would act on
 * that is written as \uXXXX, which means the same. */
void view_envelope_json(FILE *out, struct slice envelope);

/* An envelope (validated JSON) for a person: "14:02:11 bob: hello", with the recipient and the intent where they say
 * more than that. `reader` is the id of the agent that shows it. */
void view_envelope(FILE *out, struct slice envelope, struct slice reader);

/* The same with another time before it. An empty reader: nobody, the recipient is always shown. */
void view_message(FILE *out, const char *when, struct slice envelope, struct slice reader);

#endif
