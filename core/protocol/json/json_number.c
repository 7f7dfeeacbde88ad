/* Decimal to double and back, correctly rounded. Most numbers have at most 19 digits and small exponents. For those the
 * processor's 80-bit format answers: digits and power of ten are exact in its 64 bits, so one operation gives the true
 * result within half a unit of the last of 64 bits, and rounding that to a double's 53 goes wrong only when the 11
 * surplus bits are about one half. Those cases, and all others, are strtod's and snprintf's. */
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory/pool.h"
#include "protocol/json/json_number.h"

#define EXACT_POWERS 23 /* 10^22 is the last that a double holds exactly */
#define WIDE_POWERS 28  /* 10^27 the last for 64 bits */
#define DIGITS_MOST 19  /* fit uint64_t */

/* Whatever the digits before it, a number with such an exponent is 0 or too wide: no text is so long. */
#define EXPONENT_ENOUGH ((int64_t)1 << 40)

static const double powers[EXACT_POWERS] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                            1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

#if LDBL_MANT_DIG == 64
static const long double wide_powers[WIDE_POWERS] = {
    1e0L,  1e1L,  1e2L,  1e3L,  1e4L,  1e5L,  1e6L,  1e7L,  1e8L,  1e9L,  1e10L, 1e11L, 1e12L, 1e13L,
    1e14L, 1e15L, 1e16L, 1e17L, 1e18L, 1e19L, 1e20L, 1e21L, 1e22L, 1e23L, 1e24L, 1e25L, 1e26L, 1e27L};
#endif

/* digits × 10^exponent. False when it takes the slow way. */
static bool combine(uint64_t digits, int64_t exponent, double *out)
{
    if (digits == 0) {
        *out = 0;
        return true;
    }
    if (digits <= (uint64_t)1 << 53 && exponent > -EXACT_POWERS && exponent < EXACT_POWERS) {
        *out = exponent < 0 ? (double)digits / powers[-exponent] : (double)digits * powers[exponent];
        return true;
    }
#if LDBL_MANT_DIG == 64
    if (exponent > -WIDE_POWERS && exponent < WIDE_POWERS) {
        long double wide = (long double)digits;
        wide = exponent < 0 ? wide / wide_powers[-exponent] : wide * wide_powers[exponent];
        uint64_t bits;
        memcpy(&bits, &wide, sizeof bits);
        unsigned surplus = bits & 0x7ff;
        *out = (double)wide;
        return surplus < 0x3fe || surplus > 0x402;
    }
#endif
    return false;
}

static bool is_digit(const char *p, const char *end)
{
    return p < end && (unsigned char)(*p - '0') < 10;
}

/* The text is a number; strtod wants a NUL behind it. */
static bool read_slowly(const char *text, size_t length, double *number)
{
    char small[128], *copy = length < sizeof small ? small : pool_acquire(POOL_BUFFERS, length + 1);
    if (!copy)
        return false;
    memcpy(copy, text, length);
    copy[length] = '\0';
    *number = strtod(copy, NULL);
    if (copy != small)
        pool_release(POOL_BUFFERS, copy, length + 1);
    return true;
}

static size_t leading_zeros(const char *p, const char *end)
{
    size_t zeros = 0;
    for (; p < end && (*p == '0' || *p == '.'); p++)
        zeros += *p == '0';
    return zeros;
}

const char *json_number_read(const char *text, const char *end, double *number, bool *wide)
{
    const char *p = text;
    bool negative = p < end && *p == '-';
    p += negative;
    const char *first = p;
    uint64_t digits = 0;
    size_t count;
    int64_t exponent = 0; /* a text may have more digits than an int counts */
    if (!is_digit(p, end))
        return NULL;
    if (*p == '0')
        p++;
    else
        for (; is_digit(p, end); p++)
            digits = digits * 10 + (uint64_t)(*p - '0');
    count = (size_t)(p - first);
    if (p < end && *p == '.') {
        const char *fraction = ++p;
        for (; is_digit(p, end); p++)
            digits = digits * 10 + (uint64_t)(*p - '0');
        if (p == fraction)
            return NULL;
        count += (size_t)(p - fraction);
        exponent = fraction - p;
    }
    if (count > DIGITS_MOST)
        count -= leading_zeros(first, p);
    if (p < end && (*p == 'e' || *p == 'E')) {
        bool below = ++p < end && *p == '-';
        int64_t written = 0;
        if (p < end && (*p == '-' || *p == '+'))
            p++;
        if (!is_digit(p, end))
            return NULL;
        for (; is_digit(p, end); p++)
            if (written < EXPONENT_ENOUGH)
                written = written * 10 + (*p - '0');
        exponent += below ? -written : written;
    }
    double result;
    if (count > DIGITS_MOST || !combine(digits, exponent, &result)) {
        if (!read_slowly(first, (size_t)(p - first), &result))
            return NULL;
        if (isinf(result)) {
            *wide = true;
            return NULL;
        }
    }
    *number = negative ? -result : result;
    return p;
}

