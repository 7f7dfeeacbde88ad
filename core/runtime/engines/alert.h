/* What an operator should look at: conditions that were raised, and those that are over. Raising one that is raised
 * already only renews its text. All functions: any thread. */
#ifndef LUADUCT_RUNTIME_ALERT_H
#define LUADUCT_RUNTIME_ALERT_H

#include <stdbool.h>
#include <stdint.h>

#define ALERT_NAME_BYTES 48
#define ALERT_TEXT_BYTES 256
#define ALERT_DONE_BYTES 160

/* As many conditions as can be told apart; the one that has been over for longest gives way to a new one. */
#define ALERTS_MAXIMUM 64

struct alert {
    char name[ALERT_NAME_BYTES]; /* "workerPool.degraded" */
    char text[ALERT_TEXT_BYTES];
    int64_t since_ms;  /* wall clock */
    int64_t until_ms;  /* 0: it is active */
    uint64_t count;    /* how often it was raised anew */
    char severity[12]; /* "ALERT", or the action of the rule: "WARN" … */
    bool by_rule;      /* it has a value and a threshold */
    double value, threshold;
    char done[ALERT_DONE_BYTES]; /* what the bridge did about it; may be empty */
};

/* Logged as a warning when it was not active. */
void alert_raise(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for a rule, whose text is made from its figures. */
struct alert_report {
    const char *name, *severity, *done;
    double value, threshold;
    bool below; /* it is below the threshold, not above */
};
void alert_report(const struct alert_report *report);

/* Logged when it was active. */
void alert_resolve(const char *name);

/* The active ones first, the newest first among each; gives how many. */
unsigned alert_list(struct alert out[ALERTS_MAXIMUM]);

#endif
