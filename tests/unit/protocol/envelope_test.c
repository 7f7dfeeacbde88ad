/* Envelopes: the rules for each field in both modes, the defaults, what scripts may change, and the frame that goes
 * out. */
#include "protocol/envelope.h"

#include "../../support/unit.h"
#include "protocol/message.h"

static struct envelope envelope;
static struct text_store store;
static char error[ERROR_TEXT_BYTES];
static struct sender_fragment sender;
static struct envelope_defaults defaults = {&sender, "2026-01-31T12:00:00.000Z"};
static const struct message_rules strict = {.depth = 32}, lenient = {.depth = 32, .lenient = true};

static char *kept;

static enum code scan_by(const char *text, const struct message_rules *rules)
{
    free(kept); /* an exact block: a scan may not read past it */
    kept = malloc(strlen(text) + !*text);
    memcpy(kept, text, strlen(text));
    return envelope_scan(slice_from(kept, strlen(text)), rules, &store, &envelope, error);
}

static enum code scan(const char *text)
{
    return scan_by(text, &strict);
}

#define CHECK_SLICE(actual, text)                                                                                      \
    do {                                                                                                               \
        struct slice slice_ = (actual);                                                                                \
        CHECK_TEXT(slice_.data, slice_.length, text);                                                                  \
    } while (0)

/* The envelope object of the frame that goes out, as a string. */
static const char *built_for(const struct envelope_defaults *whose)
{
    static char text[70000];
    struct frame *frame = envelope_build(&envelope, whose, FRAME_ENVELOPE);
    CHECK(frame);
    struct slice payload = frame_payload_slice(frame), object = frame_envelope(frame);
    CHECK(memcmp(payload.data, FRAME_ENVELOPE_PREFIX, sizeof(FRAME_ENVELOPE_PREFIX) - 1) == 0);
    CHECK(payload.data[payload.length - 1] == '}' && object.data[object.length - 1] == '}');
    CHECK(json_validate(payload, 64, NULL) == CODE_OK);
    snprintf(text, sizeof text, "%.*s", (int)object.length, object.data);
    frame_release(frame);
    return text;
}

static const char *built(void)
{
    return built_for(&defaults);
}

static void name_sender(void)
{
    CHECK(sender_fragment_set(&sender, SLICE("alice"), SLICE("planner")));
}

TEST("envelope: the field table is in the order of the wire, and every name is found by its text")
{
    static const char *const order[] = {"id",       "timestamp", "intent", "taskId",      "channel",
                                        "priority", "from",      "role",   "to",          "replyTo",
                                        "context",  "payload",   "tools",  "attachments", "trace"};
    CHECK(FIELD_COUNT == 15);
    for (unsigned field = 0; field < FIELD_COUNT; field++) {
        CHECK_SLICE(field_name((enum field)field), order[field]);
        CHECK(field_from_name(slice_from_string(order[field])) == field);
    }
    static const char *const strangers[] = {"",
                                            "i",
                                            "idd",
                                            "To",
                                            "fro",
                                            "timestamps",
                                            "timestam",
                                            "payloaD",
                                            "attachment",
                                            "attachmentS",
                                            "attachments ",
                                            "replyto",
                                            " ",
                                            "role\\",
                                            "a name of thirty bytes and more"};
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++)
        CHECK(field_from_name(slice_from_string(strangers[i])) == FIELD_UNKNOWN);
    CHECK(field_from_name(slice_from("to\0", 3)) == FIELD_UNKNOWN);
    CHECK(scan("{\"to\\u0000\":5,\"to\\u0000\":6}") == CODE_OK && !envelope_has(&envelope, FIELD_TO));
}

TEST("envelope: an empty one goes out with all 15 defaults in order")
{
    name_sender();
    CHECK(scan("{}") == CODE_OK);
    const char *text = built();
    CHECK(strncmp(text, "{\"id\":\"", 7) == 0 && text[7 + 36] == '"');
    CHECK_TEXT(text + 44, strlen(text + 44),
               ",\"timestamp\":\"2026-01-31T12:00:00.000Z\",\"intent\":\"agent.message\",\"taskId\":null,"
               "\"channel\":\"default\",\"priority\":\"normal\",\"from\":\"alice\",\"role\":\"planner\",\"to\":null,"
               "\"replyTo\":null,\"context\":{},\"payload\":{},\"tools\":[],\"attachments\":[],\"trace\":{}}");
}

