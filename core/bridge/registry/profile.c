/* One block holds the structure, its tags and all text, so that a profile costs one allocation and one release. */
#include "bridge/registry/profile.h"

#include <string.h>

#include "base/hash.h"
#include "memory/pool.h"
#include "protocol/registration.h"

static struct slice list_or_empty(struct slice list)
{
    return list.length > 0 ? list : SLICE("[]");
}

static unsigned list_count(struct slice list, size_t *text_bytes)
{
    char buffer[TEXT_BYTES_MAXIMUM];
    struct slice text;
    unsigned count = 0;
    while (registration_next(&list, buffer, &text)) {
        *text_bytes += text.length;
        count++;
    }
    return count;
}

static struct slice copy(char **at, struct slice text)
{
    struct slice copied = {*at, text.length};
    if (text.length > 0)
        *at = (char *)memcpy(*at, text.data, text.length) + text.length;
    return copied;
}

uint64_t tag_hash(enum tag_kind kind, struct slice text)
{
    return hash_slice(text) ^ (0x9e3779b97f4a7c15u * ((uint64_t)kind + 1));
}

static bool has_tag(const struct profile *profile, enum tag_kind kind, struct slice text)
{
    uint64_t hash = tag_hash(kind, text);
    for (uint32_t i = 0; i < profile->tag_count; i++) {
        const struct profile_tag *tag = &profile->tags[i];
        if (tag->hash == hash && tag->kind == kind && slice_equal(slice_from(tag->text, tag->length), text))
            return true;
    }
    return false;
}

/* A tag given twice is kept once: the directory has each agent once under a tag. */
static void add_tag(struct profile *profile, struct profile_tag *tags, enum tag_kind kind, char **at, struct slice text)
{
    if (has_tag(profile, kind, text))
        return;
    tags[profile->tag_count++] = (struct profile_tag){tag_hash(kind, text), kind, (uint32_t)text.length, *at};
    copy(at, text);
}

static void add_tags(struct profile *profile, struct profile_tag *tags, enum tag_kind kind, char **at,
                     struct slice list)
{
    char buffer[TEXT_BYTES_MAXIMUM];
    struct slice text;
    while (registration_next(&list, buffer, &text))
        add_tag(profile, tags, kind, at, text);
}

struct profile *profile_new(const struct profile_source *source)
{
    struct slice labels = list_or_empty(source->labels), tools = list_or_empty(source->tools);
    struct slice intents = list_or_empty(source->intents);
    size_t text = source->id.length + 2 * source->role.length + labels.length + tools.length + intents.length +
                  source->owner.length;
    unsigned tag_count = 1 + list_count(labels, &text) + list_count(tools, &text) + list_count(intents, &text);
    size_t size = sizeof(struct profile) + tag_count * sizeof(struct profile_tag) + text;
    struct profile *profile = pool_acquire(POOL_ARRAYS, size);
    if (!profile)
        return NULL;

    struct profile_tag *tags = (struct profile_tag *)(profile + 1);
    char *at = (char *)(tags + tag_count);
    atomic_init(&profile->references, 1);
    profile->tag_count = 0;
    profile->max_concurrent_tasks = source->max_concurrent_tasks;
    profile->has_features = source->has_features;
    profile->wants_batches = source->wants_batches;
    profile->yields = source->yields;
    profile->size = size;
    profile->id = copy(&at, source->id);
    profile->role = copy(&at, source->role);
    profile->labels = copy(&at, labels);
    profile->tools = copy(&at, tools);
    profile->intents = copy(&at, intents);
    profile->owner = copy(&at, source->owner);
    profile->tags = tags;
    add_tag(profile, tags, TAG_ROLE, &at, source->role);
    add_tags(profile, tags, TAG_LABEL, &at, labels);
    add_tags(profile, tags, TAG_TOOL, &at, tools);
    add_tags(profile, tags, TAG_INTENT, &at, intents);
    return profile;
}

void profile_release(struct profile *profile)
{
    if (profile && atomic_fetch_sub_explicit(&profile->references, 1, memory_order_acq_rel) == 1)
        pool_release(POOL_ARRAYS, profile, profile->size);
}

bool profile_matches(const struct profile *profile, const struct selector *selector)
{
    return (!selector->id.data || slice_equal(selector->id, profile->id)) &&
           (!selector->role.data || has_tag(profile, TAG_ROLE, selector->role)) &&
           (!selector->label.data || has_tag(profile, TAG_LABEL, selector->label)) &&
           (!selector->tool.data || has_tag(profile, TAG_TOOL, selector->tool)) &&
           (!selector->intent.data || has_tag(profile, TAG_INTENT, selector->intent));
}
