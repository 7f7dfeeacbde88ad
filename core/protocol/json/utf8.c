/* Whole texts: with AVX2, the range check of John Keiser and Daniel Lemire, "Validating UTF-8 In Less Than One
 * Instruction Per Byte": three table look-ups on the nibbles of two neighbouring bytes find every two-byte error, and a
 * saturating subtraction finds where third and fourth bytes must stand. Blocks of ASCII skip that. Without AVX2: ASCII
 * by vectors, the rest byte by byte. Only the slower way knows where an error is, so it is asked again for that. */
#include "protocol/json/utf8.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* The bytes that may follow a first byte (Unicode 15, table 3-7). False when none may be first. */
static inline bool begin_character(struct utf8_stream *stream, unsigned char byte)
{
    stream->low = 0x80;
    stream->high = 0xbf;
    if (byte < 0x80) {
        stream->missing = 0;
    } else if (byte >= 0xc2 && byte <= 0xdf) {
        stream->missing = 1;
    } else if (byte >= 0xe0 && byte <= 0xef) {
        stream->missing = 2;
        if (byte == 0xe0)
            stream->low = 0xa0;
        else if (byte == 0xed)
            stream->high = 0x9f;
    } else if (byte >= 0xf0 && byte <= 0xf4) {
        stream->missing = 3;
        if (byte == 0xf0)
            stream->low = 0x90;
        else if (byte == 0xf4)
            stream->high = 0x8f;
    } else {
        return false;
    }
    return true;
}

static inline bool take_byte(struct utf8_stream *stream, unsigned char byte)
{
    if (stream->missing == 0)
        return begin_character(stream, byte);
    if (byte < stream->low || byte > stream->high)
        return false;
    stream->missing--;
    stream->low = 0x80;
    stream->high = 0xbf;
    return true;
}

/* Bytes of ASCII at the start, whole vectors only. */
static inline size_t skip_ascii(const char *data, size_t length)
{
    size_t done = 0;
#if defined(__SSE2__)
    while (length - done >= 16 && _mm_movemask_epi8(_mm_loadu_si128((const __m128i *)(data + done))) == 0)
        done += 16;
#else
    uint64_t word;
    while (length - done >= 8 && (memcpy(&word, data + done, 8), (word & 0x8080808080808080u) == 0))
        done += 8;
#endif
    return done;
}

size_t utf8_valid_length(const char *data, size_t length)
{
    struct utf8_stream state = {0};
    size_t character = 0; /* where the character in hand begins */
    for (size_t at = 0; at < length; at++) {
        if (state.missing == 0) {
            at += skip_ascii(data + at, length - at);
            character = at;
            if (at == length)
                break;
        }
        if (!take_byte(&state, (unsigned char)data[at]))
            return character;
    }
    return state.missing == 0 ? length : character;
}

#if defined(__x86_64__)
enum {
    TOO_SHORT = 1 << 0,      /* a first byte, then no continuation */
    TOO_LONG = 1 << 1,       /* ASCII, then a continuation */
    OVERLONG_3 = 1 << 2,     /* E0, then below A0 */
    TOO_LARGE = 1 << 3,      /* F4, then above 8F */
    SURROGATE = 1 << 4,      /* ED, then above 9F */
    OVERLONG_2 = 1 << 5,     /* C0 or C1 */
    TOO_LARGE_1000 = 1 << 6, /* F5 and above */
    OVERLONG_4 = 1 << 6,     /* F0, then below 90; shares a bit: the second nibbles tell them apart */
    TWO_CONTINUATIONS = 1 << 7,
    ANY_LOW = TOO_SHORT | TOO_LONG | TWO_CONTINUATIONS,
    ANY_SECOND = TOO_LONG | OVERLONG_2 | TWO_CONTINUATIONS,
};

#define TABLE(...) _mm256_setr_epi8(__VA_ARGS__, __VA_ARGS__)