TEST("envelope: null is as good as absent for every field")
{
    CHECK(scan("{\"id\":null,\"timestamp\":null,\"intent\":null,\"taskId\":null,\"channel\":null,\"priority\":null,"
               "\"from\":null,\"role\":null,\"to\":null,\"replyTo\":null,\"context\":null,\"payload\":null,"
               "\"tools\":null,\"attachments\":null,\"trace\":null}") == CODE_OK);
    for (unsigned field = 0; field < FIELD_COUNT; field++)
        CHECK(!envelope_has(&envelope, (enum field)field));
}

TEST("envelope: every choice of fields goes out whole, each sent value in its place")
{
    static const char *const values[FIELD_COUNT] = {
        "\"i1\"",    "12345",    "\"do.it\"", "\"t1\"",
        "\"c\"",     "\"high\"", "\"bob\"",   "\"worker\"",
        "\"carol\"", "\"e0\"",   "[1]",       "{\"k\":\"vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv\"}",
        "[2]",       "[3]",      "4"};
    static const char *const absent[FIELD_COUNT] = {NULL,
                                                    "\"2026-01-31T12:00:00.000Z\"",
                                                    "\"agent.message\"",
                                                    "null",
                                                    "\"default\"",
                                                    "\"normal\"",
                                                    "\"alice\"",
                                                    "\"planner\"",
                                                    "null",
                                                    "null",
                                                    "{}",
                                                    "{}",
                                                    "[]",
                                                    "[]",
                                                    "{}"};
    name_sender();
    for (unsigned choice = 0; choice < 1u << FIELD_COUNT; choice++) {
        char text[1024], expected[1024], *at = text, *to = expected;
        *at++ = '{';
        *to++ = '{';
        for (unsigned k = 0; k < FIELD_COUNT; k++) { /* sent in reverse, to go out in order */
            unsigned field = FIELD_COUNT - 1 - k;
            if (choice >> field & 1)
                at += sprintf(at, "%s\"%s\":%s", at[-1] == '{' ? "" : ",", field_name((enum field)field).data,
                              values[field]);
        }
        sprintf(at, "}");
        CHECK(scan(text) == CODE_OK);
        for (unsigned field = 0; field < FIELD_COUNT; field++) {
            struct slice value = slice_from_string(choice >> field & 1 ? values[field]
                                                   : absent[field]     ? absent[field]
                                                                       : "");
            if (field == FIELD_ID && !(choice & 1))
                value = envelope_json(&envelope, FIELD_ID, &defaults);
            CHECK(slice_equal(envelope_json(&envelope, (enum field)field, &defaults), value));
            to += sprintf(to, "%s\"%s\":%.*s", field ? "," : "", field_name((enum field)field).data, (int)value.length,
                          value.data);
        }
        sprintf(to, "}");
        CHECK_TEXT(built(), strlen(expected), expected);
    }
}

TEST("envelope: opaque values arrive byte for byte")
{
    static const char *const values[] = {
        "1e400",
        "-1e400",
        "1.10",
        "12345678901234567890",
        "-0",
        "0.0",
        "{\"b\":1,\"a\":2}",
        "{\"a\":1,\"a\":2,\"a\":1}",
        "\"\\u0041\\/\\ud800\"",
        "\"\\u0000\x7f\"",
        "[1 ,2]",
        "{ \"x\" : [ ] }",
        "false",
        "true",
        "0",
        "\"\"",
        "[]",
        "{}",
        "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"",
        "[[[[[[]]]]]]",
        "{\"to\":5,\"to\":6,\"fr\\u006fm\":null}",
        "[null]",
    };
    static const enum field any[] = {FIELD_PAYLOAD, FIELD_CONTEXT, FIELD_TRACE};
    for (int mode = 0; mode < 2; mode++)
        for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
            char text[512], found[512];
            for (int f = 0; f < 3; f++) {
                snprintf(text, sizeof text, "{ \"%s\" :\t%s\n}", field_name(any[f]).data, values[i]);
                CHECK(scan_by(text, mode ? &lenient : &strict) == CODE_OK);
                CHECK_SLICE(envelope.json[any[f]], values[i]);
                snprintf(found, sizeof found, "\"%s\":%s%s", field_name(any[f]).data, values[i],
                         any[f] == FIELD_TRACE ? "}" : ",");
                CHECK(strstr(built(), found));
            }
            static const enum field lists[] = {FIELD_TOOLS, FIELD_ATTACHMENTS};
            for (int f = 0; f < 2; f++) {
                snprintf(text, sizeof text, "{\"%s\":[%s]}", field_name(lists[f]).data, values[i]);
                CHECK(scan_by(text, mode ? &lenient : &strict) == CODE_OK);
                snprintf(found, sizeof found, "\"%s\":[%s],", field_name(lists[f]).data, values[i]);
                CHECK(strstr(built(), found));
            }
        }
}

