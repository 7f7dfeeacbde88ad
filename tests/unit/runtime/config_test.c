/* The C side of the configuration: values arrive typed, "auto" and "no limit" are numbers, nothing leaks. What a file
 * may say is tested in config_spec.lua. Runs in the checkout's root, where lua/ is. */
#include "../../support/unit.h"

#include "base/system/system.h"
#include "protocol/jwt/jwk.h"
#include "runtime/config/config.h"

#include <lauxlib.h>
#include <lua.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

/* What overrides a file must not come from the shell that runs the tests. */
static const char *const variables[] = {
    "AI_BRIDGE_HOST",
    "AI_BRIDGE_INSECURE",
    "AI_BRIDGE_PORT",
    "AI_BRIDGE_HTTP_PORT",
    "AI_BRIDGE_AUTH_TOKEN",
    "AI_BRIDGE_CORS_ORIGINS",
    "AI_BRIDGE_HISTORY_LIMIT",
    "AI_BRIDGE_MAX_QUEUE",
    "AI_BRIDGE_CLIENT_TTL_MS",
    "AI_BRIDGE_CLEANUP_INTERVAL_MS",
    "AI_BRIDGE_RATE_WINDOW_MS",
    "AI_BRIDGE_RATE_MAX",
    "NODE_ENV",
    "PORT",
};

static void install_sources(lua_State *L)
{
    lua_getglobal(L, "package");
    lua_pushliteral(L, "lua/?.lua");
    lua_setfield(L, -2, "path");
    lua_pop(L, 1);
}

static void install_nothing(lua_State *L)
{
    luaL_error(L, "no bundle");
}

static char path[] = "/tmp/luaduct-config-XXXXXX";

static void write_file(const char *text)
{
    int descriptor = mkstemp(path);
    CHECK(descriptor >= 0);
    CHECK(write(descriptor, text, strlen(text)) == (ssize_t)strlen(text));
    close(descriptor);
}

/* Loads a file with the text; `problems` gets what is wrong. */
static bool load_text(const char *text, struct config_flags flags, struct config *config, char **problems)
{
    for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++)
        unsetenv(variables[i]);
    write_file(text);
    struct config_source source = {.path = path, .flags = flags, .install_bundle = install_sources};
    bool good = config_load(config, &source, problems);
    unlink(path);
    strcpy(path, "/tmp/luaduct-config-XXXXXX");
    return good;
}

static void load_good(const char *text, struct config *config)
{
    char *problems;
    if (!load_text(text, (struct config_flags){0}, config, &problems)) {
        fprintf(stderr, "%s", problems);
        exit(1);
    }
    CHECK(problems == NULL);
}

#define CHECK_STRING(actual, expected) CHECK_TEXT(actual, strlen(actual), expected)

