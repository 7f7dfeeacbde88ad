#include "base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/random.h"

static uint64_t seed;

void hash_start(void)
{
    seed = random_u64();
}

uint64_t hash_slice(struct slice text)
{
    return XXH3_64bits_withSeed(text.data, text.length, seed);
}