__attribute__((target("avx2"))) static inline __m256i block_errors(__m256i input, __m256i before)
{
    const __m256i nibble = _mm256_set1_epi8(0x0f);
    const __m256i by_first_high =
        TABLE(TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, (char)TWO_CONTINUATIONS,
              (char)TWO_CONTINUATIONS, (char)TWO_CONTINUATIONS, (char)TWO_CONTINUATIONS, TOO_SHORT | OVERLONG_2,
              TOO_SHORT, TOO_SHORT | OVERLONG_3 | SURROGATE, TOO_SHORT | TOO_LARGE | TOO_LARGE_1000 | OVERLONG_4);
    const char large = (char)(ANY_LOW | TOO_LARGE | TOO_LARGE_1000);
    const __m256i by_first_low =
        TABLE((char)(ANY_LOW | OVERLONG_3 | OVERLONG_2 | OVERLONG_4), (char)(ANY_LOW | OVERLONG_2), (char)ANY_LOW,
              (char)ANY_LOW, (char)(ANY_LOW | TOO_LARGE), large, large, large, large, large, large, large, large,
              (char)(large | SURROGATE), large, large);
    const __m256i by_second_high =
        TABLE(TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT,
              (char)(ANY_SECOND | OVERLONG_3 | TOO_LARGE_1000 | OVERLONG_4),
              (char)(ANY_SECOND | OVERLONG_3 | TOO_LARGE), (char)(ANY_SECOND | SURROGATE | TOO_LARGE),
              (char)(ANY_SECOND | SURROGATE | TOO_LARGE), TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT);

    __m256i shifted = _mm256_permute2x128_si256(before, input, 0x21);
    __m256i one_back = _mm256_alignr_epi8(input, shifted, 15);
    __m256i two_back = _mm256_alignr_epi8(input, shifted, 14);
    __m256i three_back = _mm256_alignr_epi8(input, shifted, 13);
    __m256i pairs = _mm256_and_si256(
        _mm256_and_si256(_mm256_shuffle_epi8(by_first_high, _mm256_and_si256(_mm256_srli_epi16(one_back, 4), nibble)),
                         _mm256_shuffle_epi8(by_first_low, _mm256_and_si256(one_back, nibble))),
        _mm256_shuffle_epi8(by_second_high, _mm256_and_si256(_mm256_srli_epi16(input, 4), nibble)));
    /* High bit set where a third or fourth byte must stand: there, and only there, two continuations are right. */
    __m256i third = _mm256_subs_epu8(two_back, _mm256_set1_epi8(0xe0 - 0x80));
    __m256i fourth = _mm256_subs_epu8(three_back, _mm256_set1_epi8(0xf0 - 0x80));
    __m256i must = _mm256_and_si256(_mm256_or_si256(third, fourth), _mm256_set1_epi8((char)0x80));
    return _mm256_xor_si256(must, pairs);
}

__attribute__((target("avx2"))) static bool valid_avx2(const char *data, size_t length)
{
    size_t at = 0;
    __m256i before = _mm256_setzero_si256(), errors = _mm256_setzero_si256();
    bool open = false; /* the block before was not all ASCII, so a character may reach over its end */
    while (at < length) {
        if (!open && length - at >= 128) {
            const __m256i *from = (const __m256i *)(data + at);
            __m256i all = _mm256_or_si256(_mm256_or_si256(_mm256_loadu_si256(from), _mm256_loadu_si256(from + 1)),
                                          _mm256_or_si256(_mm256_loadu_si256(from + 2), _mm256_loadu_si256(from + 3)));
            if (_mm256_movemask_epi8(all) == 0) {
                at += 128;
                before = _mm256_setzero_si256();
                continue;
            }
        }
        __m256i input;
        if (length - at >= 32) {
            input = _mm256_loadu_si256((const __m256i *)(data + at));
        } else {
            char last[32] = {0};
            memcpy(last, data + at, length - at);
            input = _mm256_loadu_si256((const __m256i *)last);
        }
        bool ascii = _mm256_movemask_epi8(input) == 0;
        if (open || !ascii)
            errors = _mm256_or_si256(errors, block_errors(input, before));
        before = input;
        open = !ascii;
        at += 32;
    }
    /* A block of zeros after the end: a character that still lacks bytes shows as too short. */
    if (open)
        errors = _mm256_or_si256(errors, block_errors(_mm256_setzero_si256(), before));
    return _mm256_testz_si256(errors, errors);
}
#endif

bool utf8_valid(const char *data, size_t length)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2"))
        return valid_avx2(data, length);
#endif
    return utf8_valid_length(data, length) == length;
}

/* How many bytes at the end begin a character that the text does not finish: 0 to 3. */
static size_t unfinished_tail(const char *data, size_t length)
{
    for (size_t back = 1; back <= 3 && back <= length; back++) {
        unsigned char byte = (unsigned char)data[length - back];
        if (byte < 0x80)
            return 0;
        if (byte >= 0xc0)
            return back < (byte >= 0xf0 ? 4u : byte >= 0xe0 ? 3u : 2u) ? back : 0;
    }
    return 0;
}

bool utf8_stream_feed(struct utf8_stream *stream, const char *data, size_t length)
{
    if (stream->failed)
        return false;
    size_t at = 0;
    bool good = true;
    while (good && stream->missing > 0 && at < length)
        good = take_byte(stream, (unsigned char)data[at++]);
    if (good && at < length) {
        size_t tail = unfinished_tail(data + at, length - at);
        good = utf8_valid(data + at, length - at - tail);
        for (at = length - tail; good && at < length; at++)
            good = take_byte(stream, (unsigned char)data[at]);
    }
    stream->failed = !good;
    return good;
}

bool utf8_printable(struct slice text)
{
    if (!utf8_valid(text.data, text.length))
        return false;
    for (size_t i = 0; i < text.length; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if (byte < 0x20 || byte == 0x7f)
            return false;
        if (byte == 0xc2 && (unsigned char)text.data[i + 1] < 0xa0)
            return false;
    }
    return true;
}

unsigned utf8_encode(uint32_t code_point, char out[4])
{
    if (code_point < 0x80) {
        out[0] = (char)code_point;
        return 1;
    }
    if (code_point < 0x800) {
        out[0] = (char)(0xc0 | code_point >> 6);
        out[1] = (char)(0x80 | (code_point & 0x3f));
        return 2;
    }
    if (code_point < 0x10000) {
        out[0] = (char)(0xe0 | code_point >> 12);
        out[1] = (char)(0x80 | (code_point >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code_point & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code_point >> 18);
    out[1] = (char)(0x80 | (code_point >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code_point >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code_point & 0x3f));
    return 4;
}
