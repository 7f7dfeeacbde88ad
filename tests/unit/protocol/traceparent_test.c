/* traceparent by the table of W3C Trace Context: what is one, what is none, and what comes out as it went in. */
#include "../../support/unit.h"

#include "protocol/traceparent.h"

#define ID "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN "00f067aa0ba902b7"

TEST("a traceparent of version 00 is read whole")
{
    struct trace_context context;
    CHECK(traceparent_parse(SLICE("00-" ID "-" SPAN "-01"), &context));
    CHECK(context.sampled && context.trace_id[0] == 0x4b && context.trace_id[15] == 0x36);
    CHECK(context.span_id[0] == 0x00 && context.span_id[7] == 0xb7);
    CHECK(traceparent_parse(SLICE("00-" ID "-" SPAN "-00"), &context) && !context.sampled);
    /* Only the last bit says so; the others may be set by versions to come. */
    CHECK(traceparent_parse(SLICE("00-" ID "-" SPAN "-fe"), &context) && !context.sampled);
    CHECK(traceparent_parse(SLICE("00-" ID "-" SPAN "-ff"), &context) && context.sampled);
}

TEST("of a later version what this one knows is read, and more may follow behind a dash")
{
    struct trace_context context;
    CHECK(traceparent_parse(SLICE("01-" ID "-" SPAN "-01"), &context) && context.sampled);
    CHECK(traceparent_parse(SLICE("fe-" ID "-" SPAN "-01-more-of-it"), &context));
    CHECK(traceparent_parse(SLICE("fe-" ID "-" SPAN "-01-"), &context));
    CHECK(!traceparent_parse(SLICE("fe-" ID "-" SPAN "-01.more"), &context));
    CHECK(!traceparent_parse(SLICE("ff-" ID "-" SPAN "-01"), &context));
}

TEST("everything else is none")
{
    static const char *const wrong[] = {
        "",
        "00",
        "00-" ID "-" SPAN "-1",
        "00-" ID "-" SPAN "-01-",
        "00-" ID "-" SPAN "-011",
        "00-" ID "-" SPAN "-01 ",
        " 00-" ID "-" SPAN "-01",
        "0-" ID "-" SPAN "-01x",
        "00_" ID "-" SPAN "-01",
        "00-" ID "_" SPAN "-01",
        "00-" ID "-" SPAN "_01",
        "00-00000000000000000000000000000000-" SPAN "-01",
        "00-" ID "-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01",
        "00-" ID "-00F067AA0BA902B7-01",
        "00-" ID "-" SPAN "-0A",
        "0g-" ID "-" SPAN "-01",
        "00-xbf92f3577b34da6a3ce929d0e0e4736-" SPAN "-01",
        "00-" ID "-00f067aa0ba902bx-01",
        "00-" ID "-" SPAN "-x1",
    };
    struct trace_context context;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK(!traceparent_parse(slice_from_string(wrong[i]), &context));
    char cut[TRACEPARENT_LENGTH];
    memcpy(cut, "00-" ID "-" SPAN "-01", sizeof cut);
    for (size_t length = 0; length < sizeof cut; length++)
        CHECK(!traceparent_parse(slice_from(cut, length), &context));
}

TEST("what is written is read again")
{
    struct trace_context context, again;
    char text[TRACEPARENT_LENGTH];
    CHECK(traceparent_parse(SLICE("00-" ID "-" SPAN "-01"), &context));
    traceparent_write(text, &context);
    CHECK_TEXT(text, sizeof text, "00-" ID "-" SPAN "-01");
    context.sampled = false;
    traceparent_write(text, &context);
    CHECK(traceparent_parse(slice_from(text, sizeof text), &again));
    CHECK(!again.sampled && memcmp(again.trace_id, context.trace_id, TRACE_ID_BYTES) == 0 &&
          memcmp(again.span_id, context.span_id, SPAN_ID_BYTES) == 0);
}

TEST("it is found in what an envelope says of its trace")
{
    struct trace_context context;
    CHECK(traceparent_find(SLICE("{\"a\":1,\"traceparent\":\"00-" ID "-" SPAN "-01\"}"), &context) == TRACEPARENT_READ);
    CHECK(traceparent_find(SLICE("{ \"trace\\u0070arent\" : \"00-" ID "-" SPAN "-01\" }"), &context) ==
          TRACEPARENT_READ);
    CHECK(traceparent_find(SLICE("{}"), &context) == TRACEPARENT_NONE);
    CHECK(traceparent_find(SLICE("[]"), &context) == TRACEPARENT_NONE);
    CHECK(traceparent_find(SLICE("\"00-" ID "-" SPAN "-01\""), &context) == TRACEPARENT_NONE);
    CHECK(traceparent_find(SLICE("{\"x\":{\"traceparent\":1}}"), &context) == TRACEPARENT_NONE);
    CHECK(traceparent_find(SLICE("{\"traceparent\":null}"), &context) == TRACEPARENT_WRONG);
    CHECK(traceparent_find(SLICE("{\"traceparent\":\"00\"}"), &context) == TRACEPARENT_WRONG);
}
