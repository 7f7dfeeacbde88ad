/* A person types: the prompt keeps the line, what comes is shown above it, and a lost connection is opened again, after
 * half a second first and after up to half a minute in the end. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "client/agent/agent.h"
#include "client/prompt.h"

#define CONNECT_TIMEOUT_MS 3000
#define CONFIRMATION_TIMEOUT_MS 5000
#define RETRY_FIRST_MS 500
#define RETRY_MAXIMUM_MS 30000
#define REPLACED 4001 /* another connection has taken this id: coming back would only take it from that one */

static volatile sig_atomic_t interrupted, resized;

static void on_signal(int number)
{
    if (number == SIGWINCH)
        resized = 1;
    else
        interrupted = 1;
}

/* An id from the command line is harmless here: the bridge has taken it, so it holds no control characters. */
static void start_prompt(struct client_agent *agent)
{
    static char prompt[300];
    snprintf(prompt, sizeof prompt, "%.*s> ", (int)agent->id.length, agent->id.data);
    prompt_start(prompt);
    agent->before_output = prompt_hide;
    agent->after_output = prompt_show;
}

static void stop_prompt(struct client_agent *agent)
{
    agent->before_output = agent->after_output = NULL;
    prompt_stop();
}

/* False: the person is done. */
static bool read_keys(struct client_agent *agent, short events)
{
    char *line;
    enum prompt_outcome outcome = prompt_read(events, &line);
    if (outcome == PROMPT_MORE)
        return true;
    if (outcome == PROMPT_END) {
        stop_prompt(agent);
        return false;
    }
    agent->before_output = agent->after_output = NULL;
    if (*line && agent->connection.stream.descriptor < 0)
        agent_notice(agent, "not connected, this was not sent");
    else
        agent_say(agent, slice_from_string(line));
    free(line);
    start_prompt(agent);
    return true;
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
static bool turn(struct client_agent *agent, struct retry *retry, const sigset_t *unblocked, bool *input_ended)
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
        prompt_resize();
    }
    *input_ended = watched[0].revents && !read_keys(agent, watched[0].revents);
    if (*input_ended)
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
    char authority[BRIDGE_URL_AUTHORITY_SIZE], line[BRIDGE_URL_UNREACHABLE_SIZE];
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

    bool input_ended = false;
    start_prompt(agent);
    while (turn(agent, &retry, &unblocked, &input_ended))
        ;
    if (!input_ended)
        stop_prompt(agent);
    bool wanted = input_ended || interrupted;
    bool confirmed = wanted && agent->connection.stream.descriptor >= 0 && await_confirmation(agent);
    agent_leave(agent);
    return confirmed || interrupted ? 0 : 1;
}
