/* The keys that JSON Web Tokens are verified with, from the files and the secret that auth.jwt names. */
#ifndef LUADUCT_RUNTIME_JWT_KEYS_H
#define LUADUCT_RUNTIME_JWT_KEYS_H

#include "protocol/jwt/jwk.h"
#include "runtime/config/config.h"

/* *out gets one reference, or NULL where no keys are configured. False: `error` is one line with the config key, the
 * file and the key in it. Not on a reactor. */
bool jwt_keys_load(const struct config *config, struct jwk_set **out, char *error, size_t error_size);

#endif