TEST("config: every value of a file arrives with its type and unit")
{
    struct config config;
    load_good("return { mode = 'original', environment = 'test',"
              "listen = { host = '10.0.0.1', wsPort = 0, httpPort = 65535, insecure = true },"
              "script = { path = { '/etc/group', '/etc/passwd' }, folder = '/tmp', budgetMs = 7, onError = 'drop',"
              "  memoryLimit = '2MiB', jit = true },"
              "agents = { maxQueue = 1, maxMailboxes = 2, mailboxBytes = 3, mailboxTotalBytes = '5GiB',"
              "  mailboxTtlMs = 4, ttlMs = 2147483647, cleanupIntervalMs = 50, pingIntervalMs = 60,"
              "  registerTimeoutMs = 70, registerGraceMs = 0, verifyFrom = true, expiry = true,"
              "  taskOpenIntents = { 'a', 'b' }, taskCloseIntents = {}, maxOpenTasks = 71, maxWaiting = 72,"
              "  waitingTtlMs = 73, priorityOrder = true, deadLetters = 'lost', dedupWindowMs = 74, dedupIds = 75 },"
              "history = { limit = 0, bytes = '1TiB' },"
              "limits = { messageBytes = 10, bodyBytes = 11, jsonDepth = 12, connections = 13,"
              "  connectionsPerAddress = 14, messagesPerSecond = 15, messageBurst = 16, bytesPerSecond = 17,"
              "  sendQueueBytes = '500MB', slowAgent = 'close', memory = '6GiB' },"
              "http = { corsOrigins = { 'https://a.example', '*' }, hosts = { 'B.example' }, rateMax = 18,"
              "  rateWindowMs = 19, headerTimeoutMs = 20 },"
              "auth = { token = 'secret', tokenIsAdmin = true },"
              "performance = { worker_threads = 21, compression = false, cache_enabled = false },"
              "log = { level = 'warn', format = 'json', access = true, levels = { tls = 'debug' }, file = "
              "'/tmp/bridge.log' },"
              "tracing = { endpoint = 'https://otel.example/v1/traces', sampleRatio = 0.25, serviceName = 'b',"
              "  headers = { B = '2', a = '1' }, batchSpans = 22, queueSpans = 23, intervalMs = 24, timeoutMs = 25,"
              "  forcedPerSecond = 26 } }",
              &config);
    CHECK(strncmp(config.file, "/tmp/luaduct-config-", 20) == 0);
    CHECK(config.mode == CONFIG_MODE_ORIGINAL);
    CHECK_STRING(config.mode_name, "original");
    CHECK_STRING(config.environment, "test");
    CHECK_STRING(config.listen.host, "10.0.0.1");
    CHECK(config.listen.ws_port == 0 && config.listen.http_port == 65535 && config.listen.insecure);
    CHECK(config.script.paths.count == 2);
    CHECK_STRING(config.script.paths.items[1], "/etc/passwd");
    CHECK_STRING(config.script.folder, "/tmp");
    CHECK(config.script.budget_ms == 7 && config.script.on_error == CONFIG_ON_ERROR_DROP);
    CHECK(config.script.memory_limit == 2 << 20 && config.script.jit);
    CHECK(config.agents.max_queue == 1 && config.agents.max_mailboxes == 2 && config.agents.mailbox_bytes == 3);
    CHECK(config.agents.mailbox_total_bytes == (uint64_t)5 << 30 && !config.agents.mailbox_total_bytes_is_auto);
    CHECK(config.agents.mailbox_ttl_ms == 4 && config.agents.ttl_ms == 2147483647);
    CHECK(config.agents.cleanup_interval_ms == 50 && config.agents.ping_interval_ms == 60);
    CHECK(config.agents.register_timeout_ms == 70 && config.agents.register_grace_ms == 0);
    CHECK(config.agents.verify_from && !config.agents.require_register);
    CHECK(config.agents.priority_order && config.agents.expiry && config.agents.task_open_intents.count == 2);
    CHECK_STRING(config.agents.task_open_intents.items[1], "b");
    CHECK(config.agents.task_close_intents.count == 0 && config.agents.max_open_tasks == 71);
    CHECK(config.agents.max_waiting == 72 && config.agents.waiting_ttl_ms == 73);
    CHECK_STRING(config.agents.dead_letters, "lost");
    CHECK(config.agents.dedup_window_ms == 74 && config.agents.dedup_ids == 75);
    CHECK(config.history.limit == 0 && config.history.bytes == (uint64_t)1 << 40);
    CHECK(config.limits.message_bytes == 10 && config.limits.body_bytes == 11 && config.limits.json_depth == 12);
    CHECK(config.limits.connections == 13 && !config.limits.connections_is_auto);
    CHECK(config.limits.connections_per_address == 14 && config.limits.messages_per_second == 15);
    CHECK(config.limits.message_burst == 16 && config.limits.bytes_per_second == 17);
    CHECK(config.limits.send_queue_bytes == 500000000 && config.limits.slow_agent == CONFIG_SLOW_AGENT_CLOSE);
    CHECK(config.limits.memory == (uint64_t)6 << 30 && !config.limits.memory_is_auto);
    CHECK(config.http.cors_any && config.http.cors_origins.count == 2 && config.http.hosts.count == 1);
    CHECK_STRING(config.http.cors_origins.items[0], "https://a.example");
    CHECK_STRING(config.http.hosts.items[0], "b.example");
    CHECK(config.http.rate_max == 18 && config.http.rate_window_ms == 19 && config.http.header_timeout_ms == 20);
    CHECK_STRING(config.auth.token, "secret");
    CHECK(config.auth.token_is_admin);
    CHECK(config.performance.worker_threads == 21 && !config.performance.worker_threads_is_auto);
    CHECK(!config.performance.compression && !config.performance.cache);
    CHECK(config.log.levels.general == LOG_LEVEL_WARN && config.log.format == CONFIG_LOG_JSON && config.log.access);
    CHECK(config.log.levels.rooms[LOG_ROOM_TLS] == LOG_LEVEL_DEBUG);
    CHECK(config.log.levels.rooms[LOG_ROOM_HTTP] == LOG_AS_GENERAL);
    CHECK_STRING(config.log.file, "/tmp/bridge.log");
    CHECK_STRING(config.tracing.endpoint, "https://otel.example/v1/traces");
    CHECK_STRING(config.tracing.service, "b");
    CHECK(config.tracing.sample_ratio == 0.25 && config.tracing.headers.count == 2);
    CHECK_STRING(config.tracing.headers.items[0], "B: 2");
    CHECK_STRING(config.tracing.headers.items[1], "a: 1");
    CHECK(config.tracing.batch_spans == 22 && config.tracing.queue_spans == 23 && config.tracing.interval_ms == 24);
    CHECK(config.tracing.timeout_ms == 25 && config.tracing.forced_per_second == 26);
    config_free(&config);
    CHECK(config.auth.token == NULL && config.script.paths.items == NULL);
}

