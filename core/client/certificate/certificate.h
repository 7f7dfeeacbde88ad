/* X.509 certificates for developing and testing (RFC 5280): keys on P-256, signed with ECDSA and SHA-256, all in memory
 * and in PEM. No file is read or written here. One thread. */
#ifndef LUADUCT_CLIENT_CERTIFICATE_CERTIFICATE_H
#define LUADUCT_CLIENT_CERTIFICATE_CERTIFICATE_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

enum certificate_kind {
    CERTIFICATE_AUTHORITY, /* signs the others; valid for ten years */
    CERTIFICATE_SERVER,    /* serverAuth */
    CERTIFICATE_AGENT,     /* clientAuth; subjectAltName: the URIs luaduct:agent:NAME and luaduct:role:agent */
};

#define CERTIFICATE_NAMES_MAXIMUM 32 /* of a server; more would be a mistake, and they all fit into a PEM */
#define CERTIFICATE_PEM_SIZE 16384
#define CERTIFICATE_KEY_SIZE 1024

struct certificate {
    char pem[CERTIFICATE_PEM_SIZE];
    char key[CERTIFICATE_KEY_SIZE]; /* whoever is done with it wipes it: certificate_forget */
    time_t until;
};

/* What a certificate says of its holder. */
struct certificate_subject {
    enum certificate_kind kind;
    const char *name;         /* the common name; see certificate_is_name */
    const char *const *names; /* a server's: DNS names and IP addresses for subjectAltName */
    size_t name_count;
};

/* Whether the text may name an agent or an authority here: 1 to 64 (X.520's bound of a common name) letters, digits,
 * and . _ - so that it means the same in a name, a URI and a path. */
bool certificate_is_name(const char *text);

/* Whether the text is an IP address or a DNS name of at most 253 bytes, one leading *. included. */
bool certificate_is_host(const char *text);

/* Makes a key, and a certificate of it that the authority signs; NULL: that signs itself. The authority's `pem` and
 * `key` may come from files. False: a line in `error` says why not. */
#define CERTIFICATE_ERROR_SIZE 160
bool certificate_make(struct certificate *made, const struct certificate_subject *subject,
                      const struct certificate *authority, char error[CERTIFICATE_ERROR_SIZE]);

void certificate_forget(struct certificate *certificate);

#endif
