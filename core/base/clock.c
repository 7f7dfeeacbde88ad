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
