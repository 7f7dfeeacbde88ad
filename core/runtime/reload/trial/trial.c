#include "runtime/reload/trial/trial.h"

#include <string.h>

#include "base/hash.h"
#include "base/wildcard.h"
#include "protocol/json/json.h"

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
    if (trial->id[0] && !wildcard_matches(slice_from_string(trial->id), id))
        return false;
    return trial->share >= TRIAL_SHARE_ALL || hash_slice(id) % TRIAL_SHARE_ALL < trial->share;
}
