/* The memory controller's decisions, by synthetic series. */
#include "../../support/unit.h"

#include "memory/admission.h"
#include "memory/pool.h"
#include "runtime/pressure/controller.h"
#include "script/state/collect.h"

#define MIB ((uint64_t)1 << 20)

static struct pressure_controller controller;
static uint64_t now_ms;

static void start(void)
{
    struct pressure_rules rules = {
        .budget = 1000 * MIB, .threshold = 0.75, .cooldown_ms = 15000, .horizon_ms = 30000, .interval_ms = 1000};
    controller_start(&controller, &rules);
    now_ms = 1000;
}

static struct pressure_orders see(uint64_t used)
{
    struct pressure_look look = {.now_ms = now_ms, .used = used, .regular = true, .enabled = true};
    now_ms += 1000;
    return controller_decide(&controller, &look);
}

/* Deterministic noise from -1 to 1. */
static double noise(void)
{
    static uint32_t state = 12345;
    state = state * 1664525u + 1013904223u;
    return (double)(state >> 8) / (1u << 23) - 1;
}

TEST("pressure: a level is entered at its share and left 0.05 below")
{
    CHECK(pressure_level_after(PRESSURE_LOW, 0.59) == PRESSURE_LOW);
    CHECK(pressure_level_after(PRESSURE_LOW, 0.6) == PRESSURE_MODERATE);
    CHECK(pressure_level_after(PRESSURE_LOW, 0.76) == PRESSURE_HIGH);
    CHECK(pressure_level_after(PRESSURE_LOW, 2) == PRESSURE_CRITICAL);
    CHECK(pressure_level_after(PRESSURE_CRITICAL, 0.86) == PRESSURE_CRITICAL);
    CHECK(pressure_level_after(PRESSURE_CRITICAL, 0.84) == PRESSURE_HIGH);
    CHECK(pressure_level_after(PRESSURE_CRITICAL, 0.71) == PRESSURE_HIGH);
    CHECK(pressure_level_after(PRESSURE_CRITICAL, 0.69) == PRESSURE_MODERATE);
    CHECK(pressure_level_after(PRESSURE_HIGH, 0.56) == PRESSURE_MODERATE);
    CHECK(pressure_level_after(PRESSURE_HIGH, 0.1) == PRESSURE_LOW);
}

TEST("pressure: a steady process is left alone")
{
    start();
    for (int i = 0; i < 200; i++) {
        struct pressure_orders orders = see(500 * MIB);
        CHECK(orders.cause == PRESSURE_NO_CAUSE && !orders.trim && !orders.collect && !orders.set_history);
    }
}

TEST("pressure: without a budget the level is low, whatever is used")
{
    start();
    controller.rules.budget = UINT64_MAX;
    for (int i = 0; i < 100; i++) {
        struct pressure_orders orders = see((uint64_t)i * 1000 * MIB);
        CHECK(orders.cause == PRESSURE_NO_CAUSE && controller.level == PRESSURE_LOW);
    }
    CHECK(controller.has_line && controller.line.slope > 0);
}

TEST("pressure: a ramp is seen before it reaches the threshold, and its slope is right")
{
    start();
    uint64_t used = 300 * MIB;
    struct pressure_orders orders = see(used);
    while (orders.cause == PRESSURE_NO_CAUSE)
        orders = see(used += 5 * MIB);
    CHECK(orders.cause == PRESSURE_BY_TREND && orders.trim && orders.collect);
    CHECK(controller.line.slope > 4.99 * (double)MIB && controller.line.slope < 5.01 * (double)MIB);
    CHECK(used >= 600 * MIB && used < 610 * MIB); /* 150 MiB, 30 s, before 750 */
    CHECK(controller.level < PRESSURE_HIGH && !orders.pause && !orders.close);
}

TEST("pressure: noise, a saw-tooth and a step do not look like a trend")
{
    start();
    for (int i = 0; i < 300; i++)
        CHECK(see((uint64_t)((600 + 100 * noise()) * (double)MIB)).cause == PRESSURE_NO_CAUSE);
    start();
    for (int i = 0; i < 300; i++)
        CHECK(see((uint64_t)(600 + i % 10 * 10) * MIB).cause == PRESSURE_NO_CAUSE);
    start();
    for (int i = 0; i < 300; i++)
        CHECK(see((uint64_t)(i < 100 ? 400 : 700) * MIB).cause == PRESSURE_NO_CAUSE);
}

TEST("pressure: collections keep the cooldown between them, trimming does not wait for it")
{
    start();
    int collections = 0, trims = 0;
    for (int i = 0; i < 60; i++) {
        struct pressure_orders orders = see(800 * MIB);
        collections += orders.collect;
        trims += orders.trim;
        CHECK(orders.cause == PRESSURE_BY_THRESHOLD);
    }
    CHECK(collections == 4 && trims == 60);
}

