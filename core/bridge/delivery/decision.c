#include "bridge/delivery/decision.h"

#include "protocol/json/json_write.h"

/* Of a decision whose options stand beside its selector, or (`first`) alone. */
static void write_options(struct buffer *out, const struct decision_item *item, bool first)
{
    if (item->kind == DECISION_ANY && item->wait) {
        buffer_append_format(out, "%swait = true", first ? "" : ", ");
        first = false;
    }
    if (item->expires_ms > 0)
        buffer_append_format(out, "%sexpiresMs = %u", first ? "" : ", ", (unsigned)item->expires_ms);
}

static void write_selector(struct buffer *out, const char *name, const struct decision_item *item)
{
    const struct selector *selector = &item->selector;
    const struct {
        const char *name;
        struct slice text;
    } parts[] = {{"role", selector->role},
                 {"label", selector->label},
                 {"intent", selector->intent},
                 {"tool", selector->tool},
                 {"id", selector->id}};
    buffer_append_slice(out, slice_from_string(name));
    buffer_append_slice(out, SLICE("{"));
    bool first = true;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (!parts[i].text.data)
            continue;
        buffer_append_slice(out, slice_from_string(first ? "" : ", "));
        buffer_append_slice(out, slice_from_string(parts[i].name));
        buffer_append_slice(out, SLICE(" = "));
        buffer_append_json_string(out, parts[i].text);
        first = false;
    }
    write_options(out, item, first);
    buffer_append_slice(out, SLICE("}"));
}

static void write_item(struct buffer *out, const struct decision_item *item)
{
    switch (item->kind) {
    case DECISION_DEFAULT:
        buffer_append_slice(out, SLICE("nil"));
        break;
    case DECISION_TO:
        buffer_append_slice(out, item->expires_ms > 0 ? SLICE("to({") : SLICE("to{"));
        for (unsigned i = 0; i < item->id_count; i++) {
            buffer_append_slice(out, slice_from_string(i > 0 ? ", " : ""));
            buffer_append_json_string(out, item->ids[i]);
        }
        buffer_append_slice(out, SLICE("}"));
        if (item->expires_ms > 0) {
            buffer_append_slice(out, SLICE(", {"));
            write_options(out, item, true);
            buffer_append_slice(out, SLICE("})"));
        }
        break;
    case DECISION_ALL:
        write_selector(out, "all", item);
        break;
    case DECISION_ANY:
        write_selector(out, "any", item);
        break;
    case DECISION_BROADCAST:
        buffer_append_slice(out, item->expires_ms > 0 ? SLICE("broadcast{") : SLICE("broadcast()"));
        if (item->expires_ms > 0) {
            write_options(out, item, true);
            buffer_append_slice(out, SLICE("}"));
        }
        break;
    case DECISION_REPLY:
        buffer_append_slice(out, SLICE("reply("));
        buffer_append_slice(out, item->payload);
        buffer_append_slice(out, SLICE(")"));
        break;
    case DECISION_DROP:
        buffer_append_slice(out, SLICE("drop("));
        buffer_append_json_string(out, item->reason);
        buffer_append_slice(out, item->tell ? SLICE(", {tell = true})") : SLICE(")"));
        break;
    }
}

static void write_items(struct buffer *out, const struct decision *decision, bool contents)
{
    if (decision->count != 1)
        buffer_append_slice(out, SLICE("{"));
    for (unsigned i = 0; i < decision->count; i++) {
        buffer_append_slice(out, slice_from_string(i > 0 ? ", " : ""));
        const struct decision_item *item = &decision->items[i];
        if (contents || (item->kind != DECISION_REPLY && item->kind != DECISION_DROP))
            write_item(out, item);
        else
            buffer_append_slice(out, item->kind == DECISION_REPLY ? SLICE("reply(…)") : SLICE("drop(…)"));
    }
    if (decision->count != 1)
        buffer_append_slice(out, SLICE("}"));
}

void decision_write(struct buffer *out, const struct decision *decision)
{
    write_items(out, decision, true);
}

void decision_write_outline(struct buffer *out, const struct decision *decision)
{
    write_items(out, decision, false);
}
