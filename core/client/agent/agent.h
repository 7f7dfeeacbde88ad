/* An agent that a person or a program is, by lines of text: the state that the terminal and the pipe share. One thread.
 */
#ifndef LUADUCT_CLIENT_AGENT_H
#define LUADUCT_CLIENT_AGENT_H

#include "client/connection/connection.h"

#define AGENT_LISTS 256 /* as many labels or tools as a bridge takes */

struct client_agent {
    struct slice id, role;
    const char *labels[AGENT_LISTS], *tools[AGENT_LISTS];
    unsigned label_count, tool_count;
    struct slice to, intent; /* empty: everyone; the bridge's default */
    struct bridge_url url;
    const char *token; /* NULL: none */

    struct client_connection connection;
    bool joined;      /* the bridge has answered `registered` */
    bool confirmed;   /* the bridge has answered everything before agent_ask_confirmation */
    bool human;       /* envelopes are shown for a person, not as lines of JSON */
    unsigned refused; /* errors that the bridge has answered */
    void (*before_output)(void), (*after_output)(void); /* around every line shown: a prompt steps aside */
};

/* Connects, registers and waits for the answer. Blocks. False: connection.error says why. */
bool agent_join(struct client_agent *agent, int timeout_ms);

/* Sends one line: "@ID words" to that agent, other words to `to` or everyone. An empty line is nothing. False: the
 * connection has ended. */
bool agent_say(struct client_agent *agent, struct slice line);

/* Reads once and shows what came. False: the connection has ended. */
bool agent_receive(struct client_agent *agent);

/* Asks the bridge to say when it has handled all that was sent so far: `confirmed` then becomes true. False: the
 * connection has ended. */
bool agent_ask_confirmation(struct client_agent *agent);

/* Says goodbye, waits a little for the bridge's, shows what comes meanwhile. */
void agent_leave(struct client_agent *agent);

/* A line about what happens, to standard error. */
void agent_notice(const struct client_agent *agent, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Run it until its input ends; each gives the exit code. agent_pipe.c, agent_terminal.c. */
int agent_run_pipe(struct client_agent *agent);
int agent_run_terminal(struct client_agent *agent);

#endif
