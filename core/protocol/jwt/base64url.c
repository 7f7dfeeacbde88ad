#include "protocol/jwt/base64url.h"

#include <stdint.h>

static int value_of(char character)
{
    if (character >= 'A' && character <= 'Z')
        return character - 'A';
    if (character >= 'a' && character <= 'z')
        return character - 'a' + 26;
    if (character >= '0' && character <= '9')
        return character - '0' + 52;
    return character == '-' ? 62 : character == '_' ? 63 : -1;
}

bool base64url_decode(struct slice text, unsigned char *out, size_t capacity, size_t *length)
{
    uint32_t bits = 0;
    unsigned held = 0; /* bits of `bits` that are not written yet */
    *length = 0;
    for (size_t i = 0; i < text.length; i++) {
        int value = value_of(text.data[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held >= 8) {
            if (*length == capacity)
                return false;
            held -= 8;
            out[(*length)++] = (unsigned char)(bits >> held);
            bits &= (1u << held) - 1;
        }
    }
    return held < 6 && bits == 0;
}
