/* One loop: wait, receive from whoever has something, then one send for each agent that may send, however many messages
 * that is. A window is the sender's: a message's delivery gives its sender the right to send the next one.
 *
 * Nothing here waits in step with the server but the windows. In the open loop the time at which a message should have
 * gone out is in the message, so a server (or a generator) that falls behind shows in the percentiles instead of hiding
 * in them. */
#include "client/bench/bench_load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/system.h"
#include "client/bench/bench_server.h"
#include "client/connection/tcp.h"

#define SECOND 1000000000ull
#define CONNECT_TIMEOUT_MS 5000
#define OPENING_AT_ONCE 64        /* below any listen backlog, so that no SYN is dropped and retried a second later */
#define PATIENCE_NS (10 * SECOND) /* without any progress while agents join: give up */
#define DRAIN_NS (2 * SECOND)     /* for what is on the way at the end */
#define TICK_NS (SECOND / 10)     /* the longest wait of a flood: it also has to rejoin and to turn to reading */
#define QUIET_NS SECOND           /* after a flood: nothing came for so long, so nothing more will */
#define SETTLE_NS (SECOND / 2)    /* idle agents: for what the server does after the last register */
#define SPIN_NS 50000             /* a sleep may end this late: the last stretch before a due message is polled */
#define SEND_BUFFER_BYTES (256u << 10)
#define EVENTS_AT_ONCE 512

enum agent_state {
    AGENT_OUT, /* not connected: before its turn, between two lives in BENCH_CHURN, or lost */
    AGENT_CONNECTING,
    AGENT_UPGRADING,
    AGENT_REGISTERING,
    AGENT_READY,
    AGENT_CLOSING, /* said goodbye, waits for the server's end */
};

