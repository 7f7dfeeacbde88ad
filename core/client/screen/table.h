/* A table of text for a terminal or a pipe: columns as wide as what is in them, and on a terminal never wider than it.
 * Also whether and how to use colour there. */
#ifndef LUADUCT_CLIENT_TABLE_H
#define LUADUCT_CLIENT_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#include "base/slice.h"
#include "memory/buffer.h"

/* Standard output, as it is. */
struct output {
    size_t columns; /* 0: no limit, it is not a terminal */
    bool colour;    /* a terminal, and NO_COLOR is not set (https://no-color.org) */
};
struct output output_look(void);

/* What makes text stand out; empty without colour. */
enum paint { PAINT_PLAIN, PAINT_BOLD, PAINT_DIM, PAINT_GOOD, PAINT_WARN, PAINT_BAD };
const char *output_paint(const struct output *output, enum paint paint);

#define TABLE_COLUMNS 10

struct table_column {
    const char *title;
    bool right;    /* aligned to the right: numbers */
    bool flexible; /* gives way where the terminal is narrow; the last column always does */
};

struct table {
    const struct table_column *columns;
    unsigned count;
    struct buffer cells; /* row by row, each ended by a NUL */
    unsigned at;         /* the next cell's column */
};

/* The next cell, row by row. The value: of JSON, as view_value shows it. */
void table_add_text(struct table *table, const char *text);
void table_add_value(struct table *table, struct slice value);
void table_add_list(struct table *table, struct slice array); /* of JSON, with commas between */

/* False: there was not enough memory. */
bool table_print(struct table *table, const struct output *output);

void table_free(struct table *table);

#endif
