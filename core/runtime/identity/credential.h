/* The shared token: who showed it may speak. */
#ifndef LUADUCT_RUNTIME_CREDENTIAL_H
#define LUADUCT_RUNTIME_CREDENTIAL_H

#include "base/slice.h"
#include "runtime/config/config.h"

/* Whether the text is the configured token, in a time that tells nothing of where it differs. False when none is
 * configured. Any thread. */
bool credential_matches(const struct config *config, struct slice token);

/* The token of an `Authorization: Bearer …` value (RFC 6750 2.1); empty when it is something else. */
struct slice credential_bearer(struct slice authorization);

#endif
