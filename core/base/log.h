/* The log: one line an event, as text or JSON, to a file or standard error. Writing a line costs the caller its
 * formatting and one short lock; a thread of the log's own does the writing, so that a slow terminal or disk holds up
 * nobody. A kind of message that comes too often is counted instead of written.
 *
 *     log_warn("agent %.*s is slow: %zu bytes wait", (int)id.length, id.data, waiting);
 *
 * Before log_start and after log_stop, lines go straight to standard error as text. */
#ifndef LUADUCT_BASE_LOG_H
#define LUADUCT_BASE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
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

/* Lines below this level are not written from now on. Any thread. */
void log_set_level(enum log_level level);

/* Writes what waits, then ends the log's thread and closes the file. Waits two seconds at most: what stands behind that
 * blocks. Main thread, when no other thread writes lines that must not be lost. */
void log_stop(void);

/* Lines that were lost since log_start, because the writer could not keep up or the file could not be written. The log
 * says so itself as soon as it can. Any thread. */
uint64_t log_lost(void);

/* Any thread. The arguments are evaluated only when the level is on. The message needs no newline; one inside it starts
 * a continuation line ("    | …" in text). Control characters and broken UTF-8 are escaped, and what is longer than
 * LOG_MESSAGE_MAX bytes is cut with "…". */
#define log_debug(...) LOG_AT_SITE(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...) LOG_AT_SITE(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(...) LOG_AT_SITE(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(...) LOG_AT_SITE(LOG_LEVEL_ERROR, __VA_ARGS__)

/* A traceback of Lua fits; sixteen of them still fit on a thread's stack. */
#define LOG_MESSAGE_MAX 4096

/* Of one kind of message, this many are written within a second: enough to see what happens, few enough to read. The
 * rest is counted, and a line at the end of the second says how many there were. */
#define LOG_LINES_PER_SECOND 20

/* One kind of message; normally each use of the macros above is one. Must live as long as the process. A kind with
 * another bound than the usual one: static struct log_site site = {.lines_per_second = 1000}; log_write(&site, …). */
struct log_site {
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

extern _Atomic int log_threshold; /* lines below this level are not written */

static inline bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&log_threshold, memory_order_relaxed);
}

#define LOG_AT_SITE(level, ...)                                                                                        \
    do {                                                                                                               \
        if (log_enabled(level)) {                                                                                      \
            static struct log_site log_site_;                                                                          \
            log_write(&log_site_, (level), __VA_ARGS__);                                                               \
        }                                                                                                              \
    } while (0)

#endif
