/* Whole messages and registrations: what each is taken for, and what is refused in which words. */
#include "protocol/message.h"

#include "../../support/unit.h"
#include "protocol/registration.h"

static struct message message;
static struct text_store store;
static char *buffer;

static enum code scan_with(struct slice text, const struct message_rules *rules)
{
    free(buffer);
    buffer = malloc(text.length + JSON_SLACK);
    memcpy(buffer, text.data, text.length);
    memset(buffer + text.length, 0xaa, JSON_SLACK);
    enum code code = message_scan(buffer, text.length, rules, &store, &message);
    CHECK((unsigned char)buffer[text.length] == 0xaa); /* the byte behind is as it was */
    return code;
}

static enum code scan(const char *text)
{
    return scan_with(slice_from_string(text), &(struct message_rules){.depth = 16});
}

static enum code scan_lenient(const char *text)
{
    return scan_with(slice_from_string(text), &(struct message_rules){.depth = 16, .lenient = true});
}

#define CHECK_ERROR(text) CHECK_TEXT(message.error, strlen(message.error), text)
#define CHECK_SLICE(actual, text) CHECK_TEXT((actual).data, (actual).length, text)

TEST("message: an envelope, a register and a heartbeat are told apart, whatever else they carry")
{
    CHECK(scan("{\"type\":\"envelope\",\"envelope\":{}}") == CODE_OK && message.type == MESSAGE_ENVELOPE);
    CHECK(scan("{\"type\":\"register\"}") == CODE_OK && message.type == MESSAGE_REGISTER);
    CHECK(scan("{\"type\":\"heartbeat\"}") == CODE_OK && message.type == MESSAGE_HEARTBEAT);
    CHECK(scan(" { \"x\" : [ 1 ] , \"type\" : \"heartbeat\" , \"y\":{} } ") == CODE_OK);
    CHECK(message.type == MESSAGE_HEARTBEAT);
    CHECK(scan("{\"type\":\"heartbeat\",\"x\":1,\"x\":2}") == CODE_OK);
}

TEST("message: the type may come last and may be written with escapes, and so may the keys")
{
    CHECK(scan("{\"envelope\":{\"to\":\"b\"},\"type\":\"envelope\"}") == CODE_OK);
    CHECK(message.type == MESSAGE_ENVELOPE);
    CHECK_SLICE(envelope_sent_text(&message.envelope, FIELD_TO), "b");
    CHECK(scan("{\"ty\\u0070e\":\"env\\u0065lope\",\"\\u0065nvelope\":{\"fr\\u006fm\":\"a\\u0062\"}}") == CODE_OK);
    CHECK(message.type == MESSAGE_ENVELOPE);
    CHECK_SLICE(envelope_sent_text(&message.envelope, FIELD_FROM), "ab");
    CHECK_SLICE(message.envelope.json[FIELD_FROM], "\"a\\u0062\"");
    CHECK(scan("{\"type\":\"envelope\",\"envelope\":{\"to\":\"b\"},\"more\":1}") == CODE_OK);
    CHECK(scan("{\"type\":\"envelope\",\"envelope\":{\"to\":\"b\"} \n}\n") == CODE_OK);
}

TEST("message: JSON that is no message is refused as a bad message")
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"[]", "expected an object, got an array"},
        {"null", "expected an object, got null"},
        {"5", "expected an object, got a number"},
        {"{}", "type: missing"},
        {"{\"x\":1}", "type: missing"},
        {"{\"type\":5}", "type: expected a string, got a number"},
        {"{\"type\":null}", "type: expected a string, got null"},
        {"{\"type\":\"Envelope\"}", "type: expected envelope, register or heartbeat"},
        {"{\"type\":\"envelope \",\"envelope\":{}}", "type: expected envelope, register or heartbeat"},
        {"{\"type\":\"\"}", "type: expected envelope, register or heartbeat"},
        {"{\"Type\":\"heartbeat\"}", "type: missing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK(scan(cases[i].text) == CODE_BAD_MESSAGE);
        CHECK_ERROR(cases[i].error);
        CHECK(scan_lenient(cases[i].text) == CODE_BAD_MESSAGE);
    }
}

