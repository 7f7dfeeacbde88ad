#include "runtime/config/sections.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "base/system/system.h"
#include "protocol/jwt/jwk.h"
#include "runtime/config/setting.h"

/* Descriptors that are not connections: streams, log, script files, the reserved one for EMFILE; and for each reactor
 * its epoll sets, wake-up, and up to four listeners. Both with room to spare. */
#define DESCRIPTORS_RESERVED 32
#define DESCRIPTORS_PER_REACTOR 16

/* "auto" stops here, however many files a container allows (often 2^20 or 2^30): tables that grow with the number stay
 * small. A number in the file goes higher. */
#define CONNECTIONS_AUTO_MOST 100000

/* "auto" workers stop here: the range of the key. */
#define WORKERS_MOST 256

static void read_general(lua_State *L, struct config *config, const char *file)
{
    static const char *const modes[] = {"enhanced", "original", NULL};
    if (file)
        config->file = config_checked(L, strdup(file));
    config->mode = (enum config_mode)setting_choice(L, "mode", modes);
    config->mode_name = setting_text(L, "mode");
    config->environment = setting_text(L, "environment");
    config->listen.host = setting_text(L, "listen.host");
    config->listen.ws_port = (uint16_t)setting_count(L, "listen.wsPort");
    config->listen.http_port = (uint16_t)setting_count(L, "listen.httpPort");
    config->console = setting_boolean(L, "console");
    config->listen.admin = setting_text(L, "listen.admin");
    config->listen.insecure = setting_boolean(L, "listen.insecure");
    config->listen.proxy_protocol = setting_boolean(L, "listen.proxyProtocol");
}

static void read_script(lua_State *L, struct config *config)
{
    static const char *const ways[] = {"default", "drop", NULL};
    setting_list(L, "script.path", &config->script.paths);
    config->script.folder = setting_text(L, "script.folder");
    config->script.budget_ms = setting_count(L, "script.budgetMs");
    config->script.suspend_ms = setting_count(L, "script.suspendMs");
    config->script.on_error = (enum config_on_error)setting_choice(L, "script.onError", ways);
    config->script.memory_limit = setting_size(L, "script.memoryLimit");
    config->script.state_bytes = setting_size(L, "script.stateBytes");
    config->script.shared_bytes = setting_size(L, "script.sharedBytes");
    config->script.jit = setting_boolean(L, "script.jit");
    config->script.watch = setting_boolean(L, "script.watch");
    config->script.breaker_overruns = setting_count(L, "script.breakerOverruns");
    config->script.breaker_senders = setting_count(L, "script.breakerSenders");
    config->script.breaker_window_ms = setting_count(L, "script.breakerWindowMs");
    config->script.breaker_cooldown_ms = setting_count(L, "script.breakerCooldownMs");
}

/* After read_limits: mailboxes are sized by the budget. */
static void read_agents(lua_State *L, struct config *config, uint64_t auto_memory)
{
    config->agents.max_queue = setting_count(L, "agents.maxQueue");
    config->agents.max_mailboxes = setting_count(L, "agents.maxMailboxes");
    config->agents.mailbox_bytes = setting_size(L, "agents.mailboxBytes");
    config->agents.mailbox_total_bytes_is_auto = setting_is_auto(L, "agents.mailboxTotalBytes");
    if (config->agents.mailbox_total_bytes_is_auto) {
        /* Without a budget, a quarter of what "auto" would have been: mailboxes stay bounded. */
        uint64_t budget = config->limits.memory == CONFIG_UNLIMITED ? auto_memory : config->limits.memory;
        config->agents.mailbox_total_bytes = budget / 4;
    } else {
        config->agents.mailbox_total_bytes = setting_size(L, "agents.mailboxTotalBytes");
    }
    config->agents.mailbox_ttl_ms = setting_count(L, "agents.mailboxTtlMs");
    config->agents.ttl_ms = setting_count(L, "agents.ttlMs");
    config->agents.cleanup_interval_ms = setting_count(L, "agents.cleanupIntervalMs");
    config->agents.ping_interval_ms = setting_count(L, "agents.pingIntervalMs");
    config->agents.register_timeout_ms = setting_count(L, "agents.registerTimeoutMs");
    config->agents.register_grace_ms = setting_count(L, "agents.registerGraceMs");
    config->agents.verify_from = setting_boolean(L, "agents.verifyFrom");
    config->agents.require_register = setting_boolean(L, "agents.requireRegister");
    config->agents.priority_order = setting_boolean(L, "agents.priorityOrder");
    config->agents.expiry = setting_boolean(L, "agents.expiry");
    setting_list(L, "agents.taskOpenIntents", &config->agents.task_open_intents);
    setting_list(L, "agents.taskCloseIntents", &config->agents.task_close_intents);
    config->agents.max_open_tasks = setting_count(L, "agents.maxOpenTasks");
    config->agents.max_waiting = setting_count(L, "agents.maxWaiting");
    config->agents.waiting_ttl_ms = setting_count(L, "agents.waitingTtlMs");
    config->agents.dedup_window_ms = setting_count(L, "agents.dedupWindowMs");
    config->agents.dedup_ids = setting_count(L, "agents.dedupIds");
    config->agents.dead_letters = setting_text(L, "agents.deadLetters");
    config->history.limit = setting_count(L, "history.limit");
    config->history.bytes = setting_size(L, "history.bytes");
}

