/* The configuration: one Lua file, the environment and the command line's flags, checked by the schema in
 * lua/luaduct/config/schema.lua and delivered as typed values. docs/config.md says what each key means. */
#ifndef LUADUCT_RUNTIME_CONFIG_H
#define LUADUCT_RUNTIME_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "net/address.h"

struct lua_State;

enum config_mode { CONFIG_MODE_ENHANCED, CONFIG_MODE_ORIGINAL };
enum config_on_error { CONFIG_ON_ERROR_DEFAULT, CONFIG_ON_ERROR_DROP };
enum config_slow_agent { CONFIG_SLOW_AGENT_QUEUE, CONFIG_SLOW_AGENT_DROP, CONFIG_SLOW_AGENT_CLOSE };
enum config_alert_action { CONFIG_ALERT_WARN, CONFIG_ALERT_ALERT, CONFIG_ALERT_SCALE_UP, CONFIG_ALERT_SHED };
enum config_confine { CONFIG_CONFINE_OFF, CONFIG_CONFINE_AUTO, CONFIG_CONFINE_REQUIRED };
enum config_log_format { CONFIG_LOG_TEXT, CONFIG_LOG_JSON };

/* "No limit" in a byte count that the file may give as 0. Comparisons with it need no special case. */
#define CONFIG_UNLIMITED UINT64_MAX

/* The most that "no limit" can mean where the program itself has a bound: one message or body (offsets in a message are
 * 32 bits wide, and a length has to fit beside flags), and the nesting of JSON (lua-cjson's own default). */
#define CONFIG_MESSAGE_CEILING (256u << 20)
#define CONFIG_JSON_DEPTH_CEILING 1000u

struct config_list {
    char **items; /* `count` NUL-terminated strings; NULL when empty */
    size_t count;
};

/* A certificate chain and its key. */
struct config_pair {
    char *cert, *key;         /* paths */
    char *label;              /* "tls." or "tls.certs[1]." */
    struct config_list names; /* server names; empty: those in the certificate */
};

/* A built-in alert. */
struct config_alert {
    bool enabled;
    double threshold;
    uint32_t for_ms;
    enum config_alert_action action;
};

/* Sizes are bytes, times are milliseconds. Every "auto" is resolved; the `_is_auto` beside it tells where it came from.
 * A struct config is read-only after config_load: any thread may read it. */
struct config {
    char *snapshot; /* all values as text, for config_reload */
    char *file;     /* the path as it was given; NULL for the built-in configuration */
    enum config_mode mode;
    char *mode_name;   /* "enhanced" or "original": the module luaduct.bridge.<mode_name> */
    char *environment; /* shown on /health */
    bool console;      /* the page at /console */

    struct {
        char *host;                  /* "localhost" means both loopbacks; else an IP literal or a name to resolve */
        uint16_t ws_port, http_port; /* 0: the kernel picks a free port; equal and not 0: one listener */
        char *admin;                 /* path of the administration socket; NULL: none */
        bool insecure;
        bool proxy_protocol; /* a header from limits.trusted_proxies comes first */
    } listen;

    struct {
        struct config_list
            paths;    /* routing scripts in their order, relative ones already joined to the file's folder */
        char *folder; /* for `require` in scripts; NULL: each script's own folder */
        uint32_t budget_ms, suspend_ms;
        enum config_on_error on_error;
        uint64_t memory_limit; /* for one Lua state */
        uint64_t state_bytes;  /* of luaduct.state, for one script */
        uint64_t shared_bytes; /* of luaduct.shared */
        bool jit, watch;
        uint32_t breaker_overruns, breaker_senders, breaker_window_ms, breaker_cooldown_ms;
    } script;

    struct {
        uint32_t min_calls, max_overruns, hold_ms; /* overruns 0: no limit */
        double max_error_rate, max_refused_rate, max_time_ratio;
        bool promotes;
    } canary;

