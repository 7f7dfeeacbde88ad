#include "bridge/state/state.h"

#include <inttypes.h>
#include <mbedtls/base64.h>

#include "base/hash.h"
#include "base/version.h"
#include "bridge/registry/agent.h"
#include "bridge/state/history.h"
#include "memory/pool.h"
#include "protocol/json/json_write.h"
#include "protocol/msgpack/msgpack.h"
#include "protocol/msgpack/msgpack_frame.h"

#define PIECE_BYTES (64u << 10)
#define AGENTS_AT_ONCE 32u

struct state_export {
    enum { PART_HEAD, PART_HISTORY, PART_MAILBOXES, PART_END, PART_OVER } part;
    uint64_t number, last_number; /* of the history */
    uint64_t cursor;              /* of the registry */
    struct agent *agents[AGENTS_AT_ONCE];
    unsigned agent_count, agent_at;
    /* The mailbox under way: as it was when it was come to. */
    struct frame **frames;
    uint32_t frame_count, frame_at, frame_capacity;
    uint64_t owner;
    uint64_t history, envelopes;
    struct text_store store;
};

struct state_export *state_export_new(void)
{
    struct state_export *state = pool_acquire(POOL_ARRAYS, sizeof *state);
    if (state)
        *state = (struct state_export){.number = 0};
    return state;
}

static void free_frames(struct state_export *state)
{
    while (state->frame_at < state->frame_count)
        frame_release(state->frames[state->frame_at++]);
    pool_release(POOL_ARRAYS, state->frames, state->frame_capacity * sizeof(struct frame *));
    state->frames = NULL;
    state->frame_count = state->frame_at = state->frame_capacity = 0;
}

void state_export_free(struct state_export *state)
{
    if (!state)
        return;
    free_frames(state);
    while (state->agent_at < state->agent_count)
        agent_release(state->agents[state->agent_at++]);
    text_store_free(&state->store);
    pool_release(POOL_ARRAYS, state, sizeof *state);
}

static void append_base64(struct buffer *out, struct slice bytes)
{
    size_t length = 0, size = (bytes.length + 2) / 3 * 4 + 1;
    char *room = buffer_reserve(out, size);
    if (room && mbedtls_base64_encode((unsigned char *)room, size, &length, (const unsigned char *)bytes.data,
                                      bytes.length) == 0)
        out->length += length;
}

/* What our own writer would make of the JSON needs no mention: it can be made again. */
static bool is_own_writing(struct slice json, struct slice packed)
{
    size_t bound = MSGPACK_BOUND(json.length);
    char *scratch = pool_acquire(POOL_BUFFERS, bound);
    const char *end = scratch ? msgpack_write_json(scratch, json) : NULL;
    bool same = end && slice_equal(slice_from(scratch, (size_t)(end - scratch)), packed);
    pool_release(POOL_BUFFERS, scratch, bound);
    return same;
}

static void append_packed(struct buffer *out, const struct envelope *envelope)
{
    bool any = false;
    for (unsigned i = 0; i < FIELD_OPAQUE_COUNT; i++) {
        enum field field = (enum field)(FIELD_TEXT_COUNT + i);
        if (!(envelope->packed_kept >> field & 1) || is_own_writing(envelope->json[field], envelope->packed[i]))
            continue;
        buffer_append_slice(out, any ? SLICE(",\"") : SLICE(",\"packed\":{\""));
        buffer_append_slice(out, field_name(field));
        buffer_append_slice(out, SLICE("\":\""));
        append_base64(out, envelope->packed[i]);
        buffer_append_slice(out, SLICE("\""));
        any = true;
    }
    if (any)
        buffer_append_slice(out, SLICE("}"));
}

/* What ends each line of an envelope. False: it cannot be read, which only memory's end brings about. */
static bool append_envelope(struct state_export *state, struct buffer *out, const struct frame *frame,
                            struct envelope *envelope)
{
    static const struct message_rules rules = {.depth = JSON_DEPTH_MAXIMUM, .lenient = true, .utf8_checked = true};
    char error[ERROR_TEXT_BYTES];
    if (envelope_scan(frame_envelope(frame), &rules, &state->store, envelope, error) != CODE_OK)
        return false;
    msgpack_keep_twin(envelope, frame);
    buffer_append_slice(out, SLICE(",\"envelope\":"));
    buffer_append_slice(out, frame_envelope(frame));
    append_packed(out, envelope);
    buffer_append_slice(out, SLICE("}\n"));
    return true;
}

static void append_head(struct buffer *out)
{
    char written[CLOCK_ISO_LENGTH];
    clock_format_iso(clock_wall_ms(), written);
    buffer_append_format(
        out, "{\"luaduct\":\"state\",\"version\":1,\"bridge\":\"" LUADUCT_VERSION "\",\"written\":\"%.*s\"}\n",
        CLOCK_ISO_LENGTH, written);
}

/* --- History --- */

/* The party's name: one that the envelope says, or somebody known. Length 0: neither. */
static struct slice name_party(uint64_t hash, struct slice said, char buffer[TEXT_BYTES_MAXIMUM])
{
    if (said.data && hash_slice(said) == hash)
        return said;
    return slice_from(buffer, agent_name(hash, buffer));
}