TEST("config: what is said of JSON Web Tokens arrives")
{
    struct config config;
    load_good("return {}", &config);
    CHECK(!config.auth.jwt.keys && config.auth.jwt.algorithms == 0 && !config.auth.required);
    CHECK_STRING(config.auth.jwt.id_claim.items[0], "sub");
    config_free(&config);
    load_good("return { auth = { jwt = { keys = '/etc/passwd', key = '/etc/group', secret = 's', issuer = 'i',"
              "audience = 'a', algorithms = { 'ES256', 'HS256' }, leewayMs = 7, idClaim = 'c', clientIdsClaim = 'd',"
              "agentRolesClaim = 'e', rolesClaim = { 'f', 'g' }, labelsClaim = 'h' } } }",
              &config);
    CHECK(config.auth.required);
    CHECK_STRING(config.auth.jwt.keys, "/etc/passwd");
    CHECK_STRING(config.auth.jwt.key, "/etc/group");
    CHECK_STRING(config.auth.jwt.secret, "s");
    CHECK(config.auth.jwt.algorithms == (1u << JWT_ES256 | 1u << JWT_HS256) && config.auth.jwt.leeway_ms == 7);
    CHECK_STRING(config.auth.jwt.issuer, "i");
    CHECK_STRING(config.auth.jwt.audience, "a");
    CHECK_STRING(config.auth.jwt.id_claim.items[0], "c");
    CHECK_STRING(config.auth.jwt.client_ids_claim.items[0], "d");
    CHECK_STRING(config.auth.jwt.agent_roles_claim.items[0], "e");
    CHECK_STRING(config.auth.jwt.roles_claim.items[1], "g");
    CHECK_STRING(config.auth.jwt.labels_claim.items[0], "h");
    config_free(&config);
}

TEST("config: auto follows processors, open files and memory")
{
    struct config config;
    struct rlimit files;
    CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0);
    files.rlim_cur = 256;
    CHECK(setrlimit(RLIMIT_NOFILE, &files) == 0);
#ifdef LUADUCT_LINUX
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    CHECK(sched_setaffinity(0, sizeof(one), &one) == 0);
    CHECK(system_cpu_count() == 1);
#endif

    load_good("return {}", &config);
    CHECK(config.performance.worker_threads == system_cpu_count() && config.performance.worker_threads_is_auto);
    CHECK(config.limits.connections == 256 - 32 - 16 * system_cpu_count() && config.limits.connections_is_auto);
    CHECK(config.limits.memory == system_memory_limit() / 10 * 8 && config.limits.memory_is_auto);
    CHECK(config.agents.mailbox_total_bytes == config.limits.memory / 4 && config.agents.mailbox_total_bytes_is_auto);
    CHECK(config.auth.token == NULL && config.log.file == NULL && config.script.paths.count == 0);
    config_free(&config);

    load_good("return { limits = { memory = '64MiB' } }", &config);
    CHECK(config.agents.mailbox_total_bytes == 16 << 20);
    config_free(&config);
}

TEST("config: 0 of a limit is the most there is, and the mailboxes stay bounded")
{
    struct config config;
    load_good("return { limits = { messageBytes = 0, bodyBytes = 0, jsonDepth = 0, connections = 0,"
              "sendQueueBytes = 0, memory = 0 } }",
              &config);
    CHECK(config.limits.message_bytes == CONFIG_MESSAGE_CEILING && config.limits.body_bytes == CONFIG_MESSAGE_CEILING);
    CHECK(config.limits.json_depth == CONFIG_JSON_DEPTH_CEILING && config.limits.connections == UINT32_MAX);
    CHECK(config.limits.send_queue_bytes == CONFIG_UNLIMITED && config.limits.memory == CONFIG_UNLIMITED);
    CHECK(config.agents.mailbox_total_bytes == system_memory_limit() / 10 * 8 / 4);
    config_free(&config);
}