TEST("pressure: the history is shortened step by step, and given back when the level is low")
{
    start();
    see(800 * MIB);
    CHECK(controller.history_share == 0.5);
    see(800 * MIB);
    see(800 * MIB);
    CHECK(controller.history_share == 0.25); /* no further while it is only high */
    see(950 * MIB);
    see(950 * MIB);
    see(950 * MIB);
    CHECK(controller.history_share == PRESSURE_HISTORY_LEAST);
    CHECK(!see(650 * MIB).set_history);
    for (int i = 0; i < 4; i++)
        CHECK(see(100 * MIB).set_history);
    CHECK(controller.history_share == 1 && !see(100 * MIB).set_history);
}

TEST("pressure: at critical input is paused at once, connections are closed only while it lasts")
{
    start();
    struct pressure_orders orders = see(910 * MIB);
    CHECK(controller.level == PRESSURE_CRITICAL && orders.rose && orders.pause && !orders.close);
    CHECK(!see(910 * MIB).close && !see(910 * MIB).close);
    CHECK(see(910 * MIB).close && see(910 * MIB).close);
    /* An alarm between two regular looks neither closes again nor counts as one. */
    struct pressure_look alarm = {.now_ms = now_ms - 990, .used = 920 * MIB, .enabled = true};
    CHECK(!controller_decide(&controller, &alarm).close);
    CHECK(!see(860 * MIB).resume); /* still critical */
    orders = see(840 * MIB);
    CHECK(orders.fell && orders.resume && !orders.pause && !orders.close);
}

TEST("pressure: switched off it shows levels, and gives back what it took")
{
    start();
    see(950 * MIB);
    struct pressure_look look = {.now_ms = now_ms, .used = 950 * MIB, .regular = true};
    struct pressure_orders orders = controller_decide(&controller, &look);
    CHECK(controller.level == PRESSURE_CRITICAL);
    CHECK(!orders.trim && !orders.collect && !orders.pause && !orders.close && orders.resume && orders.set_history);
    CHECK(controller.history_share == 1);
}

TEST("leak: a floor that rises over collections is an alert, a saw-tooth above a steady floor is none")
{
    struct leak leak = {0};
    unsigned alerts = 0;
    for (uint64_t i = 0; i < 400; i++) /* garbage only: ten looks a collection */
        alerts += leak_note(&leak, i / 10, (20 + i % 10 * 3) * MIB);
    CHECK(alerts == 0);
    leak = (struct leak){0};
    for (uint64_t i = 0; i < 100; i++) /* 1 MiB more after each */
        alerts += leak_note(&leak, i / 10, (20 + i / 10 + i % 10 * 3) * MIB);
    CHECK(alerts == 1);
    leak = (struct leak){0};
    alerts = 0;
    for (uint64_t i = 0; i < 400; i++) /* a step once, then steady */
        alerts += leak_note(&leak, i / 10, (i < 200 ? 20 : 60) * MIB);
    CHECK(alerts == 0);
    leak = (struct leak){0};
    for (uint64_t i = 0; i < 400; i++) /* growth without any collection is not known to be one */
        alerts += leak_note(&leak, 7, (20 + i) * MIB);
    CHECK(alerts == 0);
}

TEST("pauses: percentiles are never too low and at most a quarter too high, and the longest is exact")
{
    static struct pauses pauses;
    struct pause_sums sums = {0};
    for (uint64_t i = 1; i <= 1000; i++)
        pauses_record(&pauses, i * 1000);
    pauses_add(&pauses, &sums);
    CHECK(sums.count == 1000 && sums.longest_ns == 1000000 && sums.total_ns == 500500000);
    uint64_t half = pause_percentile(&sums, 0.5), most = pause_percentile(&sums, 0.99);
    CHECK(half >= 500000 && half <= 640000);
    CHECK(most >= 990000 && most <= 1000000);
}

static unsigned alarms;

static void count_alarm(void)
{
    alarms++;
}

TEST("admission: growth stops at the line, for those who sent much before the others")
{
    void *blocks[64];
    admission_start(UINT64_MAX, UINT64_MAX, NULL);
    CHECK(admission_take(1u << 20)); /* no line: no question */
    admission_credit = 0;
    admission_start(20 * MIB, 10 * MIB, count_alarm);
    admission_update(4 * MIB, 0, ADMISSION_OPEN);
    unsigned taken = 0;
    admission_heavy = true;
    while (taken < 64 && admission_take(1u << 20))
        blocks[taken++] = pool_acquire(POOL_BUFFERS, 1u << 20);
    CHECK(taken == 6 && alarms > 0 && admission_refusals() == 1);
    CHECK(atomic_load(&admission_state) == ADMISSION_OPEN);
    admission_heavy = false;
    while (taken < 64 && admission_take(1u << 20))
        blocks[taken++] = pool_acquire(POOL_BUFFERS, 1u << 20);
    CHECK(taken == 16 && atomic_load(&admission_state) == ADMISSION_CLOSED);
    while (taken > 0)
        pool_release(POOL_BUFFERS, blocks[--taken], 1u << 20);
    CHECK(admission_take(1u << 20));
    admission_update(4 * MIB, 0, ADMISSION_OPEN);
    CHECK(atomic_load(&admission_state) == ADMISSION_OPEN);
    pool_leave_thread();
}