TEST("message: text that is not JSON is refused as that, even where a field before it was wrong")
{
    CHECK(scan("{\"type\":\"envelope\",\"envelope\":{\"to\":5}") == CODE_BAD_JSON);
    CHECK_ERROR("not JSON: unexpected end at byte 38");
    CHECK(scan("") == CODE_BAD_JSON);
    CHECK(scan("{\"type\":\"heartbeat\"}x") == CODE_BAD_JSON);
    CHECK(scan("{\"type\":\"heartbeat\",}") == CODE_BAD_JSON);
    CHECK(scan("{\"type\":\"envelope\",\"envelope\":{\"to\":\"a\",}}") == CODE_BAD_JSON);
    CHECK(scan("{\"type\":\"envelope\",\"envelope\":{\"to\":\"\xff\"}}") == CODE_BAD_JSON);
    CHECK(scan_with(slice_from("{\"type\":\"heartbeat\"}\0", 21), &(struct message_rules){.depth = 4}) ==
          CODE_BAD_JSON);
    CHECK(scan("[1,]") == CODE_BAD_JSON);
}

TEST("message: every prefix and every single damaged byte of a message is survived")
{
    const char *text =
        "{\"type\":\"envelope\",\"envelope\":{\"id\":\"a\\u0062\",\"to\":null,\"payload\":{\"x\":[1.5e3,true]}}}";
    size_t length = strlen(text);
    for (size_t cut = 0; cut < length; cut++)
        CHECK(scan_with(slice_from(text, cut), &(struct message_rules){.depth = 16}) == CODE_BAD_JSON);
    for (size_t at = 0; at < length; at++)
        for (int byte = 0; byte < 256; byte++) {
            char damaged[256];
            memcpy(damaged, text, length);
            damaged[at] = (char)byte;
            scan_with(slice_from(damaged, length), &(struct message_rules){.depth = 16});
        }
}

TEST("message: the message's own object counts as a level of nesting, the envelope as another")
{
    struct message_rules rules = {.depth = 3};
    CHECK(scan_with(SLICE("{\"type\":\"envelope\",\"envelope\":{\"payload\":{}}}"), &rules) == CODE_OK);
    CHECK(scan_with(SLICE("{\"type\":\"envelope\",\"envelope\":{\"payload\":[1]}}"), &rules) == CODE_OK);
    CHECK(scan_with(SLICE("{\"type\":\"envelope\",\"envelope\":{\"payload\":[[]]}}"), &rules) == CODE_TOO_DEEP);
    CHECK(scan_with(SLICE("{\"type\":\"envelope\",\"envelope\":{\"payload\":[{}]}}"), &rules) == CODE_TOO_DEEP);
    CHECK(scan_with(SLICE("{\"x\":[[[]]],\"type\":\"heartbeat\"}"), &rules) == CODE_TOO_DEEP);
    rules.depth = 2;
    CHECK(scan_with(SLICE("{\"type\":\"envelope\",\"envelope\":{\"payload\":{}}}"), &rules) == CODE_TOO_DEEP);
    CHECK(scan_with(SLICE("{\"type\":\"envelope\",\"envelope\":{\"payload\":1}}"), &rules) == CODE_OK);
    rules.depth = 1;
    CHECK(scan_with(SLICE("{\"type\":\"envelope\",\"envelope\":{}}"), &rules) == CODE_TOO_DEEP);
    CHECK(scan_with(SLICE("{\"type\":\"heartbeat\"}"), &rules) == CODE_OK);
}