/* --- Writing ---------------------------------------------------------------------------------------------------- */

static size_t write_digits(uint64_t value, char out[20])
{
    size_t count = 1;
    for (uint64_t rest = value; rest >= 10; rest /= 10)
        count++;
    for (size_t i = count; i-- > 0; value /= 10)
        out[i] = (char)('0' + value % 10);
    return count;
}

#define SHORT_DECIMALS 4

/* Numbers with few decimals, as prices and coordinates are: the first count of decimals that reads back as the number
 * is the shortest. 0: it has more of them, or is large or tiny. */
static size_t format_short(double number, char *out)
{
    if (!(number < 1e9 && number >= 1e-4))
        return 0;
    for (int decimals = 1; decimals <= SHORT_DECIMALS; decimals++) {
        uint64_t digits = (uint64_t)(number * powers[decimals] + 0.5);
        if ((double)digits / powers[decimals] != number)
            continue;
        uint64_t power = (uint64_t)powers[decimals], fraction = digits % power;
        size_t length = write_digits(digits / power, out);
        out[length] = '.';
        for (size_t at = length + (size_t)decimals; at > length; at--, fraction /= 10)
            out[at] = (char)('0' + fraction % 10);
        return length + 1 + (size_t)decimals;
    }
    return 0;
}

#if LDBL_MANT_DIG == 64
/* 0.DIGITS × 10^point as JavaScript writes it: plain from 1e-6 to below 1e21. */
static size_t lay_out(const char *digits, int count, int point, char *out)
{
    char *p = out;
    if (point > -6 && point <= 0) {
        *p++ = '0';
        *p++ = '.';
        for (int i = point; i < 0; i++)
            *p++ = '0';
        memcpy(p, digits, (size_t)count);
        return (size_t)(p + count - out);
    }
    if (point > 0 && point <= 21) {
        for (int i = 0; i < count || i < point; i++) {
            if (i == point)
                *p++ = '.';
            *p++ = i < count ? digits[i] : '0';
        }
        return (size_t)(p - out);
    }
    *p++ = digits[0];
    if (count > 1)
        *p++ = '.';
    memcpy(p, digits + 1, (size_t)count - 1);
    p += count - 1;
    return (size_t)(p - out) + (size_t)snprintf(p, 8, "e%+d", point - 1);
}

/* The fewest of 15, 16 and 17 digits that read back as the number. 0: the slow way. */
static size_t format_quickly(double number, char *out)
{
    int point; /* number < 10^point, nearly always the least such */
    frexp(number, &point);
    point = (int)ceil((point - 1) * 0.30102999566398120 - 1e-9) + 1;
    for (int count = 15; count <= 17; count++) {
        int shift = count - point;
        if (shift <= -WIDE_POWERS || shift >= WIDE_POWERS)
            return 0;
        long double scaled = shift < 0 ? number / wide_powers[-shift] : number * wide_powers[shift];
        if (scaled < wide_powers[count - 1]) { /* the estimate was one too many */
            point--;
            count--;
            continue;
        }
        uint64_t digits = (uint64_t)llrintl(scaled);
        double again;
        if (!combine(digits, -shift, &again))
            return 0;
        if (again != number)
            continue;
        char text[20];
        int written = (int)write_digits(digits, text);
        int before = written - shift; /* digits before the point */
        while (written > 1 && text[written - 1] == '0')
            written--;
        return lay_out(text, written, before, out);
    }
    return 0;
}
#else
static size_t format_quickly(double number, char *out)
{
    (void)number;
    (void)out;
    return 0;
}
#endif

size_t json_number_write(double number, char out[JSON_NUMBER_BYTES])
{
    char *p = out;
    if (signbit(number))
        *p++ = '-';
    double size = fabs(number);
    if (size < 0x1p53 && size == (double)(uint64_t)size)
        return (size_t)(p - out) + write_digits((uint64_t)size, p);
    size_t length = format_short(size, p);
    if (length == 0)
        length = format_quickly(size, p);
    /* Below the normal ones a double holds less than 15 digits. */
    for (int digits = size < DBL_MIN ? 1 : 15; length == 0; digits++) {
        int written = snprintf(p, JSON_NUMBER_BYTES - 1, "%.*g", digits, size);
        if (digits == 17 || strtod(p, NULL) == size)
            length = (size_t)written;
    }
    return (size_t)(p - out) + length;
}