struct agent {
    struct tcp_stream stream;
    enum agent_state state;
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

struct load {
    const struct bench_plan *plan;
    struct bench_result *result;
    char *error;
    int poller;
    struct agent *agents;
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

static bool fail(struct load *load, const char *what, int error)
{
    if (!load->failed)
        snprintf(load->error, BENCH_ERROR_SIZE, "%s%s%s", what, error ? ": " : "", error ? tcp_error(error) : "");
    load->failed = true;
    return false;
}

static void mark_dirty(struct load *load, unsigned index)
{
    struct agent *agent = &load->agents[index];
    if (agent->dirty || agent->credit == 0 || agent->state != AGENT_READY || tcp_has_unsent(&agent->stream))
        return;
    agent->dirty = true;
    load->dirty[load->dirty_count++] = index;
}

static bool is_sender(const struct load *load, unsigned index)
{
    return !load->plan->one_way || index % 2 == 0;
}

static bool is_receiver(const struct load *load, unsigned index)
{
    return !load->plan->one_way || index % 2 == 1;
}

static void watch(struct load *load, unsigned index, int operation)
{
    struct agent *agent = &load->agents[index];
    agent->watches_writing = agent->state == AGENT_CONNECTING || tcp_wants_write(&agent->stream);
    bool deaf = load->deaf && agent->state == AGENT_READY && is_receiver(load, index);
    struct epoll_event event = {.events = (deaf ? 0 : EPOLLIN) | (agent->watches_writing ? EPOLLOUT : 0),
                                .data.u32 = index};
    if (epoll_ctl(load->poller, operation, agent->stream.descriptor, &event) < 0)
        fail(load, "cannot watch a connection", -errno);
}

static void start_agent(struct load *load, unsigned index)
{
    struct agent *agent = &load->agents[index];
    int error = tcp_start(&agent->stream, (struct sockaddr *)&load->address, load->address_length);
    if (error != 0) {
        fail(load, "cannot connect", error);
        return;
    }
    agent->state = AGENT_CONNECTING;
    agent->started = load->now;
    agent->unsettled = 0;
    load->opening++;
    watch(load, index, EPOLL_CTL_ADD);
}

static void end_agent(struct load *load, unsigned index)
{
    struct agent *agent = &load->agents[index];
    bool expected = agent->state == AGENT_CLOSING;
    if (agent->state == AGENT_READY)
        load->ready--;
    else if (!expected)
        load->opening--;
    tcp_close(&agent->stream);
    agent->state = AGENT_OUT;
    if (!expected)
        load->result->disconnected++;
    load->result->cut_off += agent->unsettled;
    load->awaiting -= agent->awaits_pong;
    agent->awaits_pong = false;
    agent->unsettled = 0;
    if (load->plan->scenario == BENCH_CHURN && load->sending && !load->failed)
        start_agent(load, index);
}

static void send_bytes(struct load *load, unsigned index, struct slice bytes)
{
    struct agent *agent = &load->agents[index];
    if (tcp_send(&agent->stream, bytes) != 0)
        return; /* the stream is broken: the next receive says so and ends the agent */
    if (tcp_wants_write(&agent->stream) != agent->watches_writing)
        watch(load, index, EPOLL_CTL_MOD);
}

/* A stamp is the time, moved on by the nanosecond where one sender sends several at once: so they stay unique. */
static uint64_t next_stamp(struct agent *agent, uint64_t time)
{
    agent->last_sent = time > agent->last_sent ? time : agent->last_sent + 1;
    return agent->last_sent;
}

/* A letter, 24 bits of the run and 18 of a number. Several generators may run at once: two with the same ids would take
 * each other's connections over. */
static void make_id(char id[WIRE_ID_LENGTH], char kind, unsigned run, unsigned number)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
    id[0] = kind;
    for (int i = 1; i < 5; i++, run >>= 6)
        id[i] = digits[run & 63];
    for (int i = 5; i < WIRE_ID_LENGTH; i++, number >>= 6)
        id[i] = digits[number & 63];
}

static const char *recipient(struct load *load, unsigned index, char absent[WIRE_ID_LENGTH])
{
    if (load->plan->absent == 0)
        return load->agents[load->agents[index].partner].id;
    make_id(absent, 'a', load->run, load->next_absent);
    load->next_absent = (load->next_absent + 1) % load->plan->absent;
    return absent;
}

static void send_messages(struct load *load, unsigned index, unsigned count, uint64_t time)
{
    struct agent *agent = &load->agents[index];
    char absent[WIRE_ID_LENGTH];
    const char *to = recipient(load, index, absent);
    size_t length = load->template.length;
    while (count > 0) {
        size_t used = 0;
        for (; count > 0 && used + length <= load->send_capacity; count--, used += length)
            wire_fill(&load->template, load->send_buffer + used, to, next_stamp(agent, time));
        load->sent += used / length;
        agent->unsettled += used / length;
        send_bytes(load, index, slice_from(load->send_buffer, used));
    }
}

static void send_to_all_dirty(struct load *load)
{
    for (unsigned i = 0; i < load->dirty_count; i++) {
        struct agent *agent = &load->agents[load->dirty[i]];
        uint32_t credit = agent->credit;
        agent->dirty = false;
        if (agent->state != AGENT_READY || !load->sending)
            continue;
        agent->credit = 0;
        load->now = clock_steady_ns();
        send_messages(load, load->dirty[i], credit, load->now);
    }
    load->dirty_count = 0;
}

static unsigned next_sender(const struct load *load)
{
    unsigned next = load->next_sender + (load->plan->one_way ? 2 : 1);
    return next < load->count ? next : 0;
}

static void send_what_is_due(struct load *load)
{
    double step = (double)SECOND / load->plan->rate;
    unsigned at_most = load->count; /* then look what has come: receiving must not starve */
    while (load->due <= (double)load->now && at_most-- > 0) {
        send_messages(load, load->next_sender, 1, (uint64_t)load->due);
        load->next_sender = next_sender(load);
        load->due += step;
    }
}

/* The same, but to connections that take it: what the server does not take waits here, unmade. */
static void flood(struct load *load)
{
    const struct bench_plan *plan = load->plan;
    double step = plan->rate > 0 ? (double)SECOND / plan->rate : 0;
    load->blocked = true;
    for (unsigned tried = 0; tried < load->count && load->due <= (double)load->now; tried++) {
        unsigned index = load->next_sender;
        load->next_sender = next_sender(load);
        if (load->agents[index].state != AGENT_READY || tcp_has_unsent(&load->agents[index].stream))
            continue;
        if (plan->bytes > 0 && load->sent_bytes >= plan->bytes) {
            load->sending = false;
            return;
        }
        send_messages(load, index, 1, load->now);
        load->sent_bytes += plan->size;
        load->due += step;
        load->blocked = false;
    }
    if (load->due > (double)load->now)
        load->blocked = false;
}

static void turn(struct load *load)
{
    load->deaf = !load->deaf;
    load->next_turn = load->now + (uint64_t)(load->plan->pause * (double)SECOND);
    for (unsigned i = 0; i < load->count; i++)
        if (load->agents[i].state == AGENT_READY && is_receiver(load, i))
            watch(load, i, EPOLL_CTL_MOD);
}

static void rejoin(struct load *load)
{
    load->next_rejoin = load->now + TICK_NS;
    for (unsigned i = 0; i < load->opened && load->opening < OPENING_AT_ONCE && !load->failed; i++)
        if (load->agents[i].state == AGENT_OUT)
            start_agent(load, i);
}

static void give_credit(struct load *load, unsigned index, uint32_t credit)
{
    load->agents[index].credit += credit;
    mark_dirty(load, index);
}

static void say_goodbye(struct load *load, unsigned index)
{
    struct agent *agent = &load->agents[index];
    char text[WIRE_TEXT_MAXIMUM];
    size_t length = wire_close(load->plan->protocol, text);
    agent->state = AGENT_CLOSING;
    load->ready--;
    if (length > 0)
        send_bytes(load, index, slice_from(text, length));
    else
        end_agent(load, index);
}

static void on_delivery(struct load *load, unsigned index, struct slice text)
{
    struct agent *agent = &load->agents[index];
    uint64_t stamp;
    if (!wire_stamp(text, &agent->stamp_offset, &stamp))
        return; /* left over from something else: not one of ours */
    if (stamp == agent->last_received) {
        load->result->repeated++; /* not a delivery: it must not hide a loss */
        return;
    }
    load->delivered++;
    if (stamp < agent->last_received)
        load->result->reordered++;
    else
        agent->last_received = stamp;
    if (load->measuring) {
        uint64_t since = load->plan->scenario == BENCH_CHURN ? agent->started : stamp;
        uint64_t latency = load->now > since ? load->now - since : 0;
        histogram_record(&load->result->latency, latency);
        bench_progress_record(load->progress, latency);
    }
    if (load->plan->scenario == BENCH_DIRECT) {
        give_credit(load, agent->source, 1);
    } else if (load->plan->scenario == BENCH_BROADCAST) {
        if (load->delivered / load->fan > load->broadcasts_done) {
            give_credit(load, 0, (uint32_t)(load->delivered / load->fan - load->broadcasts_done));
            load->broadcasts_done = load->delivered / load->fan;
        }
    } else if (load->plan->scenario == BENCH_CHURN) {
        say_goodbye(load, index);
    }
}

static void on_refusal(struct load *load, struct slice text)
{
    tally_count_answer(&load->result->codes, text);
    if (load->result->refused++ == 0)
        snprintf(load->result->first_refusal, BENCH_ERROR_SIZE, "%.*s",
                 (int)(text.length < BENCH_ERROR_SIZE ? text.length : BENCH_ERROR_SIZE - 1), text.data);
}

static void on_ready(struct load *load, unsigned index)
{
    struct agent *agent = &load->agents[index];
    if (agent->state != AGENT_REGISTERING)
        return;
    agent->state = AGENT_READY;
    load->opening--;
    load->ready++;
    if (load->plan->scenario == BENCH_CHURN)
        give_credit(load, index, 1);
}

static void handle(struct load *load, unsigned index, enum wire_event event, struct slice text)
{
    struct agent *agent = &load->agents[index];
    char answer[WIRE_TEXT_MAXIMUM];
    size_t length;
    switch (event) {
    case WIRE_OPENED:
        length = wire_registration(load->plan->protocol, answer, agent->id, load->plan->token);
        agent->state = AGENT_REGISTERING;
        send_bytes(load, index, slice_from(answer, length));
        break;
    case WIRE_REGISTERED:
        on_ready(load, index);
        break;
    case WIRE_DELIVERY:
        on_delivery(load, index, text);
        break;
    case WIRE_PING:
        length = wire_pong(load->plan->protocol, answer, text);
        send_bytes(load, index, slice_from(answer, length));
        break;
    case WIRE_PONG:
        load->awaiting -= agent->awaits_pong;
        agent->awaits_pong = false;
        agent->unsettled = 0;
        break;
    case WIRE_REFUSAL:
        if (agent->state != AGENT_CLOSING) /* then it is the close frame that answers ours */
            on_refusal(load, text);
        break;
    default:
        break;
    }
}

static void receive(struct load *load, unsigned index)
{
    struct agent *agent = &load->agents[index];
    struct slice rest, text = {0};
    int got = tcp_receive(&agent->stream, &load->buffer, &rest);
    if (got <= 0) {
        if (got < 0)
            end_agent(load, index);
        return;
    }
    load->now = clock_steady_ns();
    enum wire_event event;
    while ((event = wire_next(load->plan->protocol, agent->state >= AGENT_REGISTERING, &rest, &text)) != WIRE_MORE) {
        if (event == WIRE_BROKEN) {
            on_refusal(load, text);
            end_agent(load, index);
            return;
        }
        handle(load, index, event, text);
        if (agent->state == AGENT_OUT || agent->state == AGENT_CONNECTING)
            return; /* ended while it was handled, perhaps begun anew */
    }
    if (tcp_hold(&agent->stream, rest) != 0)
        fail(load, "out of memory", 0);
}

static void connected(struct load *load, unsigned index)
{
    struct agent *agent = &load->agents[index];
    char text[WIRE_TEXT_MAXIMUM];
    int error = tcp_connected(&agent->stream);
    if (error == 0)
        error = tcp_secure(&agent->stream, &load->plan->url);
    if (error != 0) {
        fail(load, "cannot connect", error);
        return;
    }
    bool listens_to_all = load->plan->scenario == BENCH_BROADCAST && index > 0;
    size_t length = wire_opening(load->plan->protocol, text, &load->plan->url, load->plan->token, agent->id,
                                 listens_to_all ? load->subject : NULL);
    if (length == 0) {
        fail(load, "the URL or the token is too long", 0);
        return;
    }
    agent->state = load->plan->protocol == WIRE_NATS ? AGENT_REGISTERING : AGENT_UPGRADING;
    send_bytes(load, index, slice_from(text, length));
}

static void writable(struct load *load, unsigned index)
{
    struct agent *agent = &load->agents[index];
    if (agent->state == AGENT_CONNECTING) {
        connected(load, index);
        return;
    }
    if (tcp_flush(&agent->stream) != 0 || tcp_has_unsent(&agent->stream))
        return;
    watch(load, index, EPOLL_CTL_MOD);
    mark_dirty(load, index);
}

/* One loop pass. Waits no longer than until `until`. */
static void pass(struct load *load, uint64_t until)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    uint64_t wake = until;
    bool floods = load->plan->scenario == BENCH_FLOOD;
    bool open_loop = (load->plan->scenario == BENCH_OPEN || floods) && load->sending;
    if (floods && wake > load->now + TICK_NS)
        wake = load->now + TICK_NS;
    if (open_loop && load->due < (double)wake && !load->blocked)
        wake = load->due > SPIN_NS ? (uint64_t)load->due - SPIN_NS : 0;
    if (load->progress->every > 0 && load->progress->next < wake)
        wake = load->progress->next;
    uint64_t wait = wake > load->now ? wake - load->now : 0;
    struct timespec timeout = {(time_t)(wait / SECOND), (long)(wait % SECOND)};
    int count = epoll_pwait2(load->poller, events, EVENTS_AT_ONCE, &timeout, NULL);
    if (count < 0 && errno != EINTR)
        fail(load, "cannot wait for connections", -errno);
    load->now = clock_steady_ns();
    for (int i = 0; i < count && !load->failed; i++) {
        unsigned index = events[i].data.u32;
        if (events[i].events & EPOLLOUT && load->agents[index].state != AGENT_OUT)
            writable(load, index);
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR) && load->agents[index].state > AGENT_CONNECTING)
            receive(load, index);
    }
    if (open_loop) {
        load->now = clock_steady_ns();
        if (floods)
            flood(load);
        else
            send_what_is_due(load);
    }
    send_to_all_dirty(load);
    if (floods && load->plan->pause > 0 && load->sending && load->now >= load->next_turn)
        turn(load);
    if (floods && load->sending && load->now >= load->next_rejoin)
        rejoin(load);
    if (bench_progress_due(load->progress, load->now))
        bench_progress_write(
            load->progress, load->now,
            &(struct bench_totals){load->sent, load->delivered, load->result->refused, load->result->disconnected});
}

