/* The file of named tokens (auth.tokens): one JSON object a line; empty lines and lines that begin with # are left
 * alone.
 *
 *   {"name":"alice","sha256":"…","roles":["agent"],"clientIds":["alice"],"expires":"2027-01-01T00:00:00Z"}
 *
 * The token itself is in no file: it is 256 random bits, so there is no list of likely ones to try, and its plain
 * SHA-256 gives nothing away. A slow or salted hash, as passwords need, would only make every request dear. */
#ifndef LUADUCT_RUNTIME_TOKEN_FILE_H
#define LUADUCT_RUNTIME_TOKEN_FILE_H

#include "memory/buffer.h"
#include "protocol/json/json.h"
#include "protocol/json/text_store.h"
#include "runtime/identity/identity.h"

#define TOKEN_DIGEST_BYTES 32
#define TOKEN_NAME_BYTES 64 /* letters, digits and . _ - @ : it stands in logs and in owners */

/* Far above any real one; a longer file is some other file. */
#define TOKEN_FILE_BYTES (16u << 20)

/* What is known of a token. */
struct token_entry {
    unsigned char digest[TOKEN_DIGEST_BYTES];
    struct identity_source source; /* of kind IDENTITY_TOKEN; its lists are the arrays below */
    struct slice roles[IDENTITY_LIST_MAXIMUM], client_ids[IDENTITY_LIST_MAXIMUM], agent_roles[IDENTITY_LIST_MAXIMUM],
        labels[IDENTITY_LIST_MAXIMUM];
};

/* Reads one line that is neither empty nor a remark. Texts point into it or into the store. False: `error` says which
 * member is wrong. */
bool token_line_read(struct slice line, struct text_store *store, struct token_entry *out,
                     char error[ERROR_TEXT_BYTES]);

/* Whether the line holds a token. */
bool token_line_counts(struct slice line);

/* Appends the line of an entry, with its end. */
void token_line_write(struct buffer *out, const struct token_entry *entry);

bool token_name_valid(struct slice name);

/* What a token is known by. */
void token_digest(struct slice token, unsigned char out[TOKEN_DIGEST_BYTES]);

/* Reads the whole file. False: `error` says why not, in one line that begins with the path; for others than the owner
 * it may not be open to write. The caller frees *out either way. */
bool token_file_read(const char *path, struct buffer *out, char *error, size_t error_size);

/* Takes the next line off `rest`, without its end. False: there is none. */
bool token_file_next(struct slice *rest, struct slice *line);

#endif
