#include "../../support/unit.h"

#include "bridge/delivery/decision.h"

#define BEN SLICE("ben")

static void check(const struct decision *decision, const char *expected)
{
    struct buffer text = {0};
    decision_write(&text, decision);
    CHECK(!text.failed);
    CHECK_TEXT(text.data, text.length, expected);
    buffer_free(&text);
}

TEST("a decision reads as a script would write it, with its options")
{
    struct slice ids[] = {BEN, SLICE("a \"b\"")};
    struct decision one = {.count = 1, .items = {{.kind = DECISION_TO, .ids = ids, .id_count = 2}}};
    check(&one, "to{\"ben\", \"a \\\"b\\\"\"}");
    one.items[0].expires_ms = 5;
    check(&one, "to({\"ben\", \"a \\\"b\\\"\"}, {expiresMs = 5})");
    one.items[0] = (struct decision_item){.kind = DECISION_ANY, .selector = {.role = SLICE("coder")}, .wait = true};
    check(&one, "any{role = \"coder\", wait = true}");
    one.items[0].expires_ms = 7;
    check(&one, "any{role = \"coder\", wait = true, expiresMs = 7}");
    one.items[0].kind = DECISION_ALL;
    check(&one, "all{role = \"coder\", expiresMs = 7}");
    one.items[0].kind = DECISION_BROADCAST;
    check(&one, "broadcast{expiresMs = 7}");
    one.items[0].expires_ms = 0;
    check(&one, "broadcast()");
}

TEST("several decisions stand in braces, none as nil")
{
    struct slice id = BEN;
    struct decision two = {.count = 2,
                           .items = {{.kind = DECISION_TO, .ids = &id, .id_count = 1},
                                     {.kind = DECISION_REPLY, .payload = SLICE("{\"n\":1}")}}};
    check(&two, "{to{\"ben\"}, reply({\"n\":1})}");
    struct decision none = {.count = 1, .items = {{.kind = DECISION_DEFAULT}}};
    check(&none, "nil");
    struct decision drop = {.count = 1, .items = {{.kind = DECISION_DROP, .reason = SLICE("no"), .tell = true}}};
    check(&drop, "drop(\"no\", {tell = true})");
}
