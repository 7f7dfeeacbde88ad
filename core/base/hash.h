/* Keyed hashing of text that peers choose: the key is random per process, so that nobody outside can aim for one
 * bucket, nor find texts that meet whatever the key is. SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast
 * short-input PRF"): 13 ns for an id of 8 bytes, 20 ns for a UUID; an unkeyed hash of today takes 10. */
#ifndef LUADUCT_BASE_HASH_H
#define LUADUCT_BASE_HASH_H

#include <stdint.h>

#include "base/slice.h"

/* Draws the key. Call once, before any other thread starts. */
void hash_start(void);

/* The key, for another process of this bridge that is to give the same hashes, and taking over such a key, in the place
 * of hash_start. */
void hash_key(uint64_t out[2]);
void hash_adopt(const uint64_t key[2]);

/* Any thread, after hash_start. */
uint64_t hash_slice(struct slice text);

/* SipHash with that key and number of rounds for each word and at the end; for its test vectors. */
uint64_t hash_sip(const uint64_t key[2], unsigned word_rounds, unsigned end_rounds, struct slice text);

#endif
