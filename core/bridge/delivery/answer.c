#include "bridge/delivery/answer.h"

#include <inttypes.h>

#include "base/clock.h"
#include "memory/pool.h"
#include "protocol/json/json_write.h"
#include "protocol/msgpack/msgpack.h"
#include "protocol/msgpack/msgpack_frame.h"

static void append_text(struct buffer *out, const char *text)
{
    buffer_append(out, text, strlen(text));
}

static void append_time(struct buffer *out, int64_t wall_ms)
{
    char text[CLOCK_ISO_LENGTH];
    clock_format_iso(wall_ms, text);
    append_text(out, "\"");
    buffer_append(out, text, sizeof text);
    append_text(out, "\"");
}

void meta_append(struct buffer *out, const struct agent_view *view, enum meta_extent extent, struct slice own_limits,
                 int64_t now_ms)
{
    const struct profile *profile = view->profile;
    append_text(out, "{\"id\":");
    buffer_append_json_string(out, profile->id);
    append_text(out, ",\"role\":");
    buffer_append_json_string(out, profile->role);
    append_text(out, ",\"labels\":");
    buffer_append_slice(out, profile->labels);
    append_text(out, ",\"tools\":");
    buffer_append_slice(out, profile->tools);
    append_text(out, ",\"intents\":");
    buffer_append_slice(out, profile->intents);
    buffer_append_format(out, ",\"maxConcurrentTasks\":%u,\"lastSeen\":", profile->max_concurrent_tasks);
    append_time(out, view->last_seen_ms);
    append_text(out, ",\"connectedAt\":");
    append_time(out, view->connected_at_ms);
    if (extent >= META_COUNTS)
        buffer_append_format(out, ",\"messageCount\":%" PRIu64 ",\"errorCount\":%" PRIu64 ",\"uptime\":%" PRId64,
                             view->message_count, view->error_count,
                             now_ms > view->connected_at_ms ? now_ms - view->connected_at_ms : 0);
    if (extent >= META_LOAD)
        buffer_append_format(out,
                             ",\"receivedCount\":%" PRIu64 ",\"waiting\":%" PRIu32 ",\"waitingBytes\":%" PRIu64
                             ",\"openTasks\":%" PRIu32,
                             view->received_count, view->waiting_count, view->waiting_bytes, view->open_tasks);
    if (own_limits.length > 0) {
        append_text(out, ",\"limits\":");
        buffer_append_slice(out, own_limits);
    }
    append_text(out, "}");
}

static struct frame *frame_of(struct buffer *text)
{
    struct frame *frame = text->failed ? NULL : frame_from(FRAME_CONTROL, 1, slice_from(text->data, text->length));
    buffer_free(text);
    return frame;
}

struct frame *answer_error(enum code code, struct slice text, struct slice id)
{
    struct buffer out = {0};
    append_text(&out, "{\"type\":\"error\",\"error\":");
    buffer_append_json_string(&out, text);
    append_text(&out, ",\"code\":\"");
    append_text(&out, code_name(code));
    append_text(&out, "\"");
    if (id.length > 0) {
        append_text(&out, ",\"id\":");
        buffer_append_json_string(&out, id);
    }
    append_text(&out, "}");
    return frame_of(&out);
}

/* Of a buffer that has {"type":"registered","client":{meta}: the MessagePack of that, a key for the list behind it. */
static struct frame *packed_registered(struct buffer *text, struct frame *const *history, unsigned history_count)
{
    append_text(text, "}");
    size_t bound = MSGPACK_BOUND(text->length) + sizeof "history";
    char *head = text->failed ? NULL : pool_acquire(POOL_BUFFERS, bound);
    char *at = head ? msgpack_write_json(head, slice_from(text->data, text->length)) : NULL;
    struct frame *frame = NULL;
    if (at) {
        *head = (char)0x83; /* one more than the two members so far */
        at = msgpack_write_short(at, SLICE("history"));
        frame = msgpack_list(slice_from(head, (size_t)(at - head)), history, history_count);
    }
    pool_release(POOL_BUFFERS, head, bound);
    buffer_free(text);
    return frame;
}

struct frame *answer_registered(const struct agent_view *view, bool enhanced, int64_t now_ms,
                                struct frame *const *history, unsigned history_count, bool packed)
{
    struct buffer out = {0};
    append_text(&out, "{\"type\":\"registered\",\"client\":");
    meta_append(&out, view, enhanced ? META_COUNTS : META_REGISTERED, slice_from(NULL, 0), now_ms);
    if (packed)
        return packed_registered(&out, history, history_count);
    append_text(&out, ",\"history\":[");
    for (unsigned i = 0; i < history_count; i++) {
        if (i > 0)
            append_text(&out, ",");
        buffer_append_slice(&out, frame_envelope(history[i]));
    }
    append_text(&out, "]}");
    return frame_of(&out);
}

struct frame *answer_heartbeat(void)
{
    return frame_from(FRAME_CONTROL, 1, SLICE("{\"type\":\"heartbeat_ack\"}"));
}
