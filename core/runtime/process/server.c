#include "runtime/process/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/system/file.h"
#include "base/system/service.h"
#include "base/system/system.h"
#include "base/version.h"
#include "bridge/delivery/dead_letter.h"
#include "bridge/delivery/dedup.h"
#include "bridge/delivery/expiry.h"
#include "bridge/queue/levels.h"
#include "bridge/queue/mailbox.h"
#include "bridge/queue/pending.h"
#include "bridge/queue/tasks.h"
#include "bridge/registry/registry.h"
#include "bridge/state/history.h"
#include "bridge/state/state.h"
#include "memory/loop_reserve.h"
#include "memory/pool.h"
#include "net/listener.h"
#include "runtime/confinement/file_access.h"
#include "runtime/confinement/privileges.h"
#include "runtime/confinement/system_calls.h"
#include "runtime/connection/acceptor.h"
#include "runtime/engines/engines.h"
#include "runtime/handover/handover.h"
#include "runtime/handover/starter.h"
#include "runtime/identity/jwt/verifier.h"
#include "runtime/limits/limits.h"
#include "runtime/policies/notify.h"
#include "runtime/policies/policies.h"
#include "runtime/pressure/pressure.h"
#include "runtime/process/drain.h"
#include "runtime/process/supervision.h"
#include "runtime/reactor.h"
#include "runtime/reload/loader.h"
#include "runtime/repl.h"
#include "runtime/tls/certificates.h"
#include "runtime/tls/handshakes.h"
#include "runtime/tracing/hop.h"
#include "script/shared.h"
#include "script/user_operation.h"

static struct reactor *reactors;
static unsigned reactor_count;
static uint64_t started_ms;
static uint16_t ws_port, http_port;

unsigned server_reactor_count(void)
{
    return reactor_count;
}

struct reactor *server_reactor(unsigned index)
{
    return &reactors[index];
}

uint64_t server_started_ms(void)
{
    return started_ms;
}

uint16_t server_ws_port(void)
{
    return ws_port;
}

uint16_t server_http_port(void)
{
    return http_port;
}

static int fail(const char *text)
{
    fprintf(stderr, "luaduct: %s\n", text);
    return 1;
}

/* --- Listening --- */

struct port_plan {
    struct listener_address addresses[LISTENER_ADDRESSES_MAXIMUM];
    int reserved[LISTENER_ADDRESSES_MAXIMUM];
    unsigned count;
};

/* Finds out whether the port is free (and which one, for 0) before any reactor shares it. */
static bool reserve(const struct config *config, struct port_plan *plan, uint16_t *port, char *error, size_t size)
{
    plan->count = listener_resolve(config->listen.host, plan->addresses, error, size);
    if (plan->count > (REACTOR_LISTENERS_MAXIMUM - 1) / 2)
        plan->count = (REACTOR_LISTENERS_MAXIMUM - 1) / 2;
    return plan->count > 0 && listener_reserve(plan->addresses, plan->count, port, plan->reserved, error, size);
}

static void release_reserved(struct port_plan *plan)
{
    for (unsigned i = 0; i < plan->count; i++)
        close(plan->reserved[i]);
}

static bool listen_everywhere(struct port_plan *plan, uint16_t port, char *error, size_t size)
{
    for (unsigned i = 0; i < plan->count; i++) {
        listener_set_port(&plan->addresses[i], port);
        for (unsigned r = 0; r < reactor_count; r++) {
            int fd = listener_open(&plan->addresses[i]);
            if (fd < 0) {
                snprintf(error, size, "cannot listen on port %u: %s", port, strerror(errno));
                return false;
            }
            acceptor_add(&reactors[r], fd, false);
        }
    }
    return true;
}

