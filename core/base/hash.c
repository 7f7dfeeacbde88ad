#include "base/hash.h"

#include <string.h>

#include "base/random.h"

static uint64_t key[2];

void hash_start(void)
{
    key[0] = random_u64();
    key[1] = random_u64();
}

void hash_key(uint64_t out[2])
{
    memcpy(out, key, sizeof key);
}

void hash_adopt(const uint64_t other[2])
{
    memcpy(key, other, sizeof key);
}

static inline uint64_t rotate(uint64_t word, unsigned bits)
{
    return word << bits | word >> (64 - bits);
}

static inline void rounds(uint64_t v[4], unsigned count)
{
    while (count-- > 0) {
        v[0] += v[1], v[2] += v[3];
        v[1] = rotate(v[1], 13) ^ v[0], v[3] = rotate(v[3], 16) ^ v[2];
        v[0] = rotate(v[0], 32);
        v[2] += v[1], v[0] += v[3];
        v[1] = rotate(v[1], 17) ^ v[2], v[3] = rotate(v[3], 21) ^ v[0];
        v[2] = rotate(v[2], 32);
    }
}

static inline uint64_t read_word(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? __builtin_bswap64(word) : word;
}

/* The last 0 to 7 bytes, in the low end of a word. Each case reads only what is there. */
static inline uint64_t read_rest(const char *at, size_t count)
{
    uint64_t word = 0;
    for (size_t i = 0; i < count; i++)
        word |= (uint64_t)(unsigned char)at[i] << (8 * i);
    return word;
}

static inline uint64_t sip(const uint64_t with[2], unsigned word_rounds, unsigned end_rounds, struct slice text)
{
    uint64_t v[4] = {with[0] ^ 0x736f6d6570736575u, with[1] ^ 0x646f72616e646f6du, with[0] ^ 0x6c7967656e657261u,
                     with[1] ^ 0x7465646279746573u};
    size_t at = 0;
    for (; text.length - at >= 8; at += 8) {
        uint64_t word = read_word(text.data + at);
        v[3] ^= word;
        rounds(v, word_rounds);
        v[0] ^= word;
    }
    uint64_t last = (uint64_t)text.length << 56 | read_rest(text.data + at, text.length - at);
    v[3] ^= last;
    rounds(v, word_rounds);
    v[0] ^= last;
    v[2] ^= 0xff;
    rounds(v, end_rounds);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t hash_slice(struct slice text)
{
    return sip(key, 1, 3, text);
}

uint64_t hash_sip(const uint64_t with[2], unsigned word_rounds, unsigned end_rounds, struct slice text)
{
    return sip(with, word_rounds, end_rounds, text);
}
