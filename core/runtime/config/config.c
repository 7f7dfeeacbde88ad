/* The judging happens in Lua (lua/luaduct/config/load.lua); this file runs it in a Lua state of its own and copies the
 * result into the struct, where "auto" and "no limit" become numbers. Everything that can raise a Lua error, memory
 * included, runs below one lua_cpcall; what the struct owns is attached to it at once, so an error leaves nothing
 * behind. Keys are read by their whole path: a misspelt one is an error in the first test that loads anything. */
#include "runtime/config/config.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/slice.h"
#include "base/system.h"
#include "protocol/jwt/jwk.h"
#include "script/pattern/pattern.h"

#include <lauxlib.h>
#include <lua.h>
#include <luajit.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Descriptors that are not connections: streams, log, script files, the reserved one for EMFILE; and for each reactor
 * its epoll sets, wake-up, and up to four listeners. Both with room to spare. */
#define DESCRIPTORS_RESERVED 32
#define DESCRIPTORS_PER_REACTOR 16

/* "auto" stops here, however many files a container allows (often 2^20 or 2^30): tables that grow with the number stay
 * small. A number in the file goes higher. */
#define CONNECTIONS_AUTO_MOST 100000

/* "auto" workers stop here: the range of the key. */
#define WORKERS_MOST 256

struct load {
    struct config *config;
    const struct config_source *source;
    const struct config *running; /* NULL: none runs yet */
    char **problems, **restart_needed;
    bool good;
};

/* Pushes the value at a dotted path below the table at `index`. */
static void push_path(lua_State *L, int index, const char *path)
{
    lua_pushvalue(L, index);
    while (*path) {
        size_t length = strcspn(path, ".");
        if (!lua_istable(L, -1))
            luaL_error(L, "no section above config key %s", path);
        lua_pushlstring(L, path, length);
        lua_gettable(L, -2);
        lua_remove(L, -2);
        path += length;
        path += *path == '.';
    }
}

static void *checked(lua_State *L, void *block)
{
    if (!block)
        luaL_error(L, "not enough memory");
    return block;
}

/* The readers take the configuration at stack index 1. */
#define CONFIG_INDEX 1

static double read_number(lua_State *L, const char *path)
{
    push_path(L, CONFIG_INDEX, path);
    if (lua_type(L, -1) != LUA_TNUMBER)
        luaL_error(L, "config key %s is not a number", path);
    double value = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return value;
}

static uint64_t read_size(lua_State *L, const char *path)
{
    return (uint64_t)read_number(L, path);
}

static uint32_t read_count(lua_State *L, const char *path)
{
    return (uint32_t)read_number(L, path);
}

static bool is_auto(lua_State *L, const char *path)
{
    push_path(L, CONFIG_INDEX, path);
    bool found = lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), "auto") == 0;
    lua_pop(L, 1);
    return found;
}

static bool read_boolean(lua_State *L, const char *path)
{
    push_path(L, CONFIG_INDEX, path);
    if (!lua_isboolean(L, -1))
        luaL_error(L, "config key %s is not a boolean", path);
    bool value = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

/* NULL where the key was left out. The caller's struct owns the copy. */
static char *read_text(lua_State *L, const char *path)
{
    char *copy = NULL;
    push_path(L, CONFIG_INDEX, path);
    if (!lua_isnil(L, -1))
        copy = checked(L, strdup(luaL_checkstring(L, -1)));
    lua_pop(L, 1);
    return copy;
}

static bool has_value(lua_State *L, const char *path)
{
    push_path(L, CONFIG_INDEX, path);
    bool has = !lua_isnil(L, -1);
    lua_pop(L, 1);
    return has;
}

/* The index of the text in `names`, which ends with NULL and has the order of the enum. */
static int read_choice(lua_State *L, const char *path, const char *const *names)
{
    push_path(L, CONFIG_INDEX, path);
    const char *value = luaL_checkstring(L, -1);
    int choice = 0;
    while (names[choice] && strcmp(names[choice], value) != 0)
        choice++;
    if (!names[choice])
        luaL_error(L, "config key %s has an unknown choice", path);
    lua_pop(L, 1);
    return choice;
}

/* The list at the top of the stack; anything else is an empty one. */
static void read_items(lua_State *L, struct config_list *list)
{
    size_t count = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;
    if (count)
        list->items = checked(L, calloc(count, sizeof(*list->items)));
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        list->items[i] = checked(L, strdup(luaL_checkstring(L, -1)));
        list->count = i + 1;
        lua_pop(L, 1);
    }
}

static void read_list(lua_State *L, const char *path, struct config_list *list)
{
    push_path(L, CONFIG_INDEX, path);
    read_items(L, list);
    lua_pop(L, 1);
}

