/* Whether a machine and a configuration are fit for each other. Each check gives one or more findings. */
#ifndef LUADUCT_AUTHOR_DOCTOR_H
#define LUADUCT_AUTHOR_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/config/config.h"

enum finding_status {
    FINDING_OK,
    FINDING_WARN, /* it works, but less well or less safely than it could */
    FINDING_FAIL, /* it does not work, or will not for long */
};

struct finding {
    enum finding_status status;
    char *name;   /* what was looked at: "somaxconn", "tls.cert" */
    char *found;  /* one line */
    char *advice; /* one line; NULL with FINDING_OK */
};

struct doctor {
    struct finding *findings;
    size_t count, capacity;
    bool failed; /* memory ran out: findings are missing */
};

/* Adds one. `advice` is NULL with FINDING_OK. */
void doctor_find(struct doctor *doctor, enum finding_status status, const char *name, const char *advice,
                 const char *found, ...) __attribute__((format(printf, 5, 6)));

/* --- The checks. `config` NULL: it could not be read, and only what does not depend on it is looked at --- */

/* The configuration, its scripts, rules and credentials; where its files may be read or written by others. Fills
 * *config and gives whether it could be read; then config_free releases it. */
bool doctor_look_at_config(struct doctor *doctor, const char *path, struct config *config);

/* The certificates, their keys and when they run out. */
void doctor_look_at_tls(struct doctor *doctor, const struct config *config);

/* Whether the ports are free, or serve a bridge already. */
void doctor_look_at_ports(struct doctor *doctor, const struct config *config);

/* What the process may use: files, memory, processors. */
void doctor_look_at_limits(struct doctor *doctor, const struct config *config);

/* Options of the kernel, and what it can confine. */
void doctor_look_at_kernel(struct doctor *doctor, const struct config *config);

void doctor_look_at_clock(struct doctor *doctor);

/* What only this system tells, as parts of the limits and the clock. */
void doctor_look_at_system_files(struct doctor *doctor);
void doctor_look_at_system_clock(struct doctor *doctor);

#endif
