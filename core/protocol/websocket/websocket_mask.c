/* Unmasking a vector at a time: 16 bytes in the portable form (SSE2 on every x86-64), 32 where the processor has AVX2.
 * Four vectors a turn, each with its own OR, keep the loads independent. */
#include "protocol/websocket/websocket.h"

typedef uint64_t narrow __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint64_t wide __attribute__((vector_size(32), aligned(1), may_alias));

/* Below this many bytes the wide form's start costs more than it saves. */
#define WIDE_LEAST 256

/* Handles as many bytes as fit whole turns and gives their number. */
#define DEFINE_UNMASK(name, vector, attributes)                                                                        \
    attributes static size_t name(char *bytes, size_t length, uint64_t mask, uint64_t *seen)                           \
    {                                                                                                                  \
        vector masks = (vector){0} + mask, a = {0}, b = {0}, c = {0}, d = {0};                                         \
        size_t at = 0;                                                                                                 \
        for (; at + 4 * sizeof(vector) <= length; at += 4 * sizeof(vector)) {                                          \
            vector *to = (vector *)(bytes + at);                                                                       \
            a |= to[0] ^= masks;                                                                                       \
            b |= to[1] ^= masks;                                                                                       \
            c |= to[2] ^= masks;                                                                                       \
            d |= to[3] ^= masks;                                                                                       \
        }                                                                                                              \
        a |= b | c | d;                                                                                                \
        for (size_t i = 0; i < sizeof(vector) / sizeof(uint64_t); i++)                                                 \
            *seen |= a[i];                                                                                             \
        return at;                                                                                                     \
    }

DEFINE_UNMASK(unmask_narrow, narrow, )
#ifdef __x86_64__
DEFINE_UNMASK(unmask_wide, wide, __attribute__((target("avx2"))))
#endif

unsigned websocket_unmask(char *bytes, size_t length, uint32_t mask)
{
    uint64_t twice = (uint64_t)mask << 32 | mask, seen = 0;
    size_t at = 0;
#ifdef __x86_64__
    if (length >= WIDE_LEAST && __builtin_cpu_supports("avx2"))
        at = unmask_wide(bytes, length, twice, &seen);
#endif
    at += unmask_narrow(bytes + at, length - at, twice, &seen);
    for (; at + 8 <= length; at += 8) {
        uint64_t word;
        memcpy(&word, bytes + at, 8);
        word ^= twice;
        seen |= word;
        memcpy(bytes + at, &word, 8);
    }
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (at > 0 && at < length) {
        /* The last word once more, with a mask that leaves alone what is done: `at` is a multiple of 8, so the mask
         * starts afresh there. */
        uint64_t word;
        memcpy(&word, bytes + length - 8, 8);
        word ^= twice << (8 * (8 - (length - at)));
        seen |= word;
        memcpy(bytes + length - 8, &word, 8);
        at = length;
    }
#endif
    unsigned char key[4];
    memcpy(key, &mask, sizeof key);
    for (; at < length; at++) {
        bytes[at] = (char)(bytes[at] ^ key[at & 3]);
        seen |= (unsigned char)bytes[at];
    }
    seen |= seen >> 32;
    seen |= seen >> 16;
    seen |= seen >> 8;
    return seen & 0xff;
}
