#include "client/screen/senders.h"

#include <stdlib.h>
#include <string.h>

#include "client/agent/view.h"
#include "client/screen/units.h"
#include "protocol/json/json.h"

static const char *const order_names[ORDER_COUNT] = {"rate", "messages", "errors", "connected", "id"};

enum sender_order sender_order_find(const char *name)
{
    enum sender_order order = 0;
    while (order < ORDER_COUNT && strcmp(order_names[order], name) != 0)
        order++;
    return order;
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(((const struct sender *)a)->id, ((const struct sender *)b)->id);
}

static size_t count_elements(struct slice array)
{
    struct slice value;
    size_t count = 0;
    while (json_next_element(&array, &value))
        count++;
    return count;
}

/* Texts move while more are added, so until the end an id is where it begins. */
static size_t add_text(struct buffer *texts, struct slice value)
{
    size_t start = texts->length;
    view_append_value(texts, value);
    buffer_append(texts, "", 1);
    return start;
}

/* Both are sorted by id. Who connected anew in between begins at 0. */
static void add_rates(struct senders *senders, const struct senders *before)
{
    double seconds = (double)(senders->read_ns - before->read_ns) / 1e9;
    for (size_t i = 0, j = 0; i < senders->count && seconds > 0; i++) {
        struct sender *sender = &senders->entries[i];
        while (j < before->count && compare_ids(&before->entries[j], sender) < 0)
            j++;
        bool known = j < before->count && compare_ids(&before->entries[j], sender) == 0 &&
                     before->entries[j].messages <= sender->messages;
        sender->rate = (sender->messages - (known ? before->entries[j].messages : 0)) / seconds;
    }
}

bool senders_read(struct slice answer, const struct senders *before, uint64_t read_ns, struct senders *senders)
{
    struct slice agents = view_at(answer, "agents"), agent;
    *senders = (struct senders){.read_ns = read_ns};
    if (json_kind(agents) != JSON_ARRAY)
        return false;
    size_t count = count_elements(agents);
    size_t(*starts)[2] = calloc(count + 1, sizeof *starts);
    senders->entries = calloc(count + 1, sizeof *senders->entries);
    if (!starts || !senders->entries) {
        free(starts);
        senders_free(senders);
        return false;
    }
    for (; json_next_element(&agents, &agent); senders->count++) {
        struct sender *sender = &senders->entries[senders->count];
        starts[senders->count][0] = add_text(&senders->texts, view_at(agent, "id"));
        starts[senders->count][1] = add_text(&senders->texts, view_at(agent, "role"));
        sender->messages = view_number(agent, "messageCount", 0);
        sender->errors = view_number(agent, "errorCount", 0);
        sender->connected_s = view_number(agent, "uptime", 0) / 1000;
        if (!units_read_time(view_at(agent, "lastSeen"), &sender->last_seen_ms))
            sender->last_seen_ms = 0;
    }
    bool good = !senders->texts.failed;
    for (size_t i = 0; good && i < senders->count; i++) {
        senders->entries[i].id = senders->texts.data + starts[i][0];
        senders->entries[i].role = senders->texts.data + starts[i][1];
    }
    free(starts);
    if (!good) {
        senders_free(senders);
        return false;
    }
    qsort(senders->entries, senders->count, sizeof *senders->entries, compare_ids);
    if (before)
        add_rates(senders, before);
    return true;
}

void senders_free(struct senders *senders)
{
    free(senders->entries);
    buffer_free(&senders->texts);
    *senders = (struct senders){0};
}

struct ordering {
    const struct senders *senders;
    enum sender_order order;
    bool reversed;
};

static double figure_of(const struct sender *sender, enum sender_order order)
{
    switch (order) {
    case ORDER_RATE:
        return sender->rate;
    case ORDER_MESSAGES:
        return sender->messages;
    case ORDER_ERRORS:
        return sender->errors;
    case ORDER_CONNECTED:
        return sender->connected_s;
    default:
        return 0;
    }
}

/* Equal ones stand in the order of their ids, which is that of the entries. */
static int compare(const void *a, const void *b, void *context)
{
    const struct ordering *ordering = context;
    size_t i = *(const size_t *)a, j = *(const size_t *)b;
    double x = figure_of(&ordering->senders->entries[i], ordering->order),
           y = figure_of(&ordering->senders->entries[j], ordering->order);
    int by_figure = x < y ? 1 : x > y ? -1 : i < j ? -1 : 1;
    return ordering->reversed ? -by_figure : by_figure;
}

size_t senders_select(const struct senders *senders, const char *filter, enum sender_order order, bool reversed,
                      size_t *indices)
{
    size_t count = 0;
    for (size_t i = 0; i < senders->count; i++)
        if (strstr(senders->entries[i].id, filter) || strstr(senders->entries[i].role, filter))
            indices[count++] = i;
    struct ordering ordering = {senders, order, reversed};
    qsort_r(indices, count, sizeof *indices, compare, &ordering);
    return count;
}
