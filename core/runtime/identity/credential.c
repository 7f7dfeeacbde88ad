#include "runtime/identity/credential.h"

bool credential_matches(const struct config *config, struct slice token)
{
    if (!config->auth.token)
        return false;
    /* Every byte of what was given is looked at, whatever the result: the time depends on its length alone. */
    struct slice wanted = slice_from_string(config->auth.token);
    unsigned different = token.length != wanted.length;
    for (size_t i = 0; i < token.length; i++)
        different |= (unsigned char)token.data[i] ^ (unsigned char)wanted.data[i % wanted.length];
    return different == 0;
}

struct slice credential_bearer(struct slice authorization)
{
    static const struct slice scheme = {"Bearer ", 7};
    if (authorization.length <= scheme.length ||
        !slice_equal_ignoring_case(slice_from(authorization.data, scheme.length), scheme))
        return slice_from(NULL, 0);
    struct slice token = slice_from(authorization.data + scheme.length, authorization.length - scheme.length);
    while (token.length > 0 && token.data[0] == ' ')
        token = slice_from(token.data + 1, token.length - 1);
    return token;
}