TEST("envelope: each field takes its own types and no other")
{
    static const char *const values[] = {"\"x\"", "5", "true", "false", "[]", "{}"};
    static const char *const names[] = {"a string", "a number", "true", "false", "an array", "an object"};
    for (unsigned field = 0; field < FIELD_COUNT; field++)
        for (unsigned v = 0; v < 6; v++) {
            enum field_class class = field_class((enum field)field);
            bool good = class == FIELD_CLASS_ANY ||
                        (class == FIELD_CLASS_ARRAY ? v == 4 : v == 0 || (v == 1 && field == FIELD_TIMESTAMP));
            char text[64];
            snprintf(text, sizeof text, "{\"%s\":%s}", field_name((enum field)field).data, values[v]);
            CHECK(scan(text) == (good ? CODE_OK : CODE_BAD_FIELD));
            if (!good) {
                CHECK(strncmp(error, field_name((enum field)field).data, field_name((enum field)field).length) == 0);
                CHECK(strstr(error, "got ") && strcmp(strstr(error, "got ") + 4, names[v]) == 0);
            }
        }
}

TEST("envelope: original mode takes false, zero and empty text for nothing, and carries numbers in a text's place")
{
    static const char *const nothings[] = {"false", "0", "-0.0", "0e7", "\"\"", "null"};
    for (unsigned field = 0; field < FIELD_COUNT; field++) {
        enum field_class class = field_class((enum field)field);
        if (class == FIELD_CLASS_ANY)
            continue;
        char text[64];
        for (int i = 0; i < 6; i++) {
            snprintf(text, sizeof text, "{\"%s\":%s}", field_name((enum field)field).data, nothings[i]);
            CHECK(scan_by(text, &lenient) == CODE_OK);
            CHECK(!envelope_has(&envelope, (enum field)field));
        }
        snprintf(text, sizeof text, "{\"%s\":4.20}", field_name((enum field)field).data);
        CHECK(scan_by(text, &lenient) == (class == FIELD_CLASS_ARRAY ? CODE_BAD_FIELD : CODE_OK));
        if (class != FIELD_CLASS_ARRAY) {
            CHECK_SLICE(envelope_sent_text(&envelope, (enum field)field), "4.20");
            CHECK_SLICE(envelope.json[field], "4.20");
        }
        snprintf(text, sizeof text, "{\"%s\":true}", field_name((enum field)field).data);
        CHECK(scan_by(text, &lenient) == CODE_BAD_FIELD);
        snprintf(text, sizeof text, "{\"%s\":{}}", field_name((enum field)field).data);
        CHECK(scan_by(text, &lenient) == CODE_BAD_FIELD);
    }
    CHECK(scan_by("{\"to\":\"a\\n\"}", &lenient) == CODE_BAD_FIELD);
    CHECK(scan_by("{\"to\":1,\"from\":-0.01,\"id\":1e0}", &lenient) == CODE_OK); /* none of them is zero */
    CHECK(envelope_has(&envelope, FIELD_TO) && envelope_has(&envelope, FIELD_FROM) &&
          envelope_has(&envelope, FIELD_ID));
}

