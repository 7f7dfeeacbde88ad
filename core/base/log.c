/* A line is composed on the caller's stack, then copied into a ring of bytes under one mutex; the log's thread takes
 * out all that waits with one write. The ring is bounded, so memory is too: what does not fit is lost and counted. That
 * trades completeness under a flood for reactors that never wait for a disk.
 *
 * The writer reads the ring without the mutex: producers write only to bytes that are free, and what is being written
 * stays counted as used. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log_line.h"
#include "base/threads/thread.h"

/* Some 2,000 lines: a stalled disk of a second at a busy bridge's log. Pages of it that were never used cost nothing.
 */
#define RING_BYTES (256u << 10)

#define STOP_WAIT_SECONDS 2
#define SECOND_NS 1000000000u
#define CUT LOG_LINE_CUT

#define X(name, text) LOG_LEVEL_INFO,
_Atomic int8_t log_thresholds[LOG_ROOM_COUNT] = {LOG_ROOMS(X)};
#undef X

static struct {
    pthread_mutex_t lock; /* guards what follows, up to `writer` */
    pthread_cond_t wake;  /* the writer waits here, by CLOCK_MONOTONIC */
    char ring[RING_BYTES];
    size_t first, used; /* the bytes that wait */
    uint64_t lost;      /* lines, since the last line that said so */
    uint64_t report_ns; /* when (clock_steady_ns) to say how many lines were withheld; 0: none were */
    bool stopping, reopen;

    pthread_t writer;
    int descriptor;         /* the writer's, once it runs */
    char *file;             /* NULL: standard error */
    bool colour;            /* the writer's and every caller's; set before the thread starts, or under `lock` */
    enum log_format format; /* read-only while running */
    _Atomic bool running;
    _Atomic uint64_t lost_total;
    _Atomic(struct log_site *) withholding; /* every site that ever withheld a line */
    struct log_levels levels;               /* with `lock` */
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .descriptor = STDERR_FILENO, .levels = {.general = LOG_LEVEL_INFO}};

static _Thread_local char thread_name[16] = "";

static const char *const level_names[] = {"debug", "info", "warn", "error"};
#define X(name, text) text,
static const char *const room_names[] = {LOG_ROOMS(X)};
#undef X

/* All of it, however long that takes; false when the descriptor takes no more. */
static bool write_fully(int descriptor, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t written = write(descriptor, bytes, length);
        if (written > 0) {
            bytes += written;
            length -= (size_t)written;
        } else if (written < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            /* Another process on the same terminal may have made it non-blocking. */
            poll(&(struct pollfd){.fd = descriptor, .events = POLLOUT}, 1, 1000);
        } else if (written == 0 || errno != EINTR) {
            return false;
        }
    }
    return true;
}

/* Puts the line into the ring; false when no writer runs. */
static bool ring_push(const struct log_line *line)
{
    pthread_mutex_lock(&state.lock);
    bool running = atomic_load_explicit(&state.running, memory_order_relaxed);
    if (running && RING_BYTES - state.used < line->length) {
        state.lost++;
        atomic_fetch_add_explicit(&state.lost_total, 1, memory_order_relaxed);
    } else if (running) {
        size_t end = (state.first + state.used) % RING_BYTES;
        size_t until_wrap = RING_BYTES - end;
        size_t part = line->length < until_wrap ? line->length : until_wrap;
        memcpy(state.ring + end, line->bytes, part);
        memcpy(state.ring, line->bytes + part, line->length - part);
        state.used += line->length;
        pthread_cond_signal(&state.wake);
    }
    pthread_mutex_unlock(&state.lock);
    return running;
}

