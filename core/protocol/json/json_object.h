/* Objects in which a name that stands twice would be a trap: two readers could take two different values (RFC 7519 4,
 * RFC 8725). Over text that json_validate accepted. Any thread. */
#ifndef LUADUCT_PROTOCOL_JSON_OBJECT_H
#define LUADUCT_PROTOCOL_JSON_OBJECT_H

#include <stdbool.h>

#include "protocol/json/json.h"

/* Comparing each name with each other is quick up to here, and no token or key has nearly as many members. */
#define JSON_OBJECT_MEMBERS_MAXIMUM 128

/* Whether the value is an object of at most so many members, no two names of which mean the same text. Names with
 * escapes may have 256 bytes, and no lone surrogate. */
bool json_object_is_strict(struct slice value);

/* The member's value; length 0: there is none. */
struct slice json_object_get(struct slice object, struct slice name);

#endif
