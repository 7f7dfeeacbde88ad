/* Samples of figures in a place of a fixed size. One process, one history: what is there before stays. */
#include "../../support/unit.h"

#include "runtime/http/api/figures_history.h"

static void add(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        uint64_t first, end;
        figures_history_range(&first, &end);
        figures_history_add(&(struct figures_sample){.wall_ms = (int64_t)end, .accepted = end});
    }
}

static unsigned count_rows(const struct buffer *text)
{
    unsigned rows = 0;
    for (size_t i = 0; i < text->length; i++)
        rows += text->data[i] == '[';
    return rows;
}

TEST("figures history: the newest samples are there, and the oldest give way")
{
    struct figures_sample last;
    uint64_t first, end;
    add(FIGURES_HISTORY_SECONDS);
    figures_history_range(&first, &end);
    CHECK(end - first == FIGURES_HISTORY_SECONDS);
    add(5);
    uint64_t before = first;
    figures_history_range(&first, &end);
    CHECK(first == before + 5 && end - first == FIGURES_HISTORY_SECONDS);
    CHECK(figures_history_last(&last) && last.accepted == end - 1);
}

TEST("figures history: what gave way while it was being written is left out")
{
    struct buffer text = {0};
    uint64_t first, end;
    add(FIGURES_HISTORY_SECONDS + 10);
    figures_history_range(&first, &end);
    CHECK(figures_history_append(&text, first - 3, 5, true) == first + 2);
    CHECK(count_rows(&text) == 2 && text.data[0] == '[');
    text.length = 0;
    CHECK(figures_history_append(&text, end - 1, 4, false) == end + 3);
    CHECK(count_rows(&text) == 1 && text.data[0] == ',');
    text.length = 0;
    figures_history_add(
        &(struct figures_sample){.wall_ms = 7, .latency_count = 1, .p50 = 0.012, .p90 = 2, .p99 = 1234.5});
    figures_history_append(&text, end, 1, true);
    CHECK(slice_equal(slice_from(text.data, text.length), SLICE("[7,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0.012,2,1234.5]")));
    buffer_free(&text);
}