TEST("message: a known key given twice is refused, after unescaping, and an unknown one is not")
{
    CHECK(scan("{\"type\":\"heartbeat\",\"type\":\"heartbeat\"}") == CODE_DUPLICATE_FIELD);
    CHECK_ERROR("type: given twice");
    CHECK(scan("{\"type\":\"envelope\",\"envelope\":{\"to\":5},\"type\":\"envelope\"}") == CODE_DUPLICATE_FIELD);
    CHECK_ERROR("type: given twice");
    CHECK(scan("{\"type\":\"envelope\",\"envelope\":{},\"envelope\":{}}") == CODE_DUPLICATE_FIELD);
    CHECK_ERROR("envelope: given twice");
    CHECK(scan("{\"type\":\"envelope\",\"envelope\":{\"to\":\"a\",\"t\\u006f\":\"b\"}}") == CODE_DUPLICATE_FIELD);
    CHECK_ERROR("envelope.to: given twice");
    CHECK(scan("{\"type\":\"envelope\",\"envelope\":{\"payload\":1,\"payload\":1}}") == CODE_DUPLICATE_FIELD);
    CHECK(scan("{\"type\":\"envelope\",\"envelope\":{\"to\":null,\"to\":null}}") == CODE_DUPLICATE_FIELD);
    CHECK(scan("{\"type\":\"envelope\",\"envelope\":{\"x\":1,\"x\":2,\"payload\":{\"to\":1,\"to\":2}}}") == CODE_OK);
    CHECK(scan("{\"type\":\"heartbeat\",\"envelope\":5,\"envelope\":{\"to\":5}}") == CODE_OK);
    CHECK(scan("{\"type\":\"register\",\"envelope\":{\"to\":5,\"to\":6}}") == CODE_OK);
}

TEST("message: an envelope message without an envelope object is a bad field")
{
    CHECK(scan("{\"type\":\"envelope\"}") == CODE_BAD_FIELD);
    CHECK_ERROR("envelope: expected an object, got nothing");
    CHECK(scan("{\"type\":\"envelope\",\"envelope\":[]}") == CODE_BAD_FIELD);
    CHECK_ERROR("envelope: expected an object, got an array");
    CHECK(scan("{\"type\":\"envelope\",\"envelope\":null}") == CODE_BAD_FIELD);
}

TEST("message: the answer to a refused envelope can carry its id, wherever the id stands")
{
    CHECK(scan("{\"type\":\"envelope\",\"envelope\":{\"id\":\"e\\u0031\",\"to\":5}}") == CODE_BAD_FIELD);
    CHECK_ERROR("envelope.to: expected a string or null, got a number");
    CHECK_SLICE(message_error_id(&message), "e1");
    CHECK(scan("{\"envelope\":{\"to\":5,\"id\":\"e2\"},\"type\":\"envelope\"}") == CODE_BAD_FIELD);
    CHECK_SLICE(message_error_id(&message), "e2");
    CHECK(scan("{\"type\":\"envelope\",\"envelope\":{\"id\":\"e3\",\"to\":\"a\",\"to\":\"a\"}}") ==
          CODE_DUPLICATE_FIELD);
    CHECK_SLICE(message_error_id(&message), "e3");
    CHECK(scan("{\"type\":\"envelope\",\"envelope\":{\"id\":\"\\n\",\"to\":5}}") == CODE_BAD_FIELD);
    CHECK(message_error_id(&message).length == 0);
    CHECK(scan("{\"type\":\"envelope\",\"envelope\":{\"to\":5}}") == CODE_BAD_FIELD);
    CHECK(message_error_id(&message).length == 0);
}

/* --- Registration ----------------------------------------------------------------------------------------------- */

static struct registration registration;
static char error[ERROR_TEXT_BYTES];

static enum code enrol_with(const char *text, bool lenient)
{
    struct message_rules rules = {.depth = 16, .lenient = lenient};
    CHECK(scan_with(slice_from_string(text), &rules) == CODE_OK && message.type == MESSAGE_REGISTER);
    return registration_scan(slice_from(buffer, strlen(text)), &rules, &store, &registration, error);
}

static enum code enrol(const char *members)
{
    char text[32768];
    snprintf(text, sizeof text, " {\"type\":\"register\"%s%s}", *members ? "," : "", members);
    return enrol_with(text, false);
}