TEST("config: flags win over variables, variables over the file, and without a file all is at its default")
{
    struct config config;
    char *problems;
    write_file("return { environment = 'file', listen = { wsPort = 1, httpPort = 2 } }");
    setenv("PORT", "4000", 1);
    setenv("NODE_ENV", "variable", 1);
    struct config_source source = {.path = path, .flags = {.ws_port = "3000"}, .install_bundle = install_sources};
    CHECK(config_load(&config, &source, &problems));
    unlink(path);
    CHECK(config.listen.ws_port == 3000 && config.listen.http_port == 4000);
    CHECK_STRING(config.environment, "variable");
    config_free(&config);

    unsetenv("PORT");
    source = (struct config_source){.install_bundle = install_sources};
    CHECK(config_load(&config, &source, &problems));
    CHECK(config.file == NULL && config.listen.ws_port == 4567);
    config_free(&config);
}

TEST("config: all problems come back, one a line, and nothing stays allocated")
{
    struct config config;
    char *problems;
    CHECK(!load_text("return { listen = { wsPort = 'x' }, auth = { token = 'secret' }, mod = 1 }",
                     (struct config_flags){.workers = "many"}, &config, &problems));
    CHECK(strstr(problems, ": mod: unknown key, did you mean mode?\n") != NULL);
    CHECK(strstr(problems, ": listen.wsPort: expected a whole number from 0 to 65535, got \"x\"\n") != NULL);
    CHECK(strstr(problems, "\n--workers (performance.worker_threads): expected ") != NULL);
    CHECK(config.listen.host == NULL);
    free(problems);

    struct config_source source = {.path = "/nonexistent/config.lua", .install_bundle = install_sources};
    CHECK(!config_load(&config, &source, &problems));
    CHECK_STRING(problems, "/nonexistent/config.lua: cannot read the config file: No such file or directory\n");
    free(problems);

    source.install_bundle = install_nothing;
    CHECK(!config_load(&config, &source, &problems));
    CHECK_STRING(problems, "cannot load the configuration: no bundle\n");
    free(problems);

    source = (struct config_source){.path = "config/luaduct.lua", .install_bundle = install_sources};
    CHECK(config_load(&config, &source, &problems) && problems == NULL);
    config_free(&config);
}

TEST("config: two configurations are compared section by section")
{
    struct config a, b, c;
    load_good("return { environment = '[\"alerts.x, [\"alerts.', alerts = { windowMs = 500 } }", &a);
    load_good("return { environment = 'other', alerts = { windowMs = 500 }, log = { level = 'warn' } }", &b);
    load_good("return { alerts = { windowMs = 500, workerUtilization = { threshold = 0.5 } } }", &c);
    CHECK(config_same_section(&a, &b, "alerts") && !config_same_section(&b, &c, "alerts"));
    CHECK(!config_same_section(&a, &b, "log") && config_same_section(&a, &c, "log"));
    CHECK(config_same_section(&a, &b, "alert")); /* neither has one */
    config_free(&a), config_free(&b), config_free(&c);
}

TEST("config: more connections than the limit of open files carries are refused")
{
    struct config config;
    char *problems;
    struct rlimit files;
    CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0);
    files.rlim_cur = 200;
    CHECK(setrlimit(RLIMIT_NOFILE, &files) == 0);
    load_good("return { limits = { connections = 152 }, performance = { worker_threads = 1 } }", &config);
    config_free(&config);
    CHECK(!load_text("return { limits = { connections = 153 }, performance = { worker_threads = 1 } }",
                     (struct config_flags){0}, &config, &problems));
    CHECK(strstr(problems, ": limits.connections: expected at most 152, got 153: the limit of open files is 200 "
                           "(ulimit -n)\n") != NULL);
    CHECK(config.file == NULL);
    free(problems);
    CHECK(system_raise_file_limit() == files.rlim_max);
}

#ifndef __has_feature
#define __has_feature(name) 0
#endif

/* A sanitizer's shadow memory alone is far past any limit that would show something. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !__has_feature(address_sanitizer) &&            \
    !__has_feature(thread_sanitizer)
TEST("system: a limit on the data segment bounds the memory")
{
    struct rlimit data;
    CHECK(getrlimit(RLIMIT_DATA, &data) == 0);
    data.rlim_cur = 100 << 20;
    CHECK(setrlimit(RLIMIT_DATA, &data) == 0);
    CHECK(system_memory_limit() == 100 << 20);
}
#endif