    struct {
        uint32_t max_queue, max_mailboxes;
        uint64_t mailbox_bytes, mailbox_total_bytes;
        bool mailbox_total_bytes_is_auto;
        uint32_t mailbox_ttl_ms, ttl_ms, cleanup_interval_ms, ping_interval_ms;
        uint32_t register_timeout_ms, register_grace_ms;
        bool verify_from, require_register, expiry; /* absent in the file: what the mode says */
        bool priority_order;
        struct config_list task_open_intents, task_close_intents;
        uint32_t max_open_tasks, max_waiting, waiting_ttl_ms;
        char *dead_letters;                  /* NULL: nobody */
        uint32_t dedup_window_ms, dedup_ids; /* 0: off; at least 1 */
    } agents;

    struct {
        uint32_t limit; /* envelopes; 0 keeps none */
        uint64_t bytes;
    } history;

    struct {
        uint32_t message_bytes, body_bytes; /* 1 to CONFIG_MESSAGE_CEILING */
        uint32_t json_depth;                /* 1 to CONFIG_JSON_DEPTH_CEILING */
        uint32_t connections;               /* never 0; UINT32_MAX: no limit */
        bool connections_is_auto;
        /* 0: no limit, for all from here to script_ms_per_second */
        uint32_t connections_per_address, connections_per_identity;
        uint32_t handshakes_per_second, handshakes_per_second_per_address;
        uint32_t agents, agents_per_address, agents_per_identity;
        uint32_t messages_per_second; /* for one sender */
        uint32_t message_burst;       /* at least 1 when messages_per_second is not 0 */
        uint64_t bytes_per_second;    /* for one sender */
        uint32_t messages_per_second_per_address, messages_per_second_total;
        uint64_t bytes_per_second_per_address, bytes_per_second_total;
        uint32_t script_ms_per_second;     /* for one sender */
        uint64_t mailbox_bytes_per_sender; /* 0: no limit */
        uint32_t message_timeout_ms;       /* 0: no limit */
        struct address_ranges trusted_proxies;
        uint64_t send_queue_bytes; /* CONFIG_UNLIMITED: no limit */
        enum config_slow_agent slow_agent;
        uint64_t memory; /* the budget of the process; CONFIG_UNLIMITED: no limit */
        bool memory_is_auto;
    } limits;

    struct {
        bool cors_any;                   /* `*` was among the origins */
        struct config_list cors_origins; /* as a browser sends them: lower case, no default port */
        struct config_list hosts;        /* lower case, without port */
        uint32_t rate_max;               /* requests of one address in a window; 0: no limit */
        uint32_t rate_window_ms, header_timeout_ms, body_timeout_ms;
        uint32_t header_bytes;
    } http;

    struct {
        bool required; /* a credential of any kind is configured: nobody may do without */
        char *token;   /* NULL: none is shared; else not empty, without control characters */
        bool token_is_admin;
        char *tokens; /* the file of named tokens; NULL: there are none */
        bool hook;    /* the script's `authenticate` is asked */
        struct {
            char *keys, *key;        /* files: a JWK set, a public key in PEM; NULL: none */
            char *secret;            /* for HS256; NULL: none */
            unsigned algorithms;     /* 1 << enum jwt_algorithm for each that is allowed; 0: those the keys are for */
            char *issuer, *audience; /* NULL: none */
            uint32_t leeway_ms;
            /* The ways to claims; empty: there is none. That of the id is never empty. */
            struct config_list id_claim, client_ids_claim, agent_roles_claim, roles_claim, labels_claim;
        } jwt;
    } auth;

    struct {
        struct config_pair *pairs; /* `pair_count`, the default first; none: the ports are plain */
        size_t pair_count;
        char *client_ca, *crl; /* paths; NULL: none */
        bool require_client_cert;
        struct config_list ciphers; /* best first; empty: all */
        uint32_t handshake_timeout_ms, max_handshakes, handshake_threads;
    } tls;

    struct {
        uint32_t worker_threads; /* reactors, at least 1 */
        bool worker_threads_is_auto;
        bool cache;           /* decisions of routes with a declaration are kept */
        bool compression;     /* permessage-deflate is offered */
        bool binary_protocol; /* luaduct.msgpack is taken where it is offered */
    } performance;