TEST("envelope: ids and roles are 1 to 256 bytes of text without control characters, the other texts are free")
{
    static const char *const bad[] = {
        "\"\"",         "\"a\\u0000b\"", "\"\\n\"",     "\"\\u001f\"",  "\"\x7f\"",           "\"\\u007f\"",
        "\"\xc2\x9b\"", "\"\\u0085\"",   "\"\\ud800\"", "\"\\udc00x\"", "\"\\ud800\\u0041\"",
    };
    static const char *const good[] = {
        "\"a\"", "\" \"", "\"\xc3\xa4\"", "\"\\u00e4\"", "\"\\ud83d\\ude00\"", "\"\xc2\xa0\"", "\"a\\\"b\\\\c\\/\"",
        "\"~\""};
    static const enum field identifiers[] = {FIELD_ID, FIELD_TASK_ID, FIELD_FROM, FIELD_ROLE, FIELD_TO, FIELD_REPLY_TO};
    static const enum field free_texts[] = {FIELD_INTENT, FIELD_CHANNEL, FIELD_PRIORITY, FIELD_TIMESTAMP};
    char text[2048];
    for (int f = 0; f < 6; f++) {
        const char *name = field_name(identifiers[f]).data;
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
            snprintf(text, sizeof text, "{\"%s\":%s}", name, bad[i]);
            CHECK(scan(text) == CODE_BAD_FIELD);
            CHECK(!envelope_has(&envelope, identifiers[f]));
        }
        for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
            snprintf(text, sizeof text, "{\"%s\":%s}", name, good[i]);
            CHECK(scan(text) == CODE_OK);
        }
        snprintf(text, sizeof text, "{\"%s\":\"%0256d\"}", name, 1);
        CHECK(scan(text) == CODE_OK);
        snprintf(text, sizeof text, "{\"%s\":\"%0257d\"}", name, 1);
        CHECK(scan(text) == CODE_BAD_FIELD);
        snprintf(text, sizeof text, "{\"%s\":\"%0250d\\u20ac\\u20ac\"}", name, 1); /* 256 bytes, written as 262 */
        CHECK(scan(text) == CODE_OK);
    }
    for (int f = 0; f < 4; f++) {
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
            snprintf(text, sizeof text, "{\"%s\":%s}", field_name(free_texts[f]).data, bad[i]);
            CHECK(scan(text) == CODE_OK);
            CHECK_SLICE(envelope.json[free_texts[f]], bad[i]);
        }
        snprintf(text, sizeof text, "{\"%s\":\"%01000d\"}", field_name(free_texts[f]).data, 1);
        CHECK(scan(text) == CODE_OK);
    }
}

TEST("envelope: texts mean what they say after unescaping, and go out as they came")
{
    CHECK(scan("{\"t\\u006f\":\"a\\u0062\",\"intent\":\"x\\ud800\\n\",\"from\":\"plain\"}") == CODE_OK);
    CHECK_SLICE(envelope_text(&envelope, FIELD_TO, &defaults), "ab");
    CHECK_SLICE(envelope_text(&envelope, FIELD_INTENT, &defaults), "x\xef\xbf\xbd\n");
    CHECK_SLICE(envelope_text(&envelope, FIELD_FROM, &defaults), "plain");
    CHECK(envelope_text(&envelope, FIELD_FROM, &defaults).data > kept); /* in place, not copied */
    CHECK(strstr(built(), "\"to\":\"a\\u0062\","));
    CHECK(strstr(built(), "\"intent\":\"x\\ud800\\n\","));
}

TEST("envelope: an HTTP body is judged like a message, under its own field names")
{
    CHECK(scan("{\"to\":5}") == CODE_BAD_FIELD);
    CHECK_TEXT(error, strlen(error), "to: expected a string or null, got a number");
    CHECK(scan("[]") == CODE_BAD_FIELD);
    CHECK_TEXT(error, strlen(error), "envelope: expected an object, got an array");
    CHECK(scan("{\"to\":\"a\"} x") == CODE_BAD_JSON);
    CHECK(scan("") == CODE_BAD_JSON);
    CHECK(scan("{\"to\":\"a\",\"to\":\"b\"}") == CODE_DUPLICATE_FIELD);
    CHECK(scan_by("{\"payload\":[]}", &(struct message_rules){.depth = 1}) == CODE_TOO_DEEP);
    CHECK(scan_by("{\"payload\":5}", &(struct message_rules){.depth = 1}) == CODE_OK);
}

