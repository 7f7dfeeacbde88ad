#include "runtime/repl.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "memory/pool.h"
#include "runtime/guest.h"
#include "runtime/process/supervision.h"
#include "runtime/reload/trial/slot.h"

/* Lines that may wait. */
#define LINES_MAXIMUM 16

static struct reactor *reactor; /* main, before any line */

static pthread_t thread;
static bool started; /* with the mutex until the thread has ended */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* all below */
static pthread_cond_t wanted;
static struct repl_line *lines, **lines_last = &lines;
static unsigned line_count;
static bool stopping, running;

/* The thread's own. */
static struct session {
    char id[UUID_LENGTH + 1]; /* empty: free */
    struct prompt *prompt;
    unsigned version;
    uint64_t used_ms;
} sessions[REPL_SESSIONS];
static unsigned session_count;

struct repl_line *repl_line_new(void)
{
    return calloc(1, sizeof(struct repl_line));
}

void repl_line_free(struct repl_line *line)
{
    buffer_free(&line->text);
    buffer_free(&line->output);
    free(line);
}

static void bring_back(struct reactor *at, struct errand *errand)
{
    struct repl_line *line = (struct repl_line *)errand;
    (void)at;
    line->answered(line);
}

static void give_back(struct repl_line *line)
{
    line->errand.run = bring_back;
    reactor_post(line->reactor, &line->errand);
}

static void refuse(struct repl_line *line, enum code code, const char *text)
{
    line->code = code;
    snprintf(line->error, sizeof line->error, "%s", text);
}

/* --- Sessions ----------------------------------------------------------------------------------------------------- */

static uint64_t now_ms(void)
{
    return clock_steady_ns() / 1000000;
}

static void end_session(struct session *session)
{
    supervision_unwatch(prompt_watchdog(session->prompt));
    prompt_close(session->prompt);
    *session = (struct session){0};
    if (--session_count == 0)
        guest_leave(reactor);
}

static void end_idle(bool all)
{
    uint64_t now = now_ms();
    for (unsigned i = 0; i < REPL_SESSIONS; i++)
        if (sessions[i].prompt && (all || now - sessions[i].used_ms >= REPL_IDLE_MS))
            end_session(&sessions[i]);
}

static struct session *find_session(const char *id)
{
    for (unsigned i = 0; i < REPL_SESSIONS; i++)
        if (sessions[i].prompt && strcmp(sessions[i].id, id) == 0)
            return &sessions[i];
    return NULL;
}

/* A free place, or that of the session that nobody has used for longest. */
static struct session *take_place(void)
{
    struct session *oldest = &sessions[0];
    for (unsigned i = 0; i < REPL_SESSIONS; i++) {
        if (!sessions[i].prompt)
            return &sessions[i];
        if (sessions[i].used_ms < oldest->used_ms)
            oldest = &sessions[i];
    }
    end_session(oldest);
    return oldest;
}

/* NULL: refused. */
static struct session *begin_session(struct repl_line *line, struct version *version)
{
    const struct config *config = version->config;
    struct prompt_options options = {.script = slot_options(version),
                                     .drops_on_error = config->script.on_error == CONFIG_ON_ERROR_DROP,
                                     .lenient = config->mode == CONFIG_MODE_ORIGINAL,
                                     .json_depth = config->limits.json_depth};
    struct session *session = take_place();
    if (session_count == 0)
        guest_enter(reactor);
    char error[400] = "", text[512];
    session->prompt = prompt_open(&options, error, sizeof error);
    if (!session->prompt) {
        if (session_count == 0)
            guest_leave(reactor);
        snprintf(text, sizeof text, "the scripts cannot be loaded: %s", error);
        refuse(line, CODE_OVERLOADED, text);
        return NULL;
    }
    session_count++;
    uuid_format(session->id);
    session->version = version->number;
    supervision_watch(prompt_watchdog(session->prompt));
    line->renewed = line->session[0] != '\0';
    return session;
}

static void serve(struct repl_line *line)
{
    struct session *session = line->session[0] ? find_session(line->session) : NULL;
    if (line->ends) {
        if (session)
            end_session(session);
        return;
    }
    struct version *current = versions_current();
    if (!session)
        session = begin_session(line, current);
    if (session) {
        memcpy(line->session, session->id, sizeof line->session);
        line->version = session->version;
        line->current = current->number;
        line->result = prompt_run(session->prompt, slice_from(line->text.data, line->text.length), &line->output);
        session->used_ms = now_ms();
        if (line->output.failed)
            refuse(line, CODE_OVERLOADED, "out of memory");
    }
    version_release(current);
}

/* --- The thread -----------------------------------------------------------------------------------------------------
 */

/* Mutex held. While there are sessions, not for longer than it takes until one may be idle for too long. */
static void wait_for_work(void)
{
    struct timespec until;
    if (session_count == 0) {
        pthread_cond_wait(&wanted, &mutex);
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += REPL_IDLE_MS / 1000 / 10;
    pthread_cond_timedwait(&wanted, &mutex, &until);
}

static void *run(void *unused)
{
    (void)unused;
    log_name_thread("repl");
    pthread_mutex_lock(&mutex);
    while (!stopping || lines) {
        if (!lines)
            wait_for_work();
        struct repl_line *line = lines;
        if (line) {
            lines = line->next;
            line_count--;
            if (!lines)
                lines_last = &lines;
        }
        bool ends = stopping;
        pthread_mutex_unlock(&mutex);
        if (line && ends)
            refuse(line, CODE_DRAINING, "the bridge is going away");
        else if (line)
            serve(line);
        if (line)
            give_back(line);
        end_idle(ends);
        pthread_mutex_lock(&mutex);
    }
    pthread_mutex_unlock(&mutex);
    end_idle(true);
    pool_leave_thread();
    pthread_mutex_lock(&mutex);
    running = false;
    pthread_mutex_unlock(&mutex);
    supervision_wake();
    return NULL;
}

/* Mutex held. */
static bool start_thread(void)
{
    if (started)
        return true;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&wanted, &attributes);
    pthread_condattr_destroy(&attributes);
    running = started = pthread_create(&thread, NULL, run, NULL) == 0;
    return started;
}

void repl_start(struct reactor *first)
{
    reactor = first;
}

void repl_submit(struct repl_line *line)
{
    pthread_mutex_lock(&mutex);
    bool going = stopping, taken = !going && line_count < LINES_MAXIMUM && start_thread();
    if (taken) {
        line->next = NULL;
        *lines_last = line;
        lines_last = &line->next;
        line_count++;
        pthread_cond_signal(&wanted);
    }
    pthread_mutex_unlock(&mutex);
    if (taken)
        return;
    refuse(line, going ? CODE_DRAINING : CODE_OVERLOADED,
           going ? "the bridge is going away" : "too many lines wait already, or no thread is to be had");
    give_back(line); /* its reactor hears of it in its next pass */
}

void repl_request_stop(void)
{
    pthread_mutex_lock(&mutex);
    stopping = true;
    if (running)
        pthread_cond_signal(&wanted);
    pthread_mutex_unlock(&mutex);
}

bool repl_ended(void)
{
    pthread_mutex_lock(&mutex);
    bool over = !running;
    pthread_mutex_unlock(&mutex);
    return over;
}

void repl_stop(void)
{
    if (started)
        pthread_join(thread, NULL);
}
