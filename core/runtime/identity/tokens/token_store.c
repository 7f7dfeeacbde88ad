/* Two chained tables over one array, by digest and by name, both with keyed hashes. */
#include "runtime/identity/tokens/token_store.h"

#include <mbedtls/platform_util.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/identity/tokens/token_file.h"

struct token {
    unsigned char digest[TOKEN_DIGEST_BYTES];
    struct identity *identity; /* a reference */
    struct token *next_digest, *next_name;
};

struct token_store {
    atomic_uint references;
    uint32_t count, chains; /* a power of two, at least 1 */
    struct token *tokens;
    struct token **by_digest, **by_name;
};

static struct token **digest_chain(const struct token_store *store, const unsigned char digest[TOKEN_DIGEST_BYTES])
{
    return &store->by_digest[hash_slice(slice_from((const char *)digest, TOKEN_DIGEST_BYTES)) & (store->chains - 1)];
}

static struct token **name_chain(const struct token_store *store, struct slice name)
{
    return &store->by_name[hash_slice(name) & (store->chains - 1)];
}

static bool digests_equal(const unsigned char *a, const unsigned char *b)
{
    unsigned different = 0;
    for (size_t i = 0; i < TOKEN_DIGEST_BYTES; i++)
        different |= a[i] ^ b[i];
    return different == 0;
}

static struct identity *find_digest(const struct token_store *store, const unsigned char digest[TOKEN_DIGEST_BYTES])
{
    for (const struct token *token = *digest_chain(store, digest); token; token = token->next_digest)
        if (digests_equal(token->digest, digest))
            return token->identity;
    return NULL;
}

struct identity *token_store_find(const struct token_store *store, struct slice token)
{
    unsigned char digest[TOKEN_DIGEST_BYTES];
    if (!store || store->count == 0 || token.length == 0)
        return NULL;
    token_digest(token, digest);
    struct identity *found = find_digest(store, digest);
    mbedtls_platform_zeroize(digest, sizeof digest);
    return found;
}

static const struct token *find_name(const struct token_store *store, struct slice name)
{
    for (const struct token *token = *name_chain(store, name); token; token = token->next_name)
        if (slice_equal(token->identity->name, name))
            return token;
    return NULL;
}

/* A token that was revoked and made anew under the same name is another one: so each identity carries a mark of its
 * own, the keyed hash of its digest. */
struct identity *token_store_same(const struct token_store *store, const struct identity *identity)
{
    const struct token *token = find_name(store, identity->name);
    return token && token->identity->mark == identity->mark ? token->identity : NULL;
}

uint32_t token_store_count(const struct token_store *store)
{
    return store->count;
}

struct identity *token_store_at(const struct token_store *store, uint32_t index)
{
    return store->tokens[index].identity;
}

/* --- Loading --- */

static struct token_store *new_store(uint32_t most)
{
    struct token_store *store = calloc(1, sizeof *store);
    if (!store)
        return NULL;
    atomic_init(&store->references, 1);
    for (store->chains = 1; store->chains < most; store->chains *= 2)
        ;
    store->tokens = calloc(most ? most : 1, sizeof *store->tokens);
    store->by_digest = calloc(store->chains, sizeof(struct token *));
    store->by_name = calloc(store->chains, sizeof(struct token *));
    if (store->tokens && store->by_digest && store->by_name)
        return store;
    token_store_release(store);
    return NULL;
}

/* False: `error` says why. */
static bool add(struct token_store *store, const struct token_entry *entry, char error[ERROR_TEXT_BYTES])
{
    struct token *token = &store->tokens[store->count];
    if (find_name(store, entry->source.name)) {
        snprintf(error, ERROR_TEXT_BYTES, "name: there is a token of this name above");
        return false;
    }
    if (store->count > 0 && find_digest(store, entry->digest)) {
        snprintf(error, ERROR_TEXT_BYTES, "sha256: this token is listed above under another name");
        return false;
    }
    struct identity_source source = entry->source;
    source.mark = hash_slice(slice_from((const char *)entry->digest, TOKEN_DIGEST_BYTES));
    token->identity = identity_new(&source);
    if (!token->identity) {
        snprintf(error, ERROR_TEXT_BYTES, "not enough memory");
        return false;
    }
    memcpy(token->digest, entry->digest, sizeof token->digest);
    struct token **chain = digest_chain(store, token->digest);
    token->next_digest = *chain;
    *chain = token;
    chain = name_chain(store, token->identity->name);
    token->next_name = *chain;
    *chain = token;
    store->count++;
    return true;
}

static struct token_store *read_lines(const char *path, struct slice text, char *error, size_t error_size)
{
    uint32_t lines = 1, number = 0;
    for (size_t i = 0; i < text.length; i++)
        lines += text.data[i] == '\n';
    struct token_store *store = new_store(lines);
    struct token_entry *entry = malloc(sizeof *entry);
    struct text_store texts = {0};
    char problem[ERROR_TEXT_BYTES] = "not enough memory";
    struct slice line;
    bool good = store && entry;
    while (good && token_file_next(&text, &line)) {
        number++;
        if (token_line_counts(line))
            good = token_line_read(line, &texts, entry, problem) && add(store, entry, problem);
        text_store_reset(&texts);
    }
    text_store_free(&texts);
    free(entry);
    if (good)
        return store;
    snprintf(error, error_size, "%s:%u: %s", path, number, problem);
    token_store_release(store);
    return NULL;
}

struct token_store *token_store_load(const char *path, char *error, size_t error_size)
{
    if (!path) {
        struct token_store *store = new_store(0);
        if (!store)
            snprintf(error, error_size, "not enough memory");
        return store;
    }
    struct buffer text = {0};
    struct token_store *store = NULL;
    char problem[4096 + 128];
    if (token_file_read(path, &text, problem, sizeof problem))
        store = read_lines(path, slice_from(text.data, text.length), error, error_size);
    else
        snprintf(error, error_size, "auth.tokens: %s", problem);
    buffer_free(&text);
    return store;
}

struct token_store *token_store_retain(struct token_store *store)
{
    if (store)
        atomic_fetch_add_explicit(&store->references, 1, memory_order_relaxed);
    return store;
}

void token_store_release(struct token_store *store)
{
    if (!store || atomic_fetch_sub_explicit(&store->references, 1, memory_order_acq_rel) > 1)
        return;
    for (uint32_t i = 0; i < store->count; i++)
        identity_release(store->tokens[i].identity);
    free(store->tokens);
    free(store->by_digest);
    free(store->by_name);
    free(store);
}
