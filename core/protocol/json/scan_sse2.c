/* The scanner with vectors of 16 bytes, which every x86-64 processor has. */
#include "protocol/json/scan.h"

#if defined(__x86_64__)
#include <emmintrin.h>

#define SCAN_FUNCTIONS scan_sse2
#define SCAN_NAME "sse2"
#define SCAN_WIDTH 16
#define MASK_INDEX(mask) ((unsigned)__builtin_ctz(mask))
typedef uint32_t scan_mask;

static inline __m128i load(const char *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

static inline scan_mask stops_in(__m128i bytes)
{
    __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
    return (scan_mask)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), control));
}

static inline scan_mask string_stops(const char *p)
{
    return stops_in(load(p));
}

static inline scan_mask string_stops_and_odd(const char *p, scan_mask *odd)
{
    __m128i bytes = load(p);
    __m128i is_delete = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
    *odd = (scan_mask)_mm_movemask_epi8(_mm_or_si128(is_delete, bytes)); /* the sign bit: not ASCII */
    return stops_in(bytes);
}

static inline scan_mask space_stops(const char *p)
{
    __m128i bytes = load(p);
    __m128i blank = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(' '));
    __m128i line = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\n'));
    __m128i carriage = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\r'));
    __m128i tab = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t'));
    __m128i any = _mm_or_si128(_mm_or_si128(blank, line), _mm_or_si128(carriage, tab));
    return (scan_mask)_mm_movemask_epi8(any) ^ 0xffff;
}

#include "protocol/json/scan_body.h"
#endif
