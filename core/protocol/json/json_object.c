#include "protocol/json/json_object.h"

#define ESCAPED_NAME_BYTES 256

bool json_object_is_strict(struct slice value)
{
    if (json_kind(value) != JSON_OBJECT)
        return false;
    struct slice names[JSON_OBJECT_MEMBERS_MAXIMUM], rest = value, name, member;
    size_t count = 0;
    while (json_next_member(&rest, &name, &member)) {
        char unescaped[ESCAPED_NAME_BYTES];
        struct slice meant = name;
        bool lone_surrogate = false;
        if (json_has_escape(name)) {
            if (name.length > sizeof unescaped)
                return false;
            meant = slice_from(unescaped, json_unescape(name, unescaped, &lone_surrogate));
        }
        if (lone_surrogate || count == JSON_OBJECT_MEMBERS_MAXIMUM)
            return false;
        for (size_t i = 0; i < count; i++)
            if (json_inside_equals(names[i], meant))
                return false;
        names[count++] = name;
    }
    return true;
}

struct slice json_object_get(struct slice object, struct slice name)
{
    struct slice rest = object, key, value;
    while (json_next_member(&rest, &key, &value))
        if (json_inside_equals(key, name))
            return value;
    return slice_from(NULL, 0);
}
