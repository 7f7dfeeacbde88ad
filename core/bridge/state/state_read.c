#include "bridge/state/state.h"

#include <errno.h>
#include <inttypes.h>
#include <mbedtls/base64.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "bridge/delivery/delivery.h"
#include "bridge/queue/levels.h"
#include "bridge/state/history.h"
#include "memory/pool.h"
#include "protocol/envelope.h"
#include "protocol/msgpack/msgpack.h"
#include "protocol/registration.h"

#define FORMAT_VERSION 1

/* One read of a file; lines are longer where their envelopes are. */
#define READ_BYTES (256u << 10)
#define LINE_BYTES_MAXIMUM (256u << 20)

/* A dead letter has an envelope in its payload, and an export writes both. */
#define DEAD_LETTER_LEVELS 4
#define END_BYTES_MAXIMUM 256u
#define COUNT_MAXIMUM (UINT64_MAX / 4)

/* What one line says. */
struct line {
    struct slice head, version, history, mailbox, owner, expires, dead_letter, envelope, packed, end;
};

static bool refuse(struct state_import *state, const char *text)
{
    snprintf(state->error, sizeof state->error, "%s", text);
    return false;
}

static bool refuse_value(struct state_import *state, const char *name, const char *expected)
{
    snprintf(state->error, sizeof state->error, "%s: expected %s", name, expected);
    return false;
}

/* --- Taking a line apart --- */

static bool read_members(struct state_import *state, struct slice text, struct line *out)
{
    struct slice ignored[2], key, value;
    const struct {
        struct slice name;
        struct slice *value;
    } known[] = {
        {SLICE("luaduct"), &out->head},  {SLICE("version"), &out->version}, {SLICE("bridge"), &ignored[0]},
        {SLICE("written"), &ignored[1]}, {SLICE("history"), &out->history}, {SLICE("mailbox"), &out->mailbox},
        {SLICE("owner"), &out->owner},   {SLICE("expires"), &out->expires}, {SLICE("envelope"), &out->envelope},
        {SLICE("packed"), &out->packed}, {SLICE("end"), &out->end},         {SLICE("deadLetter"), &out->dead_letter}};
    if (json_validate(text, JSON_DEPTH_MAXIMUM, state->error) != CODE_OK)
        return false;
    text = slice_trim_space(text);
    if (json_kind(text) != JSON_OBJECT)
        return refuse(state, "expected an object");
    while (json_next_member(&text, &key, &value)) {
        size_t i = 0;
        while (i < sizeof known / sizeof *known && !json_inside_equals(key, known[i].name))
            i++;
        if (i == sizeof known / sizeof *known) {
            snprintf(state->error, sizeof state->error, "there is no member %.*s",
                     key.length < 64 ? (int)key.length : 64, key.data);
            return false;
        }
        *known[i].value = value;
    }
    return true;
}

/* Unescaped, in `buffer`. False: it is no text that an agent may be called. */
static bool read_name(struct slice value, char buffer[TEXT_BYTES_MAXIMUM], struct slice *out)
{
    if (json_kind(value) != JSON_STRING || json_string_inside(value).length > TEXT_BYTES_MAXIMUM * 6)
        return false;
    char whole[TEXT_BYTES_MAXIMUM * 6];
    size_t length = json_unescape(json_string_inside(value), whole, NULL);
    if (length > TEXT_BYTES_MAXIMUM || !identifier_valid(slice_from(whole, length)))
        return false;
    memcpy(buffer, whole, length);
    *out = slice_from(buffer, length);
    return true;
}

static bool read_number(struct slice value, unsigned base, uint64_t *out)
{
    char text[24], *end;
    if (json_kind(value) == JSON_STRING)
        value = json_string_inside(value);
    if (value.length == 0 || value.length >= sizeof text)
        return false;
    memcpy(text, value.data, value.length);
    text[value.length] = '\0';
    errno = 0;
    *out = strtoull(text, &end, (int)base);
    return *end == '\0' && errno == 0 && *text != '-';
}

/* --- Envelopes --- */