static bool open_listeners(const struct config *config, char *error, size_t size)
{
    struct port_plan ws = {0}, http = {0};
    ws_port = config->listen.ws_port;
    http_port = config->listen.http_port;
    bool one = ws_port == http_port && ws_port != 0;
    if (!reserve(config, &ws, &ws_port, error, size))
        return false;
    if (one)
        http_port = ws_port;
    else if (!reserve(config, &http, &http_port, error, size)) {
        release_reserved(&ws);
        return false;
    }
    release_reserved(&ws);
    release_reserved(&http);
    return listen_everywhere(&ws, ws_port, error, size) && (one || listen_everywhere(&http, http_port, error, size));
}

static bool open_admin(const struct config *config, char *error, size_t size)
{
    if (!config->listen.admin)
        return true;
    int fd = listener_open_unix(config->listen.admin, error, size);
    if (fd >= 0)
        acceptor_add(&reactors[0], fd, true);
    return fd >= 0;
}

/* --- Start and stop --- */

static void wake_lane(struct lane *lane)
{
    struct reactor *reactor = lane->owner;
    ev_async_send(reactor->loop, &reactor->wake_watcher);
}

static bool start_bridge(const struct config *config)
{
    static const enum slow_agent_rule rules[] = {[CONFIG_SLOW_AGENT_QUEUE] = SLOW_AGENT_QUEUE,
                                                 [CONFIG_SLOW_AGENT_DROP] = SLOW_AGENT_DROP,
                                                 [CONFIG_SLOW_AGENT_CLOSE] = SLOW_AGENT_CLOSE};
    struct mailbox_limits mailboxes = {.envelopes = config->agents.max_queue,
                                       .mailboxes = config->agents.max_mailboxes,
                                       .bytes = config->agents.mailbox_bytes,
                                       .total_bytes = config->agents.mailbox_total_bytes,
                                       .share_bytes = config->limits.mailbox_bytes_per_sender,
                                       .ttl_ms = config->agents.mailbox_ttl_ms};
    struct task_options tasks = {.opening = config->agents.task_open_intents.items,
                                 .opening_count = config->agents.task_open_intents.count,
                                 .closing = config->agents.task_close_intents.items,
                                 .closing_count = config->agents.task_close_intents.count,
                                 .maximum = config->agents.max_open_tasks};
    struct pending_limits pending = {.envelopes = config->agents.max_waiting, .ttl_ms = config->agents.waiting_ttl_ms};
    mailbox_start(&mailboxes);
    dead_letter_start(config->agents.dead_letters);
    levels_start(config->agents.priority_order);
    expiry_start(config->agents.expiry);
    tasks_start(&tasks);
    pending_start(&pending);
    struct lane_options lanes = {.count = reactor_count,
                                 .send_queue_bytes = config->limits.send_queue_bytes,
                                 .slow_agent = rules[config->limits.slow_agent],
                                 .wake = wake_lane};
    return history_start(config->history.limit, config->history.bytes) && limits_start(config) && lanes_start(&lanes) &&
           dedup_start(config->agents.dedup_window_ms, config->agents.dedup_ids);
}

static void print_url_host(const struct config *config)
{
    bool ipv6 = strchr(config->listen.host, ':') != NULL;
    printf(ipv6 ? "[%s]" : "%s", config->listen.host);
}

static void print_banner(const struct config *config, const struct config_source *source)
{
    char command[SYSTEM_COMMAND_BYTES];
    system_command_name(source->program, command);
    printf("Luaduct %s, %s mode, %u %s\n", LUADUCT_VERSION, config->mode_name, reactor_count,
           reactor_count == 1 ? "reactor" : "reactors");
    const char *secure = certificates_in_use() ? "s" : "";
    printf("  WebSocket  ws%s://", secure);
    print_url_host(config);
    printf(":%u\n  HTTP       http%s://", ws_port, secure);
    print_url_host(config);
    printf(":%u\n  Config     %s\n", http_port, source->path ? source->path : "built in");
    bool usual = ws_port == 4567 && http_port == 4568 && !certificates_in_use();
    char ws[64] = "", http[64] = "";
    if (!usual) {
        snprintf(ws, sizeof ws, " --url ws%s://localhost:%u", secure, ws_port);
        snprintf(http, sizeof http, " --url http%s://localhost:%u", secure, http_port);
    }
    printf("Try, each in a terminal of its own:\n  %s agent alice%s\n  %s send --to alice%s "
           "'{\"text\":\"hello\"}'\n",
           command, ws, command, http);
    fflush(stdout);
}