static void read_performance(lua_State *L, struct config *config)
{
    config->performance.worker_threads_is_auto = setting_is_auto(L, "performance.worker_threads");
    if (config->performance.worker_threads_is_auto) {
        uint32_t processors = system_cpu_count();
        config->performance.worker_threads = processors < WORKERS_MOST ? processors : WORKERS_MOST;
    } else {
        config->performance.worker_threads = setting_count(L, "performance.worker_threads");
    }
    config->performance.cache = setting_boolean(L, "performance.cache_enabled");
    config->performance.compression = setting_boolean(L, "performance.compression");
    config->performance.binary_protocol = setting_boolean(L, "performance.binary_protocol");
}

uint64_t config_affordable_connections(const struct config *config)
{
    uint64_t files = system_file_limit();
    uint64_t headroom = DESCRIPTORS_RESERVED + (uint64_t)DESCRIPTORS_PER_REACTOR * config->performance.worker_threads;
    return files > headroom ? files - headroom : 1;
}

static void read_limits(lua_State *L, struct config *config, uint64_t auto_memory)
{
    static const char *const ways[] = {"queue", "drop", "close", NULL};
    uint32_t number = setting_count(L, "limits.messageBytes");
    config->limits.message_bytes = number ? number : CONFIG_MESSAGE_CEILING;
    number = setting_count(L, "limits.bodyBytes");
    config->limits.body_bytes = number ? number : CONFIG_MESSAGE_CEILING;
    number = setting_count(L, "limits.jsonDepth");
    config->limits.json_depth = number ? number : CONFIG_JSON_DEPTH_CEILING;

    config->limits.connections_is_auto = setting_is_auto(L, "limits.connections");
    if (config->limits.connections_is_auto) {
        uint64_t affordable = config_affordable_connections(config);
        config->limits.connections =
            (uint32_t)(affordable < CONNECTIONS_AUTO_MOST ? affordable : CONNECTIONS_AUTO_MOST);
    } else {
        number = setting_count(L, "limits.connections");
        config->limits.connections = number ? number : UINT32_MAX;
    }
    config->limits.connections_per_address = setting_count(L, "limits.connectionsPerAddress");
    config->limits.connections_per_identity = setting_count(L, "limits.connectionsPerIdentity");
    config->limits.handshakes_per_second = setting_count(L, "limits.handshakesPerSecond");
    config->limits.handshakes_per_second_per_address = setting_count(L, "limits.handshakesPerSecondPerAddress");
    config->limits.agents = setting_count(L, "limits.agents");
    config->limits.agents_per_address = setting_count(L, "limits.agentsPerAddress");
    config->limits.agents_per_identity = setting_count(L, "limits.agentsPerIdentity");
    config->limits.messages_per_second_per_address = setting_count(L, "limits.messagesPerSecondPerAddress");
    config->limits.messages_per_second_total = setting_count(L, "limits.messagesPerSecondTotal");
    config->limits.bytes_per_second_per_address = setting_size(L, "limits.bytesPerSecondPerAddress");
    config->limits.bytes_per_second_total = setting_size(L, "limits.bytesPerSecondTotal");
    config->limits.script_ms_per_second = setting_count(L, "limits.scriptMsPerSecond");
    config->limits.message_timeout_ms = setting_count(L, "limits.messageTimeoutMs");
    config->limits.messages_per_second = setting_count(L, "limits.messagesPerSecond");
    config->limits.message_burst = setting_count(L, "limits.messageBurst");
    config->limits.bytes_per_second = setting_size(L, "limits.bytesPerSecond");
    uint64_t size = setting_size(L, "limits.sendQueueBytes");
    config->limits.send_queue_bytes = size ? size : CONFIG_UNLIMITED;
    config->limits.mailbox_bytes_per_sender = setting_size(L, "limits.mailboxBytesPerSender");
    config->limits.slow_agent = (enum config_slow_agent)setting_choice(L, "limits.slowAgent", ways);

    config->limits.memory_is_auto = setting_is_auto(L, "limits.memory");
    size = config->limits.memory_is_auto ? auto_memory : setting_size(L, "limits.memory");
    config->limits.memory = size ? size : CONFIG_UNLIMITED;
}

