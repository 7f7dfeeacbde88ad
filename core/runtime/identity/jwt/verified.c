/* A table of fixed size, four places a row; the row is chosen by the digest, and the place that was filled longest ago
 * goes first. Whoever wants to fill it needs tokens with good signatures. */
#include "runtime/identity/jwt/verified.h"

#include <mbedtls/sha256.h>

#include "base/threads/lock.h"

/* 128 KiB: as many tokens as a large bridge has agents; one that finds no place is verified again. */
#define ROWS 1024u
#define PLACES 4u

static struct {
    struct lock lock;
    struct row {
        unsigned char digests[PLACES][VERIFIED_DIGEST_BYTES];
        unsigned char filled, next;
    } rows[ROWS];
} table = {.lock = LOCK_INITIALIZER};

void verified_digest(const struct jwk_set *keys, struct slice token, unsigned char out[VERIFIED_DIGEST_BYTES])
{
    mbedtls_sha256_context hash;
    mbedtls_sha256_init(&hash);
    mbedtls_sha256_starts_ret(&hash, 0);
    mbedtls_sha256_update_ret(&hash, jwk_set_fingerprint(keys), JWK_FINGERPRINT_BYTES);
    mbedtls_sha256_update_ret(&hash, (const unsigned char *)token.data, token.length);
    mbedtls_sha256_finish_ret(&hash, out);
    mbedtls_sha256_free(&hash);
}

static struct row *row_of(const unsigned char digest[VERIFIED_DIGEST_BYTES])
{
    return &table.rows[(digest[0] | (unsigned)digest[1] << 8) % ROWS];
}

static bool holds(const struct row *row, const unsigned char digest[VERIFIED_DIGEST_BYTES])
{
    for (unsigned i = 0; i < row->filled; i++)
        if (memcmp(row->digests[i], digest, VERIFIED_DIGEST_BYTES) == 0)
            return true;
    return false;
}

bool verified_knows(const unsigned char digest[VERIFIED_DIGEST_BYTES])
{
    lock_acquire(&table.lock);
    bool known = holds(row_of(digest), digest);
    lock_release(&table.lock);
    return known;
}

void verified_add(const unsigned char digest[VERIFIED_DIGEST_BYTES])
{
    struct row *row = row_of(digest);
    lock_acquire(&table.lock);
    if (!holds(row, digest)) {
        memcpy(row->digests[row->next], digest, VERIFIED_DIGEST_BYTES);
        row->next = (unsigned char)((row->next + 1) % PLACES);
        row->filled = row->filled < PLACES ? (unsigned char)(row->filled + 1) : row->filled;
    }
    lock_release(&table.lock);
}
