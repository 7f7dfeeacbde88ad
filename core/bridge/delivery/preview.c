#include "bridge/delivery/preview.h"

#include "base/hash.h"
#include "bridge/registry/agent.h"
#include "bridge/registry/registry.h"

/* Looked at with one lock taken. */
#define VIEWS 32

static bool is_sender(const struct preview *preview, struct slice id)
{
    return preview->sender.data && slice_equal(preview->sender, id);
}

static unsigned tell_named(const struct preview *preview, struct slice id)
{
    struct agent_view view;
    bool connected = registry_find(id, &view);
    if (connected)
        agent_view_release(&view);
    preview->found(preview->context, id, connected);
    return 1;
}

/* Those that match, or (NULL) all, but the sender. */
static unsigned tell_matching(const struct preview *preview, const struct selector *selector)
{
    struct agent_view views[VIEWS];
    uint64_t cursor = 0;
    unsigned told = 0, count;
    while ((count = registry_list(&cursor, views, VIEWS)) > 0) {
        for (unsigned i = 0; i < count; i++) {
            const struct profile *profile = views[i].profile;
            if ((!selector || profile_matches(profile, selector)) && !is_sender(preview, profile->id)) {
                preview->found(preview->context, profile->id, true);
                told++;
            }
            agent_view_release(&views[i]);
        }
    }
    return told;
}

static unsigned tell_any(struct preview *preview, const struct decision_item *item)
{
    uint64_t except = preview->sender.data ? hash_slice(preview->sender) : 0;
    struct agent *agent = directory_look(&item->selector, except, item->wait);
    if (!agent) {
        preview->waits = preview->waits || item->wait;
        return item->wait;
    }
    preview->found(preview->context, agent_id(agent), true);
    agent_release(agent);
    return 1;
}

void preview_recipients(struct preview *preview)
{
    unsigned told = 0;
    bool everyone = false;
    preview->waits = preview->refused = false;
    for (unsigned i = 0; i < preview->decision->count; i++) {
        const struct decision_item *item = &preview->decision->items[i];
        switch (item->kind) {
        case DECISION_DEFAULT:
        case DECISION_BROADCAST:
            if (item->kind == DECISION_DEFAULT && preview->to.data) {
                told += tell_named(preview, preview->to);
                break;
            }
            everyone = true; /* that nobody is there is fine */
            tell_matching(preview, NULL);
            break;
        case DECISION_TO:
            for (unsigned id = 0; id < item->id_count; id++)
                told += tell_named(preview, item->ids[id]);
            break;
        case DECISION_ALL:
            told += tell_matching(preview, &item->selector);
            break;
        case DECISION_ANY:
            told += tell_any(preview, item);
            break;
        case DECISION_REPLY:
            if (preview->sender.data)
                told += tell_named(preview, preview->sender);
            break;
        case DECISION_DROP:
            return;
        }
    }
    preview->refused = told == 0 && !everyone;
}
