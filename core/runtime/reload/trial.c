#include "runtime/reload/trial.h"

#include <string.h>

#include "base/hash.h"
#include "protocol/json/json.h"

/* Greedy with one point to return to: linear in practice, and never worse than both lengths multiplied. */
bool trial_id_matches(const char *pattern, struct slice text)
{
    const char *star = NULL, *at = text.data, *end = text.data + text.length, *again = at;
    while (at < end) {
        if (*pattern == '*') {
            star = ++pattern;
            again = at;
        } else if (*pattern && *pattern == *at) {
            pattern++;
            at++;
        } else if (star) {
            pattern = star;
            at = ++again;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

static bool has_label(struct slice labels, const char *label)
{
    struct slice value;
    for (struct slice rest = labels; rest.length > 0 && json_next_element(&rest, &value);)
        if (json_kind(value) == JSON_STRING && json_inside_equals(json_string_inside(value), slice_from_string(label)))
            return true;
    return false;
}

bool trial_takes(const struct trial *trial, struct slice id, struct slice labels)
{
    if (trial->label[0] && !has_label(labels, trial->label))
        return false;
    if (trial->id[0] && !trial_id_matches(trial->id, id))
        return false;
    return trial->share >= TRIAL_SHARE_ALL || hash_slice(id) % TRIAL_SHARE_ALL < trial->share;
}
