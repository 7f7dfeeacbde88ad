/* The bytes of one line of the log: text or JSON, everything escaped that is not plain text. */
#ifndef LUADUCT_BASE_LOG_LINE_H
#define LUADUCT_BASE_LOG_LINE_H

#include "base/log.h"

/* Room for a full message with some escapes; one that needs more is cut. */
#define LOG_LINE_BYTES (2 * LOG_MESSAGE_MAX)

/* What stands where something was cut: … */
#define LOG_LINE_CUT "\xe2\x80\xa6"

struct log_line {
    char bytes[LOG_LINE_BYTES];
    size_t length;
};

/* What a line says. */
struct log_entry {
    const struct log_site *site;
    enum log_level level;
    const char *thread; /* "": nameless */
    struct slice message;
    const struct log_field *fields; /* NULL: none */
};

/* Ends with a newline, whatever the entry holds. Any thread. */
void log_line_compose(struct log_line *line, enum log_format format, bool colour, const struct log_entry *entry);

#endif