/* Counts the line against its site's bound: true when it is to be written. */
static bool site_admit(struct log_site *site, enum log_level level, const char *format)
{
    uint64_t now_ns = clock_steady_ns();
    uint32_t now = (uint32_t)(now_ns / SECOND_NS);
    uint32_t second = atomic_load_explicit(&site->second, memory_order_relaxed);
    /* Lines of two threads that meet at the turn of a second may be one too many: it is only a bound on noise. */
    if (second != now && atomic_compare_exchange_strong(&site->second, &second, now))
        atomic_store_explicit(&site->written, 0, memory_order_relaxed);
    uint32_t bound = site->lines_per_second ? site->lines_per_second : LOG_LINES_PER_SECOND;
    if (atomic_fetch_add_explicit(&site->written, 1, memory_order_relaxed) < bound)
        return true;

    atomic_store_explicit(&site->text, format, memory_order_relaxed);
    atomic_store_explicit(&site->level, (int)level, memory_order_relaxed);
    if (!atomic_exchange(&site->listed, true)) {
        site->next = atomic_load(&state.withholding);
        while (!atomic_compare_exchange_weak(&state.withholding, &site->next, site))
            ;
    }
    if (atomic_fetch_add(&site->withheld, 1) == 0) {
        pthread_mutex_lock(&state.lock);
        if (state.report_ns == 0)
            state.report_ns = now_ns - now_ns % SECOND_NS + SECOND_NS;
        pthread_cond_signal(&state.wake);
        pthread_mutex_unlock(&state.lock);
    }
    return false;
}

/* The message in `out`; gives its length. */
static size_t print_message(char out[LOG_MESSAGE_MAX + sizeof CUT], const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));
static size_t print_message(char out[LOG_MESSAGE_MAX + sizeof CUT], const char *format, va_list arguments)
{
    int printed = vsnprintf(out, LOG_MESSAGE_MAX + 1, format, arguments);
    size_t length = printed < 0 ? 0 : (size_t)printed;
    if (length > LOG_MESSAGE_MAX) {
        length = LOG_MESSAGE_MAX - 1;
        while (length > 0 && (out[length] & 0xc0) == 0x80) /* not in the middle of a character */
            length--;
        memcpy(out + length, CUT, sizeof CUT);
        length += sizeof CUT - 1;
    }
    while (length > 0 && out[length - 1] == '\n')
        length--;
    return length;
}

static void write_entry(struct log_site *site, enum log_level level, const struct log_field *fields, const char *format,
                        va_list arguments) __attribute__((format(printf, 4, 0)));
static void write_entry(struct log_site *site, enum log_level level, const struct log_field *fields, const char *format,
                        va_list arguments)
{
    char message[LOG_MESSAGE_MAX + sizeof CUT];
    if (!log_enabled(site->room, level))
        return;
    bool running = atomic_load_explicit(&state.running, memory_order_acquire);
    if (running && !site_admit(site, level, format))
        return;
    struct log_entry entry = {.site = site, .level = level, .thread = thread_name, .fields = fields};
    entry.message = slice_from(message, print_message(message, format, arguments));
    struct log_line line;
    if (running) {
        log_line_compose(&line, state.format, state.colour, &entry);
        if (ring_push(&line))
            return;
    }
    log_line_compose(&line, LOG_FORMAT_TEXT, false, &entry);
    write_fully(STDERR_FILENO, line.bytes, line.length);
}

void log_write(struct log_site *site, enum log_level level, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_entry(site, level, NULL, format, arguments);
    va_end(arguments);
}

void log_write_fields(struct log_site *site, enum log_level level, const struct log_field *fields, const char *format,
                      ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_entry(site, level, fields, format, arguments);
    va_end(arguments);
}

/* ---- the writer's thread ---- */

