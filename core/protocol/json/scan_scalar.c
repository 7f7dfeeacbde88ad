/* The scanner for every processor: a vector is eight bytes in an ordinary register, a mask has the high bit of each
 * byte that it marks. Bytes behind the first marked one may be marked wrongly (a borrow runs on); only the first is
 * used. */
#include "protocol/json/scan.h"

#define SCAN_FUNCTIONS scan_scalar
#define SCAN_NAME "scalar"
#define SCAN_WIDTH 8
#define MASK_INDEX(mask) ((unsigned)__builtin_ctzll(mask) / 8)
typedef uint64_t scan_mask;

#define EVERY(byte) ((uint64_t)(byte)*0x0101010101010101u)

static inline uint64_t below(uint64_t word, unsigned char limit)
{
    return (word - EVERY(limit)) & ~word & EVERY(0x80);
}

static inline uint64_t equal(uint64_t word, unsigned char byte)
{
    return below(word ^ EVERY(byte), 1);
}

static inline scan_mask string_stops(const char *p)
{
    uint64_t word = scan_word(p);
    return equal(word, '"') | equal(word, '\\') | below(word, 0x20);
}

static inline scan_mask string_stops_and_odd(const char *p, scan_mask *odd)
{
    uint64_t word = scan_word(p);
    *odd = equal(word, 0x7f) | (word & EVERY(0x80));
    return string_stops(p);
}

static inline scan_mask space_stops(const char *p)
{
    scan_mask mask = 0;
    for (unsigned i = 0; i < SCAN_WIDTH; i++)
        if (p[i] != ' ' && p[i] != '\n' && p[i] != '\r' && p[i] != '\t')
            mask |= (uint64_t)0x80 << 8 * i;
    return mask;
}

#include "protocol/json/scan_body.h"
