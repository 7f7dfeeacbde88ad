#include "base/random.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* One refill makes this many blocks at once, a lane of the vector registers each. */
#define BLOCKS 4
#define REKEY_AFTER_BYTES (1u << 20)

struct stream {
    uint32_t key[8];
    uint64_t counter;
    size_t position;
    size_t since_rekey;
    int keyed;
    unsigned char buffer[BLOCKS * 64];
};

static _Thread_local struct stream stream;

/* Word i of all blocks side by side: the compiler keeps each in vector registers. */
typedef uint32_t words __attribute__((vector_size(4 * BLOCKS)));

static inline words rotate(words value, int bits)
{
    return value << bits | value >> (32 - bits);
}

#define QUARTER(a, b, c, d)                                                                                            \
    do {                                                                                                               \
        a += b, d = rotate(d ^ a, 16);                                                                                 \
        c += d, b = rotate(b ^ c, 12);                                                                                 \
        a += b, d = rotate(d ^ a, 8);                                                                                  \
        c += d, b = rotate(b ^ c, 7);                                                                                  \
    } while (0)

/* BLOCKS blocks with counters counter, counter + 1 …; their words lie interleaved in the output, which is as good for
 * randomness as one block after the other. */
static void chacha8_blocks(const uint32_t key[8], uint64_t counter, unsigned char out[BLOCKS * 64])
{
    words start[16], x[16];
    static const uint32_t constants[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    for (int i = 0; i < 4; i++)
        start[i] = (words){0} + constants[i];
    for (int i = 0; i < 8; i++)
        start[4 + i] = (words){0} + key[i];
    for (int block = 0; block < BLOCKS; block++) {
        start[12][block] = (uint32_t)(counter + (uint64_t)block);
        start[13][block] = (uint32_t)((counter + (uint64_t)block) >> 32);
    }
    start[14] = start[15] = (words){0};
    memcpy(x, start, sizeof x);
    for (int round = 0; round < 4; round++) {
        QUARTER(x[0], x[4], x[8], x[12]);
        QUARTER(x[1], x[5], x[9], x[13]);
        QUARTER(x[2], x[6], x[10], x[14]);
        QUARTER(x[3], x[7], x[11], x[15]);
        QUARTER(x[0], x[5], x[10], x[15]);
        QUARTER(x[1], x[6], x[11], x[12]);
        QUARTER(x[2], x[7], x[8], x[13]);
        QUARTER(x[3], x[4], x[9], x[14]);
    }
    for (int i = 0; i < 16; i++)
        x[i] += start[i];
    memcpy(out, x, sizeof x);
}

bool random_kernel_bytes(void *out, size_t length)
{
    for (size_t got = 0; got < length;) {
        ssize_t n = getrandom((char *)out + got, length - got, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        got += (size_t)n;
    }
    return true;
}

static void rekey(void)
{
    uint32_t fresh[8];
    if (!random_kernel_bytes(fresh, sizeof fresh))
        abort(); /* no id of ours would be safe */
    for (int i = 0; i < 8; i++)
        stream.key[i] ^= fresh[i];
    stream.since_rekey = 0;
    stream.keyed = 1;
}

static void refill(void)
{
    if (!stream.keyed || stream.since_rekey >= REKEY_AFTER_BYTES)
        rekey();
    chacha8_blocks(stream.key, stream.counter, stream.buffer);
    stream.counter += BLOCKS;
    /* The first 32 bytes become the next key, so that what was given out cannot be computed back. */
    memcpy(stream.key, stream.buffer, sizeof stream.key);
    stream.position = sizeof stream.key;
    stream.since_rekey += sizeof stream.buffer;
}

void random_bytes(void *out, size_t length)
{
    unsigned char *to = out;
    while (length > 0) {
        if (!stream.keyed || stream.position == sizeof stream.buffer)
            refill();
        size_t n = sizeof stream.buffer - stream.position;
        if (n > length)
            n = length;
        memcpy(to, stream.buffer + stream.position, n);
        stream.position += n;
        to += n;
        length -= n;
    }
}

uint64_t random_u64(void)
{
    uint64_t value;
    random_bytes(&value, sizeof value);
    return value;
}

/* Sixteen bytes as 32 lower-case hexadecimal digits. */
#ifdef __SSE2__
static inline __m128i digits_of(__m128i nibbles)
{
    __m128i letters = _mm_and_si128(_mm_cmpgt_epi8(nibbles, _mm_set1_epi8(9)), _mm_set1_epi8('a' - '0' - 10));
    return _mm_add_epi8(_mm_add_epi8(nibbles, _mm_set1_epi8('0')), letters);
}

static inline void write_hex(const unsigned char bytes[16], char out[32])
{
    __m128i low_nibbles = _mm_set1_epi8(15), all = _mm_loadu_si128((const __m128i *)bytes);
    __m128i high = digits_of(_mm_and_si128(_mm_srli_epi16(all, 4), low_nibbles));
    __m128i low = digits_of(_mm_and_si128(all, low_nibbles));
    _mm_storeu_si128((__m128i *)out, _mm_unpacklo_epi8(high, low));
    _mm_storeu_si128((__m128i *)(out + 16), _mm_unpackhi_epi8(high, low));
}
#else
static inline void write_hex(const unsigned char bytes[16], char out[32])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
}
#endif

void uuid_format(char out[UUID_LENGTH])
{
    unsigned char bytes[16];
    char hex[32];
    if (__builtin_expect(stream.position + sizeof bytes <= sizeof stream.buffer && stream.keyed, 1)) {
        memcpy(bytes, stream.buffer + stream.position, sizeof bytes);
        stream.position += sizeof bytes;
    } else {
        random_bytes(bytes, sizeof bytes);
    }
    bytes[6] = (unsigned char)(0x40 | (bytes[6] & 0x0f));
    bytes[8] = (unsigned char)(0x80 | (bytes[8] & 0x3f));
    write_hex(bytes, hex);
    memcpy(out, hex, 8);
    memcpy(out + 9, hex + 8, 4);
    memcpy(out + 14, hex + 12, 4);
    memcpy(out + 19, hex + 16, 4);
    memcpy(out + 24, hex + 20, 12);
    out[8] = out[13] = out[18] = out[23] = '-';
}
