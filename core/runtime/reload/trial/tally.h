/* What one envelope adds to the comparison between a version on trial and the one in use. Its route may wait, and the
 * trial be over by then, or another one run: what is left to count is then dropped. The reactor's thread only. */
#ifndef LUADUCT_RUNTIME_TALLY_H
#define LUADUCT_RUNTIME_TALLY_H

struct decision;
struct decision_counts;
struct reactor;
struct script_state;

/* Zeroed: nothing is counted. */
struct tally {
    struct decision_counts *counts; /* the side of the version that is asked; NULL: no version was on trial */
    unsigned trial;                 /* number of the version that was */
};

/* Counts that this state's `route` is asked. */
struct tally tally_begin(struct reactor *reactor, const struct script_state *script);

/* … that it failed, what it decided (NULL is fine), that nobody took the envelope. */
void tally_failed(const struct tally *tally, struct reactor *reactor);
void tally_decided(const struct tally *tally, struct reactor *reactor, const struct decision *decision);
void tally_refused(const struct tally *tally, struct reactor *reactor);

#endif