static void read_general(lua_State *L, struct config *config, const char *file)
{
    static const char *const modes[] = {"enhanced", "original", NULL};
    if (file)
        config->file = checked(L, strdup(file));
    config->mode = (enum config_mode)read_choice(L, "mode", modes);
    config->mode_name = read_text(L, "mode");
    config->environment = read_text(L, "environment");
    config->listen.host = read_text(L, "listen.host");
    config->listen.ws_port = (uint16_t)read_count(L, "listen.wsPort");
    config->listen.http_port = (uint16_t)read_count(L, "listen.httpPort");
    config->console = read_boolean(L, "console");
    config->listen.admin = read_text(L, "listen.admin");
    config->listen.insecure = read_boolean(L, "listen.insecure");
    config->listen.proxy_protocol = read_boolean(L, "listen.proxyProtocol");
}

static void read_script(lua_State *L, struct config *config)
{
    static const char *const ways[] = {"default", "drop", NULL};
    read_list(L, "script.path", &config->script.paths);
    config->script.folder = read_text(L, "script.folder");
    config->script.budget_ms = read_count(L, "script.budgetMs");
    config->script.suspend_ms = read_count(L, "script.suspendMs");
    config->script.on_error = (enum config_on_error)read_choice(L, "script.onError", ways);
    config->script.memory_limit = read_size(L, "script.memoryLimit");
    config->script.state_bytes = read_size(L, "script.stateBytes");
    config->script.shared_bytes = read_size(L, "script.sharedBytes");
    config->script.jit = read_boolean(L, "script.jit");
    config->script.watch = read_boolean(L, "script.watch");
    config->script.breaker_overruns = read_count(L, "script.breakerOverruns");
    config->script.breaker_senders = read_count(L, "script.breakerSenders");
    config->script.breaker_window_ms = read_count(L, "script.breakerWindowMs");
    config->script.breaker_cooldown_ms = read_count(L, "script.breakerCooldownMs");
}

/* After read_limits: mailboxes are sized by the budget. */
static void read_agents(lua_State *L, struct config *config, uint64_t auto_memory)
{
    config->agents.max_queue = read_count(L, "agents.maxQueue");
    config->agents.max_mailboxes = read_count(L, "agents.maxMailboxes");
    config->agents.mailbox_bytes = read_size(L, "agents.mailboxBytes");
    config->agents.mailbox_total_bytes_is_auto = is_auto(L, "agents.mailboxTotalBytes");
    if (config->agents.mailbox_total_bytes_is_auto) {
        /* Without a budget, a quarter of what "auto" would have been: mailboxes stay bounded. */
        uint64_t budget = config->limits.memory == CONFIG_UNLIMITED ? auto_memory : config->limits.memory;
        config->agents.mailbox_total_bytes = budget / 4;
    } else {
        config->agents.mailbox_total_bytes = read_size(L, "agents.mailboxTotalBytes");
    }
    config->agents.mailbox_ttl_ms = read_count(L, "agents.mailboxTtlMs");
    config->agents.ttl_ms = read_count(L, "agents.ttlMs");
    config->agents.cleanup_interval_ms = read_count(L, "agents.cleanupIntervalMs");
    config->agents.ping_interval_ms = read_count(L, "agents.pingIntervalMs");
    config->agents.register_timeout_ms = read_count(L, "agents.registerTimeoutMs");
    config->agents.register_grace_ms = read_count(L, "agents.registerGraceMs");
    config->agents.verify_from = read_boolean(L, "agents.verifyFrom");
    config->agents.require_register = read_boolean(L, "agents.requireRegister");
    config->agents.priority_order = read_boolean(L, "agents.priorityOrder");
    config->agents.expiry = read_boolean(L, "agents.expiry");
    read_list(L, "agents.taskOpenIntents", &config->agents.task_open_intents);
    read_list(L, "agents.taskCloseIntents", &config->agents.task_close_intents);
    config->agents.max_open_tasks = read_count(L, "agents.maxOpenTasks");
    config->agents.max_waiting = read_count(L, "agents.maxWaiting");
    config->agents.waiting_ttl_ms = read_count(L, "agents.waitingTtlMs");
    config->agents.dedup_window_ms = read_count(L, "agents.dedupWindowMs");
    config->agents.dedup_ids = read_count(L, "agents.dedupIds");
    config->agents.dead_letters = read_text(L, "agents.deadLetters");
    config->history.limit = read_count(L, "history.limit");
    config->history.bytes = read_size(L, "history.bytes");
}