static void read_http(lua_State *L, struct config *config)
{
    setting_list(L, "http.corsOrigins", &config->http.cors_origins);
    for (size_t i = 0; i < config->http.cors_origins.count; i++)
        config->http.cors_any |= strcmp(config->http.cors_origins.items[i], "*") == 0;
    setting_list(L, "http.hosts", &config->http.hosts);
    config->http.rate_max = setting_count(L, "http.rateMax");
    config->http.rate_window_ms = setting_count(L, "http.rateWindowMs");
    config->http.header_timeout_ms = setting_count(L, "http.headerTimeoutMs");
    config->http.body_timeout_ms = setting_count(L, "http.bodyTimeoutMs");
    config->http.header_bytes = setting_count(L, "http.headerBytes");
    config->auth.token = setting_text(L, "auth.token");
    config->auth.token_is_admin = setting_boolean(L, "auth.tokenIsAdmin");
    config->auth.tokens = setting_text(L, "auth.tokens");
    config->auth.hook = setting_boolean(L, "auth.hook");
    config->auth.required = config->auth.token || config->auth.tokens || config->auth.hook;
}

/* Bits: 1 << enum jwt_algorithm. */
static unsigned read_algorithms(lua_State *L, const char *path)
{
    unsigned algorithms = 0;
    setting_push(L, path);
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
    config->auth.jwt.keys = setting_text(L, "auth.jwt.keys");
    config->auth.jwt.key = setting_text(L, "auth.jwt.key");
    config->auth.jwt.secret = setting_text(L, "auth.jwt.secret");
    config->auth.required =
        config->auth.required || config->auth.jwt.keys || config->auth.jwt.key || config->auth.jwt.secret;
    config->auth.jwt.algorithms = read_algorithms(L, "auth.jwt.algorithms");
    config->auth.jwt.issuer = setting_text(L, "auth.jwt.issuer");
    config->auth.jwt.audience = setting_text(L, "auth.jwt.audience");
    config->auth.jwt.leeway_ms = setting_count(L, "auth.jwt.leewayMs");
    setting_list(L, "auth.jwt.idClaim", &config->auth.jwt.id_claim);
    setting_list(L, "auth.jwt.clientIdsClaim", &config->auth.jwt.client_ids_claim);
    setting_list(L, "auth.jwt.agentRolesClaim", &config->auth.jwt.agent_roles_claim);
    setting_list(L, "auth.jwt.rolesClaim", &config->auth.jwt.roles_claim);
    setting_list(L, "auth.jwt.labelsClaim", &config->auth.jwt.labels_claim);
}

static char *read_field(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    char *copy = config_checked(L, strdup(luaL_checkstring(L, -1)));
    lua_pop(L, 1);
    return copy;
}