/* The bytes that go to peers that speak MessagePack, which must say what the JSON says. They lie in `bytes`. */
static bool read_packed_field(struct state_import *state, struct envelope *envelope, struct slice key,
                              struct slice value, struct buffer *bytes)
{
    static const struct msgpack_rules rules = {.depth = JSON_DEPTH_MAXIMUM, .bytes = UINT32_MAX};
    struct buffer json = {0};
    enum field field = field_from_name(key);
    struct slice text = json_kind(value) == JSON_STRING ? json_string_inside(value) : slice_from(NULL, 0);
    size_t length, size = text.length / 4 * 3 + 3;
    if (field < FIELD_TEXT_COUNT || field >= FIELD_COUNT || !envelope_has(envelope, field) || text.length == 0)
        return refuse_value(state, "packed", "opaque fields of the envelope as base64");
    char *room = buffer_reserve(bytes, size);
    if (!room)
        return refuse(state, "out of memory");
    if (mbedtls_base64_decode((unsigned char *)room, size, &length, (const unsigned char *)text.data, text.length) != 0)
        return refuse_value(state, "packed", "opaque fields of the envelope as base64");
    bytes->length += length;
    enum code code = msgpack_to_json(slice_from(room, length), &rules, &json, NULL, state->error);
    bool same = code == CODE_OK && slice_equal(slice_from(json.data, json.length), envelope->json[field]);
    buffer_free(&json);
    if (code != CODE_OK)
        return false;
    if (!same)
        return refuse_value(state, "packed", "what the envelope says");
    envelope_keep_packed(envelope, field, slice_from(room, length));
    return true;
}

/* Each field has a block of its own: they must stay where they are. */
static struct frame *build(struct state_import *state, const struct lane *lane, const struct line *line,
                           struct text_store *store, struct envelope *envelope)
{
    unsigned depth = state->json_depth + DEAD_LETTER_LEVELS;
    const struct message_rules rules = {.depth = depth < JSON_DEPTH_MAXIMUM ? depth : JSON_DEPTH_MAXIMUM,
                                        .lenient = state->lenient,
                                        .utf8_checked = true};
    char error[ERROR_TEXT_BYTES], timestamp[CLOCK_ISO_LENGTH];
    struct envelope_defaults defaults = {.timestamp = timestamp};
    struct buffer bytes[FIELD_OPAQUE_COUNT] = {0};
    struct slice rest = line->packed, key, value;
    clock_format_iso(lane->wall_ms, timestamp);
    if (json_kind(line->envelope) != JSON_OBJECT) {
        refuse_value(state, "envelope", "an object");
        return NULL;
    }
    if (envelope_scan(line->envelope, &rules, store, envelope, error) != CODE_OK) {
        refuse(state, error);
        return NULL;
    }
    bool good = rest.length == 0 || json_kind(rest) == JSON_OBJECT;
    if (!good)
        refuse_value(state, "packed", "an object");
    unsigned count = 0;
    while (good && rest.length > 0 && json_next_member(&rest, &key, &value))
        good = count < FIELD_OPAQUE_COUNT ? read_packed_field(state, envelope, key, value, &bytes[count++])
                                          : refuse_value(state, "packed", "each field once");
    struct frame *frame = good ? envelope_build(envelope, &defaults, FRAME_ENVELOPE) : NULL;
    if (good && !frame)
        refuse(state, "out of memory");
    for (unsigned i = 0; i < count; i++)
        buffer_free(&bytes[i]);
    return frame;
}

/* --- Each kind of line --- */

static bool read_head(struct state_import *state, const struct line *line)
{
    uint64_t version;
    if (!slice_equal(line->head, SLICE("\"state\"")) || !read_number(line->version, 10, &version))
        return refuse(state, "the first line has to be {\"luaduct\":\"state\",\"version\":1,…}");
    if (version != FORMAT_VERSION) {
        snprintf(state->error, sizeof state->error, "version: expected 1, got %.*s: written by a newer bridge?",
                 (int)line->version.length, line->version.data);
        return false;
    }
    return true;
}

static bool read_mail(struct state_import *state, struct lane *lane, const struct line *line, struct text_store *store)
{
    char buffer[TEXT_BYTES_MAXIMUM];
    struct slice id;
    uint64_t owner = 0, expires = 0;
    struct envelope envelope;
    if (!read_name(line->mailbox, buffer, &id))
        return refuse_value(state, "mailbox", "the id of an agent");
    if (line->owner.length > 0 && !read_number(line->owner, 16, &owner))
        return refuse_value(state, "owner", "16 hexadecimal digits");
    if (line->expires.length > 0 && (!read_number(line->expires, 10, &expires) || expires > INT64_MAX))
        return refuse_value(state, "expires", "milliseconds since 1970");
    struct frame *frame = build(state, lane, line, store, &envelope);
    if (!frame)
        return false;
    frame->expires_ms = (int64_t)expires;
    frame->dead_letter = json_kind(line->dead_letter) == JSON_TRUE;
    if (levels_ordered)
        frame->level = level_of(envelope_sent_text(&envelope, FIELD_PRIORITY)) & 3;
    enum code code = client_id_reserved(id) ? CODE_FORBIDDEN /* an earlier version kept mail that nobody can fetch */
                     : expires && (int64_t)expires <= lane->wall_ms ? CODE_EXPIRED
                                                                    : delivery_restore(lane, id, owner, frame);
    frame_release(frame);
    state->envelopes += code == CODE_OK;
    state->expired += code == CODE_EXPIRED;
    state->mailbox_full += code == CODE_MAILBOX_FULL;
    state->overloaded += code == CODE_OVERLOADED;
    state->foreign += code == CODE_FORBIDDEN;
    return true;
}

