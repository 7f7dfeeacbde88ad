/* A person types: readline keeps the line, what comes is shown above it, and a lost connection is opened again, after
 * half a second first and after up to half a minute in the end. readline has one state for the process, hence the one
 * static pointer. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <readline/history.h>
#include <readline/readline.h>

#include "base/clock.h"
#include "client/agent/agent.h"

#define CONNECT_TIMEOUT_MS 3000
#define CONFIRMATION_TIMEOUT_MS 5000
#define RETRY_FIRST_MS 500
#define RETRY_MAXIMUM_MS 30000
#define REPLACED 4001 /* another connection has taken this id: coming back would only take it from that one */

static struct client_agent *typist;
static bool input_ended;
static volatile sig_atomic_t interrupted, resized;

static void on_signal(int number)
{
    if (number == SIGWINCH)
        resized = 1;
    else
        interrupted = 1;
}

static void hide_prompt(void)
{
    rl_clear_visible_line();
}

static void show_prompt(void)
{
    rl_on_new_line();
    rl_redisplay();
}

static void on_line(char *line)
{
    if (!line) {
        input_ended = true;
        rl_callback_handler_remove(); /* or the prompt would come once more */
        fputs("\n", rl_outstream);
        typist->before_output = typist->after_output = NULL;
        return;
    }
    if (*line)
        add_history(line);
    if (*line && typist->connection.stream.descriptor < 0)
        agent_notice(typist, "not connected, this was not sent");
    else
        agent_say(typist, slice_from_string(line));
    free(line);
}

static void start_prompt(struct client_agent *agent, char *prompt, size_t size)
{
    /* An id from the command line is harmless here: the bridge has taken it, so it holds no control characters. */
    snprintf(prompt, size, "%.*s> ", (int)agent->id.length, agent->id.data);
    rl_outstream = isatty(STDOUT_FILENO) ? stdout : stderr;
    rl_catch_signals = 0;
    rl_bind_key('\t', rl_insert); /* there are no file names to complete here */
    typist = agent;
    rl_callback_handler_install(prompt, on_line);
    agent->before_output = hide_prompt;
    agent->after_output = show_prompt;
}

struct retry {
    int delay_ms;
    uint64_t due; /* steady clock, ns */
};

/* False: to come back would be wrong. */
static bool plan_retry(struct client_agent *agent, struct retry *retry)
{
    const struct client_connection *connection = &agent->connection;
    if (connection->status == REPLACED || connection->status == 1008) { /* 1008: the bridge's rules, RFC 6455 7.4.1 */
        agent_notice(agent, "%s", connection->error);
        return false;
    }
    retry->delay_ms = retry->delay_ms == 0 ? RETRY_FIRST_MS : retry->delay_ms * 2;
    if (retry->delay_ms > RETRY_MAXIMUM_MS)
        retry->delay_ms = RETRY_MAXIMUM_MS;
    retry->due = clock_steady_ns() + (uint64_t)retry->delay_ms * 1000000;
    agent_notice(agent, "%s; trying again in %.1f s", connection->error, retry->delay_ms / 1000.0);
    return true;
}

static bool come_back(struct client_agent *agent, struct retry *retry)
{
    unsigned refused = agent->refused;
    if (!agent_join(agent, CONNECT_TIMEOUT_MS))
        return agent->refused == refused && plan_retry(agent, retry);
    retry->delay_ms = 0;
    agent_notice(agent, "connected again");
    return true;
}

