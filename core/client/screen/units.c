#include "client/screen/units.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "client/agent/view.h"
#include "protocol/json/json.h"

const char *units_count(double count, char out[UNITS_SIZE])
{
    char digits[24];
    if (!(fabs(count) < 1e15)) { /* no counter gets there: the answer is not a bridge's */
        snprintf(out, UNITS_SIZE, "%.3g", count);
        return out;
    }
    int length = snprintf(digits, sizeof digits, "%.0f", fabs(round(count)));
    char *at = out;
    if (count <= -0.5)
        *at++ = '-';
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            *at++ = ',';
        *at++ = digits[i];
    }
    *at = '\0';
    return out;
}

const char *units_bytes(double bytes, char out[UNITS_SIZE])
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    unsigned unit = 0;
    while (bytes >= 1024 && unit + 1 < sizeof names / sizeof *names) {
        bytes /= 1024;
        unit++;
    }
    snprintf(out, UNITS_SIZE, unit > 0 && bytes < 100 ? "%.1f %s" : "%.0f %s", bytes, names[unit]);
    return out;
}

const char *units_duration(double seconds, char out[UNITS_SIZE])
{
    if (!(seconds > 0))
        seconds = 0;
    if (!(seconds < 1e12))
        snprintf(out, UNITS_SIZE, "%.3gs", seconds);
    else if (seconds >= 86400)
        snprintf(out, UNITS_SIZE, "%.0fd%02dh", floor(seconds / 86400), (int)(fmod(seconds, 86400) / 3600));
    else if (seconds >= 3600)
        snprintf(out, UNITS_SIZE, "%dh%02dm", (int)seconds / 3600, (int)seconds % 3600 / 60);
    else if (seconds >= 60)
        snprintf(out, UNITS_SIZE, "%dm%02ds", (int)seconds / 60, (int)seconds % 60);
    else
        snprintf(out, UNITS_SIZE, "%ds", (int)seconds);
    return out;
}

const char *units_latency(double ms, char out[UNITS_SIZE])
{
    if (ms < 1)
        snprintf(out, UNITS_SIZE, "%.0f us", ms * 1000);
    else if (ms < 1000)
        snprintf(out, UNITS_SIZE, ms < 10 ? "%.2f ms" : "%.1f ms", ms);
    else
        snprintf(out, UNITS_SIZE, "%.2f s", ms / 1000);
    return out;
}

bool units_read_time(struct slice value, int64_t *wall_ms)
{
    if (value.length > 2 && json_kind(value) == JSON_STRING)
        return clock_parse_iso(json_string_inside(value), wall_ms);
    double number = view_number(value, "", NAN);
    if (!(fabs(number) < 8.64e15)) /* as far as ECMAScript's dates go */
        return false;
    *wall_ms = (int64_t)number;
    return true;
}

const char *units_time(struct slice value, char out[UNITS_SIZE])
{
    int64_t wall_ms;
    struct tm then, today;
    time_t now = time(NULL);
    struct buffer text = {0};
    time_t seconds = units_read_time(value, &wall_ms) ? (time_t)(wall_ms / 1000) : (time_t)-1;
    if (seconds != (time_t)-1 && localtime_r(&seconds, &then) && localtime_r(&now, &today)) {
        bool same_day = then.tm_year == today.tm_year && then.tm_yday == today.tm_yday;
        strftime(out, UNITS_SIZE, same_day ? "%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &then);
        return out;
    }
    view_append_value(&text, value);
    snprintf(out, UNITS_SIZE, "%.*s", text.length < 24 ? (int)text.length : 24, text.data ? text.data : "");
    buffer_free(&text);
    return out;
}
