#include "bridge/delivery/dead_letter.h"

#include "bridge/delivery/answer.h"
#include "bridge/delivery/delivery.h"
#include "memory/buffer.h"

#define INTENT "bridge.dead_letter"

static struct slice addressee;
static atomic_ullong sent, lost;

void dead_letter_start(const char *id)
{
    addressee = id ? slice_from_string(id) : slice_from(NULL, 0);
}

bool dead_letter_wanted(const struct frame *frame, struct slice recipient)
{
    return addressee.data && !frame->dead_letter && !slice_equal(recipient, addressee);
}

void dead_letter_count_lost(void)
{
    atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
}

void dead_letter_read(struct dead_letter_figures *out)
{
    out->sent = atomic_load_explicit(&sent, memory_order_relaxed);
    out->lost = atomic_load_explicit(&lost, memory_order_relaxed);
}

/* {"reason":"evicted","recipient":"bob","envelope":{…}}; recipient null: a decision that named none. */
static void append_payload(struct buffer *out, const struct undeliverable *failure)
{
    buffer_append_slice(out, SLICE("{\"reason\":\""));
    buffer_append_slice(out, slice_from_string(undeliverable_reason_name(failure->reason)));
    buffer_append_slice(out, SLICE("\",\"recipient\":"));
    if (failure->recipient_length > 0)
        buffer_append_json_string(out, slice_from(failure->recipient, failure->recipient_length));
    else
        buffer_append_slice(out, SLICE("null"));
    buffer_append_slice(out, SLICE(",\"envelope\":"));
    buffer_append_slice(out, frame_envelope(failure->frame));
    buffer_append_slice(out, SLICE("}"));
}

/* Whether the mailbox or the agent took it. */
static bool deliver(struct lane *lane, struct envelope *envelope)
{
    struct decision to = {.count = 1, .items = {{.kind = DECISION_TO, .ids = &addressee, .id_count = 1}}};
    struct envelope_defaults defaults = {.timestamp = lane->timestamp};
    struct delivery delivery = {.lane = lane,
                                .envelope = envelope,
                                .defaults = &defaults,
                                .telling = TELL_NOTHING,
                                .again = true,
                                .dead_letter = true};
    struct delivery_result result;
    delivery_carry_out(&delivery, &to, &result);
    frame_release(result.frame);
    return result.accepted;
}

void dead_letter_send(struct lane *lane, const struct undeliverable *failure)
{
    struct buffer payload = {0};
    struct text_store store = {0};
    struct envelope envelope;
    char error[ERROR_TEXT_BYTES];
    append_payload(&payload, failure);
    envelope_clear(&envelope, &store);
    bool good = !payload.failed && envelope_set_text(&envelope, FIELD_FROM, SLICE("bridge"), error) == CODE_OK &&
                envelope_set_text(&envelope, FIELD_ROLE, SLICE("bridge"), error) == CODE_OK &&
                envelope_set_text(&envelope, FIELD_TO, addressee, error) == CODE_OK &&
                envelope_set_text(&envelope, FIELD_INTENT, SLICE(INTENT), error) == CODE_OK &&
                envelope_set_json(&envelope, FIELD_PAYLOAD, slice_from(payload.data, payload.length), error) == CODE_OK;
    if (good && deliver(lane, &envelope))
        atomic_fetch_add_explicit(&sent, 1, memory_order_relaxed);
    else
        dead_letter_count_lost();
    text_store_free(&store);
    buffer_free(&payload);
}