static unsigned start_threads(char *error, size_t size)
{
    for (unsigned i = 0; i < reactor_count; i++) {
        int failure = pthread_create(&reactors[i].thread, NULL, reactor_run, &reactors[i]);
        if (failure != 0) {
            snprintf(error, size, "cannot start a thread: %s", strerror(failure));
            return i;
        }
    }
    return reactor_count;
}

/* Once the ports are open nothing needs more than an ordinary user may. */
static bool give_up_rights(const struct config *config, char *error, size_t size)
{
    if (!privileges_drop(config, error, size))
        return false;
    privileges_hide_memory(config);
    log_check_rotation();
    return system_calls_confine(config, error, size);
}

static bool start_tls(const struct config *config, char *error, size_t size)
{
    struct tls_context *context;
    return certificates_load(config, &context, error, size) && certificates_use(config, context, error, size);
}

/* The other process has the connections, so none of them may be ended in order. */
static void leave_to_the_other(const char *why)
{
    handover_refuse(why[0] ? why : "it cannot start: its own words are in its log");
    fprintf(stderr, "luaduct: %s\n", why);
    log_stop();
    _exit(1);
}

static bool import_state(const struct config *config, const char *path, int fd)
{
    struct state_import state = {
        .line = 1, .json_depth = config->limits.json_depth, .lenient = config->mode == CONFIG_MODE_ORIGINAL};
    char error[512];
    if (fd < 0)
        return true;
    bool good = state_import_file(&state, lanes_get(0), fd, error, sizeof error);
    close(fd);
    uint64_t refused = state.mailbox_full + state.overloaded + state.expired + state.foreign;
    if (good)
        log_info(SERVER, "imported",
                 "%s: %llu of the history and %llu in mailboxes, %llu not taken: expired, or past a limit", path,
                 (unsigned long long)state.history, (unsigned long long)state.envelopes, (unsigned long long)refused);
    else
        fprintf(stderr, "luaduct: %s: %s\n", path, error);
    return good;
}

