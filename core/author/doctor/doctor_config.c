/* What depends on the configuration alone. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "author/doctor/doctor.h"
#include "author/inspect.h"
#include "base/clock.h"
#include "base/system/system.h"
#include "client/connection/http_client.h"
#include "net/listener.h"
#include "net/tls/tls_client.h"
#include "net/tls/tls_context.h"
#include "runtime/config/bundle.h"
#include "runtime/tls/certificates.h"

/* --- Files --- */

static void look_at_secret(struct doctor *doctor, const char *name, const char *path)
{
    struct stat file;
    if (!path)
        return;
    if (stat(path, &file) != 0) /* whoever reads it says why it cannot be read */
        return;
    if (file.st_mode & (S_IROTH | S_IWOTH))
        doctor_find(doctor, FINDING_FAIL, name, "only the bridge's user should read it: chmod 600",
                    "everybody can %s %s (mode %04o)", file.st_mode & S_IWOTH ? "change" : "read", path,
                    file.st_mode & 07777);
    else if (file.st_mode & S_IWGRP)
        doctor_find(doctor, FINDING_WARN, name, "take that from the group: chmod g-w",
                    "its group can change %s (mode %04o)", path, file.st_mode & 07777);
    else
        doctor_find(doctor, FINDING_OK, name, NULL, "%s has mode %04o", path, file.st_mode & 07777);
}

/* Hashes of tokens and public keys give nothing away, but whoever can change them lets himself in. */
static void look_at_changeable(struct doctor *doctor, const char *name, const char *path)
{
    struct stat file;
    if (!path || stat(path, &file) != 0)
        return;
    if (file.st_mode & (S_IWOTH | S_IWGRP))
        doctor_find(doctor, FINDING_FAIL, name, "only its owner should change it: chmod go-w",
                    "others than its owner can change %s (mode %04o)", path, file.st_mode & 07777);
    else
        doctor_find(doctor, FINDING_OK, name, NULL, "%s has mode %04o", path, file.st_mode & 07777);
}

/* Whether a file can be made or replaced at the path. */
static void look_at_writable(struct doctor *doctor, const char *name, const char *path)
{
    char folder[PATH_MAX];
    if (!path || strlen(path) >= sizeof folder)
        return;
    strcpy(folder, path);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    const char *where = slash ? folder : ".";
    bool good = access(path, F_OK) == 0 ? access(path, W_OK) == 0 : access(where, W_OK | X_OK) == 0;
    if (good)
        doctor_find(doctor, FINDING_OK, name, NULL, "%s can be written", path);
    else
        doctor_find(doctor, FINDING_FAIL, name, "make the folder, and let the bridge's user write there",
                    "%s cannot be written by this user", path);
}

/* --- The configuration --- */

static void take_inspected(void *context, const char *what, const char *problem)
{
    const char *name = strchr(what, '/') || strstr(what, ".lua") ? "file" : what;
    if (problem)
        doctor_find(context, FINDING_FAIL, name, "mend it; `luaduct check` says the same of it", "%s", problem);
    else
        doctor_find(context, FINDING_OK, name, NULL, "%s is good", what);
}

static void look_at_files(struct doctor *doctor, const struct config *config)
{
    char name[64];
    const char *from_environment = getenv("AI_BRIDGE_AUTH_TOKEN");
    bool token_inside = config->auth.token && (!from_environment || !*from_environment);
    /* Where no file was read for them, they stand in the configuration itself. */
    if (config->secret_files.count == 0 && (token_inside || config->auth.jwt.secret || config->alerts.webhook_secret))
        look_at_secret(doctor, "config", config->file);
    else
        look_at_changeable(doctor, "config", config->file);
    for (size_t i = 0; i < config->script.paths.count; i++)
        look_at_changeable(doctor, "script.path", config->script.paths.items[i]);
    look_at_changeable(doctor, "policies.access", config->policies.access);
    look_at_changeable(doctor, "policies.alerts", config->policies.alerts);
    look_at_changeable(doctor, "auth.tokens", config->auth.tokens);
    look_at_changeable(doctor, "auth.jwt.keys", config->auth.jwt.keys);
    look_at_changeable(doctor, "auth.jwt.key", config->auth.jwt.key);
    for (size_t i = 0; i < config->secret_files.count; i++)
        look_at_secret(doctor, "secret", config->secret_files.items[i]);
    for (size_t i = 0; i < config->tls.pair_count; i++) {
        snprintf(name, sizeof name, "%skey", config->tls.pairs[i].label);
        look_at_secret(doctor, name, config->tls.pairs[i].key);
    }
    look_at_writable(doctor, "log.file", config->log.file);
    look_at_writable(doctor, "listen.admin", config->listen.admin);
}