static bool join_all(struct load *load)
{
    uint64_t last_progress = load->now = clock_steady_ns();
    unsigned ready = 0;
    while (load->ready < load->count) {
        if (bench_interrupted())
            return fail(load, "interrupted before all agents were in", 0);
        while (load->opened < load->count && load->opening < OPENING_AT_ONCE && !load->failed)
            start_agent(load, load->opened++);
        pass(load, load->now + SECOND / 10);
        if (load->failed)
            return false;
        if (load->result->refused > 0 || load->result->disconnected > 0) {
            char what[BENCH_ERROR_SIZE];
            snprintf(what, sizeof what, "the server let %u of %u agents in, then refused%s%.180s", load->ready,
                     load->count, load->result->refused ? ": " : "", load->result->first_refusal);
            return fail(load, what, 0);
        }
        if (load->ready != ready)
            last_progress = load->now;
        ready = load->ready;
        if (load->now - last_progress > PATIENCE_NS)
            return fail(load, "the server accepts connections but does not let the agents in", 0);
    }
    return true;
}

static void run_until(struct load *load, uint64_t end)
{
    while (load->now < end && !load->failed && !bench_interrupted() &&
           (load->sending || load->plan->scenario != BENCH_FLOOD))
        pass(load, end);
}

/* After a flood: reads all that comes, and asks every connection for a pong, which comes behind the answers to all that
 * was sent on it. Waits as long as there is progress. */
