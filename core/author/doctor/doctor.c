/* `luaduct doctor`: looks, says what it found and what to do. It changes nothing. */
#include "author/doctor/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "author/commands.h"
#include "author/inspect.h"
#include "base/system/system.h"
#include "client/arguments/options.h"
#include "client/screen/table.h"
#include "protocol/json/json_write.h"

static const char help[] =
    "usage: luaduct doctor [OPTION]… [CONFIG]\n"
    "\n"
    "Looks whether this machine is fit for a bridge with that config: limits, memory, ports, clock, options of the\n"
    "kernel; and whether the config is: its scripts, certificates, and who may read its secrets. It says what it "
    "found,\n"
    "and what to do. It changes nothing. Without CONFIG: what `luaduct run` would take. Run it as the bridge's user, "
    "for\n"
    "limits are a user's.\n"
    "\n"
    "  --json  one object: ok, and checks, each with name, status (ok, warn or fail), found and advice\n"
    "\n"
    "Exit status: 0 when nothing failed, 1 when something did, 2 wrong usage.\n";

static const char *const status_names[] = {"ok", "warn", "fail"};

void doctor_find(struct doctor *doctor, enum finding_status status, const char *name, const char *advice,
                 const char *found, ...)
{
    struct finding finding = {.status = status, .name = strdup(name), .advice = advice ? strdup(advice) : NULL};
    va_list arguments;
    va_start(arguments, found);
    if (vasprintf(&finding.found, found, arguments) < 0)
        finding.found = NULL;
    va_end(arguments);
    if (doctor->count == doctor->capacity) {
        size_t capacity = doctor->capacity > 0 ? doctor->capacity * 2 : 32;
        struct finding *findings = reallocarray(doctor->findings, capacity, sizeof *findings);
        if (findings) {
            doctor->findings = findings;
            doctor->capacity = capacity;
        }
    }
    bool good = doctor->count < doctor->capacity && finding.name && finding.found && !advice == !finding.advice;
    doctor->failed = doctor->failed || !good;
    if (good) {
        doctor->findings[doctor->count++] = finding;
        return;
    }
    free(finding.name);
    free(finding.found);
    free(finding.advice);
}

static void free_findings(struct doctor *doctor)
{
    for (size_t i = 0; i < doctor->count; i++) {
        free(doctor->findings[i].name);
        free(doctor->findings[i].found);
        free(doctor->findings[i].advice);
    }
    free(doctor->findings);
}

static size_t count_of(const struct doctor *doctor, enum finding_status status)
{
    size_t count = 0;
    for (size_t i = 0; i < doctor->count; i++)
        count += doctor->findings[i].status == status;
    return count;
}

static void add_member(struct buffer *out, const char *name, const char *text)
{
    buffer_append_format(out, ",\"%s\":", name);
    if (text)
        buffer_append_json_string(out, slice_from_string(text));
    else
        buffer_append_slice(out, SLICE("null"));
}

static bool print_json(const struct doctor *doctor)
{
    struct buffer out = {0};
    buffer_append_format(&out, "{\"ok\":%s,\"checks\":[", count_of(doctor, FINDING_FAIL) == 0 ? "true" : "false");
    for (size_t i = 0; i < doctor->count; i++) {
        const struct finding *finding = &doctor->findings[i];
        buffer_append_format(&out, "%s{\"status\":\"%s\"", i > 0 ? "," : "", status_names[finding->status]);
        add_member(&out, "name", finding->name);
        add_member(&out, "found", finding->found);
        add_member(&out, "advice", finding->advice);
        buffer_append_slice(&out, SLICE("}"));
    }
    buffer_append_slice(&out, SLICE("]}\n"));
    bool good = !out.failed;
    if (good)
        fwrite(out.data, 1, out.length, stdout);
    buffer_free(&out);
    return good;
}

static void print_for_people(const struct doctor *doctor)
{
    static const enum paint paints[] = {PAINT_GOOD, PAINT_WARN, PAINT_BAD};
    struct output output = output_look();
    for (size_t i = 0; i < doctor->count; i++) {
        const struct finding *finding = &doctor->findings[i];
        printf("%s%-4s%s  %-19s  %s\n", output_paint(&output, paints[finding->status]), status_names[finding->status],
               output_paint(&output, PAINT_PLAIN), finding->name, finding->found);
        if (finding->advice)
            printf("%25s  → %s\n", "", finding->advice);
    }
    printf("%zu failed, %zu warnings, %zu ok\n", count_of(doctor, FINDING_FAIL), count_of(doctor, FINDING_WARN),
           count_of(doctor, FINDING_OK));
}

static void look_at_all(struct doctor *doctor, const char *path)
{
    struct config config;
    bool good = doctor_look_at_config(doctor, path, &config);
    if (good) {
        doctor_look_at_tls(doctor, &config);
        doctor_look_at_ports(doctor, &config);
    }
    doctor_look_at_limits(doctor, good ? &config : NULL);
    doctor_look_at_kernel(doctor, good ? &config : NULL);
    doctor_look_at_clock(doctor);
    if (good)
        config_free(&config);
}

int command_doctor(int argc, char **argv)
{
    bool json = false;
    const struct option_rule rules[] = {{"json", .flag = &json}, {0}};
    int code = options_read(argc, argv, rules, help);
    if (code != OPTIONS_READ)
        return code;
    if (argc - optind > 1)
        return usage_error(argv[0], "one config is enough, there is no place for %s", argv[optind + 1]);
    char found[PATH_MAX];
    struct doctor doctor = {0};
    look_at_all(&doctor, optind < argc ? argv[optind] : inspect_find_config(found));
    bool good = !json || print_json(&doctor);
    if (!json)
        print_for_people(&doctor);
    if (doctor.failed || !good) {
        fprintf(stderr, "luaduct doctor: not enough memory for all of it\n");
        good = false;
    }
    good = good && count_of(&doctor, FINDING_FAIL) == 0;
    free_findings(&doctor);
    return good ? 0 : 1;
}