/* The pair at the top of the stack. */
static void read_pair(lua_State *L, struct config *config, const char *label)
{
    struct config_pair *pair = &config->tls.pairs[config->tls.pair_count++];
    pair->label = config_checked(L, strdup(label));
    pair->cert = read_field(L, "cert");
    pair->key = read_field(L, "key");
    lua_getfield(L, -1, "names");
    setting_items(L, &pair->names);
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
    setting_push(L, "tls.certs");
    size_t more = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;
    config->tls.pairs = config_checked(L, calloc(more + 1, sizeof *config->tls.pairs));
    setting_push(L, "tls");
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
    config->tls.client_ca = setting_text(L, "tls.clientCa");
    config->auth.required = config->auth.required || config->tls.client_ca;
    config->tls.crl = setting_text(L, "tls.crl");
    config->tls.require_client_cert = setting_boolean(L, "tls.requireClientCert");
    setting_list(L, "tls.ciphers", &config->tls.ciphers);
    config->tls.handshake_timeout_ms = setting_count(L, "tls.handshakeTimeoutMs");
    config->tls.max_handshakes = setting_count(L, "tls.maxHandshakes");
    config->tls.handshake_threads = setting_is_auto(L, "tls.handshakeThreads")
                                        ? auto_handshake_threads()
                                        : setting_count(L, "tls.handshakeThreads");
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
    config->phase2.object_pooling.enabled = setting_boolean(L, "phase2.objectPooling.enabled");
    config->phase2.object_pooling.envelope_pool_size = setting_count(L, "phase2.objectPooling.envelopePoolSize");
    config->phase2.object_pooling.array_pool_size = setting_count(L, "phase2.objectPooling.arrayPoolSize");
    config->phase2.object_pooling.buffer_pool_size = setting_count(L, "phase2.objectPooling.bufferPoolSize");
    config->phase2.object_pooling.max_age_ms = setting_count(L, "phase2.objectPooling.maxAgeMs");
    config->phase2.gc_optimization.enabled = setting_boolean(L, "phase2.gcOptimization.enabled");
    config->phase2.gc_optimization.memory_threshold = setting_number(L, "phase2.gcOptimization.memoryThreshold");
    config->phase2.gc_optimization.cooldown_ms = setting_count(L, "phase2.gcOptimization.cooldownMs");
    config->phase2.gc_optimization.sample_interval_ms = setting_count(L, "phase2.gcOptimization.sampleIntervalMs");
    config->phase2.gc_optimization.predict_horizon_ms = setting_count(L, "phase2.gcOptimization.predictHorizonMs");
    config->phase2.worker_pool.enabled = setting_boolean(L, "phase2.workerPool.enabled");
    config->phase2.worker_pool.min_workers = setting_count(L, "phase2.workerPool.minWorkers");
    config->phase2.worker_pool.max_workers = setting_is_auto(L, "phase2.workerPool.maxWorkers")
                                                 ? auto_workers(config->phase2.worker_pool.min_workers)
                                                 : setting_count(L, "phase2.workerPool.maxWorkers");
    config->phase2.worker_pool.task_timeout_ms = setting_count(L, "phase2.workerPool.taskTimeout");
    config->phase2.worker_pool.queue_limit = setting_count(L, "phase2.workerPool.queueLimit");
    config->phase2.worker_pool.idle_timeout_ms = setting_count(L, "phase2.workerPool.idleTimeoutMs");
    setting_list(L, "phase2.workerPool.allowRoles", &config->phase2.worker_pool.allow_roles);
    config->phase2.worker_pool.execute_bytes = setting_size(L, "phase2.workerPool.executeBytes");
    config->phase2.predictive_scaling.enabled = setting_boolean(L, "phase2.predictiveScaling.enabled");
}

static void read_canary(lua_State *L, struct config *config)
{
    static const char *const ways[] = {"auto", "manual", NULL};
    config->canary.min_calls = setting_count(L, "canary.minCalls");
    config->canary.max_overruns = setting_count(L, "canary.maxOverruns");
    config->canary.hold_ms = setting_count(L, "canary.holdMs");
    config->canary.max_error_rate = setting_number(L, "canary.maxErrorRate");
    config->canary.max_refused_rate = setting_number(L, "canary.maxRefusedRate");
    config->canary.max_time_ratio = setting_number(L, "canary.maxTimeRatio");
    config->canary.promotes = setting_choice(L, "canary.promote", ways) == 0;
}

