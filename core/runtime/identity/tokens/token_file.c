#include "runtime/identity/tokens/token_file.h"

#include <errno.h>
#include <mbedtls/sha256.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/system/file.h"
#include "protocol/json/json.h"
#include "protocol/json/json_number.h"
#include "protocol/json/json_write.h"
#include "protocol/registration.h"

enum member { NAME, SHA256, ROLES, CLIENT_IDS, AGENT_ROLES, LABELS, LIMITS, EXPIRES, MEMBER_COUNT };

static const char *const names[MEMBER_COUNT] = {"name",       "sha256", "roles",  "clientIds",
                                                "agentRoles", "labels", "limits", "expires"};

/* Counts that a line may set; bytesPerSecond is wider. */
static const char *const limit_names[] = {"messagesPerSecond", "messageBurst", "connections", "bytesPerSecond"};
#define LIMIT_COUNT (sizeof limit_names / sizeof *limit_names)
#define LIMIT_MAXIMUM 1e9                    /* as in the configuration */
#define LIMIT_BYTES_MAXIMUM 70368744177664.0 /* 64 TiB, as there */

static bool refuse(char error[ERROR_TEXT_BYTES], const char *member, const char *expected)
{
    snprintf(error, ERROR_TEXT_BYTES, "%s: expected %s", member, expected);
    return false;
}

bool token_name_valid(struct slice name)
{
    if (name.length < 1 || name.length > TOKEN_NAME_BYTES)
        return false;
    for (size_t i = 0; i < name.length; i++) {
        char c = name.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && !memchr("._-@:", c, 5))
            return false;
    }
    return true;
}

void token_digest(struct slice token, unsigned char out[TOKEN_DIGEST_BYTES])
{
    mbedtls_sha256_ret((const unsigned char *)token.data, token.length, out, 0);
}

/* --- Reading a line --- */

static bool read_text(struct slice value, struct text_store *store, struct slice *out)
{
    if (json_kind(value) != JSON_STRING)
        return false;
    struct slice inside = json_string_inside(value);
    *out = inside;
    if (!json_has_escape(inside))
        return true;
    char *text = text_store_take(store, inside.length);
    bool lone_surrogate = false;
    if (text)
        *out = slice_from(text, json_unescape(inside, text, &lone_surrogate));
    return text && !lone_surrogate;
}

static bool read_list(struct slice value, struct text_store *store, struct slice *items, struct slice_list *out)
{
    uint32_t count = 0;
    struct slice rest = value, element;
    if (json_kind(value) != JSON_ARRAY)
        return false;
    for (; json_next_element(&rest, &element); count++)
        if (count == IDENTITY_LIST_MAXIMUM || !read_text(element, store, &items[count]) ||
            !identifier_valid(items[count]))
            return false;
    *out = (struct slice_list){items, count};
    return true;
}

static bool read_digest(struct slice value, unsigned char out[TOKEN_DIGEST_BYTES])
{
    if (json_kind(value) != JSON_STRING || value.length != 2 + 2 * TOKEN_DIGEST_BYTES)
        return false;
    const char *at = value.data + 1;
    for (size_t i = 0; i < (size_t)2 * TOKEN_DIGEST_BYTES; i++) {
        char c = at[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0)
            return false;
        out[i / 2] = (unsigned char)(i % 2 ? out[i / 2] | digit : digit << 4);
    }
    return true;
}

static bool read_limits(struct slice value, struct identity_limits *out)
{
    struct slice rest = value, key, item;
    unsigned seen = 0;
    if (json_kind(value) != JSON_OBJECT)
        return false;
    while (json_next_member(&rest, &key, &item)) {
        unsigned which = 0;
        double number;
        bool wide;
        while (which < LIMIT_COUNT && !json_inside_equals(key, slice_from_string(limit_names[which])))
            which++;
        if (which == LIMIT_COUNT || seen >> which & 1 || json_kind(item) != JSON_NUMBER ||
            !json_number_read(item.data, item.data + item.length, &number, &wide) || !(number >= 1) ||
            number > (which == 3 ? LIMIT_BYTES_MAXIMUM : LIMIT_MAXIMUM) || number != (double)(uint64_t)number)
            return false;
        seen |= 1u << which;
        uint32_t *counts[] = {&out->messages_per_second, &out->message_burst, &out->connections};
        if (which == 3)
            out->bytes_per_second = (uint64_t)number;
        else
            *counts[which] = (uint32_t)number;
    }
    return out->message_burst == 0 || out->messages_per_second > 0; /* a burst of what? */
}

static bool read_member(enum member member, struct slice value, struct text_store *store, struct token_entry *out,
                        char error[ERROR_TEXT_BYTES])
{
    static const char list[] = "a list of at most 256 texts of 1 to 256 bytes without control characters";
    struct identity_source *source = &out->source;
    struct slice text;
    switch (member) {
    case NAME:
        if (read_text(value, store, &source->name) && token_name_valid(source->name))
            return true;
        return refuse(error, "name", "1 to 64 letters, digits and . _ - @ :");
    case SHA256:
        return read_digest(value, out->digest) || refuse(error, "sha256", "64 hexadecimal digits in lower case");
    case ROLES:
        return read_list(value, store, out->roles, &source->roles) || refuse(error, "roles", list);
    case CLIENT_IDS:
        return read_list(value, store, out->client_ids, &source->client_ids) || refuse(error, "clientIds", list);
    case AGENT_ROLES:
        return read_list(value, store, out->agent_roles, &source->agent_roles) || refuse(error, "agentRoles", list);
    case LABELS:
        return read_list(value, store, out->labels, &source->labels) || refuse(error, "labels", list);
    case LIMITS:
        return read_limits(value, &source->limits) ||
               refuse(error, "limits",
                      "whole numbers from 1 for messagesPerSecond, messageBurst, bytesPerSecond, connections");
    default:
        /* 0 is "never"; a token that ran out before 1970 is a mistake. */
        return (read_text(value, store, &text) && clock_parse_iso(text, &source->expires_ms) &&
                source->expires_ms > 0) ||
               refuse(error, "expires", "a time such as \"2030-01-01T00:00:00Z\"");
    }
}

