/* Calendar arithmetic is done here rather than with gmtime_r: it runs on the message path, once a millisecond. */
#include "base/clock.h"

#include <stdatomic.h>
#include <time.h>

static _Atomic uint64_t pretended_ahead_ns;
static _Atomic int64_t pretended_wall_ms;

void clock_pretend(uint64_t ahead_ns, int64_t wall_ms)
{
    atomic_store_explicit(&pretended_ahead_ns, ahead_ns, memory_order_relaxed);
    atomic_store_explicit(&pretended_wall_ms, wall_ms, memory_order_relaxed);
}

static uint64_t steady_ns(const struct timespec *now)
{
    return (uint64_t)now->tv_sec * 1000000000u + (uint64_t)now->tv_nsec +
           atomic_load_explicit(&pretended_ahead_ns, memory_order_relaxed);
}

uint64_t clock_steady_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return steady_ns(&now);
}

uint64_t clock_coarse_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return steady_ns(&now);
}

int64_t clock_wall_ms(void)
{
    int64_t pretended = atomic_load_explicit(&pretended_wall_ms, memory_order_relaxed);
    if (__builtin_expect(pretended != 0, 0))
        return pretended;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

uint64_t clock_planned_ms(void)
{
    if (__builtin_expect(atomic_load_explicit(&pretended_wall_ms, memory_order_relaxed) != 0, 0))
        return atomic_load_explicit(&pretended_ahead_ns, memory_order_relaxed) / 1000000;
    return clock_steady_ns() / 1000000;
}

static void put_digits(char *out, unsigned value, int digits)
{
    for (int i = digits - 1; i >= 0; i--, value /= 10)
        out[i] = (char)('0' + value % 10);
}

void clock_format_iso(int64_t wall_ms, char out[CLOCK_ISO_LENGTH])
{
    if (wall_ms < 0)
        wall_ms = 0;
    uint64_t seconds = (uint64_t)wall_ms / 1000;
    unsigned day_seconds = (unsigned)(seconds % 86400);
    /* Days to civil date: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days. */
    uint64_t days = seconds / 86400 + 719468;
    uint64_t era = days / 146097;
    unsigned day_of_era = (unsigned)(days - era * 146097);
    unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned shifted_month = (5 * day_of_year + 2) / 153;
    unsigned day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    unsigned month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
    unsigned year = (unsigned)(year_of_era + era * 400) + (month <= 2);

    put_digits(out, year, 4);
    out[4] = '-';
    put_digits(out + 5, month, 2);
    out[7] = '-';
    put_digits(out + 8, day, 2);
    out[10] = 'T';
    put_digits(out + 11, day_seconds / 3600, 2);
    out[13] = ':';
    put_digits(out + 14, day_seconds / 60 % 60, 2);
    out[16] = ':';
    put_digits(out + 17, day_seconds % 60, 2);
    out[19] = '.';
    put_digits(out + 20, (unsigned)(wall_ms % 1000), 3);
    out[23] = 'Z';
}

/* Minutes from 1970 to the year 10000, which does not fit into four digits. */
#define MINUTES_MOST INT64_C(4223371680)

/* Takes that many digits; -1 when there are fewer. */
static int take_digits(struct slice *text, unsigned count)
{
    int value = 0;
    if (text->length < count)
        return -1;
    for (unsigned i = 0; i < count; i++) {
        char digit = text->data[i];
        if (digit < '0' || digit > '9')
            return -1;
        value = value * 10 + (digit - '0');
    }
    text->data += count;
    text->length -= count;
    return value;
}

static bool take_character(struct slice *text, char wanted)
{
    if (text->length == 0 || text->data[0] != wanted)
        return false;
    text->data++;
    text->length--;
    return true;
}

/* ".5" and ",5" are half a second; digits past the milliseconds count nothing. False: no digit follows. */
static bool take_fraction(struct slice *text, int *milliseconds)
{
    *milliseconds = 0;
    if (!take_character(text, '.') && !take_character(text, ','))
        return true;
    int scale = 100, digit, count = 0;
    for (; (digit = take_digits(text, 1)) >= 0; scale /= 10, count++)
        *milliseconds += digit * scale;
    return count > 0;
}

/* "Z", "+01:00", "-0330", "+01": minutes ahead of UTC. */
static bool take_zone(struct slice *text, int *minutes)
{
    *minutes = 0;
    if (take_character(text, 'Z') || take_character(text, 'z'))
        return true;
    bool behind = take_character(text, '-');
    if (!behind && !take_character(text, '+'))
        return false;
    int hour = take_digits(text, 2), minute = 0;
    if (take_character(text, ':') || text->length > 0)
        minute = take_digits(text, 2);
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59)
        return false;
    *minutes = (hour * 60 + minute) * (behind ? -1 : 1);
    return true;
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

/* Days since 1970 of a civil date: the reverse of clock_format_iso, days_from_civil of the same source. */
static int64_t days_of(int year, int month, int day)
{
    int64_t shifted_year = year - (month <= 2);
    int64_t era = (shifted_year >= 0 ? shifted_year : shifted_year - 399) / 400;
    int64_t year_of_era = shifted_year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

bool clock_parse_iso(struct slice text, int64_t *wall_ms)
{
    int second = 0, milliseconds = 0, zone;
    int year = take_digits(&text, 4);
    int month = take_character(&text, '-') ? take_digits(&text, 2) : -1;
    int day = take_character(&text, '-') ? take_digits(&text, 2) : -1;
    if (year < 0 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month))
        return false;
    if (!take_character(&text, 'T') && !take_character(&text, 't') && !take_character(&text, ' '))
        return false;
    int hour = take_digits(&text, 2);
    int minute = take_character(&text, ':') ? take_digits(&text, 2) : -1;
    if (take_character(&text, ':')) {
        second = take_digits(&text, 2);
        if (!take_fraction(&text, &milliseconds))
            return false;
    }
    /* 60 is a leap second. */
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60)
        return false;
    if (!take_zone(&text, &zone) || text.length > 0)
        return false;
    int64_t minutes = (days_of(year, month, day) * 24 + hour) * 60 + minute - zone;
    if (minutes >= MINUTES_MOST) /* by its zone, or its leap second: clock_format_iso could not write it */
        return false;
    *wall_ms = (minutes * 60 + second) * 1000 + milliseconds;
    return true;
}