static void settle(struct load *load)
{
    if (load->deaf)
        turn(load);
    for (unsigned i = 0; i < load->count; i++) {
        struct agent *agent = &load->agents[i];
        char text[WIRE_TEXT_MAXIMUM];
        if (agent->state != AGENT_READY)
            continue;
        agent->awaits_pong = true;
        load->awaiting++;
        send_bytes(load, i, slice_from(text, wire_ping(load->plan->protocol, text)));
    }
    uint64_t heard = 0, last = load->now;
    while (!load->failed && load->now - last < (load->awaiting > 0 ? PATIENCE_NS : QUIET_NS)) {
        if (load->awaiting == 0 && load->delivered + load->result->refused >= load->sent)
            break;
        pass(load, load->now + TICK_NS);
        uint64_t now_heard = load->delivered + load->result->refused + load->count - load->awaiting;
        if (now_heard != heard)
            last = load->now;
        heard = now_heard;
    }
    load->result->unanswered = load->awaiting;
}

static uint64_t own_cpu_ns(void)
{
    struct timespec spent;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
    return (uint64_t)spent.tv_sec * SECOND + (uint64_t)spent.tv_nsec;
}

static void measure(struct load *load)
{
    struct bench_result *result = load->result;
    const struct bench_plan *plan = load->plan;
    load->sending = true;
    load->due = (double)load->now;
    if (plan->scenario == BENCH_DIRECT)
        for (unsigned i = 0; i < load->count; i++)
            give_credit(load, i, is_sender(load, i) ? plan->window : 0);
    else if (plan->scenario == BENCH_BROADCAST)
        give_credit(load, 0, plan->window);
    send_to_all_dirty(load);
    run_until(load, load->now + (uint64_t)(plan->warmup * (double)SECOND));

    uint64_t start = load->now, delivered = load->delivered, own = own_cpu_ns();
    uint64_t server = plan->server.pids[0] ? server_cpu_ns(&plan->server) : 0;
    load->measuring = true;
    bench_progress_start(load->progress, plan->progress, start);
    load->next_turn = start + (uint64_t)(plan->pause * (double)SECOND);
    run_until(load, start + (uint64_t)(plan->seconds * (double)SECOND));
    load->measuring = false;
    result->seconds = (double)(load->now - start) / (double)SECOND;
    result->delivered = load->delivered - delivered;
    result->generator_cpu = (double)(own_cpu_ns() - own) / (double)(load->now - start);
    if (plan->server.pids[0]) {
        result->server_cpu_ns = server_cpu_since(&plan->server, server);
        result->rss_after = server_rss_bytes(&plan->server);
    }

    load->sending = false;
    load->progress->every = 0;
    if (plan->scenario == BENCH_FLOOD)
        settle(load);
    uint64_t end = plan->scenario == BENCH_FLOOD ? 0 : load->now + DRAIN_NS;
    while (load->delivered < load->sent * load->fan && load->now < end && !load->failed)
        pass(load, end);
    result->sent = load->sent;
    result->received = load->delivered;
    if (plan->scenario != BENCH_FLOOD) /* there a limit may take some: the server's counters say which */
        result->lost = load->sent * load->fan > load->delivered ? load->sent * load->fan - load->delivered : 0;
}