/* The writer's own lines do not go through the ring: it may be full, and only the writer empties it. */
static bool write_own(const struct log_site *site, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool write_own(const struct log_site *site, enum log_level level, const char *format, ...)
{
    char message[512];
    va_list arguments;
    va_start(arguments, format);
    int printed = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    size_t length = printed < 0 ? 0 : (size_t)printed < sizeof message ? (size_t)printed : sizeof message - 1;
    struct log_entry entry = {site, level, "log", slice_from(message, length), NULL};
    struct log_line line;
    log_line_compose(&line, state.format, state.colour, &entry);
    return write_fully(state.descriptor, line.bytes, line.length);
}

static void report_withheld(void)
{
    for (struct log_site *site = atomic_load(&state.withholding); site; site = site->next) {
        uint32_t withheld = atomic_exchange(&site->withheld, 0);
        if (withheld == 0)
            continue;
        const char *text = atomic_load_explicit(&site->text, memory_order_relaxed);
        /* "%s" says nothing about what was withheld. */
        bool telling = text[0] != '%';
        static const struct log_site own = {.room = LOG_ROOM_LOG, .name = "withheld"};
        write_own(&own, (enum log_level)atomic_load_explicit(&site->level, memory_order_relaxed),
                  CUT " %u more like this in the last second%s%s", withheld, telling ? ": " : "", telling ? text : "");
    }
}

static int open_file(const char *file)
{
    /* O_NONBLOCK: opening a FIFO that nobody reads must fail, not hang. */
    return open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
}

void log_check_rotation(void)
{
    char folder[PATH_MAX] = ".";
    const char *slash = state.file ? strrchr(state.file, '/') : NULL;
    if (slash)
        snprintf(folder, sizeof folder, "%.*s", slash == state.file ? 1 : (int)(slash - state.file), state.file);
    if (state.file && access(folder, W_OK | X_OK) != 0)
        log_warn(LOG, "rotation",
                 "log.file: whom the bridge runs as can make no file in %s (%s): a rotation has to make the new file, "
                 "and give it to that user, before it sends SIGUSR1; or it copies and truncates",
                 folder, strerror(errno));
}

static void reopen_file(void)
{
    if (!state.file)
        return;
    int descriptor = open_file(state.file);
    if (descriptor < 0) {
        static const struct log_site own = {.room = LOG_ROOM_LOG, .name = "reopen_failed"};
        write_own(&own, LOG_LEVEL_ERROR,
                  "cannot open %s again: %s; the old file stays in use until the rotation has made "
                  "one for the bridge's user, and SIGUSR1 comes again",
                  state.file, strerror(errno));
        return;
    }
    close(state.descriptor);
    state.descriptor = descriptor;
}

/* Waits until there is something to do. Called with the lock. */
static void await_work(void)
{
    while (state.used == 0 && !state.stopping && !state.reopen) {
        if (state.report_ns == 0) {
            pthread_cond_wait(&state.wake, &state.lock);
            continue;
        }
        struct timespec until = {.tv_sec = (time_t)(state.report_ns / SECOND_NS)};
        if (pthread_cond_timedwait(&state.wake, &state.lock, &until) == ETIMEDOUT)
            return;
    }
}

/* Writes the bytes that wait: whole lines, so that other lines may follow. Called with the lock, which it gives up
 * meanwhile. False when lines were lost. */
static bool write_run(void)
{
    size_t first = state.first, used = state.used;
    size_t until_wrap = RING_BYTES - first < used ? RING_BYTES - first : used;
    pthread_mutex_unlock(&state.lock);
    bool written = write_fully(state.descriptor, state.ring + first, until_wrap) &&
                   write_fully(state.descriptor, state.ring, used - until_wrap);
    uint64_t lines = 0;
    for (size_t at = 0; !written && at < used; at++)
        lines += state.ring[(first + at) % RING_BYTES] == '\n';
    pthread_mutex_lock(&state.lock);
    state.used -= used;
    state.first = state.used == 0 ? 0 : (first + used) % RING_BYTES; /* back to pages that are warm */
    state.lost += lines;
    atomic_fetch_add_explicit(&state.lost_total, lines, memory_order_relaxed);
    return written;
}

static void report_lost(void)
{
    uint64_t lost = state.lost;
    state.lost = 0;
    pthread_mutex_unlock(&state.lock);
    static const struct log_site own = {.room = LOG_ROOM_LOG, .name = "lines_lost"};
    bool told = write_own(&own, LOG_LEVEL_WARN, "%llu lines were lost: the log could not be written fast enough",
                          (unsigned long long)lost);
    pthread_mutex_lock(&state.lock);
    if (!told)
        state.lost += lost;
}

static void *run_writer(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&state.lock);
    for (bool ending = false; !ending;) {
        await_work();
        if (state.reopen) {
            state.reopen = false;
            pthread_mutex_unlock(&state.lock);
            reopen_file();
            pthread_mutex_lock(&state.lock);
        }
        bool written = state.used > 0 && write_run();
        if (written && state.lost > 0 && state.used < RING_BYTES / 2)
            report_lost();
        ending = state.stopping && state.used == 0;
        if (state.report_ns > 0 && (ending || clock_steady_ns() >= state.report_ns)) {
            state.report_ns = 0;
            pthread_mutex_unlock(&state.lock);
            report_withheld();
            pthread_mutex_lock(&state.lock);
        }
    }
    pthread_mutex_unlock(&state.lock);
    return NULL;
}

/* ---- from outside ---- */

