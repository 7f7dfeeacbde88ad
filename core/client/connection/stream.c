#include "client/connection/stream.h"

#include <stdio.h>
#include <string.h>

#include "client/agent/view.h"
#include "client/connection/ask.h"
#include "protocol/json/json.h"

struct follow {
    const char *command;
    stream_taker *take;
    void *context;
    struct buffer line; /* not whole yet */
};

static bool take_line(struct follow *follow, struct slice line)
{
    static const char data[] = "data: ";
    size_t length = sizeof data - 1;
    if (line.length <= length || memcmp(line.data, data, length) != 0)
        return true;
    struct slice record = slice_from(line.data + length, line.length - length);
    if (json_validate(record, JSON_DEPTH_MAXIMUM, NULL) != CODE_OK)
        return true;
    struct slice lost = view_member(record, SLICE("lost"));
    if (lost.length > 0 && json_kind(lost) != JSON_NULL) {
        fprintf(stderr, "luaduct %s: it could not be read as fast as it came: ", follow->command);
        view_value(stderr, lost);
        fprintf(stderr, " are missing here\n");
        return true;
    }
    return follow->take(follow->context, record);
}

static bool take_piece(void *context, struct slice piece)
{
    struct follow *follow = context;
    buffer_append_slice(&follow->line, piece);
    bool more = !follow->line.failed;
    size_t used = 0;
    while (more) {
        const char *start = follow->line.data + used;
        const char *end = memchr(start, '\n', follow->line.length - used);
        if (!end)
            break;
        more = take_line(follow, slice_from(start, (size_t)(end - start)));
        used += (size_t)(end - start) + 1;
    }
    buffer_consume(&follow->line, used);
    return more;
}

int stream_follow(const char *command, const struct target *target, const char *path, stream_taker *take, void *context)
{
    struct follow follow = {.command = command, .take = take, .context = context};
    int code = follow_bridge(command, target, path, take_piece, &follow);
    buffer_free(&follow.line);
    return code;
}

void path_add_parameter(struct buffer *path, const char *name, const char *value)
{
    if (!value)
        return;
    bool first = path->length == 0 || !memchr(path->data, '?', path->length);
    buffer_append_format(path, "%s%s=", first ? "?" : "&", name);
    for (; *value; value++) {
        bool plain = strchr("-_.~", *value) || (*value >= '0' && *value <= '9') || (*value >= 'a' && *value <= 'z') ||
                     (*value >= 'A' && *value <= 'Z');
        buffer_append_format(path, plain ? "%c" : "%%%02X", (unsigned char)*value);
    }
}