/* Whom it concerned. `hashes` gets the recipients. */
static bool read_parties(struct state_import *state, struct slice parties, struct history_parties *out,
                         struct buffer *hashes)
{
    char buffer[TEXT_BYTES_MAXIMUM];
    struct slice key, value, list = {0}, name;
    if (json_kind(parties) != JSON_OBJECT)
        return refuse_value(state, "history", "an object");
    while (json_next_member(&parties, &key, &value)) {
        if (json_inside_equals(key, SLICE("everyone")))
            out->everyone = json_kind(value) == JSON_TRUE;
        else if (json_inside_equals(key, SLICE("recipients")))
            list = value;
        else if (json_inside_equals(key, SLICE("sender")) && json_kind(value) != JSON_NULL) {
            if (!read_name(value, buffer, &name))
                return refuse_value(state, "history.sender", "the id of an agent");
            out->sender = hash_slice(name);
        }
    }
    if (list.length > 0 && json_kind(list) != JSON_ARRAY)
        return refuse_value(state, "history.recipients", "a list");
    while (list.length > 0 && json_next_element(&list, &value)) {
        if (!read_name(value, buffer, &name))
            return refuse_value(state, "history.recipients", "ids of agents");
        uint64_t hash = hash_slice(name);
        buffer_append(hashes, &hash, sizeof hash);
    }
    out->recipient_count = (uint32_t)(hashes->length / sizeof(uint64_t));
    out->recipients = (const uint64_t *)(const void *)hashes->data;
    return !hashes->failed || refuse(state, "out of memory");
}

static bool read_history(struct state_import *state, const struct lane *lane, const struct line *line,
                         struct text_store *store)
{
    struct history_parties parties = {0};
    struct buffer hashes = {0};
    struct envelope envelope;
    bool good = read_parties(state, line->history, &parties, &hashes);
    struct frame *frame = good ? build(state, lane, line, store, &envelope) : NULL;
    if (frame) {
        history_append(frame, &parties);
        state->history++;
    }
    frame_release(frame);
    buffer_free(&hashes);
    return frame != NULL;
}

/* --- The last line --- */

static bool read_counts(struct slice end, struct state_counts *counts)
{
    struct slice key, value;
    uint64_t number;
    unsigned seen = 0;
    if (json_kind(end) != JSON_OBJECT)
        return false;
    while (json_next_member(&end, &key, &value)) {
        bool history = json_inside_equals(key, SLICE("history"));
        if ((!history && !json_inside_equals(key, SLICE("envelopes"))) || !read_number(value, 10, &number) ||
            number > COUNT_MAXIMUM)
            return false;
        *(history ? &counts->history : &counts->envelopes) = number;
        seen |= history ? 1u : 2u;
    }
    return seen == 3u;
}

bool state_end_read(struct slice line, struct state_counts *counts)
{
    struct slice key, value;
    line = slice_trim_space(line);
    return line.length > 0 && line.length < END_BYTES_MAXIMUM && json_validate(line, 3, NULL) == CODE_OK &&
           json_kind(line) == JSON_OBJECT && json_next_member(&line, &key, &value) &&
           json_inside_equals(key, SLICE("end")) && read_counts(value, counts);
}

bool state_end_fits(const struct state_counts *counts, uint64_t number, char error[ERROR_TEXT_BYTES])
{
    uint64_t said = counts->history + counts->envelopes;
    if (said + 2 == number)
        return true;
    snprintf(error, ERROR_TEXT_BYTES,
             "end: expected %" PRIu64 " lines between the first and this one, got %" PRIu64
             ": some are missing, doubled or empty",
             said, number < 2 ? 0 : number - 2);
    return false;
}