static void read_performance(lua_State *L, struct config *config)
{
    config->performance.worker_threads_is_auto = is_auto(L, "performance.worker_threads");
    if (config->performance.worker_threads_is_auto) {
        uint32_t processors = system_cpu_count();
        config->performance.worker_threads = processors < WORKERS_MOST ? processors : WORKERS_MOST;
    } else {
        config->performance.worker_threads = read_count(L, "performance.worker_threads");
    }
    config->performance.cache = read_boolean(L, "performance.cache_enabled");
    config->performance.compression = read_boolean(L, "performance.compression");
    config->performance.binary_protocol = read_boolean(L, "performance.binary_protocol");
}

/* How many connections the limit of open files leaves; at least 1. After read_performance. */
static uint64_t affordable_connections(const struct config *config)
{
    uint64_t files = system_file_limit();
    uint64_t headroom = DESCRIPTORS_RESERVED + (uint64_t)DESCRIPTORS_PER_REACTOR * config->performance.worker_threads;
    return files > headroom ? files - headroom : 1;
}

static void read_limits(lua_State *L, struct config *config, uint64_t auto_memory)
{
    static const char *const ways[] = {"queue", "drop", "close", NULL};
    uint32_t number = read_count(L, "limits.messageBytes");
    config->limits.message_bytes = number ? number : CONFIG_MESSAGE_CEILING;
    number = read_count(L, "limits.bodyBytes");
    config->limits.body_bytes = number ? number : CONFIG_MESSAGE_CEILING;
    number = read_count(L, "limits.jsonDepth");
    config->limits.json_depth = number ? number : CONFIG_JSON_DEPTH_CEILING;

    config->limits.connections_is_auto = is_auto(L, "limits.connections");
    if (config->limits.connections_is_auto) {
        uint64_t affordable = affordable_connections(config);
        config->limits.connections =
            (uint32_t)(affordable < CONNECTIONS_AUTO_MOST ? affordable : CONNECTIONS_AUTO_MOST);
    } else {
        number = read_count(L, "limits.connections");
        config->limits.connections = number ? number : UINT32_MAX;
    }
    config->limits.connections_per_address = read_count(L, "limits.connectionsPerAddress");
    config->limits.connections_per_identity = read_count(L, "limits.connectionsPerIdentity");
    config->limits.handshakes_per_second = read_count(L, "limits.handshakesPerSecond");
    config->limits.handshakes_per_second_per_address = read_count(L, "limits.handshakesPerSecondPerAddress");
    config->limits.agents = read_count(L, "limits.agents");
    config->limits.agents_per_address = read_count(L, "limits.agentsPerAddress");
    config->limits.agents_per_identity = read_count(L, "limits.agentsPerIdentity");
    config->limits.messages_per_second_per_address = read_count(L, "limits.messagesPerSecondPerAddress");
    config->limits.messages_per_second_total = read_count(L, "limits.messagesPerSecondTotal");
    config->limits.bytes_per_second_per_address = read_size(L, "limits.bytesPerSecondPerAddress");
    config->limits.bytes_per_second_total = read_size(L, "limits.bytesPerSecondTotal");
    config->limits.script_ms_per_second = read_count(L, "limits.scriptMsPerSecond");
    config->limits.message_timeout_ms = read_count(L, "limits.messageTimeoutMs");
    config->limits.messages_per_second = read_count(L, "limits.messagesPerSecond");
    config->limits.message_burst = read_count(L, "limits.messageBurst");
    config->limits.bytes_per_second = read_size(L, "limits.bytesPerSecond");
    uint64_t size = read_size(L, "limits.sendQueueBytes");
    config->limits.send_queue_bytes = size ? size : CONFIG_UNLIMITED;
    config->limits.mailbox_bytes_per_sender = read_size(L, "limits.mailboxBytesPerSender");
    config->limits.slow_agent = (enum config_slow_agent)read_choice(L, "limits.slowAgent", ways);

    config->limits.memory_is_auto = is_auto(L, "limits.memory");
    size = config->limits.memory_is_auto ? auto_memory : read_size(L, "limits.memory");
    config->limits.memory = size ? size : CONFIG_UNLIMITED;
}

static void read_http(lua_State *L, struct config *config)
{
    read_list(L, "http.corsOrigins", &config->http.cors_origins);
    for (size_t i = 0; i < config->http.cors_origins.count; i++)
        config->http.cors_any |= strcmp(config->http.cors_origins.items[i], "*") == 0;
    read_list(L, "http.hosts", &config->http.hosts);
    config->http.rate_max = read_count(L, "http.rateMax");
    config->http.rate_window_ms = read_count(L, "http.rateWindowMs");
    config->http.header_timeout_ms = read_count(L, "http.headerTimeoutMs");
    config->http.body_timeout_ms = read_count(L, "http.bodyTimeoutMs");
    config->http.header_bytes = read_count(L, "http.headerBytes");
    config->auth.token = read_text(L, "auth.token");
    config->auth.token_is_admin = read_boolean(L, "auth.tokenIsAdmin");
    config->auth.tokens = read_text(L, "auth.tokens");
    config->auth.hook = read_boolean(L, "auth.hook");
    config->auth.required = config->auth.token || config->auth.tokens || config->auth.hook;
}

