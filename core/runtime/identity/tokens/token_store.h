/* Named tokens: an immutable snapshot of their file. Which one is in use: standing.h. */
#ifndef LUADUCT_RUNTIME_TOKEN_STORE_H
#define LUADUCT_RUNTIME_TOKEN_STORE_H

#include "runtime/identity/identity.h"

struct token_store;

/* Reads the file; NULL path: a store without tokens. One reference for the caller. NULL: `error` is one line, with
 * `file:line:` where a line is wrong; two tokens of one name, and one token twice, are wrong too. Not on a reactor. */
struct token_store *token_store_load(const char *path, char *error, size_t error_size);

struct token_store *token_store_retain(struct token_store *store);
void token_store_release(struct token_store *store); /* NULL is fine */

uint32_t token_store_count(const struct token_store *store);

/* The identity of the token at `index`, below the count; borrowed. */
struct identity *token_store_at(const struct token_store *store, uint32_t index);

/* The identity of that token, borrowed; NULL: it is none. Takes the same time for every wrong token: what is compared
 * is a digest, found by a keyed hash of it, and byte for byte. Any thread. */
struct identity *token_store_find(const struct token_store *store, struct slice token);

/* What an identity that came from another store is in this one, borrowed: of the same name, and by the same token.
 * NULL: there is none (any more). */
struct identity *token_store_same(const struct token_store *store, const struct identity *identity);

#endif
