/* The certificates in use: made from the configuration at the start and at each reload, given to whoever shakes hands.
 * Open connections keep what they began with, but for those whose client certificate the new authorities and revocation
 * lists do not let in: standing_review_certificates ends them. */
#ifndef LUADUCT_RUNTIME_CERTIFICATES_H
#define LUADUCT_RUNTIME_CERTIFICATES_H

#include <stdbool.h>
#include <stddef.h>

#include "net/tls/tls_context.h"

struct config;

/* What the configuration's `tls` names, read from its files. True with *out NULL: it names nothing, the ports are
 * plain. False: *error says in one line which key is wrong. Main, the loader, or `luaduct check`. */
bool certificates_load(const struct config *config, struct tls_context **out, char *error, size_t size);

/* Brings it into use and takes the reference; one that has the same contents as the one in use lets that one stay, with
 * its tickets. Main or the loader. False: there are no threads to shake hands; *error says why. */
bool certificates_use(const struct config *config, struct tls_context *context, char *error, size_t size);

/* Days until the first of the certificates in use runs out, our own and the authorities'; NaN: there is none. Any
 * thread. */
double certificates_days_left(void);

/* Main, when nobody shakes hands any more. */
void certificates_stop(void);

/* Any thread: whether the ports speak TLS, and by which certificates (a reference; NULL: by none). */
bool certificates_in_use(void);
struct tls_context *certificates_current(void);

#endif
