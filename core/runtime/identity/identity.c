/* One block: the structure, the lists' slices, the texts. */
#include "runtime/identity/identity.h"

#include <stdlib.h>
#include <string.h>

#include "base/wildcard.h"
#include "net/channel.h"
#include "runtime/limits/party.h"

static const char *const kind_names[IDENTITY_KINDS] = {"shared", "token", "jwt", "certificate", "hook", "socket"};

const char *identity_kind_name(enum identity_kind kind)
{
    return kind_names[kind];
}

static size_t list_bytes(const struct slice_list *list)
{
    size_t bytes = list->count * sizeof(struct slice);
    for (uint32_t i = 0; i < list->count; i++)
        bytes += list->items[i].length;
    return bytes;
}

static struct slice copy_text(char **at, struct slice text)
{
    struct slice copy = slice_from(*at, text.length);
    if (text.length > 0)
        memcpy(*at, text.data, text.length);
    *at += text.length;
    return copy;
}

static struct slice_list copy_list(struct slice **slices, char **at, const struct slice_list *list)
{
    struct slice_list copy = {*slices, list->count};
    for (uint32_t i = 0; i < list->count; i++)
        *(*slices)++ = copy_text(at, list->items[i]);
    return copy;
}

struct identity *identity_new(const struct identity_source *source)
{
    struct slice kind = slice_from_string(kind_names[source->kind]);
    size_t owner_bytes = kind.length + 1 + source->name.length;
    uint32_t items = source->roles.count + source->client_ids.count + source->agent_roles.count + source->labels.count;
    struct identity *identity =
        malloc(sizeof *identity + owner_bytes + list_bytes(&source->roles) + list_bytes(&source->client_ids) +
               list_bytes(&source->agent_roles) + list_bytes(&source->labels));
    if (!identity)
        return NULL;
    struct slice *slices = (struct slice *)(void *)(identity + 1);
    char *at = (char *)(slices + items), *owner = at;
    at += owner_bytes;
    memcpy(owner, kind.data, kind.length);
    owner[kind.length] = ':';
    if (source->name.length > 0)
        memcpy(owner + kind.length + 1, source->name.data, source->name.length);
    bool named = source->name.length > 0;
    *identity = (struct identity){.kind = source->kind,
                                  .name = slice_from(owner + kind.length + 1, source->name.length),
                                  .owner = slice_from(owner, named ? owner_bytes : kind.length),
                                  .limits = source->limits,
                                  .expires_ms = source->expires_ms,
                                  .mark = source->mark};
    identity->roles = copy_list(&slices, &at, &source->roles);
    identity->client_ids = copy_list(&slices, &at, &source->client_ids);
    identity->agent_roles = copy_list(&slices, &at, &source->agent_roles);
    identity->labels = copy_list(&slices, &at, &source->labels);
    atomic_init(&identity->references, 1);
    return identity;
}

static const struct slice admin_role[] = {{IDENTITY_ROLE_ADMIN, sizeof IDENTITY_ROLE_ADMIN - 1}};

static struct identity shared = {.references = 1, .kind = IDENTITY_SHARED, .name = {"", 0}, .owner = {"shared", 6}};
static struct identity shared_admin = {
    .references = 1, .kind = IDENTITY_SHARED, .name = {"", 0}, .owner = {"shared", 6}, .roles = {admin_role, 1}};
static struct identity administration = {
    .references = 1, .kind = IDENTITY_SOCKET, .name = {"", 0}, .owner = {"socket", 6}, .roles = {admin_role, 1}};

struct identity *identity_shared(bool admin)
{
    return identity_retain(admin ? &shared_admin : &shared);
}

struct identity *identity_socket(void)
{
    return identity_retain(&administration);
}

static bool is_permanent(const struct identity *identity)
{
    return identity == &shared || identity == &shared_admin || identity == &administration;
}

void identity_release(struct identity *identity)
{
    if (identity && !is_permanent(identity) &&
        atomic_fetch_sub_explicit(&identity->references, 1, memory_order_acq_rel) == 1)
        free(identity);
}

static void write_list(const struct slice_list *list, struct channel_writer *channel)
{
    channel_put(channel, list->count);
    for (uint32_t i = 0; i < list->count; i++)
        channel_put_bytes(channel, list->items[i]);
}

