/* The log: one line an event, as text or JSON, to a file or standard error. Writing a line costs the caller its
 * formatting and one short lock; a thread of the log's own does the writing, so that a slow terminal or disk holds up
 * nobody. A kind of message that comes too often is counted instead of written.
 *
 * Each kind of event has a room, which has a level of its own, and a name, which does not change when the message's
 * words do. docs/logs.md lists them.
 *
 *     log_warn(AGENT, "slow", "agent %.*s is slow: %zu bytes wait", (int)id.length, id.data, waiting);
 *
 * Before log_start and after log_stop, lines go straight to standard error as text. */
#ifndef LUADUCT_BASE_LOG_H
#define LUADUCT_BASE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
const char *log_level_name(enum log_level level);            /* "debug" … */
bool log_level_find(struct slice name, enum log_level *out); /* false: there is none */

/* What the bridge speaks of: by topic, which is what an operator turns up and down. */
#define LOG_ROOMS(X)                                                                                                   \
    X(SERVER, "server")   /* start, stop, signals, rights */                                                           \
    X(RELOAD, "reload")   /* versions of scripts and configuration, the files that are watched */                      \
    X(AGENT, "agent")     /* agents and their connections */                                                           \
    X(ACCESS, "access")   /* the access log */                                                                         \
    X(HTTP, "http")       /* the endpoints */                                                                          \
    X(AUTH, "auth")       /* who is refused what */                                                                    \
    X(TLS, "tls")         /* certificates, handshakes */                                                               \
    X(MEMORY, "memory")   /* the budget, what is done to keep to it */                                                 \
    X(SCRIPT, "script")   /* what scripts say, and what they do wrong */                                               \
    X(WORKER, "worker")   /* threads for tasks */                                                                      \
    X(ENGINE, "engine")   /* what can be switched */                                                                   \
    X(ALERT, "alert")     /* alerts and their rules, who is told */                                                    \
    X(TRACING, "tracing") /* spans and where they go */                                                                \
    X(LOG, "log")         /* the log itself */
enum log_room {
#define X(name, text) LOG_ROOM_##name,
    LOG_ROOMS(X)
#undef X
        LOG_ROOM_COUNT
};
const char *log_room_name(enum log_room room);             /* "server" … */
bool log_room_find(struct slice name, enum log_room *out); /* false: there is none */

enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* Starts the log's thread. `file` is appended to, and made with mode 0640 when it is not there; NULL means standard
 * error. Gives 0, or the errno of what failed (then nothing has started). Main thread, once before any log_stop. */
int log_start(enum log_level level, enum log_format format, const char *file);

/* Names the calling thread in its lines from now on ("main", "reactor 0"), cut to 15 bytes. */
void log_name_thread(const char *name);

/* Opens the file again by its name, after a log rotation moved it away. When that fails the old file stays in use and a
 * line says so. Any thread, but not a signal handler. */
void log_reopen(void);

/* A line that warns when the file could not be made anew by its name, as a rotation wants it. After the last change of
 * who the process runs as. */
void log_check_rotation(void);

/* Below its level a room's lines are not written. */
struct log_levels {
    enum log_level general;
    int8_t rooms[LOG_ROOM_COUNT]; /* enum log_level; LOG_AS_GENERAL: the general one */
};
#define LOG_AS_GENERAL (-1)

/* From now on; log_start makes one level general for all. Any thread. */
void log_set_levels(const struct log_levels *levels);
void log_read_levels(struct log_levels *out);

/* Writes what waits, then ends the log's thread and closes the file. Waits two seconds at most: what stands behind that
 * blocks. Main thread, when no other thread writes lines that must not be lost. */
void log_stop(void);

/* Lines that were lost since log_start, because the writer could not keep up or the file could not be written. The log
 * says so itself as soon as it can. Any thread. */
uint64_t log_lost(void);

/* Any thread. `room` is a name of LOG_ROOMS, `name` that of the event, both together say what it is ("agent.slow"). The
 * other arguments are evaluated only when the level is on. The message needs no newline; one inside it starts a
 * continuation line ("    | …" in text). Control characters and broken UTF-8 are escaped, and what is longer than
 * LOG_MESSAGE_MAX bytes is cut with "…". */
#define log_debug(room, name, ...) LOG_AT_SITE(LOG_LEVEL_DEBUG, LOG_ROOM_##room, name, __VA_ARGS__)
#define log_info(room, name, ...) LOG_AT_SITE(LOG_LEVEL_INFO, LOG_ROOM_##room, name, __VA_ARGS__)
#define log_warn(room, name, ...) LOG_AT_SITE(LOG_LEVEL_WARN, LOG_ROOM_##room, name, __VA_ARGS__)
#define log_error(room, name, ...) LOG_AT_SITE(LOG_LEVEL_ERROR, LOG_ROOM_##room, name, __VA_ARGS__)

/* A traceback of Lua fits; sixteen of them still fit on a thread's stack. */
#define LOG_MESSAGE_MAX 4096

/* Of one kind of message, this many are written within a second: enough to see what happens, few enough to read. The
 * rest is counted, and a line at the end of the second says how many there were. */
#define LOG_LINES_PER_SECOND 20

/* One kind of message; normally each use of the macros above is one. Must live as long as the process. A kind with
 * another bound than the usual one: static struct log_site site = {.room = LOG_ROOM_TLS, .name = "full",
 * .lines_per_second = 1}; log_write(&site, …). */
struct log_site {
    enum log_room room;
    const char *name;
    uint32_t lines_per_second; /* 0: LOG_LINES_PER_SECOND */
    /* The rest is the log's own. */
    _Atomic uint32_t second;    /* in which `written` counts */
    _Atomic uint32_t written;   /* asked for in that second */
    _Atomic uint32_t withheld;  /* since the last line that said how many */
    _Atomic bool listed;        /* `next` is in use */
    _Atomic(const char *) text; /* the message before its arguments are filled in, for that line */
    _Atomic int level;
    struct log_site *next; /* sites that withheld something once */
};

/* What the macros are made of. */
void log_write(struct log_site *site, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* What a program wants to read of an event beside its message: members of the JSON line, name=value in text. */
struct log_field {
    const char *name; /* NULL ends a list of them */
    bool is_text;     /* else a number */
    struct slice text;
    double number;
};
#define LOG_TEXT(name, slice) ((struct log_field){(name), true, (slice), 0})
#define LOG_NUMBER(name, value) ((struct log_field){(name), false, {NULL, 0}, (double)(value)})

/* The same with fields; one whose text has length 0 is left out. */
void log_write_fields(struct log_site *site, enum log_level level, const struct log_field *fields, const char *format,
                      ...) __attribute__((format(printf, 4, 5)));

extern _Atomic int8_t log_thresholds[LOG_ROOM_COUNT]; /* lines below this level are not written */

static inline bool log_enabled(enum log_room room, enum log_level level)
{
    return (int)level >= atomic_load_explicit(&log_thresholds[room], memory_order_relaxed);
}

#define LOG_AT_SITE(level, room_, event, ...)                                                                          \
    do {                                                                                                               \
        if (log_enabled(room_, level)) {                                                                               \
            static struct log_site log_site_ = {.room = (room_), .name = (event)};                                     \
            log_write(&log_site_, (level), __VA_ARGS__);                                                               \
        }                                                                                                              \
    } while (0)

#endif
