/* Greedy with one point to return to: linear in practice, and never worse than both lengths multiplied. */
#include "base/wildcard.h"

#include <stdint.h>

bool wildcard_matches(struct slice pattern, struct slice text)
{
    size_t at = 0, in = 0, star = SIZE_MAX, again = 0;
    while (at < text.length) {
        if (in < pattern.length && pattern.data[in] == '*') {
            star = ++in;
            again = at;
        } else if (in < pattern.length && pattern.data[in] == text.data[at]) {
            in++;
            at++;
        } else if (star != SIZE_MAX) {
            in = star;
            at = ++again;
        } else {
            return false;
        }
    }
    while (in < pattern.length && pattern.data[in] == '*')
        in++;
    return in == pattern.length;
}

bool wildcard_list_matches(const struct slice_list *patterns, struct slice text)
{
    for (uint32_t i = 0; i < patterns->count; i++)
        if (wildcard_matches(patterns->items[i], text))
            return true;
    return false;
}