static bool read_list(struct channel_reader *channel, struct slice *room, struct slice_list *out)
{
    uint64_t count = channel_get(channel);
    if (channel->failed || count > IDENTITY_LIST_MAXIMUM)
        return false;
    for (uint64_t i = 0; i < count; i++)
        room[i] = channel_get_bytes(channel);
    *out = (struct slice_list){room, (uint32_t)count};
    return !channel->failed;
}

void identity_write(const struct identity *identity, struct channel_writer *channel)
{
    channel_put(channel, identity ? (uint64_t)identity->kind + 1 : 0);
    if (!identity)
        return;
    channel_put_bytes(channel, identity->name);
    write_list(&identity->roles, channel);
    write_list(&identity->client_ids, channel);
    write_list(&identity->agent_roles, channel);
    write_list(&identity->labels, channel);
    channel_put(channel, identity->limits.messages_per_second);
    channel_put(channel, identity->limits.message_burst);
    channel_put(channel, identity->limits.connections);
    channel_put(channel, identity->limits.bytes_per_second);
    channel_put(channel, (uint64_t)identity->expires_ms);
    channel_put(channel, identity->mark);
}

bool identity_read(struct channel_reader *channel, struct identity **out)
{
    struct slice rooms[4][IDENTITY_LIST_MAXIMUM];
    uint64_t kind = channel_get(channel);
    *out = NULL;
    if (kind == 0 || kind > IDENTITY_KINDS)
        return kind == 0 && !channel->failed;
    struct identity_source source = {.kind = (enum identity_kind)(kind - 1), .name = channel_get_bytes(channel)};
    bool good = read_list(channel, rooms[0], &source.roles) && read_list(channel, rooms[1], &source.client_ids) &&
                read_list(channel, rooms[2], &source.agent_roles) && read_list(channel, rooms[3], &source.labels);
    source.limits.messages_per_second = (uint32_t)channel_get(channel);
    source.limits.message_burst = (uint32_t)channel_get(channel);
    source.limits.connections = (uint32_t)channel_get(channel);
    source.limits.bytes_per_second = channel_get(channel);
    source.expires_ms = (int64_t)channel_get(channel);
    source.mark = channel_get(channel);
    if (!good || channel->failed)
        return false;
    if (source.kind == IDENTITY_SHARED || source.kind == IDENTITY_SOCKET)
        *out = source.kind == IDENTITY_SOCKET ? identity_socket() : identity_shared(source.roles.count > 0);
    else
        *out = identity_new(&source);
    return *out != NULL;
}

static bool takes_any(const struct identity *identity)
{
    return !identity || identity->kind == IDENTITY_SHARED || identity->kind == IDENTITY_SOCKET;
}

const struct identity *identity_counted(const struct identity *identity)
{
    return takes_any(identity) ? NULL : identity;
}

struct party *identity_party(const struct identity *identity)
{
    const struct identity_limits *limits = &identity->limits;
    return party_of_identity(identity->owner, &(struct own_limits){.connections = limits->connections,
                                                                   .messages_per_second = limits->messages_per_second,
                                                                   .message_burst = limits->message_burst,
                                                                   .bytes_per_second = limits->bytes_per_second});
}

bool identity_same(const struct identity *a, const struct identity *b)
{
    return a == b || (a && b && slice_equal(a->owner, b->owner));
}

bool identity_has_role(const struct identity *identity, struct slice role)
{
    for (uint32_t i = 0; identity && i < identity->roles.count; i++)
        if (slice_equal(identity->roles.items[i], role))
            return true;
    return false;
}

bool identity_expired(const struct identity *identity, int64_t wall_ms)
{
    return identity && identity->expires_ms != 0 && wall_ms >= identity->expires_ms;
}

bool identity_may_take(const struct identity *identity, struct slice client_id, bool strict)
{
    if (takes_any(identity))
        return true;
    return identity->client_ids.count > 0 ? wildcard_list_matches(&identity->client_ids, client_id) : !strict;
}

bool identity_may_be(const struct identity *identity, struct slice agent_role, bool strict)
{
    if (takes_any(identity))
        return true;
    if (identity->agent_roles.count > 0)
        return wildcard_list_matches(&identity->agent_roles, agent_role);
    return !strict || slice_equal(agent_role, SLICE("agent"));
}

struct slice identity_only(const struct slice_list *list)
{
    bool one = list->count == 1 && !memchr(list->items[0].data, '*', list->items[0].length);
    return one ? list->items[0] : slice_from(NULL, 0);
}
