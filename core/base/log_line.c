#include "base/log_line.h"

#include <stdio.h>

#include "base/clock.h"

#define CONTINUATION "\n    | "

/* Appends all of it or nothing; leaves room for what closes the line. */
static bool line_append(struct log_line *line, const char *bytes, size_t length)
{
    if (sizeof line->bytes - line->length < length + 16)
        return false;
    memcpy(line->bytes + line->length, bytes, length);
    line->length += length;
    return true;
}

static bool line_append_string(struct log_line *line, const char *string)
{
    return line_append(line, string, strlen(string));
}

/* What closes the line: there is always room for it. */
static void line_close(struct log_line *line, const char *string)
{
    size_t length = strlen(string);
    memcpy(line->bytes + line->length, string, length);
    line->length += length;
}

/* The length of the well-formed UTF-8 character at `text` (RFC 3629), 0 when there is none. */
static size_t character_length(const unsigned char *text, size_t length)
{
    size_t need = text[0] < 0x80                      ? 1
                  : text[0] >= 0xc2 && text[0] < 0xe0 ? 2
                  : text[0] >= 0xe0 && text[0] < 0xf0 ? 3
                  : text[0] >= 0xf0 && text[0] < 0xf5 ? 4
                                                      : 0;
    if (need == 0 || need > length)
        return 0;
    for (size_t i = 1; i < need; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
        (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
        return 0;
    return need;
}

/* C0 and C1 controls and DEL: a terminal may act on them. */
static bool is_control(const unsigned char *text, size_t length)
{
    return (length == 1 && (text[0] < 0x20 || text[0] == 0x7f)) || (length == 2 && text[0] == 0xc2 && text[1] < 0xa0);
}

static bool append_escaped(struct log_line *line, enum log_format format, const unsigned char *text, size_t length)
{
    char escape[16];
    bool json = format == LOG_FORMAT_JSON;
    if (length == 0) {
        if (json)
            return line_append_string(line, "\\ufffd");
        snprintf(escape, sizeof escape, "\\x%02x", text[0]);
    } else if (text[0] == '\n') {
        return line_append_string(line, json ? "\\n" : CONTINUATION);
    } else if (text[0] == '\t') {
        return line_append_string(line, json ? "\\t" : "    ");
    } else if (json && (text[0] == '"' || text[0] == '\\')) {
        snprintf(escape, sizeof escape, "\\%c", text[0]);
    } else if (is_control(text, length)) {
        snprintf(escape, sizeof escape, json ? "\\u%04x" : "\\x%02x", text[length - 1]);
    } else {
        return line_append(line, (const char *)text, length);
    }
    return line_append_string(line, escape);
}

static void append_message(struct log_line *line, enum log_format format, const char *message, size_t length)
{
    const unsigned char *text = (const unsigned char *)message;
    for (size_t at = 0; at < length;) {
        size_t step = character_length(text + at, length - at);
        if (!append_escaped(line, format, text + at, step)) {
            line_close(line, LOG_LINE_CUT);
            return;
        }
        at += step ? step : 1;
    }
}

static const char *const level_labels[] = {"debug ", "info  ", "warn  ", "error "};
static const char *const level_colours[] = {"\033[2m", "\033[36m", "\033[33m", "\033[31m"};
static void append_number(struct log_line *line, double number)
{
    char text[32];
    snprintf(text, sizeof text, "%.15g", number);
    line_append_string(line, text);
}

/* Whether a reader of name=value would take it for something else. */
static bool needs_quotes(struct slice text)
{
    for (size_t i = 0; i < text.length; i++)
        if ((unsigned char)text.data[i] <= ' ' || strchr("\"=\\", text.data[i]))
            return true;
    return false;
}

/* Those that find room; each whole, so that the line can be read. */
static void append_fields(struct log_line *line, enum log_format format, const struct log_field *fields)
{
    bool json = format == LOG_FORMAT_JSON;
    for (const struct log_field *field = fields; field && field->name; field++) {
        if (field->is_text && field->text.length == 0)
            continue;
        size_t before = line->length;
        bool quotes = field->is_text && (json || needs_quotes(field->text));
        bool good = line_append_string(line, json ? ",\"" : " ") && line_append_string(line, field->name) &&
                    line_append_string(line, json ? "\":" : "=") && line_append_string(line, quotes ? "\"" : "");
        if (!field->is_text)
            append_number(line, field->number);
        for (size_t at = 0; good && at < field->text.length;) {
            const unsigned char *text = (const unsigned char *)field->text.data + at;
            size_t step = character_length(text, field->text.length - at);
            if (!json && step == 1 && text[0] && strchr("\"\\\n", text[0]))
                good = line_append(line, (const char[]){'\\', text[0] == '\n' ? 'n' : (char)text[0]}, 2);
            else
                good = append_escaped(line, format, text, step);
            at += step ? step : 1;
        }
        if (!good || !line_append_string(line, quotes ? "\"" : ""))
            line->length = before;
    }
}

static void append_event(struct log_line *line, const struct log_site *site)
{
    line_append_string(line, log_room_name(site->room));
    line_append_string(line, ".");
    line_append_string(line, site->name);
}

static void compose_json(struct log_line *line, const struct log_entry *entry)
{
    line_append_string(line, "\",\"level\":\"");
    line_append_string(line, log_level_name(entry->level));
    line_append_string(line, "\",\"thread\":\"");
    append_message(line, LOG_FORMAT_JSON, entry->thread, strlen(entry->thread));
    line_append_string(line, "\",\"room\":\"");
    line_append_string(line, log_room_name(entry->site->room));
    line_append_string(line, "\",\"event\":\"");
    append_event(line, entry->site);
    line_append_string(line, "\"");
    append_fields(line, LOG_FORMAT_JSON, entry->fields);
    line_append_string(line, ",\"message\":\"");
    append_message(line, LOG_FORMAT_JSON, entry->message.data, entry->message.length);
    line_close(line, "\"}\n");
}

void log_line_compose(struct log_line *line, enum log_format format, bool colour, const struct log_entry *entry)
{
    char time[CLOCK_ISO_LENGTH];
    clock_format_iso(clock_wall_ms(), time);
    line->length = 0;
    if (format == LOG_FORMAT_JSON) {
        line_append_string(line, "{\"time\":\"");
        line_append(line, time, sizeof time);
        compose_json(line, entry);
        return;
    }
    line_append(line, time, sizeof time);
    line_append_string(line, " ");
    if (colour)
        line_append_string(line, level_colours[entry->level]);
    line_append_string(line, level_labels[entry->level]);
    if (colour)
        line_append_string(line, "\033[0m");
    if (*entry->thread) {
        append_message(line, format, entry->thread, strlen(entry->thread));
        line_append_string(line, " ");
    }
    append_event(line, entry->site);
    line_append_string(line, ": ");
    append_message(line, format, entry->message.data, entry->message.length);
    append_fields(line, format, entry->fields);
    line_close(line, "\n");
}
