/* Unguessable random bytes at user-space cost: a per-thread ChaCha8 stream (RFC 8439's block function with 8 rounds),
 * keyed from getrandom(2) and rekeyed from its own output and the kernel every megabyte. For ids, masks and hash seeds;
 * for keys of cryptography the kernel is asked itself. */
#ifndef LUADUCT_BASE_RANDOM_H
#define LUADUCT_BASE_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void random_bytes(void *out, size_t length); /* any thread */
uint64_t random_u64(void);                   /* any thread */

/* Of getrandom(2). False: this kernel has none. Any thread. */
bool random_kernel_bytes(void *out, size_t length);

#define UUID_LENGTH 36

/* A version 4 UUID (RFC 9562 5.4) in lower-case text, 36 bytes, no NUL. Any thread. */
void uuid_format(char out[UUID_LENGTH]);

#endif