TEST("envelope: what a script reads of an absent field is what goes out")
{
    name_sender();
    CHECK(scan("{}") == CODE_OK);
    struct slice id = envelope_text(&envelope, FIELD_ID, &defaults);
    CHECK(id.length == UUID_LENGTH);
    char expected[64];
    snprintf(expected, sizeof expected, "{\"id\":\"%.36s\",", id.data);
    CHECK(strncmp(built(), expected, strlen(expected)) == 0);
    CHECK(strncmp(built(), expected, strlen(expected)) == 0); /* a second frame has the same id */
    CHECK_SLICE(envelope_text(&envelope, FIELD_FROM, &defaults), "alice");
    CHECK_SLICE(envelope_text(&envelope, FIELD_ROLE, &defaults), "planner");
    CHECK_SLICE(envelope_text(&envelope, FIELD_TIMESTAMP, &defaults), "2026-01-31T12:00:00.000Z");
    CHECK_SLICE(envelope_json(&envelope, FIELD_TIMESTAMP, &defaults), "\"2026-01-31T12:00:00.000Z\"");
    CHECK_SLICE(envelope_text(&envelope, FIELD_PRIORITY, &defaults), "normal");
    CHECK_SLICE(envelope_json(&envelope, FIELD_PAYLOAD, &defaults), "{}");
    CHECK_SLICE(envelope_json(&envelope, FIELD_TO, &defaults), "null");
    CHECK(envelope_text(&envelope, FIELD_TO, &defaults).data == NULL);
    CHECK(scan("{}") == CODE_OK); /* the next envelope gets an id of its own */
    CHECK(strncmp(built(), expected, strlen(expected)) != 0);
}

TEST("envelope: a sender that never registered is unknown, an agent, and odd names are quoted as JSON")
{
    CHECK(scan("{}") == CODE_OK);
    struct envelope_defaults anonymous = {NULL, defaults.timestamp};
    CHECK_SLICE(envelope_text(&envelope, FIELD_FROM, &anonymous), "unknown");
    CHECK_SLICE(envelope_text(&envelope, FIELD_ROLE, &anonymous), "agent");
    CHECK(strstr(built_for(&anonymous), "\"from\":\"unknown\",\"role\":\"agent\",\"to\""));
    CHECK(sender_fragment_set(&sender, SLICE("a\"b"), SLICE("")));
    CHECK_SLICE(envelope_text(&envelope, FIELD_FROM, &defaults), "a\"b");
    CHECK_SLICE(envelope_json(&envelope, FIELD_FROM, &defaults), "\"a\\\"b\"");
    CHECK_SLICE(envelope_text(&envelope, FIELD_ROLE, &defaults), "agent");
    CHECK(strstr(built(), "\"from\":\"a\\\"b\",\"role\":\"agent\","));
}