static bool read_end(struct state_import *state, struct slice end)
{
    struct state_counts counts, *seen = &state->seen;
    if (!read_counts(end, &counts))
        return refuse_value(state, "end", "an object with the numbers history and envelopes");
    if (!state_end_fits(&counts, state->line, state->error))
        return false;
    /* Of a file that came in several requests only the sum is known. */
    if (seen->history + seen->envelopes + 2 == state->line && seen->history != counts.history) {
        snprintf(state->error, sizeof state->error, "end: expected %" PRIu64 " lines of the history, got %" PRIu64,
                 counts.history, seen->history);
        return false;
    }
    state->ended = true;
    return true;
}

static bool read_line(struct state_import *state, struct lane *lane, struct slice text)
{
    struct line line = {0};
    struct text_store store = {0};
    bool good = read_members(state, text, &line);
    if (!good)
        return false;
    unsigned kinds =
        (line.head.length > 0) + (line.history.length > 0) + (line.mailbox.length > 0) + (line.end.length > 0);
    if (state->ended)
        good = refuse(state, "nothing may come after the line of the end");
    else if (state->line == 1)
        good = read_head(state, &line);
    else if (line.head.length > 0)
        good = refuse(state, "a first line again: two exports in one file?");
    else if (kinds != 1)
        good = refuse(state, "expected one of history, mailbox and end");
    else if (line.history.length > 0)
        good = read_history(state, lane, &line, &store);
    else if (line.mailbox.length > 0)
        good = read_mail(state, lane, &line, &store);
    else
        good = read_end(state, line.end);
    state->seen.history += line.history.length > 0;
    state->seen.envelopes += line.mailbox.length > 0;
    text_store_free(&store);
    return good;
}

/* Looks at the end before anything is taken. */
static bool is_whole(struct state_import *state, struct slice lines)
{
    struct state_counts counts;
    lines = slice_trim_space(lines);
    const char *before = lines.length > 0 ? memrchr(lines.data, '\n', lines.length) : NULL;
    size_t start = before ? (size_t)(before - lines.data) + 1 : 0;
    if (!state_end_read(slice_from(lines.data + start, lines.length - start), &counts))
        return true;
    uint64_t number = state->line;
    for (const char *at = lines.data; (at = memchr(at, '\n', (size_t)(lines.data + start - at))) != NULL; at++)
        number++;
    if (state_end_fits(&counts, number, state->error))
        return true;
    state->line = number;
    return false;
}

bool state_import_lines(struct state_import *state, struct lane *lane, struct slice lines)
{
    if (!is_whole(state, lines))
        return false;
    while (lines.length > 0) {
        const char *end = memchr(lines.data, '\n', lines.length);
        size_t length = end ? (size_t)(end - lines.data) : lines.length;
        struct slice line = slice_from(lines.data, length);
        lines = slice_from(lines.data + length + (end != NULL), lines.length - length - (end != NULL));
        if (slice_trim_space(line).length > 0 && !read_line(state, lane, line))
            return false;
        state->line++;
    }
    return true;
}

/* --- Files --- */

static bool read_some(struct buffer *buffer, int fd, bool *at_end)
{
    char *room = buffer_reserve(buffer, READ_BYTES);
    if (!room) {
        errno = ENOMEM;
        return false;
    }
    ssize_t count;
    do
        count = read(fd, room, READ_BYTES);
    while (count < 0 && errno == EINTR);
    if (count < 0)
        return false;
    buffer->length += (size_t)count;
    *at_end = count == 0;
    return true;
}

bool state_import_file(struct state_import *state, struct lane *lane, int fd, char *error, size_t size)
{
    struct buffer buffer = {0};
    bool good = true;
    lane->wall_ms = clock_wall_ms();
    for (bool at_end = false; good && !at_end;) {
        good = read_some(&buffer, fd, &at_end) && buffer.length <= LINE_BYTES_MAXIMUM;
        if (!good) {
            snprintf(error, size, "cannot be read: %s",
                     buffer.length > LINE_BYTES_MAXIMUM ? "a line is too long" : strerror(errno));
            break;
        }
        const char *last = buffer.length > 0 ? memrchr(buffer.data, '\n', buffer.length) : NULL;
        size_t whole = at_end ? buffer.length : last ? (size_t)(last - buffer.data) + 1 : 0;
        good = state_import_lines(state, lane, slice_from(buffer.data, whole));
        if (!good)
            snprintf(error, size, "line %llu: %s", (unsigned long long)state->line, state->error);
        buffer_consume(&buffer, whole);
    }
    buffer_free(&buffer);
    if (good && !state->ended) {
        snprintf(error, size, "is not whole: its last line is missing");
        good = false;
    }
    return good;
}
