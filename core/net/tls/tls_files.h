/* The files of a TLS context, read once and judged before anything is made of them. */
#ifndef LUADUCT_NET_TLS_FILES_H
#define LUADUCT_NET_TLS_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "net/tls/tls_context.h"

/* A file's bytes with a NUL behind them, as the library's PEM reader wants them; `length` counts it. */
struct tls_file {
    unsigned char *bytes;
    size_t length;
};

struct tls_files {
    struct tls_file *certificates, *keys; /* one for each pair */
    size_t pair_count;
    struct tls_file client_ca, crl; /* empty where there is none */
};

/* Reads and checks all: that each parses, that keys and certificates belong together and hold now, that revocation
 * lists are of those who sign. False: *error says what is wrong; nothing is left to free. */
bool tls_files_read(struct tls_files *out, const struct tls_options *options, char *error, size_t size);

/* Wipes the keys. */
void tls_files_free(struct tls_files *files);

#endif
