/* What Linux says of itself: proc(5), sysctl(8). What cannot be read is not judged. */
#include <linux/landlock.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <unistd.h>

#include "author/doctor/doctor.h"
#include "client/screen/units.h"

#define BACKLOG 4096 /* of the bridge's listening sockets (net/listener.c) */

/* The first number in a file; NaN: none. */
static double read_number(const char *path)
{
    FILE *file = fopen(path, "re");
    double number = NAN;
    if (file && fscanf(file, "%lf", &number) != 1)
        number = NAN;
    if (file)
        fclose(file);
    return number;
}

static bool read_word(const char *path, char word[64])
{
    FILE *file = fopen(path, "re");
    bool good = file && fscanf(file, "%63s", word) == 1;
    if (file)
        fclose(file);
    return good;
}

/* proc_sys_fs(5): in use, 0, the most. */
void doctor_look_at_system_files(struct doctor *doctor)
{
    double used, unused, most;
    FILE *file = fopen("/proc/sys/fs/file-nr", "re");
    bool good = file && fscanf(file, "%lf %lf %lf", &used, &unused, &most) == 3;
    char text[UNITS_SIZE], more[UNITS_SIZE];
    if (file)
        fclose(file);
    if (!good)
        return;
    bool many = used > 0.8 * most;
    doctor_find(doctor, many ? FINDING_WARN : FINDING_OK, "fs.file-max",
                many ? "see who holds them (lsof), or sysctl -w fs.file-max=…" : NULL,
                "%s of %s files of the machine are open", units_count(used, text),
                most < 1e15 ? units_count(most, more) : "any number of");
}

static void look_at_least(struct doctor *doctor, const char *name, const char *path, double least, const char *advice)
{
    double value = read_number(path);
    char text[UNITS_SIZE];
    if (!isnan(value))
        doctor_find(doctor, value < least ? FINDING_WARN : FINDING_OK, name, value < least ? advice : NULL, "%s",
                    units_count(value, text));
}

static void look_at_overcommit(struct doctor *doctor)
{
    double mode = read_number("/proc/sys/vm/overcommit_memory");
    if (isnan(mode))
        return;
    bool strict = mode == 2;
    doctor_find(doctor, strict ? FINDING_WARN : FINDING_OK, "overcommit",
                strict ? "count reserved memory too when you set limits.memory, or sysctl -w vm.overcommit_memory=0"
                       : NULL,
                strict ? "never (2): memory is refused before it is used up" : "allowed (%.0f)", mode);
}

/* epoll(7): of what one user watches in all. */
static void look_at_watches(struct doctor *doctor, const struct config *config)
{
    double most = read_number("/proc/sys/fs/epoll/max_user_watches");
    char text[UNITS_SIZE];
    if (isnan(most))
        return;
    bool few = config && config->limits.connections != UINT32_MAX && most < 1.1 * config->limits.connections;
    doctor_find(doctor, few ? FINDING_WARN : FINDING_OK, "epoll",
                few ? "sysctl -w fs.epoll.max_user_watches=… above limits.connections" : NULL,
                "%s watched descriptors a user", units_count(most, text));
}

static void look_at_ability(struct doctor *doctor, const char *name, bool able, enum config_confine wanted,
                            const char *key)
{
    static const char *const words[] = {"off", "auto", "required"};
    if (able)
        doctor_find(doctor, FINDING_OK, name, NULL, "the kernel has it; %s is \"%s\"", key, words[wanted]);
    else if (wanted == CONFIG_CONFINE_REQUIRED)
        doctor_find(doctor, FINDING_FAIL, name, "take a kernel that has it, or \"auto\"",
                    "%s is \"required\", and the kernel does not have it", key);
    else
        doctor_find(doctor, wanted == CONFIG_CONFINE_AUTO ? FINDING_WARN : FINDING_OK, name,
                    wanted == CONFIG_CONFINE_AUTO ? "without it nothing is confined; Linux 5.13 or later, not "
                                                    "switched off (/sys/kernel/security/lsm)"
                                                  : NULL,
                    "the kernel does not have it; %s is \"%s\"", key, words[wanted]);
}

static void look_at_confinement(struct doctor *doctor, const struct config *config)
{
    enum config_confine files = config ? config->confinement.files : CONFIG_CONFINE_OFF;
    enum config_confine calls = config ? config->confinement.system_calls : CONFIG_CONFINE_OFF;
    bool landlock = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 1;
    bool seccomp = prctl(PR_GET_SECCOMP) >= 0; /* EINVAL: the kernel was built without it */
    look_at_ability(doctor, "landlock", landlock, files, "confinement.files");
    look_at_ability(doctor, "seccomp", seccomp, calls, "confinement.systemCalls");
}

void doctor_look_at_kernel(struct doctor *doctor, const struct config *config)
{
    look_at_least(doctor, "somaxconn", "/proc/sys/net/core/somaxconn", BACKLOG,
                  "newcomers in a burst are refused beyond it: sysctl -w net.core.somaxconn=4096");
    look_at_least(doctor, "tcp_max_syn_backlog", "/proc/sys/net/ipv4/tcp_max_syn_backlog", 1024,
                  "handshakes of a burst are lost beyond it: sysctl -w net.ipv4.tcp_max_syn_backlog=4096");
    look_at_watches(doctor, config);
    look_at_overcommit(doctor);
    look_at_confinement(doctor, config);
}

/* adjtimex(2); where it may not be asked, nothing is said. */
static void look_at_synchronisation(struct doctor *doctor)
{
    struct timex state = {0};
    int got = adjtimex(&state);
    if (got < 0)
        return;
    bool lost = got == TIME_ERROR || state.status & STA_UNSYNC;
    doctor_find(doctor, lost ? FINDING_WARN : FINDING_OK, "synchronisation",
                lost ? "run chrony or systemd-timesyncd; in a container, on its host" : NULL,
                lost ? "the kernel knows of nobody who sets the clock" : "the clock is kept by a time server");
}

/* The clock is read several times for each message. */
static void look_at_clock_source(struct doctor *doctor)
{
    char source[64];
    if (!read_word("/sys/devices/system/clocksource/clocksource0/current_clocksource", source))
        return;
    bool slow = strcmp(source, "hpet") == 0 || strcmp(source, "acpi_pm") == 0 || strcmp(source, "jiffies") == 0;
    doctor_find(doctor, slow ? FINDING_WARN : FINDING_OK, "clock source",
                slow ? "take tsc, kvm-clock or another that is read without a system call (dmesg says why it is not)"
                     : NULL,
                slow ? "%s: each look at it is slow" : "%s", source);
}

void doctor_look_at_system_clock(struct doctor *doctor)
{
    look_at_synchronisation(doctor);
    look_at_clock_source(doctor);
}
