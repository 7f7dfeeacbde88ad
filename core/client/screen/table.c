#include "client/screen/table.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "client/agent/view.h"
#include "client/screen/charset.h"
#include "protocol/json/json.h"

#define GAP 2               /* columns between two of the table's */
#define NARROWEST 8         /* a flexible column does not become narrower */
#define TERMINAL_COLUMNS 80 /* of a terminal that does not say */

struct output output_look(void)
{
    struct output output = {0};
    struct winsize size;
    const char *no_color = getenv("NO_COLOR"), *terminal = getenv("TERM");
    charset_start();
    if (!isatty(STDOUT_FILENO))
        return output;
    output.columns = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : TERMINAL_COLUMNS;
    output.colour = (!no_color || !*no_color) && terminal && *terminal && strcmp(terminal, "dumb") != 0;
    return output;
}

/* ECMA-48 8.3.117 */
const char *output_paint(const struct output *output, enum paint paint)
{
    static const char *const codes[] = {"\033[m", "\033[1m", "\033[2m", "\033[32m", "\033[33m", "\033[1;31m"};
    return output->colour ? codes[paint] : "";
}

static void end_cell(struct table *table)
{
    buffer_append(&table->cells, "", 1);
    table->at = (table->at + 1) % table->count;
}

void table_add_text(struct table *table, const char *text)
{
    view_append_text(&table->cells, slice_from_string(text));
    end_cell(table);
}

void table_add_value(struct table *table, struct slice value)
{
    if (value.length == 0 || json_kind(value) == JSON_NULL)
        buffer_append_slice(&table->cells, SLICE("-"));
    else
        view_append_value(&table->cells, value);
    end_cell(table);
}

void table_add_list(struct table *table, struct slice array)
{
    struct slice value;
    bool first = true;
    if (json_kind(array) == JSON_ARRAY) {
        while (json_next_element(&array, &value)) {
            buffer_append_slice(&table->cells, first ? SLICE("") : SLICE(", "));
            view_append_value(&table->cells, value);
            first = false;
        }
    }
    if (first)
        buffer_append_slice(&table->cells, SLICE("-"));
    end_cell(table);
}

static void measure(const struct table *table, size_t widths[TABLE_COLUMNS])
{
    const char *cell = table->cells.data, *end = cell + table->cells.length;
    for (unsigned i = 0; i < table->count; i++)
        widths[i] = strlen(table->columns[i].title);
    for (unsigned i = 0; cell < end; i = (i + 1) % table->count) {
        size_t width;
        charset_fit(slice_from_string(cell), SIZE_MAX, &width);
        if (width > widths[i])
            widths[i] = width;
        cell += strlen(cell) + 1;
    }
}

/* Takes from the widest flexible column, a column at a time, until all fit or none gives way any more. */
static void narrow(const struct table *table, size_t limit, size_t widths[TABLE_COLUMNS])
{
    size_t all = GAP * (table->count - 1);
    for (unsigned i = 0; i < table->count; i++)
        all += widths[i];
    while (all > limit) {
        unsigned widest = table->count;
        for (unsigned i = 0; i < table->count; i++)
            if ((table->columns[i].flexible || i + 1 == table->count) && widths[i] > NARROWEST &&
                (widest == table->count || widths[i] > widths[widest]))
                widest = i;
        if (widest == table->count)
            return;
        size_t over = all - limit, spare = widths[widest] - NARROWEST, step = over < 64 || spare < 64 ? 1 : spare / 2;
        widths[widest] -= step < over ? step : over;
        all -= step < over ? step : over;
    }
}

static void print_cell(const struct table *table, unsigned column, struct slice text, size_t width, bool cut)
{
    size_t columns, length = charset_fit(text, width, &columns);
    bool last = column + 1 == table->count;
    if (cut && length < text.length && width > 1) {
        length = charset_fit(text, width - 1, &columns);
        columns++;
    } else {
        cut = false;
    }
    if (!cut)
        length = length < text.length && !last ? length : text.length;
    int padding = width > columns ? (int)(width - columns) : 0;
    if (table->columns[column].right)
        printf("%*s", padding, "");
    fwrite(text.data, 1, length, stdout);
    fputs(cut ? "…" : "", stdout);
    if (!table->columns[column].right && !last)
        printf("%*s", padding, "");
    fputs(last ? "\n" : "  ", stdout);
}

bool table_print(struct table *table, const struct output *output)
{
    size_t widths[TABLE_COLUMNS];
    if (table->cells.failed)
        return false;
    measure(table, widths);
    if (output->columns > 0)
        narrow(table, output->columns, widths);
    fputs(output_paint(output, PAINT_BOLD), stdout);
    for (unsigned i = 0; i < table->count; i++)
        print_cell(table, i, slice_from_string(table->columns[i].title), widths[i], output->columns > 0);
    fputs(output_paint(output, PAINT_PLAIN), stdout);
    const char *cell = table->cells.data, *end = cell + table->cells.length;
    for (unsigned i = 0; cell < end; i = (i + 1) % table->count) {
        print_cell(table, i, slice_from_string(cell), widths[i], output->columns > 0);
        cell += strlen(cell) + 1;
    }
    return true;
}

void table_free(struct table *table)
{
    buffer_free(&table->cells);
}