static void look_at_user(struct doctor *doctor, const struct config *config)
{
    if (geteuid() != 0)
        doctor_find(doctor, FINDING_OK, "user", NULL, "it runs without root's rights");
    else if (config->user)
        doctor_find(doctor, FINDING_OK, "user", NULL, "root becomes %s once the ports are bound", config->user);
    else
        doctor_find(doctor, FINDING_WARN, "user", "name somebody with fewer rights: the key user, or User= of its unit",
                    "it would run as root");
}

bool doctor_look_at_config(struct doctor *doctor, const char *path, struct config *config)
{
    struct config_source source = {.path = path, .install_bundle = bundle_install};
    const char *shown = path ? path : "the built-in configuration";
    char *problems;
    system_raise_file_limit();
    if (!config_load(config, &source, &problems)) {
        for (char *line = problems; line && *line;) {
            char *end = strchrnul(line, '\n');
            bool last = *end == '\0';
            *end = '\0';
            doctor_find(doctor, FINDING_FAIL, "config", "mend it; docs/config.md has every key, and what it takes",
                        "%s", line);
            line = last ? end : end + 1;
        }
        if (!problems)
            doctor->failed = true;
        free(problems);
        doctor_find(doctor, FINDING_WARN, "config", "once the config is good, ask again",
                    "not looked at, for it says where they are: scripts, credentials, certificates, files, ports");
        return false;
    }
    doctor_find(doctor, FINDING_OK, "config", NULL, "%s is good", shown);
    bool administrable;
    inspect_scripts(config, NULL, 0, take_inspected, doctor, &administrable);
    if (!administrable)
        doctor_find(doctor, FINDING_WARN, "administration", INSPECT_NOBODY_ADVICE, INSPECT_NOBODY_ADMINISTERS);
    look_at_user(doctor, config);
    look_at_files(doctor, config);
    return true;
}

/* --- TLS --- */

static void look_at_expiry(struct doctor *doctor, const struct config *config, const struct tls_context *context)
{
    double limit = config->alerts.certificate_expiry.threshold;
    for (size_t i = 0; i < tls_context_certificate_count(context); i++) {
        struct tls_certificate_view view;
        tls_context_certificate(context, i, &view);
        double days = (double)(view.not_after_s - clock_wall_ms() / 1000) / 86400;
        char until[CLOCK_ISO_LENGTH];
        clock_format_iso(view.not_after_s * 1000, until);
        doctor_find(doctor, days < limit ? FINDING_WARN : FINDING_OK, view.key,
                    days < limit ? "get a new one, then `luaduct reload`" : NULL,
                    "%s is good until %.10s, for %.0f days", view.name, until, days);
    }
}

void doctor_look_at_tls(struct doctor *doctor, const struct config *config)
{
    char problem[1024];
    struct tls_context *context;
    if (!certificates_load(config, &context, problem, sizeof problem)) {
        doctor_find(doctor, FINDING_FAIL, "tls", "mend it; `luaduct cert dev DIR` makes certificates for trying", "%s",
                    problem);
        return;
    }
    if (!context) {
        bool open = strcmp(config->listen.host, "localhost") != 0;
        doctor_find(doctor, open ? FINDING_WARN : FINDING_OK, "tls",
                    open ? "set tls.cert and tls.key, unless a proxy in front ends TLS or nobody else can reach it"
                         : NULL,
                    "none: the ports speak plain text on %s", config->listen.host);
        return;
    }
    look_at_expiry(doctor, config, context);
    tls_context_release(context);
}