static bool wants_colour(int descriptor)
{
    const char *no_colour = getenv("NO_COLOR"), *terminal = getenv("TERM");
    return !(no_colour && *no_colour) && terminal && strcmp(terminal, "dumb") != 0 && isatty(descriptor);
}

/* All signals are for the other threads; and a reader of our standard error who is gone must not end the bridge. */
static int start_writer(void)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&state.writer, NULL, run_writer, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

int log_start(enum log_level level, enum log_format format, const char *file)
{
    static bool condition_made;
    if (!condition_made) {
        pthread_condattr_t attributes;
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        int error = pthread_cond_init(&state.wake, &attributes);
        pthread_condattr_destroy(&attributes);
        if (error)
            return error;
        condition_made = true;
    }
    state.descriptor = STDERR_FILENO;
    if (file) {
        state.file = strdup(file);
        if (!state.file)
            return ENOMEM;
        state.descriptor = open_file(file);
        if (state.descriptor < 0) {
            int error = errno;
            free(state.file);
            state.file = NULL;
            return error;
        }
    }
    state.format = format;
    state.colour = format == LOG_FORMAT_TEXT && wants_colour(state.descriptor);
    state.first = state.used = 0;
    state.lost = 0;
    state.stopping = state.reopen = false;
    state.report_ns = 0;
    atomic_store(&state.lost_total, 0);
    struct log_levels levels = {.general = level};
    memset(levels.rooms, LOG_AS_GENERAL, sizeof levels.rooms);
    log_set_levels(&levels);
    atomic_store(&state.running, true);
    int error = start_writer();
    if (error) {
        atomic_store(&state.running, false);
        if (file)
            close(state.descriptor);
        free(state.file);
        state.file = NULL;
    }
    return error;
}

void log_name_thread(const char *name)
{
    snprintf(thread_name, sizeof thread_name, "%s", name);
}

void log_reopen(void)
{
    pthread_mutex_lock(&state.lock);
    state.reopen = true;
    if (atomic_load(&state.running))
        pthread_cond_signal(&state.wake);
    pthread_mutex_unlock(&state.lock);
}

void log_stop(void)
{
    if (!atomic_load(&state.running))
        return;
    pthread_mutex_lock(&state.lock);
    atomic_store(&state.running, false); /* from here on, lines go to standard error directly */
    state.stopping = true;
    pthread_cond_signal(&state.wake);
    pthread_mutex_unlock(&state.lock);

    if (!thread_join_within(state.writer, STOP_WAIT_SECONDS * 1000)) {
        thread_leave(state.writer); /* it still uses the file: leave that open */
        return;
    }
    if (state.file)
        close(state.descriptor);
    state.descriptor = STDERR_FILENO;
    free(state.file);
    state.file = NULL;
}

void log_set_levels(const struct log_levels *levels)
{
    pthread_mutex_lock(&state.lock);
    state.levels = *levels;
    for (unsigned room = 0; room < LOG_ROOM_COUNT; room++) {
        int8_t own = levels->rooms[room];
        atomic_store_explicit(&log_thresholds[room], own == LOG_AS_GENERAL ? (int8_t)levels->general : own,
                              memory_order_relaxed);
    }
    pthread_mutex_unlock(&state.lock);
}

void log_read_levels(struct log_levels *out)
{
    pthread_mutex_lock(&state.lock);
    *out = state.levels;
    pthread_mutex_unlock(&state.lock);
}

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

const char *log_room_name(enum log_room room)
{
    return room_names[room];
}

/* The index of the name; -1: it is none of them. */
static int find(const char *const *names, unsigned count, struct slice name)
{
    for (unsigned i = 0; i < count; i++)
        if (slice_equal(name, slice_from_string(names[i])))
            return (int)i;
    return -1;
}

bool log_level_find(struct slice name, enum log_level *out)
{
    int found = find(level_names, sizeof level_names / sizeof *level_names, name);
    if (found >= 0)
        *out = (enum log_level)found;
    return found >= 0;
}

bool log_room_find(struct slice name, enum log_room *out)
{
    int found = find(room_names, LOG_ROOM_COUNT, name);
    if (found >= 0)
        *out = (enum log_room)found;
    return found >= 0;
}

uint64_t log_lost(void)
{
    return atomic_load_explicit(&state.lost_total, memory_order_relaxed);
}