    struct {
        struct {
            bool enabled;
            uint32_t envelope_pool_size, array_pool_size, buffer_pool_size; /* blocks kept warm per reactor */
            uint32_t max_age_ms;
        } object_pooling;
        struct {
            bool enabled;
            double memory_threshold; /* share of limits.memory */
            uint32_t cooldown_ms, sample_interval_ms, predict_horizon_ms;
        } gc_optimization;
        struct {
            bool enabled;
            uint32_t min_workers, max_workers; /* 1 <= min <= max */
            uint32_t task_timeout_ms, queue_limit, idle_timeout_ms;
            struct config_list allow_roles;
            uint64_t execute_bytes;
        } worker_pool;
        struct {
            bool enabled;
        } predictive_scaling;
    } phase2;

    struct {
        uint32_t interval_ms, window_ms, cooldown_ms;
        char *notify;         /* an agent's id; NULL: none */
        char *webhook_url;    /* NULL: none */
        char *webhook_secret; /* NULL: not signed */
        uint32_t webhook_timeout_ms;
        struct config_alert gc_frequency, pool_hit_rate, worker_utilization, certificate_expiry;
    } alerts;

    struct {
        char *alerts; /* a Lua file; NULL: none */
        char *access; /* the same; NULL: the built-in rules */
    } policies;

    struct {
        struct log_levels levels;
        enum config_log_format format;
        char *file;  /* NULL: standard error */
        bool access; /* requests and connections are logged */
    } log;

    struct {
        uint32_t delay_ms, timeout_ms, retry_ms;
    } drain;

    struct {
        uint32_t timeout_ms, still_ms;
    } upgrade;

    struct {
        char *endpoint;             /* NULL: nothing is traced */
        char *service;              /* the name under which it is seen */
        double sample_ratio;        /* of what names no parent */
        struct config_list headers; /* "Name: value" */
        uint32_t forced_per_second; /* of one sender; 0: any number */
        uint32_t batch_spans, queue_spans, interval_ms, timeout_ms;
    } tracing;

    char *user, *group;              /* to become, by name or number; NULL: stay */
    struct config_list secret_files; /* that tokens and secrets were read from */

    struct {
        enum config_confine files, system_calls;
    } confinement;
};

/* What the command line said; NULL where it said nothing. The text is checked as the file's values are. */
struct config_flags {
    const char *mode, *host, *ws_port, *http_port, *workers, *log_level;
};

struct config_source {
    const char
        *import; /* a file to begin with (bridge/state/state.h); NULL: none. The server's, not the configuration's */
    const char *program; /* argv[0], for words to the user; as `import` the server's */
    const char *path;    /* the config file; NULL: the built-in configuration, which is every key at its default */
    struct config_flags flags;
    void (*install_bundle)(struct lua_State *L); /* makes require("luaduct.config.load") work in a fresh state */
};

/* Reads file, environment and flags into *out, with a Lua state of its own that is gone on return. True: *out is filled
 * and config_free releases it. False: *out is empty and *problems holds every problem found, one a line, each line with
 * its newline; the caller frees it (NULL when there was no memory even for that). "auto" for connections counts from
 * the soft RLIMIT_NOFILE, so raise it first (base/system/system.h). Main thread, before others change the environment.
 */
bool config_load(struct config *out, const struct config_source *source, char **problems);

/* The same for a process that runs by `running`: keys that need a restart keep their values, and those of them that
 * differ are named in *restart_needed, with commas between ("" when there are none); the caller frees it. Any thread,
 * one at a time. */
bool config_reload(struct config *out, const struct config_source *source, const struct config *running,
                   char **restart_needed, char **problems);

/* Whether both say the same in a section ("alerts"). */
bool config_same_section(const struct config *a, const struct config *b, const char *section);

/* Releases what config_load allocated and empties *config. An empty one is fine. */
void config_free(struct config *config);

#endif
