#include "runtime/pressure/controller.h"

#define HYSTERESIS 0.05

static const double entered_at[] = {
    [PRESSURE_LOW] = 0, [PRESSURE_MODERATE] = 0.6, [PRESSURE_HIGH] = 0.75, [PRESSURE_CRITICAL] = 0.9};

const char *pressure_level_name(enum pressure_level level)
{
    static const char *const names[] = {"low", "moderate", "high", "critical"};
    return names[level];
}

enum pressure_level pressure_level_after(enum pressure_level before, double share)
{
    enum pressure_level level = PRESSURE_CRITICAL;
    while (level > PRESSURE_LOW && share < entered_at[level] - (level <= before ? HYSTERESIS : 0))
        level--;
    return level;
}

void controller_start(struct pressure_controller *controller, const struct pressure_rules *rules)
{
    *controller = (struct pressure_controller){.rules = *rules, .history_share = 1, .seconds_to_threshold = -1};
}

/* Whether something last done at `then` (0: never) may be done again. */
static bool due(uint64_t now_ms, uint64_t then_ms, uint64_t distance_ms)
{
    return then_ms == 0 || now_ms - then_ms >= distance_ms;
}

static void follow_trend(struct pressure_controller *controller, const struct pressure_look *look)
{
    const struct pressure_rules *rules = &controller->rules;
    if (look->regular)
        trend_add(&controller->trend, look->now_ms, look->used);
    controller->has_line = trend_fit(&controller->trend, &controller->line);
    controller->seconds_to_threshold = -1;
    if (rules->budget != UINT64_MAX && controller->has_line)
        controller->seconds_to_threshold =
            trend_seconds_to(&controller->line, look->used, (uint64_t)((double)rules->budget * rules->threshold));
}

static void decide_history(struct pressure_controller *controller, const struct pressure_look *look,
                           struct pressure_orders *orders)
{
    double share = controller->history_share;
    /* Short enough for a burst, and yet not gone at the first look. */
    if (!due(look->now_ms, controller->history_ms, controller->rules.interval_ms))
        return;
    if (controller->acting) {
        double least = controller->level == PRESSURE_CRITICAL ? PRESSURE_HISTORY_LEAST : 4 * PRESSURE_HISTORY_LEAST;
        if (share > least)
            share = share / 2 > least ? share / 2 : least;
    } else if (controller->level == PRESSURE_LOW && share < 1) {
        share = share * 2 < 1 ? share * 2 : 1;
    }
    if (share == controller->history_share)
        return;
    controller->history_share = share;
    controller->history_ms = look->now_ms;
    orders->set_history = true;
}

static void decide_shedding(struct pressure_controller *controller, const struct pressure_look *look,
                            struct pressure_orders *orders)
{
    const struct pressure_rules *rules = &controller->rules;
    if (controller->level != PRESSURE_CRITICAL) {
        orders->resume = look->regular;
        return;
    }
    if (due(look->now_ms, controller->paused_ms, PRESSURE_PAUSE_DISTANCE_MS)) {
        orders->pause = true;
        controller->paused_ms = look->now_ms;
    }
    if (look->now_ms - controller->critical_since_ms >= PRESSURE_LAST_RESORT_INTERVALS * rules->interval_ms &&
        due(look->now_ms, controller->closed_ms, rules->interval_ms)) {
        orders->close = true;
        controller->closed_ms = look->now_ms;
    }
}

struct pressure_orders controller_decide(struct pressure_controller *controller, const struct pressure_look *look)
{
    const struct pressure_rules *rules = &controller->rules;
    struct pressure_orders orders = {0};
    double share = rules->budget == UINT64_MAX ? 0 : (double)look->used / (double)rules->budget;
    enum pressure_level before = controller->level;
    controller->level = pressure_level_after(before, share);
    orders.rose = controller->level > before;
    orders.fell = controller->level < before;
    if (controller->level == PRESSURE_CRITICAL && before != PRESSURE_CRITICAL)
        controller->critical_since_ms = look->now_ms;
    follow_trend(controller, look);
    orders.leaking = leak_note(&controller->leak, look->collections, look->heaps);

    controller->acting =
        rules->budget != UINT64_MAX && share >= rules->threshold - (controller->acting ? HYSTERESIS : 0);
    if (!look->enabled) {
        /* What was taken back is not kept back by an engine that is off. */
        controller->acting = false;
        orders.set_history = controller->history_share != 1;
        controller->history_share = 1;
        orders.resume = true;
        return orders;
    }
    double seconds = controller->seconds_to_threshold;
    if (controller->acting)
        orders.cause = PRESSURE_BY_THRESHOLD;
    else if (seconds >= 0 && seconds * 1000 <= (double)rules->horizon_ms)
        orders.cause = PRESSURE_BY_TREND;
    if (orders.cause != PRESSURE_NO_CAUSE) {
        if (due(look->now_ms, controller->trimmed_ms, PRESSURE_TRIM_DISTANCE_MS)) {
            orders.trim = true;
            controller->trimmed_ms = look->now_ms;
        }
        if (due(look->now_ms, controller->collected_ms, rules->cooldown_ms)) {
            orders.collect = true;
            controller->collected_ms = look->now_ms;
        }
    }
    decide_history(controller, look, &orders);
    decide_shedding(controller, look, &orders);
    return orders;
}
