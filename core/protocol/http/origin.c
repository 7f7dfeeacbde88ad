/* Origins and hosts are compared as what they mean (scheme, host without case, effective port), not as bytes: a browser
 * leaves a default port away in one place and a proxy adds it in another. Entries of the configured list are compared
 * as text, so that what passes can be read off the config. */
#include "protocol/http/origin.h"

#include "protocol/http/url.h"

static bool in_list(struct slice text, const struct slice *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (slice_equal(list[i], SLICE("*")) || slice_equal_ignoring_case(list[i], text))
            return true;
    return false;
}

static unsigned effective_port(const struct url_authority *authority, struct slice scheme)
{
    if (authority->has_port)
        return authority->port;
    return slice_equal_ignoring_case(scheme, SLICE("https")) ? 443 : 80;
}

static bool is_own(struct slice origin, struct slice scheme, struct slice host)
{
    struct url_authority theirs, ours;
    size_t before = scheme.length + 3; /* "://" */
    if (origin.length <= before || !slice_equal_ignoring_case(slice_from(origin.data, scheme.length), scheme) ||
        memcmp(origin.data + scheme.length, "://", 3) != 0)
        return false;
    return url_authority_parse(slice_from(origin.data + before, origin.length - before), &theirs) &&
           url_authority_parse(host, &ours) && slice_equal_ignoring_case(theirs.host, ours.host) &&
           effective_port(&theirs, scheme) == effective_port(&ours, scheme);
}

bool origin_allowed(struct slice origin, struct slice scheme, struct slice host, const struct slice *list, size_t count)
{
    return in_list(origin, list, count) || is_own(origin, scheme, host);
}

static struct slice without_trailing_dot(struct slice name)
{
    if (name.length > 1 && name.data[name.length - 1] == '.')
        name.length--;
    return name;
}

bool origin_host_allowed(struct slice host, const struct slice *list, size_t count)
{
    struct url_authority asked, entry;
    if (!url_authority_parse(host, &asked))
        return false;
    if (asked.kind != URL_HOST_NAME)
        return true;
    struct slice name = without_trailing_dot(asked.host);
    if (slice_equal_ignoring_case(name, SLICE("localhost")))
        return true;
    for (size_t i = 0; i < count; i++) {
        if (!url_authority_parse(list[i], &entry) || !slice_equal_ignoring_case(without_trailing_dot(entry.host), name))
            continue;
        if (!entry.has_port || (asked.has_port && asked.port == entry.port))
            return true;
    }
    return false;
}