static void read_alert(lua_State *L, const char *name, struct config_alert *alert)
{
    static const char *const actions[] = {"WARN", "ALERT", "SCALE_UP", "SHED", NULL};
    char path[64];
    snprintf(path, sizeof path, "alerts.%s.enabled", name);
    alert->enabled = setting_boolean(L, path);
    snprintf(path, sizeof path, "alerts.%s.threshold", name);
    alert->threshold = setting_number(L, path);
    snprintf(path, sizeof path, "alerts.%s.forMs", name);
    alert->for_ms = setting_count(L, path);
    snprintf(path, sizeof path, "alerts.%s.action", name);
    alert->action = (enum config_alert_action)setting_choice(L, path, actions);
}

static void read_alerts(lua_State *L, struct config *config)
{
    config->alerts.interval_ms = setting_count(L, "alerts.intervalMs");
    config->alerts.window_ms = setting_count(L, "alerts.windowMs");
    config->alerts.cooldown_ms = setting_count(L, "alerts.cooldownMs");
    config->alerts.notify = setting_text(L, "alerts.notify");
    config->alerts.webhook_url = setting_text(L, "alerts.webhook.url");
    config->alerts.webhook_secret = setting_text(L, "alerts.webhook.secret");
    config->alerts.webhook_timeout_ms = setting_count(L, "alerts.webhook.timeoutMs");
    read_alert(L, "gcFrequency", &config->alerts.gc_frequency);
    read_alert(L, "poolHitRate", &config->alerts.pool_hit_rate);
    read_alert(L, "workerUtilization", &config->alerts.worker_utilization);
    read_alert(L, "certificateExpiry", &config->alerts.certificate_expiry);
    config->policies.alerts = setting_text(L, "policies.alerts");
    config->policies.access = setting_text(L, "policies.access");
}

static void read_drain(lua_State *L, struct config *config)
{
    config->drain.delay_ms = setting_count(L, "drain.delayMs");
    config->drain.timeout_ms = setting_count(L, "drain.timeoutMs");
    config->drain.retry_ms = setting_count(L, "drain.retryMs");
    config->upgrade.timeout_ms = setting_count(L, "upgrade.timeoutMs");
    config->upgrade.still_ms = setting_count(L, "upgrade.stillMs");
}

static void read_rights(lua_State *L, struct config *config)
{
    static const char *const ways[] = {"off", "auto", "required", NULL};
    config->user = setting_text(L, "user");
    setting_list(L, "secretFiles", &config->secret_files);
    config->group = setting_text(L, "group");
    config->confinement.files = (enum config_confine)setting_choice(L, "confinement.files", ways);
    config->confinement.system_calls = (enum config_confine)setting_choice(L, "confinement.systemCalls", ways);
}

static void read_log(lua_State *L, struct config *config)
{
    static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
    static const char *const formats[] = {"text", "json", NULL};
    config->log.levels.general = (enum log_level)setting_choice(L, "log.level", levels);
    for (unsigned room = 0; room < LOG_ROOM_COUNT; room++) {
        char path[64];
        snprintf(path, sizeof path, "log.levels.%s", log_room_name((enum log_room)room));
        config->log.levels.rooms[room] =
            setting_is_set(L, path) ? (int8_t)setting_choice(L, path, levels) : LOG_AS_GENERAL;
    }
    config->log.access = setting_boolean(L, "log.access");
    config->log.format = (enum config_log_format)setting_choice(L, "log.format", formats);
    config->log.file = setting_text(L, "log.file");
}

static void read_tracing(lua_State *L, struct config *config)
{
    config->tracing.endpoint = setting_text(L, "tracing.endpoint");
    config->tracing.service = setting_text(L, "tracing.serviceName");
    config->tracing.sample_ratio = setting_number(L, "tracing.sampleRatio");
    config->tracing.forced_per_second = setting_count(L, "tracing.forcedPerSecond");
    setting_list(L, "tracing.headers", &config->tracing.headers);
    config->tracing.batch_spans = setting_count(L, "tracing.batchSpans");
    config->tracing.queue_spans = setting_count(L, "tracing.queueSpans");
    config->tracing.interval_ms = setting_count(L, "tracing.intervalMs");
    config->tracing.timeout_ms = setting_count(L, "tracing.timeoutMs");
}

void config_read_sections(lua_State *L, struct config *config, const char *file)
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