/* Waits for a key, a message, a signal or the time to connect again, and handles it. False: it is over. */
static bool turn(struct client_agent *agent, struct retry *retry, const sigset_t *unblocked)
{
    struct client_connection *connection = &agent->connection;
    bool open = connection->stream.descriptor >= 0;
    bool writes = open && tcp_wants_write(&connection->stream);
    struct pollfd watched[2] = {{STDIN_FILENO, POLLIN, 0},
                                {connection->stream.descriptor, (short)(POLLIN | (writes ? POLLOUT : 0)), 0}};
    uint64_t now = clock_steady_ns(), wait = retry->due > now ? retry->due - now : 0;
    struct timespec timeout = {(time_t)(wait / 1000000000), (long)(wait % 1000000000)};
    ppoll(watched, 2, open ? NULL : &timeout, unblocked); /* whatever it gives, the state below says what to do */
    if (interrupted)
        return false;
    if (resized) {
        resized = 0;
        rl_resize_terminal();
    }
    if (watched[0].revents)
        rl_callback_read_char();
    if (input_ended)
        return false;
    if (!open)
        return clock_steady_ns() < retry->due || come_back(agent, retry);
    bool alive = connection->stream.descriptor >= 0; /* sending the line may have found that it is not */
    if (alive && watched[1].revents & POLLOUT)
        alive = client_flush(connection);
    if (alive && watched[1].revents & ~POLLOUT)
        alive = agent_receive(agent);
    return alive || plan_retry(agent, retry);
}

/* The last lines may still be on their way. */
static bool await_confirmation(struct client_agent *agent)
{
    struct client_connection *connection = &agent->connection;
    uint64_t deadline = clock_steady_ns() + CONFIRMATION_TIMEOUT_MS * 1000000ull;
    bool open = agent_ask_confirmation(agent);
    while (open && !agent->confirmed && clock_steady_ns() < deadline) {
        struct pollfd watched = {connection->stream.descriptor, POLLIN, 0};
        if (tcp_wants_write(&connection->stream))
            watched.events |= POLLOUT;
        poll(&watched, 1, CONFIRMATION_TIMEOUT_MS);
        if (watched.revents)
            open = client_flush(connection) && agent_receive(agent);
    }
    return agent->confirmed;
}

int agent_run_terminal(struct client_agent *agent)
{
    char prompt[300], authority[BRIDGE_URL_AUTHORITY_SIZE], line[BRIDGE_URL_UNREACHABLE_SIZE];
    struct retry retry = {0};
    bridge_url_authority(&agent->url, authority);
    if (!agent_join(agent, CONNECT_TIMEOUT_MS)) {
        bridge_url_unreachable(&agent->url, true, agent->connection.error, line);
        if (agent->refused == 0)
            agent_notice(agent, "%s", line);
        return 1;
    }
    agent_notice(agent, "connected to %s://%s as %.*s; lines go to %.*s, \"@ID words\" to that agent, Ctrl-D ends",
                 agent->url.secure ? "wss" : "ws", authority, (int)agent->id.length, agent->id.data,
                 agent->to.length ? (int)agent->to.length : 8, agent->to.length ? agent->to.data : "everyone");

    sigset_t handled, unblocked;
    sigemptyset(&handled);
    sigaddset(&handled, SIGINT);
    sigaddset(&handled, SIGTERM);
    sigaddset(&handled, SIGHUP);
    sigaddset(&handled, SIGWINCH);
    sigprocmask(SIG_BLOCK, &handled, &unblocked); /* they arrive inside ppoll only, so none is missed */
    struct sigaction action = {.sa_handler = on_signal};
    for (int number = 1; number < NSIG; number++)
        if (sigismember(&handled, number) == 1)
            sigaction(number, &action, NULL);

    start_prompt(agent, prompt, sizeof prompt);
    while (turn(agent, &retry, &unblocked))
        ;
    if (!input_ended) {
        agent->before_output = agent->after_output = NULL;
        rl_callback_handler_remove(); /* gives the terminal back as it was */
        fputs("\n", rl_outstream);
    }
    bool wanted = input_ended || interrupted;
    bool confirmed = wanted && agent->connection.stream.descriptor >= 0 && await_confirmation(agent);
    agent_leave(agent);
    return confirmed || interrupted ? 0 : 1;
}