bool bench_resolve(const struct bridge_url *url, struct sockaddr_storage *address, socklen_t *length,
                   char error[BENCH_ERROR_SIZE])
{
    struct tcp_stream probe;
    int number = tcp_connect(&probe, url, CONNECT_TIMEOUT_MS);
    if (number != 0) {
        char authority[BRIDGE_URL_AUTHORITY_SIZE];
        bridge_url_authority(url, authority);
        snprintf(error, BENCH_ERROR_SIZE,
                 "cannot reach a server at %.100s: %.100s; start a bridge with `luaduct run`, or say where it is with "
                 "--url",
                 authority, tcp_error(number));
        return false;
    }
    *length = sizeof *address;
    getpeername(probe.descriptor, (struct sockaddr *)address, length);
    tcp_close(&probe);
    return true;
}

static bool prepare(struct load *load)
{
    const struct bench_plan *plan = load->plan;
    load->count = plan->agents + (plan->scenario == BENCH_BROADCAST ? 1 : 0);
    load->fan = plan->scenario == BENCH_BROADCAST ? plan->agents : 1;
    if (system_raise_file_limit() < load->count + 32)
        return fail(load, "too many agents for the limit of open files: raise it with ulimit -n", 0);
    load->run = (unsigned)random_u64();
    make_id(load->subject, 'c', load->run, 0);
    load->agents = calloc(load->count, sizeof *load->agents);
    load->dirty = calloc(load->count, sizeof *load->dirty);
    if (!load->agents || !load->dirty)
        return fail(load, "out of memory", 0);
    for (unsigned i = 0; i < load->count; i++) {
        struct agent *agent = &load->agents[i];
        make_id(agent->id, 'b', load->run, i);
        agent->stream.descriptor = -1;
        agent->partner = plan->scenario == BENCH_CHURN ? i : plan->ring ? (i + 1) % load->count : i ^ 1;
        agent->source = plan->ring ? (i + load->count - 1) % load->count : i ^ 1;
        if (agent->partner >= load->count) /* the broadcaster sends to nobody by name */
            agent->partner = agent->source = i;
    }
    struct wire_shape shape = {.size = plan->size,
                               .to = plan->scenario == BENCH_BROADCAST ? NULL : "12345678",
                               .subject = load->subject,
                               .intent = plan->intent,
                               .depth = plan->depth,
                               .numbers = plan->numbers};
    if (!wire_template_make(&load->template, plan->protocol, &shape))
        return fail(load, "out of memory", 0);
    load->send_capacity = load->template.length > SEND_BUFFER_BYTES ? load->template.length : SEND_BUFFER_BYTES;
    load->send_buffer = malloc(load->send_capacity);
    load->poller = epoll_create1(EPOLL_CLOEXEC);
    if (!load->send_buffer || load->poller < 0)
        return fail(load, "out of memory or descriptors", 0);
    prctl(PR_SET_TIMERSLACK, 1); /* nanoseconds; the default of 50 µs would be seen in an open loop's percentiles */
    return true;
}

