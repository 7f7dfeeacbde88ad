/* The hooks run as they do for an envelope that came; what is left out is delivery, and waiting: time that a hook
 * sleeps passes at once, all else that it could wait for raises. */
#include "script/prompt/question.h"

#include "bridge/delivery/preview.h"
#include "script/hook.h"
#include "script/state/state.h"
#include "workers/value.h"

/* Recipients that an answer names; more are counted. */
#define RECIPIENTS_SHOWN 1000

struct asking {
    const struct question *question;
    struct envelope envelope, before;
    struct text_store store;
    struct sender_fragment fragment;
    struct envelope_defaults defaults;
    char timestamp[CLOCK_ISO_LENGTH];
};

static enum code scan(struct asking *asking, char error[ERROR_TEXT_BYTES])
{
    const struct question *question = asking->question;
    return envelope_scan(question->envelope, &question->rules, &asking->store, &asking->envelope, error);
}

/* The hooks' own sleeping takes no time here. */
static enum script_result run_route(struct asking *asking, struct decision **decision)
{
    const struct question *question = asking->question;
    struct script_state *state = question->state;
    enum script_result result = script_route(state, &asking->envelope, question->sender, &asking->defaults, decision);
    while (result == SCRIPT_WAITS) {
        struct script_wait *wait = script_take_wait(state);
        struct script_answer nothing = {.code = CODE_OK};
        struct script_outcome outcome;
        if (clock_steady_ns() > question->deadline_ns) {
            script_abandon(state, wait, "it sleeps again and again, and the line has run for its time");
            return SCRIPT_FAILED;
        }
        result = script_resume(state, wait, &nothing, &outcome);
        *decision = outcome.decision;
    }
    return result;
}

struct listing {
    struct buffer connected, absent; /* strings, values */
    uint32_t connected_count, absent_count, left_out;
};

static void list_recipient(void *context, struct slice id, bool connected)
{
    struct listing *listing = context;
    uint32_t *count = connected ? &listing->connected_count : &listing->absent_count;
    if (*count == RECIPIENTS_SHOWN) {
        listing->left_out++;
        return;
    }
    ++*count;
    value_write_string(connected ? &listing->connected : &listing->absent, id);
}

static void write_list(struct buffer *out, const char *name, const struct buffer *strings, uint32_t count)
{
    value_write_string(out, slice_from_string(name));
    size_t place = value_begin(out, VALUE_ARRAY);
    buffer_append(out, strings->data, strings->length);
    value_end(out, place, count);
}

static void write_text(struct buffer *out, const char *name, struct slice text)
{
    value_write_string(out, slice_from_string(name));
    value_write_string(out, text);
}

static void write_assigned(struct buffer *out, const struct asking *asking)
{
    char error[ERROR_TEXT_BYTES];
    uint32_t count = 0;
    value_write_string(out, SLICE("assigned"));
    size_t place = value_begin(out, VALUE_OBJECT);
    for (unsigned field = 0; field < FIELD_COUNT; field++) {
        struct slice now = asking->envelope.json[field], was = asking->before.json[field];
        if (now.length == was.length && (now.length == 0 || now.data == was.data))
            continue;
        value_write_string(out, field_name((enum field)field));
        if (now.length == 0 || value_from_json(out, now, asking->question->rules.depth, NULL, error) != CODE_OK)
            value_write_null(out);
        count++;
    }
    value_end(out, place, count);
}

/* What route() gives, as a value. */
static void write_outcome(struct buffer *out, struct asking *asking, const struct decision *decision, bool failed,
                          uint64_t took_ns)
{
    struct buffer text = {0};
    struct listing listing = {0};
    struct preview preview = {.decision = decision, .found = list_recipient, .context = &listing};
    uint32_t members = 5;
    preview.to = envelope_text(&asking->envelope, FIELD_TO, &asking->defaults);
    if (asking->question->sender)
        preview.sender = asking->question->sender->id;
    preview_recipients(&preview);
    decision_write(&text, decision);

    size_t place = value_begin(out, VALUE_OBJECT);
    write_text(out, "decision", slice_from(text.data, text.length));
    write_list(out, "recipients", &listing.connected, listing.connected_count);
    write_list(out, "mailboxes", &listing.absent, listing.absent_count);
    write_assigned(out, asking);
    value_write_string(out, SLICE("us"));
    uint64_t tenths = took_ns / 100;
    value_write_number(out, (double)tenths / 10);
    const struct {
        const char *name;
        bool set;
    } marks[] = {{"failed", failed}, {"waits", preview.waits}};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        if (!marks[i].set)
            continue;
        value_write_string(out, slice_from_string(marks[i].name));
        value_write_boolean(out, true);
        members++;
    }
    if (preview.refused) {
        write_text(out, "refused", slice_from_string(code_name(CODE_NO_RECIPIENT)));
        members++;
    }
    if (listing.left_out > 0) {
        value_write_string(out, SLICE("more"));
        value_write_number(out, listing.left_out);
        members++;
    }
    value_end(out, place, members);
    out->failed = out->failed || listing.connected.failed || listing.absent.failed || text.failed;
    buffer_free(&listing.connected);
    buffer_free(&listing.absent);
    buffer_free(&text);
}

void question_answer(const struct question *question, struct buffer *out)
{
    static const struct decision by_default = {.count = 1, .items = {{.kind = DECISION_DEFAULT}}};
    static const struct decision dropped = {
        .count = 1, .items = {{.kind = DECISION_DROP, .reason = {"script.onError", sizeof "script.onError" - 1}}}};
    struct asking asking = {.question = question};
    char error[ERROR_TEXT_BYTES] = "not enough memory";
    clock_format_iso(clock_wall_ms(), asking.timestamp);
    asking.defaults.timestamp = asking.timestamp;
    bool good = true;
    if (question->sender) {
        good = sender_fragment_set(&asking.fragment, question->sender->id, question->sender->role);
        asking.defaults.sender = &asking.fragment;
    }
    if (!good || scan(&asking, error) != CODE_OK) {
        value_write_string(out, slice_from_string(error));
    } else {
        struct decision *made = NULL;
        asking.before = asking.envelope;
        uint64_t began_ns = clock_steady_ns();
        bool failed = run_route(&asking, &made) == SCRIPT_FAILED;
        uint64_t took_ns = clock_steady_ns() - began_ns;
        const struct decision *decision = !failed ? made : question->drops_on_error ? &dropped : &by_default;
        if (failed && scan(&asking, error) == CODE_OK)
            asking.before = asking.envelope; /* as it was sent */
        write_outcome(out, &asking, decision, failed, took_ns);
    }
    question->state->envelope = NULL; /* it ends here, whoever kept its handle */
    question->state->envelope_handle = 0;
    text_store_free(&asking.store);
    sender_fragment_free(&asking.fragment);
}
