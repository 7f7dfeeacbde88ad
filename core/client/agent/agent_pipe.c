/* Standard input is no terminal: every line is sent, and the end of the input ends the agent, once the bridge has
 * answered a ping that was sent behind the last line. The bridge handles one connection's frames in order, so its pong
 * says that every line was taken, or that its refusal has already come. */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "base/clock.h"
#include "client/agent/agent.h"

#define CONNECT_TIMEOUT_MS 5000
#define CONFIRMATION_TIMEOUT_MS 30000 /* since the bridge was last heard of: a script may hold a sender that long */
#define UNSENT_MAXIMUM (1u << 20)     /* past it no more input is read: a fast writer has to wait for the network */

/* Sends the whole lines at the front of the input; at its end the rest too. False: the connection has ended. */
static bool say_lines(struct client_agent *agent, struct buffer *input, bool ended)
{
    size_t start = 0;
    bool open = true;
    while (open && start < input->length) {
        const char *line = input->data + start, *line_end = memchr(line, '\n', input->length - start);
        if (!line_end && !ended)
            break;
        size_t length = line_end ? (size_t)(line_end - line) : input->length - start;
        open = agent_say(agent, slice_from(line, length));
        start += length + (line_end ? 1 : 0);
    }
    if (start > 0)
        buffer_consume(input, start);
    return open;
}

/* False: the connection has ended, or there is no memory for a line. */
static bool read_input(struct client_agent *agent, struct buffer *input, bool *ended)
{
    char *room = buffer_reserve(input, 65536);
    ssize_t got = room ? read(STDIN_FILENO, room, 65536) : -1;
    if (!room || (got < 0 && errno != EINTR && errno != EAGAIN)) {
        agent_notice(agent, "cannot read standard input: %s", room ? strerror(errno) : "out of memory");
        return false;
    }
    if (got < 0)
        return true;
    *ended = got == 0;
    input->length += (size_t)got;
    return say_lines(agent, input, *ended) && (!*ended || agent_ask_confirmation(agent));
}

static bool pump(struct client_agent *agent)
{
    struct client_connection *connection = &agent->connection;
    struct buffer input = {0};
    bool ended = false, open = true;
    while (open && !agent->confirmed) {
        bool writes = tcp_wants_write(&connection->stream);
        bool reads = !ended && connection->stream.unsent.length < UNSENT_MAXIMUM;
        struct pollfd watched[2] = {{connection->stream.descriptor, (short)(POLLIN | (writes ? POLLOUT : 0)), 0},
                                    {reads ? STDIN_FILENO : -1, POLLIN, 0}};
        int ready = poll(watched, 2, ended ? CONFIRMATION_TIMEOUT_MS : -1);
        if (ready == 0) {
            agent_notice(agent, "the bridge does not confirm what was sent");
            break;
        }
        if (watched[0].revents & POLLOUT)
            open = client_flush(connection);
        if (open && watched[0].revents & ~POLLOUT)
            open = agent_receive(agent);
        if (open && watched[1].revents)
            open = read_input(agent, &input, &ended);
    }
    buffer_free(&input);
    return agent->confirmed;
}

int agent_run_pipe(struct client_agent *agent)
{
    char line[BRIDGE_URL_UNREACHABLE_SIZE];
    if (!agent_join(agent, CONNECT_TIMEOUT_MS)) {
        bridge_url_unreachable(&agent->url, true, agent->connection.error, line);
        if (agent->refused == 0)
            agent_notice(agent, "%s", line);
        return 1;
    }
    bool confirmed = pump(agent);
    if (!confirmed && agent->connection.error[0])
        agent_notice(agent, "%s", agent->connection.error);
    agent_leave(agent);
    return confirmed && agent->refused == 0 ? 0 : 1;
}