static void release(struct load *load)
{
    for (unsigned i = 0; load->agents && i < load->count; i++)
        tcp_close(&load->agents[i].stream);
    if (load->poller >= 0)
        close(load->poller);
    free(load->agents);
    free(load->dirty);
    free(load->send_buffer);
    free(load->buffer.data);
    wire_template_free(&load->template);
}

bool bench_run(const struct bench_plan *plan, struct bench_result *result, char error[BENCH_ERROR_SIZE])
{
    static struct bench_progress progress; /* large: the histogram */
    struct load load = {.plan = plan, .result = result, .error = error, .poller = -1, .progress = &progress};
    memset(result, 0, sizeof *result);
    if (plan->server.pids[0] && server_cpu_ns(&plan->server) == 0)
        fail(&load, "there is no process with the given --server-pid", 0);
    if (!load.failed && prepare(&load))
        load.failed = !bench_resolve(&plan->url, &load.address, &load.address_length, error);
    if (!load.failed) {
        result->server_rss_before = server_rss_bytes(&plan->server);
        if (plan->scenario == BENCH_CHURN) {
            load.now = clock_steady_ns();
            load.sending = true;
            while (load.opened < load.count && !load.failed)
                start_agent(&load, load.opened++);
        } else {
            join_all(&load);
        }
        if (!load.failed && plan->scenario == BENCH_IDLE)
            run_until(&load, load.now + SETTLE_NS);
        if (!load.failed)
            measure(&load);
    }
    release(&load);
    return !load.failed;
}