/* Bits: 1 << enum jwt_algorithm. */
static unsigned read_algorithms(lua_State *L, const char *path)
{
    unsigned algorithms = 0;
    push_path(L, CONFIG_INDEX, path);
    for (size_t i = 1, count = lua_istable(L, -1) ? lua_objlen(L, -1) : 0; i <= count; i++) {
        enum jwt_algorithm algorithm;
        lua_rawgeti(L, -1, (int)i);
        if (!jwt_algorithm_find(slice_from_string(luaL_checkstring(L, -1)), &algorithm, NULL))
            luaL_error(L, "config key %s has an unknown choice", path);
        algorithms |= 1u << algorithm;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return algorithms;
}

static void read_jwt(lua_State *L, struct config *config)
{
    config->auth.jwt.keys = read_text(L, "auth.jwt.keys");
    config->auth.jwt.key = read_text(L, "auth.jwt.key");
    config->auth.jwt.secret = read_text(L, "auth.jwt.secret");
    config->auth.required =
        config->auth.required || config->auth.jwt.keys || config->auth.jwt.key || config->auth.jwt.secret;
    config->auth.jwt.algorithms = read_algorithms(L, "auth.jwt.algorithms");
    config->auth.jwt.issuer = read_text(L, "auth.jwt.issuer");
    config->auth.jwt.audience = read_text(L, "auth.jwt.audience");
    config->auth.jwt.leeway_ms = read_count(L, "auth.jwt.leewayMs");
    read_list(L, "auth.jwt.idClaim", &config->auth.jwt.id_claim);
    read_list(L, "auth.jwt.clientIdsClaim", &config->auth.jwt.client_ids_claim);
    read_list(L, "auth.jwt.agentRolesClaim", &config->auth.jwt.agent_roles_claim);
    read_list(L, "auth.jwt.rolesClaim", &config->auth.jwt.roles_claim);
    read_list(L, "auth.jwt.labelsClaim", &config->auth.jwt.labels_claim);
}

static char *read_field(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    char *copy = checked(L, strdup(luaL_checkstring(L, -1)));
    lua_pop(L, 1);
    return copy;
}

/* The pair at the top of the stack. */
static void read_pair(lua_State *L, struct config *config, const char *label)
{
    struct config_pair *pair = &config->tls.pairs[config->tls.pair_count++];
    pair->label = checked(L, strdup(label));
    pair->cert = read_field(L, "cert");
    pair->key = read_field(L, "key");
    lua_getfield(L, -1, "names");
    read_items(L, &pair->names);
    lua_pop(L, 1);
}

/* Each handshake thread has parsed copies of all keys. */
static uint32_t auto_handshake_threads(void)
{
    uint32_t processors = system_cpu_count();
    return processors < 4 ? processors : 4;
}

static void read_tls(lua_State *L, struct config *config)
{
    push_path(L, CONFIG_INDEX, "tls.certs");
    size_t more = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;
    config->tls.pairs = checked(L, calloc(more + 1, sizeof *config->tls.pairs));
    push_path(L, CONFIG_INDEX, "tls");
    lua_getfield(L, -1, "cert");
    bool has_default = !lua_isnil(L, -1);
    lua_pop(L, 1);
    if (has_default) {
        lua_newtable(L);
        lua_getfield(L, -2, "cert");
        lua_setfield(L, -2, "cert");
        lua_getfield(L, -2, "key");
        lua_setfield(L, -2, "key");
        read_pair(L, config, "tls.");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    for (size_t i = 1; i <= more; i++) {
        char label[32];
        snprintf(label, sizeof label, "tls.certs[%zu].", i);
        lua_rawgeti(L, -1, (int)i);
        read_pair(L, config, label);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    config->tls.client_ca = read_text(L, "tls.clientCa");
    config->auth.required = config->auth.required || config->tls.client_ca;
    config->tls.crl = read_text(L, "tls.crl");
    config->tls.require_client_cert = read_boolean(L, "tls.requireClientCert");
    read_list(L, "tls.ciphers", &config->tls.ciphers);
    config->tls.handshake_timeout_ms = read_count(L, "tls.handshakeTimeoutMs");
    config->tls.max_handshakes = read_count(L, "tls.maxHandshakes");
    config->tls.handshake_threads =
        is_auto(L, "tls.handshakeThreads") ? auto_handshake_threads() : read_count(L, "tls.handshakeThreads");
}

/* One for each processor, but room for tasks that wait for memory rather than compute; past eight more threads only
 * compete with the reactors. */
static uint32_t auto_workers(uint32_t least)
{
    uint32_t processors = system_cpu_count(), workers = processors < 4 ? 4 : processors > 8 ? 8 : processors;
    return workers < least ? least : workers;
}

static void read_phase2(lua_State *L, struct config *config)
{
    config->phase2.object_pooling.enabled = read_boolean(L, "phase2.objectPooling.enabled");
    config->phase2.object_pooling.envelope_pool_size = read_count(L, "phase2.objectPooling.envelopePoolSize");
    config->phase2.object_pooling.array_pool_size = read_count(L, "phase2.objectPooling.arrayPoolSize");
    config->phase2.object_pooling.buffer_pool_size = read_count(L, "phase2.objectPooling.bufferPoolSize");
    config->phase2.object_pooling.max_age_ms = read_count(L, "phase2.objectPooling.maxAgeMs");
    config->phase2.gc_optimization.enabled = read_boolean(L, "phase2.gcOptimization.enabled");
    config->phase2.gc_optimization.memory_threshold = read_number(L, "phase2.gcOptimization.memoryThreshold");
    config->phase2.gc_optimization.cooldown_ms = read_count(L, "phase2.gcOptimization.cooldownMs");
    config->phase2.gc_optimization.sample_interval_ms = read_count(L, "phase2.gcOptimization.sampleIntervalMs");
    config->phase2.gc_optimization.predict_horizon_ms = read_count(L, "phase2.gcOptimization.predictHorizonMs");
    config->phase2.worker_pool.enabled = read_boolean(L, "phase2.workerPool.enabled");
    config->phase2.worker_pool.min_workers = read_count(L, "phase2.workerPool.minWorkers");
    config->phase2.worker_pool.max_workers = is_auto(L, "phase2.workerPool.maxWorkers")
                                                 ? auto_workers(config->phase2.worker_pool.min_workers)
                                                 : read_count(L, "phase2.workerPool.maxWorkers");
    config->phase2.worker_pool.task_timeout_ms = read_count(L, "phase2.workerPool.taskTimeout");
    config->phase2.worker_pool.queue_limit = read_count(L, "phase2.workerPool.queueLimit");
    config->phase2.worker_pool.idle_timeout_ms = read_count(L, "phase2.workerPool.idleTimeoutMs");
    read_list(L, "phase2.workerPool.allowRoles", &config->phase2.worker_pool.allow_roles);
    config->phase2.worker_pool.execute_bytes = read_size(L, "phase2.workerPool.executeBytes");
    config->phase2.predictive_scaling.enabled = read_boolean(L, "phase2.predictiveScaling.enabled");
}

static void read_canary(lua_State *L, struct config *config)
{
    static const char *const ways[] = {"auto", "manual", NULL};
    config->canary.min_calls = read_count(L, "canary.minCalls");
    config->canary.max_overruns = read_count(L, "canary.maxOverruns");
    config->canary.hold_ms = read_count(L, "canary.holdMs");
    config->canary.max_error_rate = read_number(L, "canary.maxErrorRate");
    config->canary.max_refused_rate = read_number(L, "canary.maxRefusedRate");
    config->canary.max_time_ratio = read_number(L, "canary.maxTimeRatio");
    config->canary.promotes = read_choice(L, "canary.promote", ways) == 0;
}

static void read_alert(lua_State *L, const char *name, struct config_alert *alert)
{
    static const char *const actions[] = {"WARN", "ALERT", "SCALE_UP", "SHED", NULL};
    char path[64];
    snprintf(path, sizeof path, "alerts.%s.enabled", name);
    alert->enabled = read_boolean(L, path);
    snprintf(path, sizeof path, "alerts.%s.threshold", name);
    alert->threshold = read_number(L, path);
    snprintf(path, sizeof path, "alerts.%s.forMs", name);
    alert->for_ms = read_count(L, path);
    snprintf(path, sizeof path, "alerts.%s.action", name);
    alert->action = (enum config_alert_action)read_choice(L, path, actions);
}

static void read_alerts(lua_State *L, struct config *config)
{
    config->alerts.interval_ms = read_count(L, "alerts.intervalMs");
    config->alerts.window_ms = read_count(L, "alerts.windowMs");
    config->alerts.cooldown_ms = read_count(L, "alerts.cooldownMs");
    config->alerts.notify = read_text(L, "alerts.notify");
    config->alerts.webhook_url = read_text(L, "alerts.webhook.url");
    config->alerts.webhook_secret = read_text(L, "alerts.webhook.secret");
    config->alerts.webhook_timeout_ms = read_count(L, "alerts.webhook.timeoutMs");
    read_alert(L, "gcFrequency", &config->alerts.gc_frequency);
    read_alert(L, "poolHitRate", &config->alerts.pool_hit_rate);
    read_alert(L, "workerUtilization", &config->alerts.worker_utilization);
    read_alert(L, "certificateExpiry", &config->alerts.certificate_expiry);
    config->policies.alerts = read_text(L, "policies.alerts");
    config->policies.access = read_text(L, "policies.access");
}

static void read_drain(lua_State *L, struct config *config)
{
    config->drain.delay_ms = read_count(L, "drain.delayMs");
    config->drain.timeout_ms = read_count(L, "drain.timeoutMs");
    config->drain.retry_ms = read_count(L, "drain.retryMs");
    config->upgrade.timeout_ms = read_count(L, "upgrade.timeoutMs");
}

static void read_rights(lua_State *L, struct config *config)
{
    static const char *const ways[] = {"off", "auto", "required", NULL};
    config->user = read_text(L, "user");
    read_list(L, "secretFiles", &config->secret_files);
    config->group = read_text(L, "group");
    config->confinement.files = (enum config_confine)read_choice(L, "confinement.files", ways);
    config->confinement.system_calls = (enum config_confine)read_choice(L, "confinement.systemCalls", ways);
}

static void read_log(lua_State *L, struct config *config)
{
    static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
    static const char *const formats[] = {"text", "json", NULL};
    config->log.levels.general = (enum log_level)read_choice(L, "log.level", levels);
    for (unsigned room = 0; room < LOG_ROOM_COUNT; room++) {
        char path[64];
        snprintf(path, sizeof path, "log.levels.%s", log_room_name((enum log_room)room));
        config->log.levels.rooms[room] = has_value(L, path) ? (int8_t)read_choice(L, path, levels) : LOG_AS_GENERAL;
    }
    config->log.access = read_boolean(L, "log.access");
    config->log.format = (enum config_log_format)read_choice(L, "log.format", formats);
    config->log.file = read_text(L, "log.file");
}

static void read_tracing(lua_State *L, struct config *config)
{
    config->tracing.endpoint = read_text(L, "tracing.endpoint");
    config->tracing.service = read_text(L, "tracing.serviceName");
    config->tracing.sample_ratio = read_number(L, "tracing.sampleRatio");
    read_list(L, "tracing.headers", &config->tracing.headers);
    config->tracing.batch_spans = read_count(L, "tracing.batchSpans");
    config->tracing.queue_spans = read_count(L, "tracing.queueSpans");
    config->tracing.interval_ms = read_count(L, "tracing.intervalMs");
    config->tracing.timeout_ms = read_count(L, "tracing.timeoutMs");
}

static void read_config(lua_State *L, struct config *config, const char *file)
{
    /* A fifth stays for what the budget does not count: code, thread stacks, the kernel's socket buffers. */
    uint64_t auto_memory = system_memory_limit() / 10 * 8;
    read_general(L, config, file);
    read_script(L, config);
    read_performance(L, config);
    read_limits(L, config, auto_memory);
    read_agents(L, config, auto_memory);
    read_http(L, config);
    read_jwt(L, config);
    read_tls(L, config);
    read_phase2(L, config);
    read_canary(L, config);
    read_alerts(L, config);
    read_log(L, config);
    read_drain(L, config);
    read_tracing(L, config);
    read_rights(L, config);
}

static bool problem(lua_State *L, const struct load *load, const char *text)
{
    const char *label = load->config->file ? load->config->file : "built-in configuration";
    *load->problems = checked(L, strdup(lua_pushfstring(L, "%s: %s\n", label, text)));
    return false;
}

/* A number in the file that the limit of open files does not carry would only be found out under load. */
static bool check_connections(lua_State *L, const struct load *load)
{
    const struct config *config = load->config;
    uint64_t affordable = affordable_connections(config);
    if (config->limits.connections_is_auto || config->limits.connections == UINT32_MAX ||
        config->limits.connections <= affordable)
        return true;
    char numbers[160];
    snprintf(numbers, sizeof(numbers),
             "limits.connections: expected at most %llu, got %u: the limit of open files is %llu (ulimit -n)",
             (unsigned long long)affordable, config->limits.connections, (unsigned long long)system_file_limit());
    return problem(L, load, numbers);
}

/* The schema has looked at their characters alone. */
static bool read_proxies(lua_State *L, const struct load *load)
{
    struct address_ranges *ranges = &load->config->limits.trusted_proxies;
    push_path(L, CONFIG_INDEX, "limits.trustedProxies");
    size_t count = lua_objlen(L, -1);
    if (count)
        ranges->items = checked(L, calloc(count, sizeof *ranges->items));
    for (size_t i = 0; i < count; i++) {
        size_t length;
        lua_rawgeti(L, -1, (int)i + 1);
        const char *text = luaL_checklstring(L, -1, &length);
        if (!address_range_parse(slice_from(text, length), &ranges->items[i]))
            return problem(L, load,
                           lua_pushfstring(L,
                                           "limits.trustedProxies[%d]: expected an IP address, or a range such as "
                                           "\"10.0.0.0/8\" without bits past its length, got \"%s\"",
                                           (int)i + 1, text));
        ranges->count = i + 1;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    if (load->config->listen.proxy_protocol && ranges->count == 0)
        return problem(L, load,
                       "listen.proxyProtocol: no proxy is trusted: name those whose PROXY header counts in "
                       "limits.trustedProxies");
    return true;
}

/* One problem a line; the list is at the top of the stack. */
static char *join_problems(lua_State *L)
{
    luaL_Buffer buffer;
    size_t count = lua_objlen(L, -1);
    int list = lua_gettop(L);
    luaL_buffinit(L, &buffer);
    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(L, list, (int)i);
        luaL_addvalue(&buffer);
        luaL_addchar(&buffer, '\n');
    }
    luaL_pushresult(&buffer);
    return checked(L, strdup(lua_tostring(L, -1)));
}

static void push_flag(lua_State *L, const char *flag, const char *text)
{
    lua_pushstring(L, text); /* nil for NULL */
    lua_setfield(L, -2, flag);
}

/* read(path, largest): the text of the file, or nil and why not. Without `largest` it is only opened: "" or nil. */
static int read_named_file(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1), *why = NULL;
    char *text = NULL;
    size_t length = 0;
    bool good;
    if (lua_isnumber(L, 2)) {
        good = file_read(path, (size_t)lua_tonumber(L, 2), &text, &length, &why);
    } else {
        int fd = file_open(path, NULL, &why);
        good = fd >= 0;
        if (good)
            close(fd);
    }
    if (!good) {
        lua_pushnil(L);
        lua_pushstring(L, why);
        return 2;
    }
    lua_pushlstring(L, text ? text : "", length);
    if (text)
        explicit_bzero(text, length); /* may be a secret */
    free(text);
    return 1;
}

/* As for scripts: no hook reaches the stock functions, and what runs in none is stopped by the clock. */
static void bound_patterns(lua_State *L)
{
    static const atomic_bool never;
    lua_getglobal(L, "string");
    pattern_install(L, lua_gettop(L), &never);
    lua_pop(L, 1);
}

/* bound(seconds): patterns are stopped after that time; without: not any more. */
static int set_bound(lua_State *L)
{
    pattern_stop_at(lua_isnumber(L, 1) ? clock_steady_ns() + (uint64_t)(lua_tonumber(L, 1) * 1e9) : 0);
    return 0;
}

static int load_protected(lua_State *L)
{
    struct load *load = lua_touserdata(L, 1);
    const struct config_flags *flags = &load->source->flags;
    lua_settop(L, 0);
    luaL_openlibs(L);
    /* Compiled code that malloc refuses something takes the process with it. */
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    load->source->install_bundle(L);
    bound_patterns(L);

    lua_getglobal(L, "require");
    lua_pushliteral(L, "luaduct.config.load");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "load");
    lua_remove(L, -2);
    lua_pushstring(L, load->source->path);
    lua_newtable(L);
    push_flag(L, "--mode", flags->mode);
    push_flag(L, "--host", flags->host);
    push_flag(L, "--ws-port", flags->ws_port);
    push_flag(L, "--http-port", flags->http_port);
    push_flag(L, "--workers", flags->workers);
    push_flag(L, "--log-level", flags->log_level);
    lua_pushnil(L); /* the process's own environment */
    lua_pushstring(L, load->running ? load->running->snapshot : NULL);
    lua_pushcfunction(L, read_named_file);
    lua_pushcfunction(L, set_bound);
    lua_call(L, 6, 3);

    if (!lua_istable(L, CONFIG_INDEX)) {
        lua_settop(L, 2);
        *load->problems = join_problems(L);
        return 0;
    }
    load->config->snapshot = checked(L, strdup(luaL_checkstring(L, 2)));
    if (load->restart_needed)
        *load->restart_needed = checked(L, strdup(luaL_checkstring(L, 3)));
    read_config(L, load->config, load->source->path);
    load->good = check_connections(L, load) && read_proxies(L, load);
    return 0;
}

static bool run(struct load *load)
{
    struct config *out = load->config;
    char **problems = load->problems;
    memset(out, 0, sizeof(*out));
    *problems = NULL;
    lua_State *L = luaL_newstate();
    if (!L)
        return false;
    if (lua_cpcall(L, load_protected, load) != 0) {
        const char *reason = lua_tostring(L, -1);
        if (asprintf(problems, "cannot load the configuration: %s\n", reason ? reason : "no reason given") < 0)
            *problems = NULL;
    }
    pattern_stop_at(0);
    lua_close(L);
    if (!load->good)
        config_free(out);
    return load->good;
}

bool config_load(struct config *out, const struct config_source *source, char **problems)
{
    return run(&(struct load){.config = out, .source = source, .problems = problems});
}

bool config_reload(struct config *out, const struct config_source *source, const struct config *running,
                   char **restart_needed, char **problems)
{
    struct load load = {
        .config = out, .source = source, .running = running, .problems = problems, .restart_needed = restart_needed};
    *restart_needed = NULL;
    bool good = run(&load);
    if (!good) {
        free(*restart_needed);
        *restart_needed = NULL;
    }
    return good;
}

/* The snapshot has the keys in order, each as `["section.key"] = value`; quotes within values stand behind a backslash.
 */
static struct slice section_of(const struct config *config, const char *section)
{
    char start[64];
    const char *from = NULL, *last = NULL;
    snprintf(start, sizeof start, "[\"%s.", section);
    for (const char *at = config->snapshot; at && (at = strstr(at, start)); at++) {
        from = from ? from : at;
        last = at;
    }
    const char *end = last ? strstr(last, ", [\"") : NULL;
    return from ? slice_from(from, end ? (size_t)(end - from) : strlen(from)) : slice_from("", 0);
}

bool config_same_section(const struct config *a, const struct config *b, const char *section)
{
    return slice_equal(section_of(a, section), section_of(b, section));
}

size_t config_check(const struct config_source *source, char **problems)
{
    struct config config;
    if (config_load(&config, source, problems)) {
        config_free(&config);
        return 0;
    }
    size_t count = 0;
    for (const char *end = *problems; end && (end = strchr(end, '\n')); end++)
        count++;
    return count ? count : 1;
}

static void free_list(struct config_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
}

void config_free(struct config *config)
{
    if (config->snapshot) /* with the token in it */
        explicit_bzero(config->snapshot, strlen(config->snapshot));
    free(config->snapshot);
    free(config->listen.admin);
    free(config->file);
    free(config->mode_name);
    free(config->environment);
    free(config->listen.host);
    free_list(&config->script.paths);
    free(config->script.folder);
    free_list(&config->agents.task_open_intents);
    free_list(&config->agents.task_close_intents);
    free(config->agents.dead_letters);
    free(config->limits.trusted_proxies.items);
    free_list(&config->http.cors_origins);
    free_list(&config->http.hosts);
    free_list(&config->phase2.worker_pool.allow_roles);
    if (config->auth.token)
        explicit_bzero(config->auth.token, strlen(config->auth.token));
    free(config->auth.token);
    free(config->auth.tokens);
    free(config->auth.jwt.keys);
    free(config->auth.jwt.key);
    if (config->auth.jwt.secret)
        explicit_bzero(config->auth.jwt.secret, strlen(config->auth.jwt.secret));
    free(config->auth.jwt.secret);
    free(config->auth.jwt.issuer);
    free(config->auth.jwt.audience);
    free_list(&config->auth.jwt.id_claim);
    free_list(&config->auth.jwt.client_ids_claim);
    free_list(&config->auth.jwt.agent_roles_claim);
    free_list(&config->auth.jwt.roles_claim);
    free_list(&config->auth.jwt.labels_claim);
    for (size_t i = 0; i < config->tls.pair_count; i++) {
        free(config->tls.pairs[i].cert);
        free(config->tls.pairs[i].key);
        free(config->tls.pairs[i].label);
        free_list(&config->tls.pairs[i].names);
    }
    free(config->tls.pairs);
    free(config->tls.client_ca);
    free(config->tls.crl);
    free_list(&config->tls.ciphers);
    free(config->alerts.notify);
    free(config->alerts.webhook_url);
    if (config->alerts.webhook_secret)
        explicit_bzero(config->alerts.webhook_secret, strlen(config->alerts.webhook_secret));
    free(config->alerts.webhook_secret);
    free(config->policies.alerts);
    free(config->policies.access);
    free(config->log.file);
    free(config->tracing.endpoint);
    free(config->tracing.service);
    for (size_t i = 0; i < config->tracing.headers.count; i++) /* keys of collectors */
        explicit_bzero(config->tracing.headers.items[i], strlen(config->tracing.headers.items[i]));
    free_list(&config->tracing.headers);
    free(config->user);
    free_list(&config->secret_files);
    free(config->group);
    memset(config, 0, sizeof(*config));
}