static enum code enrol_lenient(const char *members)
{
    char text[32768];
    snprintf(text, sizeof text, "{\"type\":\"register\"%s%s}", *members ? "," : "", members);
    return enrol_with(text, true);
}

TEST("registration: nothing needs to be given, and null is nothing")
{
    const char *const cases[] = {"", "\"clientId\":null,\"role\":null,\"labels\":null,\"tools\":null,\"intents\":null,"
                                     "\"maxConcurrentTasks\":null,\"authToken\":null,\"features\":null"};
    for (int i = 0; i < 2; i++) {
        CHECK(enrol(cases[i]) == CODE_OK);
        CHECK(registration.client_id.length == 0 && registration.role.length == 0);
        CHECK(registration.labels.length == 0 && registration.features.length == 0);
        char text_buffer[TEXT_BYTES_MAXIMUM];
        struct slice text;
        CHECK(!registration_next(&registration.labels, text_buffer, &text)); /* absent is as good as empty */
        CHECK(registration.max_concurrent_tasks == 1);
        CHECK(!registration.has_features && !registration.wants_batches);
    }
}

TEST("registration: everything given is there, unescaped where it means text, as sent where it is a list")
{
    CHECK(enrol("\"client\\u0049d\":\"a\\u0062\",\"role\":\"planner\",\"labels\":[\"gpu\",\"\\u00e4\"],"
                "\"tools\":[\"search\", {\"x\":1,\"name\":\"cal\\u0063\"}],\"intents\":[\"task.assign\"],"
                "\"maxConcurrentTasks\":4,\"authToken\":\"s3\\u0063ret\",\"features\":[\"batch\"],\"extra\":[]") ==
          CODE_OK);
    CHECK_SLICE(registration.client_id, "ab");
    CHECK_SLICE(registration.role, "planner");
    CHECK_SLICE(registration.auth_token, "s3cret");
    CHECK_SLICE(registration.tools, "[\"search\", {\"x\":1,\"name\":\"cal\\u0063\"}]");
    CHECK(registration.max_concurrent_tasks == 4);
    CHECK(registration.has_features && registration.wants_batches);
    char text_buffer[TEXT_BYTES_MAXIMUM];
    struct slice rest = registration.tools, text;
    CHECK(registration_next(&rest, text_buffer, &text));
    CHECK_SLICE(text, "search");
    CHECK(registration_next(&rest, text_buffer, &text));
    CHECK_SLICE(text, "calc");
    CHECK(!registration_next(&rest, text_buffer, &text));
    rest = registration.labels;
    CHECK(registration_next(&rest, text_buffer, &text) && registration_next(&rest, text_buffer, &text));
    CHECK_SLICE(text, "\xc3\xa4");
}

TEST("registration: features without batch count as features, an empty list does not")
{
    CHECK(enrol("\"features\":[\"x\"]") == CODE_OK && registration.has_features && !registration.wants_batches);
    CHECK(enrol("\"features\":[]") == CODE_OK && !registration.has_features);
    CHECK(enrol("\"features\":[\"b\\u0061tch\"]") == CODE_OK && registration.wants_batches);
}

