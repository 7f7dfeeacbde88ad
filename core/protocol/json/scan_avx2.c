/* The scanner with vectors of 32 bytes. scan_best() calls it only where the processor has AVX2, BMI1 and BMI2. */
#include "protocol/json/scan.h"

#if defined(__x86_64__)
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi,bmi2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,bmi,bmi2")
#endif

#define SCAN_FUNCTIONS scan_avx2
#define SCAN_NAME "avx2"
#define SCAN_WIDTH 32
#define MASK_INDEX(mask) ((unsigned)__builtin_ctz(mask))
typedef uint32_t scan_mask;

static inline __m256i load(const char *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

static inline scan_mask stops_in(__m256i bytes)
{
    const __m256i last_control = _mm256_set1_epi8(0x1f);
    __m256i quote = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('"'));
    __m256i backslash = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\\'));
    __m256i control = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, last_control), bytes);
    return (scan_mask)_mm256_movemask_epi8(_mm256_or_si256(_mm256_or_si256(quote, backslash), control));
}

static inline scan_mask string_stops(const char *p)
{
    return stops_in(load(p));
}

static inline scan_mask string_stops_and_odd(const char *p, scan_mask *odd)
{
    __m256i bytes = load(p);
    __m256i is_delete = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(0x7f));
    *odd = (scan_mask)_mm256_movemask_epi8(_mm256_or_si256(is_delete, bytes)); /* the sign bit: not ASCII */
    return stops_in(bytes);
}

static inline scan_mask space_stops(const char *p)
{
    __m256i bytes = load(p);
    __m256i blank = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(' '));
    __m256i line = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\n'));
    __m256i carriage = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\r'));
    __m256i tab = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\t'));
    __m256i any = _mm256_or_si256(_mm256_or_si256(blank, line), _mm256_or_si256(carriage, tab));
    return ~(scan_mask)_mm256_movemask_epi8(any);
}

#include "protocol/json/scan_body.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
