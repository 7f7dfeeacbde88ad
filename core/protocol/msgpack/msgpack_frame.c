/* A twin that is made of JSON is written into a scratch block first, because only the end tells how long it is, and
 * frames live long. One with packed fields is gathered: they go from the message into the frame in one copy. */
#include "protocol/msgpack/msgpack_frame.h"

#include "memory/pool.h"
#include "protocol/msgpack/msgpack.h"

#define OPCODE_TEXT 1
#define OPCODE_BINARY 2

/* {"type":"envelope","envelope": */
static const char envelope_head[] = "\x82\xa4type\xa8"
                                    "envelope\xa8"
                                    "envelope";
#define ENVELOPE_HEAD_LENGTH (sizeof envelope_head - 1)

/* … and the map of its fields. */
#define ENVELOPE_MAP ((char)(0x80 | FIELD_COUNT))

_Static_assert(FIELD_COUNT == 15, "the map's header is one byte");

const struct slice msgpack_batch_head = {"\x82\xa4type\xa5"
                                         "batch\xa9"
                                         "envelopes",
                                         22};

static const struct slice empty_map = {"\x80", 1}, empty_array = {"\x90", 1};

struct frame *msgpack_twin(struct frame *frame)
{
    if (((unsigned char)frame->data[0] & 0x0f) != OPCODE_TEXT)
        return frame;
    struct frame *twin = frame_find_twin(frame, FRAME_MSGPACK);
    if (twin)
        return twin;
    struct slice json = frame_payload_slice(frame);
    size_t bound = MSGPACK_BOUND(json.length);
    char *scratch = pool_acquire(POOL_BUFFERS, bound);
    char *end = scratch ? msgpack_write_json(scratch, json) : NULL;
    twin = end ? frame_new_owed((enum frame_kind)frame->kind, OPCODE_BINARY, (size_t)(end - scratch)) : NULL;
    if (twin) {
        memcpy(frame_payload(twin), scratch, (size_t)(end - scratch));
        twin->form = FRAME_MSGPACK;
        twin = frame_attach_twin(frame, twin);
    }
    pool_release(POOL_BUFFERS, scratch, bound);
    return twin;
}

#define SCRATCH_SMALL 2048

bool msgpack_attach(struct frame *frame, struct envelope *envelope, const struct envelope_defaults *defaults)
{
    struct slice json[FIELD_COUNT], opaque[FIELD_OPAQUE_COUNT];
    size_t bound = ENVELOPE_HEAD_LENGTH + 1;
    for (unsigned field = 0; field < FIELD_COUNT; field++) {
        json[field] = slice_from(NULL, 0);
        if (field < FIELD_TEXT_COUNT ||
            (envelope_has(envelope, (enum field)field) && !(envelope->packed_kept >> field & 1))) {
            json[field] = envelope_json(envelope, (enum field)field, defaults);
            if (json[field].length == 0)
                return false;
        }
        bound += field_name((enum field)field).length + 1 + MSGPACK_BOUND(json[field].length);
    }
    char small[SCRATCH_SMALL], *scratch = bound <= sizeof small ? small : pool_acquire(POOL_BUFFERS, bound);
    if (!scratch)
        return false;

    char *at = mempcpy(scratch, envelope_head, ENVELOPE_HEAD_LENGTH);
    *at++ = ENVELOPE_MAP;
    for (unsigned field = 0; at && field < FIELD_TEXT_COUNT; field++)
        at = msgpack_write_json(msgpack_write_short(at, field_name((enum field)field)), json[field]);
    size_t head_length = at ? (size_t)(at - scratch) : 0, length = head_length;
    for (unsigned i = 0; at && i < FIELD_OPAQUE_COUNT; i++) {
        enum field field = (enum field)(FIELD_TEXT_COUNT + i);
        if (envelope->packed_kept >> field & 1) {
            opaque[i] = envelope->packed[i];
        } else if (json[field].length > 0) {
            char *value = at;
            at = msgpack_write_json(at, json[field]);
            opaque[i] = slice_from(value, at ? (size_t)(at - value) : 0);
        } else {
            opaque[i] = field_class(field) == FIELD_CLASS_ARRAY ? empty_array : empty_map;
        }
        length += 1 + field_name(field).length + opaque[i].length;
    }
    struct frame *twin = at ? frame_new((enum frame_kind)frame->kind, OPCODE_BINARY, length) : NULL;
    if (twin) {
        char *to = mempcpy(frame_payload(twin), scratch, head_length);
        for (unsigned i = 0; i < FIELD_OPAQUE_COUNT; i++) {
            to = msgpack_write_short(to, field_name((enum field)(FIELD_TEXT_COUNT + i)));
            to = mempcpy(to, opaque[i].data, opaque[i].length);
        }
        twin->form = FRAME_MSGPACK;
        frame_attach_twin(frame, twin);
    }
    if (scratch != small)
        pool_release(POOL_BUFFERS, scratch, bound);
    return twin != NULL;
}

/* The envelope's map in a twin. */
static struct slice envelope_of(const struct frame *twin)
{
    struct slice payload = frame_payload_slice(twin);
    return slice_from(payload.data + ENVELOPE_HEAD_LENGTH, payload.length - ENVELOPE_HEAD_LENGTH);
}

void msgpack_keep_twin(struct envelope *envelope, const struct frame *frame)
{
    const struct frame *twin = frame_find_twin(frame, FRAME_MSGPACK);
    if (!twin)
        return;
    const char *at = envelope_of(twin).data + 1;
    for (unsigned field = 0; field < FIELD_COUNT; field++) {
        const char *value = msgpack_skip(at);
        at = msgpack_skip(value);
        if (field >= FIELD_TEXT_COUNT && envelope_has(envelope, (enum field)field))
            envelope_keep_packed(envelope, (enum field)field, slice_from(value, (size_t)(at - value)));
    }
}

struct frame *msgpack_list(struct slice head, struct frame *const *frames, unsigned count)
{
    size_t header = count < 16 ? 1 : 3, length = head.length + header;
    for (unsigned i = 0; i < count; i++) {
        const struct frame *twin = msgpack_twin(frames[i]);
        if (!twin)
            return NULL;
        length += envelope_of(twin).length;
    }
    struct frame *list = frame_new_owed(FRAME_CONTROL, OPCODE_BINARY, length);
    if (!list)
        return NULL;
    char *at = mempcpy(frame_payload(list), head.data, head.length);
    if (count < 16) {
        *at++ = (char)(0x90 | count);
    } else {
        *at++ = (char)0xdc;
        *at++ = (char)(count >> 8);
        *at++ = (char)count;
    }
    for (unsigned i = 0; i < count; i++) {
        const struct frame *twin = msgpack_twin(frames[i]); /* the one of above, found */
        if (!twin) {
            frame_release(list);
            return NULL;
        }
        struct slice envelope = envelope_of(twin);
        at = mempcpy(at, envelope.data, envelope.length);
    }
    list->form = FRAME_MSGPACK;
    return list;
}