static void append_parties(struct buffer *out, const struct history_parties *parties, struct slice from,
                           struct slice to)
{
    char buffer[TEXT_BYTES_MAXIMUM];
    uint32_t unnamed = 0, named = 0;
    struct slice sender = parties->sender ? name_party(parties->sender, from, buffer) : slice_from(NULL, 0);
    buffer_append_slice(out, SLICE("{\"history\":{\"sender\":"));
    if (sender.length > 0)
        buffer_append_json_string(out, sender);
    else
        buffer_append_slice(out, SLICE("null"));
    unnamed += parties->sender && sender.length == 0;
    buffer_append_slice(out, SLICE(",\"recipients\":["));
    for (uint32_t i = 0; i < parties->recipient_count; i++) {
        struct slice name = name_party(parties->recipients[i], to, buffer);
        if (name.length == 0) {
            unnamed++;
            continue;
        }
        buffer_append_slice(out, named++ > 0 ? SLICE(",") : SLICE(""));
        buffer_append_json_string(out, name);
    }
    buffer_append_format(out, "],\"everyone\":%s", parties->everyone ? "true" : "false");
    if (unnamed > 0)
        buffer_append_format(out, ",\"unnamed\":%u", unnamed);
    buffer_append_slice(out, SLICE("}"));
}

static void append_history(struct state_export *state, struct buffer *out)
{
    struct history_entry entry;
    struct envelope envelope;
    if (state->number >= state->last_number || !history_read(&state->number, &entry)) {
        state->part = PART_MAILBOXES;
        return;
    }
    static const struct message_rules rules = {.depth = JSON_DEPTH_MAXIMUM, .lenient = true, .utf8_checked = true};
    char error[ERROR_TEXT_BYTES];
    size_t start = out->length;
    if (envelope_scan(frame_envelope(entry.frame), &rules, &state->store, &envelope, error) == CODE_OK) {
        append_parties(out, &entry.parties, envelope_sent_text(&envelope, FIELD_FROM),
                       envelope_sent_text(&envelope, FIELD_TO));
        if (append_envelope(state, out, entry.frame, &envelope))
            state->history++;
        else
            out->length = start;
    }
    history_entry_free(&entry);
}

/* --- Mailboxes --- */

/* Takes references to all that the mailbox holds. */
static void take_mailbox(struct state_export *state, struct agent *agent, struct buffer *out)
{
    struct lock *lock = agent_lock(agent->hash);
    const struct levels *mailbox = &agent->mailbox;
    state->frame_capacity = mailbox->count;
    state->owner = agent->owner;
    if (mailbox->count > 0)
        state->frames = pool_acquire(POOL_ARRAYS, mailbox->count * sizeof(struct frame *));
    if (state->frames) {
        for (unsigned level = 0; level < LEVEL_COUNT; level++)
            for (uint32_t i = 0; i < mailbox->queues[level].count; i++)
                state->frames[state->frame_count++] = frame_retain(frame_queue_at(&mailbox->queues[level], i));
    } else {
        out->failed = out->failed || mailbox->count > 0;
        state->frame_capacity = 0;
    }
    lock_release(lock);
}

static void append_mail(struct state_export *state, struct buffer *out, const struct agent *agent,
                        const struct frame *frame)
{
    struct envelope envelope;
    size_t start = out->length;
    buffer_append_slice(out, SLICE("{\"mailbox\":"));
    buffer_append_json_string(out, agent_id(agent));
    if (state->owner)
        buffer_append_format(out, ",\"owner\":\"%016" PRIx64 "\"", state->owner);
    if (frame->expires_ms)
        buffer_append_format(out, ",\"expires\":%" PRId64, frame->expires_ms);
    if (frame->dead_letter)
        buffer_append_slice(out, SLICE(",\"deadLetter\":true"));
    if (append_envelope(state, out, frame, &envelope))
        state->envelopes++;
    else
        out->length = start;
}

static void append_mailboxes(struct state_export *state, struct buffer *out)
{
    if (state->frame_at < state->frame_count) {
        struct frame *frame = state->frames[state->frame_at++];
        append_mail(state, out, state->agents[state->agent_at], frame);
        frame_release(frame);
        return;
    }
    if (state->frames) {
        free_frames(state);
        agent_release(state->agents[state->agent_at++]);
    }
    if (state->agent_at == state->agent_count) {
        state->agent_at = 0;
        state->agent_count = agents_with_mail(&state->cursor, state->agents, AGENTS_AT_ONCE);
        if (state->agent_count == 0) {
            state->part = PART_END;
            return;
        }
    }
    take_mailbox(state, state->agents[state->agent_at], out);
    if (!state->frames) /* emptied meanwhile */
        agent_release(state->agents[state->agent_at++]);
}

bool state_export_next(struct state_export *state, struct buffer *out)
{
    size_t start = out->length;
    while (state->part != PART_OVER && !out->failed && out->length - start < PIECE_BYTES) {
        switch (state->part) {
        case PART_HEAD:
            append_head(out);
            state->last_number = history_next_number();
            state->part = PART_HISTORY;
            break;
        case PART_HISTORY:
            append_history(state, out);
            break;
        case PART_MAILBOXES:
            append_mailboxes(state, out);
            break;
        case PART_END:
            buffer_append_format(out, "{\"end\":{\"history\":%" PRIu64 ",\"envelopes\":%" PRIu64 "}}\n", state->history,
                                 state->envelopes);
            state->part = PART_OVER;
            break;
        case PART_OVER:
            break;
        }
    }
    return state->part != PART_OVER;
}