TEST("envelope: a script replaces single fields, and a wrong value changes nothing")
{
    CHECK(scan("{\"to\":\"a\\u0062\",\"priority\":\"low\",\"payload\":1}") == CODE_OK);
    CHECK(envelope_set_text(&envelope, FIELD_PRIORITY, SLICE("hi\"gh"), error) == CODE_OK);
    CHECK_SLICE(envelope_text(&envelope, FIELD_PRIORITY, &defaults), "hi\"gh");
    CHECK(envelope_set_json(&envelope, FIELD_PAYLOAD, SLICE(" {\"x\":1} "), error) == CODE_OK);
    CHECK(envelope_set_text(&envelope, FIELD_TO, SLICE("\xc3\xa4"), error) == CODE_OK);
    CHECK_SLICE(envelope_text(&envelope, FIELD_TO, &defaults), "\xc3\xa4");
    CHECK(strstr(built(), "\"priority\":\"hi\\\"gh\","));
    CHECK(strstr(built(), "\"to\":\"\xc3\xa4\","));
    CHECK(strstr(built(), "\"payload\":{\"x\":1},"));

    CHECK(envelope_set_text(&envelope, FIELD_TO, SLICE(""), error) == CODE_BAD_FIELD);
    CHECK_TEXT(error, strlen(error), "to: is empty");
    CHECK(envelope_set_text(&envelope, FIELD_TO, SLICE("a\n"), error) == CODE_BAD_FIELD);
    CHECK(envelope_set_text(&envelope, FIELD_TO, SLICE("\xff"), error) == CODE_BAD_FIELD);
    CHECK(envelope_set_text(&envelope, FIELD_PAYLOAD, SLICE("x"), error) == CODE_BAD_FIELD);
    CHECK(envelope_set_json(&envelope, FIELD_TO, SLICE("5"), error) == CODE_BAD_FIELD);
    CHECK(envelope_set_json(&envelope, FIELD_TOOLS, SLICE("{}"), error) == CODE_BAD_FIELD);
    CHECK_SLICE(envelope_text(&envelope, FIELD_TO, &defaults), "\xc3\xa4");

    CHECK(envelope_set_json(&envelope, FIELD_TO, SLICE("null"), error) == CODE_OK);
    CHECK(envelope_set_json(&envelope, FIELD_PRIORITY, SLICE(""), error) == CODE_OK);
    CHECK(strstr(built(), "\"priority\":\"normal\","));
    CHECK(strstr(built(), "\"to\":null,"));
    CHECK(envelope_set_json(&envelope, FIELD_TO, SLICE("\"\\u0078\""), error) == CODE_OK);
    CHECK_SLICE(envelope_text(&envelope, FIELD_TO, &defaults), "x");
}

TEST("envelope: one that the bridge makes needs no text to start from")
{
    name_sender();
    envelope_clear(&envelope, &store);
    CHECK(envelope_set_text(&envelope, FIELD_FROM, SLICE("bridge"), error) == CODE_OK);
    CHECK(envelope_set_json(&envelope, FIELD_PAYLOAD, SLICE("[1]"), error) == CODE_OK);
    CHECK(strstr(built(), "\"from\":\"bridge\",\"role\":\"planner\",\"to\":null"));
    CHECK(strstr(built(), "\"payload\":[1],"));
}

TEST("envelope: a frame of ours reads back as the same envelope, at every size of payload")
{
    name_sender();
    for (size_t size = 0; size < 66000; size += size < 700 ? 1 : 16301) {
        static char text[67000];
        sprintf(text, "{\"to\":\"b\",\"trace\":\"%0*d\"}", (int)size + 1, 0);
        CHECK(scan(text) == CODE_OK);
        struct frame *first = envelope_build(&envelope, &defaults, FRAME_ENVELOPE);
        struct envelope again;
        struct text_store other = {0};
        CHECK(envelope_scan(frame_envelope(first), &strict, &other, &again, error) == CODE_OK);
        struct frame *second = envelope_build(&again, &defaults, FRAME_CONTROL);
        CHECK(slice_equal(frame_payload_slice(first), frame_payload_slice(second)));
        CHECK(second->kind == FRAME_CONTROL);
        frame_release(first);
        frame_release(second);
        text_store_free(&other);
    }
}

TEST("envelope: text from a read buffer, white space and all, gives the same frame as from a copy")
{
    static char data[4096];
    const char *text =
        "{ \"type\" : \"envelope\",\n \"envelope\" : { \"to\" : \"b\" , \"id\":\"i\", \"payload\" : [ 1, 2 ] } }";
    memcpy(data, text, strlen(text));
    static struct message message;
    CHECK(message_scan(data, strlen(text), &strict, &store, &message) == CODE_OK);
    struct frame *frame = envelope_build(&message.envelope, &defaults, FRAME_ENVELOPE);
    struct slice object = frame_envelope(frame);
    struct text_store other = {0};
    CHECK(envelope_scan(SLICE("{\"payload\":[ 1, 2 ],\"id\":\"i\",\"to\":\"b\"}"), &strict, &other, &envelope, error) ==
          CODE_OK);
    CHECK_TEXT(object.data, object.length, built());
    frame_release(frame);
}
