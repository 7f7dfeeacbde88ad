/* What is in use, and having all reactors take part in changing it. The loader's thread only, and main's before it runs
 * and after it has ended. */
#ifndef LUADUCT_RUNTIME_IN_USE_H
#define LUADUCT_RUNTIME_IN_USE_H

#include <stdbool.h>

#include "runtime/reactor.h"
#include "runtime/reload/version.h"

extern struct in_use {
    struct reactor *reactors;
    unsigned reactor_count;
    struct config_source source; /* where the configuration came from */
    struct version *current;     /* a reference */
    struct version *trial;       /* a reference while there is a trial; else NULL */
    /* Certificates are no part of a version: taking an earlier one back does not bring back a certificate that was
     * replaced. What a reload on trial read comes into use with its version; a reference, or NULL. */
    struct tls_context *trial_certificates;
} in_use;

/* Takes up what holds of a version beside the reactors' states; `trial` may be NULL. */
void in_use_change(struct version *current, struct version *trial, enum version_use trial_use);

/* Takes the reference. The ports stay as they are when they have no threads: that can only be at the first use. */
void in_use_certificates(const struct config *config, struct tls_context *certificates);

/* One reactor's part of what all of them do. */
struct part {
    struct errand errand; /* first */
    void (*act)(struct reactor *reactor, struct part *part);
    struct script_slot *slot; /* owned, until a reactor takes it */
    const struct trial *rule;
    bool promote, good;
    size_t most;
    struct buffer kept;
    char error[1024];
};

/* A part for each reactor, all zero; NULL: no memory. parts_free also frees what is left in them. */
struct part *parts_new(void);
void parts_free(struct part *parts);

/* Has every reactor act, and waits until all have. */
void parts_act(struct part *parts, void (*act)(struct reactor *reactor, struct part *part));

/* The first of the parts that failed; NULL: none. */
const struct part *parts_first_failure(const struct part *parts);

#endif