/* --- Ports --- */

#define PROBE_MS 2000

/* What listens there answers like a bridge. */
static bool serves_bridge(const struct config *config, uint16_t port)
{
    static const char *const loopbacks[] = {"localhost", "0.0.0.0", "*"};
    struct bridge_url url = {.path = "/", .secure = config->tls.pair_count > 0};
    struct tls_client_options options = {.insecure = true};
    struct http_answer answer;
    char error[HTTP_CLIENT_ERROR_SIZE], tls_error[TLS_ERROR_SIZE];
    const char *host = config->listen.host;
    for (size_t i = 0; i < sizeof loopbacks / sizeof *loopbacks; i++)
        host = strcmp(host, loopbacks[i]) == 0 ? "127.0.0.1" : host;
    snprintf(url.host, sizeof url.host, "%s", strcmp(host, "::") == 0 ? "::1" : host);
    snprintf(url.port, sizeof url.port, "%u", port);
    url.tls = url.secure ? tls_client_new(&options, tls_error) : NULL;
    struct http_call call = {.url = &url, .method = "GET", .path = "/health", .timeout_ms = PROBE_MS};
    bool answered = (!url.secure || url.tls) && http_client_call(&call, &answer, error);
    bool bridge = answered && answer.body.length > 0 && memmem(answer.body.data, answer.body.length, "\"wsPort\":", 9);
    if (answered)
        buffer_free(&answer.body);
    tls_client_free(url.tls);
    return bridge;
}

static const char *port_advice(int failure, uint16_t port)
{
    switch (failure) {
    case EADDRINUSE:
        return "see who has it (ss -ltnp), end that, or take another port";
    case EADDRNOTAVAIL:
        return "no interface of this machine has that address (ip address): mend listen.host";
    case EACCES:
    case EPERM:
        return port < 1024 ? "ports below 1024 need a right: AmbientCapabilities=CAP_NET_BIND_SERVICE of its unit, a "
                             "start as root with the key user, or another port"
                           : "this user may not listen there: look at what confines it";
    default:
        return "mend listen.host, or take another port";
    }
}

static void look_at_port(struct doctor *doctor, const struct config *config, const char *name, uint16_t port)
{
    struct listener_address addresses[LISTENER_ADDRESSES_MAXIMUM];
    int descriptors[LISTENER_ADDRESSES_MAXIMUM];
    char problem[256];
    uint16_t bound = port;
    unsigned count = listener_resolve(config->listen.host, addresses, problem, sizeof problem);
    if (count == 0) {
        doctor_find(doctor, FINDING_FAIL, "listen.host", "give an address of this machine, or a name that leads to one",
                    "%s", problem);
        return;
    }
    bool free_port = listener_reserve(addresses, count, &bound, descriptors, problem, sizeof problem);
    int failure = errno;
    if (free_port) {
        for (unsigned i = 0; i < count; i++)
            close(descriptors[i]);
        if (port == 0)
            doctor_find(doctor, FINDING_OK, name, NULL, "any free port of %s", config->listen.host);
        else
            doctor_find(doctor, FINDING_OK, name, NULL, "port %u of %s is free", port, config->listen.host);
    } else if (port != 0 && serves_bridge(config, port)) {
        doctor_find(doctor, FINDING_OK, name, NULL, "a bridge runs on port %u already", port);
    } else {
        doctor_find(doctor, FINDING_FAIL, name, port_advice(failure, port), "cannot listen on port %u of %s: %s", port,
                    config->listen.host, strerror(failure));
    }
}

void doctor_look_at_ports(struct doctor *doctor, const struct config *config)
{
    look_at_port(doctor, config, "listen.wsPort", config->listen.ws_port);
    if (config->listen.http_port != config->listen.ws_port || config->listen.ws_port == 0)
        look_at_port(doctor, config, "listen.httpPort", config->listen.http_port);
}
