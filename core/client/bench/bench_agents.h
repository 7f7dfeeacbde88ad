/* The agents of one run and their connections: each from its connect to its end, what it sends, and what its scenario
 * makes of what it hears. When they send, and how long all of it lasts, is bench_load.c's. A window is the sender's: a
 * message's delivery gives its sender the right to send the next one. */
#ifndef LUADUCT_CLIENT_BENCH_AGENTS_H
#define LUADUCT_CLIENT_BENCH_AGENTS_H

#include "client/bench/bench_load.h"
#include "client/connection/tcp.h"
#include "net/poller.h"

enum bench_agent_state {
    AGENT_OUT, /* not connected: before its turn, between two lives in BENCH_CHURN, or lost */
    AGENT_CONNECTING,
    AGENT_UPGRADING,
    AGENT_REGISTERING,
    AGENT_READY,
    AGENT_CLOSING, /* said goodbye, waits for the server's end */
};

struct bench_agent {
    struct tcp_stream stream;
    struct poller_entry polled;
    enum bench_agent_state state;
    char id[WIRE_ID_LENGTH];
    bool dirty, watches_writing;
    bool awaits_pong;
    uint64_t unsettled; /* messages sent on this connection */
    uint32_t credit;    /* messages that it may send now */
    uint32_t partner;   /* to whom it sends */
    uint32_t source;    /* who sends to it */
    size_t stamp_offset;
    uint64_t last_sent, last_received; /* stamps */
    uint64_t started;                  /* BENCH_CHURN: this life's connect */
};

struct bench_load {
    const struct bench_plan *plan;
    struct bench_result *result;
    char *error;
    struct poller poller; /* its owners are the indices of agents */
    struct bench_agent *agents;
    unsigned count;   /* of agents, the broadcaster included */
    unsigned opening; /* between connect and ready */
    unsigned opened;  /* whose turn has come */
    unsigned ready;
    struct sockaddr_storage address;
    socklen_t address_length;
    struct read_buffer buffer;
    struct wire_template template;
    char *send_buffer;
    size_t send_capacity;
    unsigned *dirty;
    unsigned dirty_count;
    bool sending, measuring, failed;
    uint64_t now;
    uint64_t sent, sent_bytes, delivered, fan; /* fan: deliveries that one message makes */
    uint64_t broadcasts_done;
    double due; /* BENCH_OPEN: when the next message goes out */
    unsigned next_sender;
    char subject[WIRE_ID_LENGTH + 1];
    struct bench_progress *progress;

    /* BENCH_FLOOD */
    bool deaf;          /* receivers do not read now */
    bool blocked;       /* no sender's connection takes more */
    uint64_t next_turn; /* when they turn to reading, or from it */
    uint64_t next_rejoin;
    unsigned awaiting, next_absent;
    unsigned run; /* in the ids, so that mailboxes of an earlier run are not ours */
};

/* Notes the first thing that went wrong, for which the run ends. False. */
bool bench_fail(struct bench_load *load, const char *what, int error);

/* A letter, 24 bits of the run and 18 of a number. Several generators may run at once: two with the same ids would take
 * each other's connections over. */
void bench_make_id(char id[WIRE_ID_LENGTH], char kind, unsigned run, unsigned number);

/* Which half of its pair an agent is, where only one of both sends. */
bool bench_agent_sends(const struct bench_load *load, unsigned index);
bool bench_agent_listens(const struct bench_load *load, unsigned index);

/* Connects; all else follows from what the poller says of the connection. */
void bench_agent_start(struct bench_load *load, unsigned index);

/* Has the poller say what matters now; wanting: poller_add or poller_change. */
void bench_agent_watch(struct bench_load *load, unsigned index, poller_wanting *wanting);

/* When the poller says that the connection has something, and that it takes more. */
void bench_agent_receive(struct bench_load *load, unsigned index);
void bench_agent_write(struct bench_load *load, unsigned index);

/* The right to send so many messages more: it is then among the dirty ones. */
void bench_agent_credit(struct bench_load *load, unsigned index, uint32_t credit);

/* Sends so many messages at once, with `time` in them. */
void bench_agent_send(struct bench_load *load, unsigned index, unsigned count, uint64_t time);
void bench_agent_send_bytes(struct bench_load *load, unsigned index, struct slice bytes);

#endif
