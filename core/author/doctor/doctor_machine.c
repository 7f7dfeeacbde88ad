/* What the machine allows, as every system says it; the rest is in doctor_system_linux.c. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "author/doctor/doctor.h"
#include "base/clock.h"
#include "base/system/system.h"
#include "client/screen/units.h"

#define FEW_CONNECTIONS 4096 /* less than a burst of newcomers takes */

/* --- Limits --- */

static void look_at_files_limit(struct doctor *doctor, const struct config *config)
{
    char text[UNITS_SIZE], more[UNITS_SIZE];
    double limit = (double)system_file_limit();
    if (!config) {
        doctor_find(doctor, FINDING_OK, "open files", NULL, "%s a process", units_count(limit, text));
        return;
    }
    /* A number in the file that the limit does not carry is refused by the configuration itself. */
    bool few = config->limits.connections_is_auto && config->limits.connections < FEW_CONNECTIONS;
    doctor_find(doctor, few ? FINDING_WARN : FINDING_OK, "open files",
                few ? "raise the hard limit: LimitNOFILE=1048576 in its unit, or /etc/security/limits.conf" : NULL,
                "%s a process, for %s connections", units_count(limit, text),
                config->limits.connections == UINT32_MAX ? "any number of"
                                                         : units_count(config->limits.connections, more));
}

static void look_at_memory(struct doctor *doctor, const struct config *config)
{
    char text[UNITS_SIZE], more[UNITS_SIZE];
    double machine = (double)system_memory_limit();
    uint64_t group = system_cgroup_memory_limit("");
    const char *where = (double)group <= machine ? "the control group" : "machine and limits";
    if (!config) {
        doctor_find(doctor, FINDING_OK, "memory", NULL, "%s of %s", units_bytes(machine, text), where);
    } else if (config->limits.memory == CONFIG_UNLIMITED) {
        doctor_find(doctor, FINDING_WARN, "memory", "set limits.memory: without it the kernel ends what takes too much",
                    "no budget; %s allow %s", where, units_bytes(machine, text));
    } else if ((double)config->limits.memory > machine) {
        doctor_find(doctor, FINDING_FAIL, "memory", "lower limits.memory below it, or raise the limit of the container",
                    "limits.memory is %s, but %s allow %s", units_bytes((double)config->limits.memory, text), where,
                    units_bytes(machine, more));
    } else {
        bool tight = (double)config->limits.memory > 0.9 * machine;
        doctor_find(doctor, tight ? FINDING_WARN : FINDING_OK, "memory",
                    tight ? "leave a tenth for sockets and threads, which are not in the budget" : NULL,
                    "limits.memory is %s; %s allow %s", units_bytes((double)config->limits.memory, text), where,
                    units_bytes(machine, more));
    }
}

static void look_at_processors(struct doctor *doctor, const struct config *config)
{
    unsigned processors = system_cpu_count();
    if (!config)
        return;
    bool more = config->performance.worker_threads > processors;
    doctor_find(doctor, more ? FINDING_WARN : FINDING_OK, "processors",
                more ? "more reactors than processors only take turns: performance.worker_threads = \"auto\"" : NULL,
                "%u for %u reactors", processors, config->performance.worker_threads);
}

void doctor_look_at_limits(struct doctor *doctor, const struct config *config)
{
    look_at_files_limit(doctor, config);
    doctor_look_at_system_files(doctor);
    look_at_memory(doctor, config);
    look_at_processors(doctor, config);
}

/* --- The clock --- */

#define LEAST_WALL_MS 1704067200000 /* 2024: before this program */
#define MOST_WALL_MS 4102444800000  /* 2100 */
#define COMPARE_NS 50000000         /* both clocks are compared over this */
#define DRIFT_MS 5                  /* a slewed clock gains 0.05 % at most */

static void look_at_wall_clock(struct doctor *doctor)
{
    struct timespec pause = {0, COMPARE_NS};
    char now[CLOCK_ISO_LENGTH];
    int64_t wall = clock_wall_ms();
    uint64_t steady = clock_steady_ns();
    clock_format_iso(wall, now);
    if (wall < LEAST_WALL_MS || wall > MOST_WALL_MS) {
        doctor_find(doctor, FINDING_FAIL, "clock", "set it: certificates and tokens are judged by it", "it says %.*s",
                    CLOCK_ISO_LENGTH, now);
        return;
    }
    nanosleep(&pause, NULL);
    double drift = (double)(clock_wall_ms() - wall) - (double)(clock_steady_ns() - steady) / 1e6;
    bool jumps = fabs(drift) > DRIFT_MS;
    doctor_find(doctor, jumps ? FINDING_WARN : FINDING_OK, "clock",
                jumps ? "somebody sets it just now; look again when that is over" : NULL,
                jumps ? "%.*s, and it moved by %.0f ms against the steady clock"
                      : "%.*s, and it goes with the steady clock",
                CLOCK_ISO_LENGTH, now, drift);
}

void doctor_look_at_clock(struct doctor *doctor)
{
    look_at_wall_clock(doctor);
    doctor_look_at_system_clock(doctor);
}