TEST("registration: a wrong type or value is a bad field that the text names")
{
    static const char *const cases[] = {
        "\"clientId\":5",
        "\"clientId\":\"\"",
        "\"clientId\":\"a\\u0000\"",
        "\"clientId\":\"\\ud800\"",
        "\"clientId\":\"\\u009b\"",
        "\"clientId\":\"\x7f\"",
        "\"clientId\":\"api\"",
        "\"clientId\":\"bridge\"",
        "\"clientId\":\"unkn\\u006fwn\"",
        "\"clientId\":{}",
        "\"role\":\"\"",
        "\"role\":[]",
        "\"labels\":\"x\"",
        "\"labels\":{}",
        "\"labels\":[1]",
        "\"labels\":[\"\"]",
        "\"labels\":[null]",
        "\"labels\":[\"a\\n\"]",
        "\"labels\":[{\"name\":\"x\"}]",
        "\"tools\":[{}]",
        "\"tools\":[{\"name\":5}]",
        "\"tools\":[{\"name\":\"\"}]",
        "\"tools\":[[]]",
        "\"tools\":5",
        "\"intents\":[true]",
        "\"intents\":false",
        "\"maxConcurrentTasks\":0",
        "\"maxConcurrentTasks\":-1",
        "\"maxConcurrentTasks\":1.5",
        "\"maxConcurrentTasks\":1000001",
        "\"maxConcurrentTasks\":1e400",
        "\"maxConcurrentTasks\":\"4\"",
        "\"maxConcurrentTasks\":1e7",
        "\"maxConcurrentTasks\":99999999999999999999999999999999999",
        "\"authToken\":5",
        "\"features\":\"batch\"",
        "\"features\":[1]",
        "\"features\":{}",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK(enrol(cases[i]) == CODE_BAD_FIELD);
        size_t name = strcspn(cases[i] + 1, "\"");
        CHECK(strncmp(error, cases[i] + 1, name) == 0 && error[name] == ':');
    }
    CHECK(enrol("\"role\":\"a\",\"r\\u006fle\":\"a\"") == CODE_DUPLICATE_FIELD);
    CHECK_TEXT(error, strlen(error), "role: given twice");
    CHECK(enrol("\"maxConcurrentTasks\":1000000") == CODE_OK && registration.max_concurrent_tasks == 1000000);
}

TEST("registration: ids hold 256 bytes of text and lists 256 entries, not one more")
{
    char members[16384], id[TEXT_BYTES_MAXIMUM * 6 + 8];
    memset(id, 'x', sizeof id);
    snprintf(members, sizeof members, "\"clientId\":\"%.256s\",\"labels\":[\"%.256s\"]", id, id);
    CHECK(enrol(members) == CODE_OK && registration.client_id.length == 256);
    snprintf(members, sizeof members, "\"clientId\":\"%.257s\"", id);
    CHECK(enrol(members) == CODE_BAD_FIELD);
    snprintf(members, sizeof members, "\"labels\":[\"%.257s\"]", id);
    CHECK(enrol(members) == CODE_BAD_FIELD);
    for (int i = 0; i < TEXT_BYTES_MAXIMUM; i++)
        memcpy(id + i * 6, "\\u0061", 6); /* the limit is on the text, not on how it is written */
    snprintf(members, sizeof members, "\"clientId\":\"%.1536s\",\"tools\":[{\"name\":\"%.1536s\"}]", id, id);
    CHECK(enrol(members) == CODE_OK && registration.client_id.length == 256);
    for (int count = 256; count <= 257; count++) {
        char *at = members + sprintf(members, "\"intents\":[");
        for (int i = 0; i < count; i++)
            at += sprintf(at, "%s\"i%d\"", i ? "," : "", i);
        sprintf(at, "]");
        CHECK(enrol(members) == (count == 256 ? CODE_OK : CODE_BAD_FIELD));
    }
}

TEST("registration: original mode takes empty and false values for nothing and numbers for text")
{
    CHECK(enrol_lenient("\"clientId\":\"\",\"role\":false,\"labels\":0,\"tools\":\"\",\"intents\":false,"
                        "\"maxConcurrentTasks\":0,\"authToken\":\"\",\"features\":false") == CODE_OK);
    CHECK(registration.client_id.length == 0 && registration.role.length == 0 && registration.labels.length == 0);
    CHECK(registration.max_concurrent_tasks == 1);
    CHECK(enrol_lenient("\"clientId\":17,\"labels\":[5]") == CODE_OK);
    CHECK_SLICE(registration.client_id, "17");
    CHECK(enrol_lenient("\"clientId\":true") == CODE_BAD_FIELD);
    CHECK(enrol_lenient("\"labels\":\"x\"") == CODE_BAD_FIELD);
}