static int serve(const struct config *config, const struct config_source *source)
{
    char error[1024] = "";
    unsigned prepared = 0;
    bool good = start_tls(config, error, sizeof error);
    for (; good && prepared < reactor_count; prepared++)
        good = reactor_prepare(&reactors[prepared], prepared, config, error, sizeof error);
    if (handover_joined())
        good = good && handover_listen(config, &ws_port, &http_port, error, sizeof error);
    else
        good = good && open_listeners(config, error, sizeof error) && open_admin(config, error, sizeof error);
    bool has_admin = good && config->listen.admin;
    good = good && (has_admin || !config->listen.admin) && give_up_rights(config, error, sizeof error);
    unsigned running = 0;
    if (good) {
        user_operation_start(&(struct user_operation_options){.memory_limit = config->script.memory_limit,
                                                              .log = supervision_log_script});
        good = loader_start(config, source, reactors, reactor_count, error, sizeof error) &&
               notify_start(config, error, sizeof error) && tracing_start(config, error, sizeof error);
    }
    if (good) {
        repl_start(&reactors[0]);
        engines_start(config);
        good = verifier_start(error, sizeof error);
    }
    if (good) {
        running = start_threads(error, sizeof error);
        good = running == reactor_count && supervision_wait_ready() && policies_start(config, error, sizeof error);
        if (good && !handover_take_over(error, sizeof error))
            leave_to_the_other(error);
        if (good) {
            loader_run();
            if (handover_joined()) {
                log_reopen();                 /* a rotation since it was opened told the other process */
                loader_review("the upgrade"); /* what was revoked since this process read its files */
            }
            print_banner(config, source);
            log_info(SERVER, "listening", "serving on WebSocket port %u, HTTP port %u", ws_port, http_port);
            if (handover_joined())
                handover_follow("serving");
            else
                service_ready("serving");
            supervision_run();
        }
    }
    if (!good && handover_joined())
        leave_to_the_other(error);
    handover_give_up();
    supervision_wait(handover_is_over);
    loader_request_stop();
    repl_request_stop();
    supervision_wait(loader_ended);
    supervision_wait(repl_ended);
    policies_stop();
    handshakes_stop(); /* what is done goes to the reactors, before they are told to stop */
    for (unsigned i = 0; i < running; i++)
        reactor_request_stop(&reactors[i]);
    supervision_wait_ended(running);
    for (unsigned i = 0; i < running; i++)
        pthread_join(reactors[i].thread, NULL);
    handover_end();
    supervision_wait(handover_has_ended);
    handover_stop();
    verifier_stop();
    engines_stop();
    loader_stop();
    repl_stop();
    notify_stop();
    tracing_stop();
    log_stop();
    if (!good && error[0])
        fail(error);
    if (has_admin && !handover_done())
        unlink(config->listen.admin);
    for (unsigned i = 0; i < prepared; i++)
        reactor_release(&reactors[i]);
    certificates_stop();
    return good ? 0 : 1;
}

int server_run(const struct config *config, const struct config_source *source)
{
    reactor_count = config->performance.worker_threads;
    if (reactor_count > LANES_MAXIMUM)
        reactor_count = LANES_MAXIMUM;
    char problem[1024];
    started_ms = clock_steady_ns() / 1000000;
    loop_reserve_install();
    hash_start();
    if (!starter_start())
        return fail("cannot make the process that starts a new version");
    if (!handover_join(problem, sizeof problem))
        return fail(problem);
    log_name_thread("main");
    if (!supervision_start(reactor_count))
        return fail("cannot set up signals");
    const char *unreadable = "";
    bool imports = source->import && !handover_joined();
    int import_fd = imports ? file_open(source->import, NULL, &unreadable) : -1; /* before it may be forbidden */
    if (imports && import_fd < 0) {
        fprintf(stderr, "luaduct: %s: %s\n", source->import, unreadable);
        return 1;
    }
    privileges_freeze();
    service_open();
    if (!file_access_confine(config, problem, sizeof problem))
        return fail(problem);
    int failure = log_start(config->log.levels.general, (enum log_format)config->log.format, config->log.file);
    if (failure != 0) {
        fprintf(stderr, "luaduct: %s%s: %s\n", config->log.file ? "log.file: cannot open " : "cannot start the log",
                config->log.file ? config->log.file : "", strerror(failure));
        return 1;
    }
    log_set_levels(&config->log.levels);
    reactors = aligned_alloc(64, (reactor_count * sizeof *reactors + 63) / 64 * 64);
    if (!reactors || !start_bridge(config) || !shared_start(config->script.shared_bytes))
        return fail("not enough memory to start");
    if (!policies_check(config, supervision_log_script, problem, sizeof problem)) {
        log_stop();
        return fail(problem);
    }
    if (!import_state(config, source->import, import_fd)) { /* not again, where another process had done so */
        log_stop();
        return 1;
    }
    pressure_start(config, supervision_wake);
    drain_start(config);
    handover_start(config);
    int status = serve(config, source);
    pressure_stop();
    history_stop();
    pending_stop();
    dedup_stop();
    registry_stop();
    lanes_stop();
    limits_stop();
    shared_stop();
    supervision_stop();
    starter_stop();
    free(reactors);
    pool_leave_thread();
    pool_trim();
    return status;
}
