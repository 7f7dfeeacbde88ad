#include "runtime/reload/trial/tally.h"

#include "runtime/reactor.h"

static unsigned number_on_trial(const struct reactor *reactor)
{
    return reactor->scripts.trial ? reactor->scripts.trial->version->number : 0;
}

/* NULL: that trial is over. */
static struct decision_counts *counts_of(const struct tally *tally, const struct reactor *reactor)
{
    return tally->counts && tally->trial == number_on_trial(reactor) ? tally->counts : NULL;
}

struct tally tally_begin(struct reactor *reactor, const struct script_state *script)
{
    struct reactor_scripts *scripts = &reactor->scripts;
    if (!scripts->trial)
        return (struct tally){0};
    struct tally tally = {.counts = &scripts->counts[script == scripts->trial->state],
                          .trial = number_on_trial(reactor)};
    counter_add(&tally.counts->routed, 1);
    return tally;
}

void tally_failed(const struct tally *tally, struct reactor *reactor)
{
    struct decision_counts *counts = counts_of(tally, reactor);
    if (counts)
        counter_add(&counts->failed, 1);
}

void tally_decided(const struct tally *tally, struct reactor *reactor, const struct decision *decision)
{
    struct decision_counts *counts = counts_of(tally, reactor);
    for (unsigned i = 0; counts && decision && i < decision->count; i++)
        counter_add(&counts->kinds[decision->items[i].kind], 1);
}

void tally_refused(const struct tally *tally, struct reactor *reactor)
{
    struct decision_counts *counts = counts_of(tally, reactor);
    if (counts)
        counter_add(&counts->refused, 1);
}
