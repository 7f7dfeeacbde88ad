/* What one decision of a route costs, without a bridge around it: decisions [OPTION]... ENVELOPES SCRIPT
 *   --seconds S    of measuring; standard 0.2
 *   --jit          script.jit = true
 *   --kept         performance.cache_enabled = true
 *   --text         from the message's text on: scanning is measured with it
 *   --show         instead: prints the decisions, one a line
 *   --watched      instead: one decision under a watchdog, in milliseconds; it is fine if it fails
 * ENVELOPES is a file of messages, one a line; prints nanoseconds of a decision, in processor time. bench/decisions
 * runs it. */
#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "protocol/message.h"
#include "runtime/config/bundle.h"
#include "script/bounds/watchdog.h"
#include "script/hook.h"

/* A pass of the reactor, after which the collector gets its turn. */
#define PASS 64

struct line {
    char *text; /* with JSON_SLACK behind it */
    size_t length;
    struct text_store store;
    struct message message;
};

static struct line *lines;
static size_t line_count;
static const struct message_rules rules = {.depth = 128, .utf8_checked = true};
static const struct envelope_defaults defaults = {.timestamp = "2026-01-01T12:00:00.000Z"};
static const struct script_sender sender = {.id = SLICE("alice"), .role = SLICE("agent"), .labels = SLICE("[]")};

static void end(const char *text)
{
    fprintf(stderr, "decisions: %s\n", text);
    exit(1);
}

static void scan(struct line *line)
{
    if (message_scan(line->text, line->length, &rules, &line->store, &line->message) != CODE_OK)
        end(line->message.error);
}

static void read_lines(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = NULL;
    size_t size = 0;
    ssize_t length;
    if (!file)
        end("cannot read the envelopes");
    while ((length = getline(&text, &size, file)) > 1) {
        lines = realloc(lines, (line_count + 1) * sizeof *lines);
        if (!lines)
            end("not enough memory");
        struct line *line = &lines[line_count++];
        *line = (struct line){.length = (size_t)length - 1, .text = calloc(1, (size_t)length + JSON_SLACK)};
        if (!line->text)
            end("not enough memory");
        memcpy(line->text, text, line->length);
    }
    free(text);
    fclose(file);
    for (size_t i = 0; i < line_count; i++)
        scan(&lines[i]);
    if (line_count == 0)
        end("there are no envelopes");
}

static void show_log(void *context, enum script_log_level level, struct slice text)
{
    (void)context, (void)level;
    fprintf(stderr, "%.*s\n", (int)text.length, text.data);
}

static struct decision *decide(struct script_state *state, struct line *line)
{
    struct decision *decision;
    if (script_route(state, &line->message.envelope, &sender, &defaults, &decision) != SCRIPT_DECIDED)
        end("the route failed");
    return decision;
}

static void show(struct script_state *state)
{
    for (size_t i = 0; i < line_count; i++) {
        struct buffer text = {0};
        decision_write(&text, decide(state, &lines[i]));
        printf("%.*s\n", (int)text.length, text.data);
        buffer_free(&text);
    }
}

static void *supervise(void *context)
{
    for (;; usleep(WATCHDOG_TICK_MS * 1000))
        watchdog_check(context, clock_steady_ns());
    return NULL;
}

/* As the bridge's main thread watches over a reactor's. */
static void run_watched(struct script_state *state)
{
    pthread_t supervisor;
    struct decision *decision;
    if (pthread_create(&supervisor, NULL, supervise, script_watchdog(state)) != 0)
        end("no thread");
    uint64_t began = clock_steady_ns();
    enum script_result result = script_route(state, &lines[0].message.envelope, &sender, &defaults, &decision);
    printf("%s %.1f\n", result == SCRIPT_FAILED ? "failed" : "decided", (double)(clock_steady_ns() - began) / 1e6);
    fflush(stdout);
    _exit(0); /* the supervisor is in it still */
}

static uint64_t cpu_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static double run(struct script_state *state, double seconds, bool from_text)
{
    uint64_t began = cpu_ns(), now, passes = 0;
    do {
        for (size_t i = 0; i < line_count; i++) {
            if (from_text)
                scan(&lines[i]);
            decide(state, &lines[i]);
            if (i % PASS == PASS - 1)
                script_collect(state);
        }
        passes++;
        now = cpu_ns();
    } while ((double)(now - began) < seconds * 1e9);
    return (double)(now - began) / (double)(passes * line_count);
}

int main(int argc, char **argv)
{
    const char *words[2] = {NULL, NULL};
    double seconds = 0.2;
    bool jit = false, kept = false, from_text = false, shows = false, watched = false;
    for (int i = 1, at = 0; i < argc; i++) {
        if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc)
            seconds = atof(argv[++i]);
        else if (strcmp(argv[i], "--jit") == 0)
            jit = true;
        else if (strcmp(argv[i], "--kept") == 0)
            kept = true;
        else if (strcmp(argv[i], "--text") == 0)
            from_text = true;
        else if (strcmp(argv[i], "--show") == 0)
            shows = true;
        else if (strcmp(argv[i], "--watched") == 0)
            watched = true;
        else if (at < 2 && argv[i][0] != '-')
            words[at++] = argv[i];
        else
            end("usage: decisions [--seconds S] [--jit] [--kept] [--text] [--show] [--watched] ENVELOPES SCRIPT");
    }
    if (!words[1])
        end("which envelopes, and which script?");
    char problem[512];
    struct script_options options = {.paths = &words[1],
                                     .path_count = 1,
                                     .mode = "enhanced",
                                     .budget_ms = 50,
                                     .memory_limit = 64u << 20,
                                     .jit = jit,
                                     .caching = kept ? ROUTE_CACHING_ON : ROUTE_CACHING_OFF,
                                     .log = show_log,
                                     .wake_fd = -1,
                                     .open_bundle = bundle_install};
    hash_start();
    if (!watchdog_install())
        end("no watchdog");
    struct script_state *state = script_state_new(&options, problem, sizeof problem);
    if (!state)
        end(problem);
    read_lines(words[0]);
    if (watched)
        run_watched(state);
    if (shows) {
        show(state);
    } else {
        run(state, 0.2, from_text); /* the JIT compiles, and decisions are kept */
        printf("%.2f\n", run(state, seconds, from_text));
    }
    script_state_free(state);
    return 0;
}