bool token_line_read(struct slice line, struct text_store *store, struct token_entry *out, char error[ERROR_TEXT_BYTES])
{
    struct slice rest = slice_trim_space(line), key, value;
    unsigned seen = 0;
    out->source = (struct identity_source){.kind = IDENTITY_TOKEN};
    if (json_validate(rest, 4, error) != CODE_OK)
        return false;
    if (json_kind(rest) != JSON_OBJECT)
        return refuse(error, "line", "a JSON object");
    while (json_next_member(&rest, &key, &value)) {
        unsigned member = 0;
        while (member < MEMBER_COUNT && !json_inside_equals(key, slice_from_string(names[member])))
            member++;
        if (member == MEMBER_COUNT)
            return refuse(error, "line",
                          "name, sha256, roles, clientIds, agentRoles, labels, limits, expires, and nothing else");
        if (seen >> member & 1)
            return refuse(error, names[member], "it once");
        seen |= 1u << member;
        if (!read_member((enum member)member, value, store, out, error))
            return false;
    }
    if (!(seen >> NAME & 1))
        return refuse(error, "name", "one");
    return seen >> SHA256 & 1 || refuse(error, "sha256", "one");
}

bool token_line_counts(struct slice line)
{
    struct slice text = slice_trim_space(line);
    return text.length > 0 && text.data[0] != '#';
}

/* --- Writing a line --- */

static void write_list(struct buffer *out, const char *name, const struct slice_list *list)
{
    if (list->count == 0)
        return;
    buffer_append_format(out, ",\"%s\":[", name);
    for (uint32_t i = 0; i < list->count; i++) {
        if (i > 0)
            buffer_append_slice(out, SLICE(","));
        buffer_append_json_string(out, list->items[i]);
    }
    buffer_append_slice(out, SLICE("]"));
}

static void write_limits(struct buffer *out, const struct identity_limits *limits)
{
    const uint64_t values[LIMIT_COUNT] = {limits->messages_per_second, limits->message_burst, limits->connections,
                                          limits->bytes_per_second};
    const char *between = ",\"limits\":{";
    for (size_t i = 0; i < LIMIT_COUNT; i++) {
        if (values[i] == 0)
            continue;
        buffer_append_format(out, "%s\"%s\":%llu", between, limit_names[i], (unsigned long long)values[i]);
        between = ",";
    }
    if (*between == ',' && between[1] == '\0')
        buffer_append_slice(out, SLICE("}"));
}

void token_line_write(struct buffer *out, const struct token_entry *entry)
{
    const struct identity_source *source = &entry->source;
    buffer_append_slice(out, SLICE("{\"name\":"));
    buffer_append_json_string(out, source->name);
    buffer_append_slice(out, SLICE(",\"sha256\":\""));
    for (size_t i = 0; i < TOKEN_DIGEST_BYTES; i++)
        buffer_append_format(out, "%02x", entry->digest[i]);
    buffer_append_slice(out, SLICE("\""));
    write_list(out, "roles", &source->roles);
    write_list(out, "clientIds", &source->client_ids);
    write_list(out, "agentRoles", &source->agent_roles);
    write_list(out, "labels", &source->labels);
    write_limits(out, &source->limits);
    if (source->expires_ms != 0) {
        char time[CLOCK_ISO_LENGTH];
        clock_format_iso(source->expires_ms, time);
        buffer_append_format(out, ",\"expires\":\"%.*s\"", CLOCK_ISO_LENGTH, time);
    }
    buffer_append_slice(out, SLICE("}\n"));
}

/* --- The file --- */

static bool fail(const char *path, const char *why, char *error, size_t error_size)
{
    snprintf(error, error_size, "%s: %s", path, why);
    return false;
}

bool token_file_read(const char *path, struct buffer *out, char *error, size_t error_size)
{
    struct stat status;
    const char *why = NULL;
    int fd = file_open(path, &status, &why);
    if (fd < 0)
        return fail(path, why, error, error_size);
    if (status.st_mode & S_IWOTH)
        why = "anybody on this machine may write it: chmod 600";
    else if (status.st_size > (off_t)TOKEN_FILE_BYTES)
        why = "is larger than 16 MiB";
    while (!why) {
        char *at = buffer_reserve(out, 4096);
        ssize_t got = at ? read(fd, at, 4096) : -1;
        if (got == 0)
            break;
        if (got < 0 && at && errno == EINTR)
            continue;
        if (got < 0)
            why = at ? strerror(errno) : "not enough memory";
        else if ((out->length += (size_t)got) > TOKEN_FILE_BYTES)
            why = "is larger than 16 MiB";
    }
    close(fd);
    return !why || fail(path, why, error, error_size);
}

bool token_file_next(struct slice *rest, struct slice *line)
{
    if (rest->length == 0)
        return false;
    const char *end = memchr(rest->data, '\n', rest->length);
    size_t length = end ? (size_t)(end - rest->data) : rest->length, taken = length + (end != NULL);
    *line = slice_from(rest->data, length);
    *rest = slice_from(rest->data + taken, rest->length - taken);
    return true;
}
