#include "base/random.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* One refill makes this many blocks, so that the quarter rounds of four blocks can share vector registers. */
#define BLOCKS 8
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

static inline uint32_t rotate(uint32_t value, int bits)
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

static void chacha8_block(const uint32_t key[8], uint64_t counter, unsigned char out[64])
{
    uint32_t start[16] = {0x61707865,
                          0x3320646e,
                          0x79622d32,
                          0x6b206574,
                          key[0],
                          key[1],
                          key[2],
                          key[3],
                          key[4],
                          key[5],
                          key[6],
                          key[7],
                          (uint32_t)counter,
                          (uint32_t)(counter >> 32),
                          0,
                          0};
    uint32_t x[16];
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
    memcpy(out, x, 64);
}

static void rekey(void)
{
    uint32_t fresh[8];
    size_t got = 0;
    while (got < sizeof fresh) {
        ssize_t n = getrandom((char *)fresh + got, sizeof fresh - got, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            abort(); /* a kernel without getrandom: no id of ours would be safe */
        got += (size_t)n;
    }
    for (int i = 0; i < 8; i++)
        stream.key[i] ^= fresh[i];
    stream.since_rekey = 0;
    stream.keyed = 1;
}

static void refill(void)
{
    if (!stream.keyed || stream.since_rekey >= REKEY_AFTER_BYTES)
        rekey();
    for (int i = 0; i < BLOCKS; i++)
        chacha8_block(stream.key, stream.counter++, stream.buffer + i * 64);
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
        memset(stream.buffer + stream.position, 0, n);
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

void uuid_format(char out[UUID_LENGTH])
{
    static const char hex[] = "0123456789abcdef";
    unsigned char bytes[16];
    random_bytes(bytes, sizeof bytes);
    bytes[6] = (unsigned char)(0x40 | (bytes[6] & 0x0f));
    bytes[8] = (unsigned char)(0x80 | (bytes[8] & 0x3f));
    char *p = out;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *p++ = '-';
        *p++ = hex[bytes[i] >> 4];
        *p++ = hex[bytes[i] & 15];
    }
}
