/* The forecast, and the rule by which workers come, played through on a bursty load in simulated time. */
#include "../../support/unit.h"

#include <math.h>

#include "workers/scaling.h"

TEST("forecast: nothing before the first observation, then what is observed")
{
    struct forecast forecast = {0};
    CHECK(forecast_ahead(&forecast, 10) == 0);
    for (int i = 0; i < 50; i++)
        forecast_update(&forecast, 3);
    CHECK(fabs(forecast_ahead(&forecast, 1) - 3) < 1e-6 && fabs(forecast_ahead(&forecast, 100) - 3) < 1e-6);
}

TEST("forecast: a climb is followed ahead, and not to the sky")
{
    struct forecast forecast = {0};
    for (int i = 0; i <= 20; i++)
        forecast_update(&forecast, 0.1 * i);
    CHECK(forecast_ahead(&forecast, 5) > 2.1 && forecast_ahead(&forecast, 5) < 2.6);
    CHECK(forecast_ahead(&forecast, 1000) < 3.5);
}

TEST("forecast: it never falls below nothing")
{
    struct forecast forecast = {0};
    for (int i = 20; i >= 0; i--)
        forecast_update(&forecast, i);
    CHECK(forecast_ahead(&forecast, 50) >= 0);
}

TEST("scaling: the bounds hold, and idle workers are not needed")
{
    struct scaling scaling = {.min_workers = 2, .max_workers = 4};
    CHECK(scaling_decide(&scaling, &(struct scaling_view){.workers = 4, .idle = 4}) == 2);
    CHECK(scaling_decide(&scaling, &(struct scaling_view){.workers = 4, .idle = 1}) == 3);
    CHECK(scaling_decide(&scaling, &(struct scaling_view){.workers = 2, .waiting = 100, .oldest_wait_ms = 50}) == 4);
    /* One that has just come may find the next free worker. */
    CHECK(scaling_decide(&scaling, &(struct scaling_view){.workers = 2, .waiting = 1, .oldest_wait_ms = 1}) == 2);
}

/* --- A bursty load, recorded as arrivals in each tenth of a second over half a minute --- */

#define TICK_MS 1
#define TASK_MS 40u /* what each task runs */
#define START_MS 3  /* until a new worker takes its first task */
#define IDLE_MS 500u
#define LONGEST 20000u

static const unsigned char arrivals[] = {
    0, 0, 1, 0, 0, 1, 0, 2, 1, 3, 4, 6, 8, 9, 10, 11, 12, 12, 11, 12, 12, 10, 8,  6, 4, 2, 1, 0, 0, 0,
    0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 4, 6,  7,  9,  11, 12, 12, 12, 12, 10, 9, 6, 3, 1, 0, 0, 0,
    0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 5, 7, 9,  10, 12, 13, 12, 12, 11, 9,  6,  4, 2, 1, 0, 0, 0, 0,
    0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 2, 3, 6, 8, 9,  11, 12, 12, 12, 11, 10, 8,  5,  3, 1, 0, 0, 0, 0, 0,
};

struct outcome {
    double p99_ms, mean_ms;
    unsigned tasks;
};

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static struct outcome play(bool predictive)
{
    static double waits[LONGEST];
    static unsigned queue[LONGEST];
    unsigned first = 0, last = 0, tasks = 0, busy_until[8] = {0}, idle_since[8] = {0};
    bool exists[8] = {true, true};
    struct scaling scaling = {.min_workers = 2, .max_workers = 8, .predictive = predictive};
    unsigned came = 0;
    for (unsigned now = 0; now < sizeof arrivals * 100; now += TICK_MS) {
        unsigned count = arrivals[now / 100], nth = now % 100;
        if (count > 0 && nth % (100 / count) == 0 && nth / (100 / count) < count) {
            queue[last++] = now;
            came++;
        }
        struct scaling_view view = {.waiting = last - first, .oldest_wait_ms = last > first ? now - queue[first] : 0};
        for (unsigned i = 0; i < 8; i++) {
            bool idle = exists[i] && busy_until[i] <= now;
            if (idle && first < last) {
                waits[tasks++] = now - queue[first++];
                busy_until[i] = idle_since[i] = now + TASK_MS;
                view.waiting--;
                idle = false;
            }
            view.workers += exists[i];
            view.idle += idle;
        }
        if (now % SCALING_SAMPLE_MS == 0) {
            scaling_sample(&scaling, came * (TASK_MS / 1000.0) * 10);
            came = 0;
        }
        uint32_t wanted = scaling_decide(&scaling, &view);
        for (unsigned i = 0; i < 8 && view.workers != wanted; i++) {
            if (view.workers < wanted && !exists[i]) {
                exists[i] = true;
                busy_until[i] = idle_since[i] = now + START_MS;
                view.workers++;
            } else if (view.workers > wanted && exists[i] && busy_until[i] <= now && now - idle_since[i] > IDLE_MS) {
                exists[i] = false;
                view.workers--;
            }
        }
    }
    double sum = 0;
    for (unsigned i = 0; i < tasks; i++)
        sum += waits[i];
    qsort(waits, tasks, sizeof *waits, by_size);
    return (struct outcome){waits[tasks * 99 / 100], sum / tasks, tasks};
}

TEST("scaling: on a bursty load tasks wait less with the forecast than without")
{
    struct outcome off = play(false), on = play(true);
    printf("reactive: p99 %.0f ms, mean %.2f ms; with the forecast: p99 %.0f ms, mean %.2f ms; %u tasks\n", off.p99_ms,
           off.mean_ms, on.p99_ms, on.mean_ms, on.tasks);
    CHECK(on.tasks == off.tasks);
    CHECK(on.p99_ms < off.p99_ms && on.mean_ms < off.mean_ms);
}
