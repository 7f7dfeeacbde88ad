#include "client/bench/bench_agents.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"

bool bench_fail(struct bench_load *load, const char *what, int error)
{
    if (!load->failed)
        snprintf(load->error, BENCH_ERROR_SIZE, "%s%s%s", what, error ? ": " : "", error ? tcp_error(error) : "");
    load->failed = true;
    return false;
}

static void mark_dirty(struct bench_load *load, unsigned index)
{
    struct bench_agent *agent = &load->agents[index];
    if (agent->dirty || agent->credit == 0 || agent->state != AGENT_READY || tcp_has_unsent(&agent->stream))
        return;
    agent->dirty = true;
    load->dirty[load->dirty_count++] = index;
}

bool bench_agent_sends(const struct bench_load *load, unsigned index)
{
    return !load->plan->one_way || index % 2 == 0;
}

bool bench_agent_listens(const struct bench_load *load, unsigned index)
{
    return !load->plan->one_way || index % 2 == 1;
}

void bench_agent_watch(struct bench_load *load, unsigned index, poller_wanting *wanting)
{
    struct bench_agent *agent = &load->agents[index];
    agent->watches_writing = agent->state == AGENT_CONNECTING || tcp_wants_write(&agent->stream);
    bool deaf = load->deaf && agent->state == AGENT_READY && bench_agent_listens(load, index);
    unsigned events = (deaf ? 0 : POLLER_READ) | (agent->watches_writing ? POLLER_WRITE : 0);
    void *owner = (void *)(uintptr_t)index;
    if (!wanting(&load->poller, &agent->polled, agent->stream.descriptor, events, owner))
        bench_fail(load, "cannot watch a connection", -errno);
}

void bench_agent_start(struct bench_load *load, unsigned index)
{
    struct bench_agent *agent = &load->agents[index];
    int error = tcp_start(&agent->stream, (struct sockaddr *)&load->address, load->address_length);
    if (error != 0) {
        bench_fail(load, "cannot connect", error);
        return;
    }
    agent->state = AGENT_CONNECTING;
    agent->started = load->now;
    agent->unsettled = 0;
    load->opening++;
    bench_agent_watch(load, index, poller_add);
}

static void end_agent(struct bench_load *load, unsigned index)
{
    struct bench_agent *agent = &load->agents[index];
    bool expected = agent->state == AGENT_CLOSING;
    if (agent->state == AGENT_READY)
        load->ready--;
    else if (!expected)
        load->opening--;
    poller_forget(&load->poller, &agent->polled, agent->stream.descriptor);
    tcp_close(&agent->stream);
    agent->state = AGENT_OUT;
    if (!expected)
        load->result->disconnected++;
    load->result->cut_off += agent->unsettled;
    load->awaiting -= agent->awaits_pong;
    agent->awaits_pong = false;
    agent->unsettled = 0;
    if (load->plan->scenario == BENCH_CHURN && load->sending && !load->failed)
        bench_agent_start(load, index);
}

void bench_agent_send_bytes(struct bench_load *load, unsigned index, struct slice bytes)
{
    struct bench_agent *agent = &load->agents[index];
    if (tcp_send(&agent->stream, bytes) != 0)
        return; /* the stream is broken: the next receive says so and ends the agent */
    if (tcp_wants_write(&agent->stream) != agent->watches_writing)
        bench_agent_watch(load, index, poller_change);
}

/* A stamp is the time, moved on by the nanosecond where one sender sends several at once: so they stay unique. */
static uint64_t next_stamp(struct bench_agent *agent, uint64_t time)
{
    agent->last_sent = time > agent->last_sent ? time : agent->last_sent + 1;
    return agent->last_sent;
}

void bench_make_id(char id[WIRE_ID_LENGTH], char kind, unsigned run, unsigned number)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
    id[0] = kind;
    for (int i = 1; i < 5; i++, run >>= 6)
        id[i] = digits[run & 63];
    for (int i = 5; i < WIRE_ID_LENGTH; i++, number >>= 6)
        id[i] = digits[number & 63];
}

static const char *recipient(struct bench_load *load, unsigned index, char absent[WIRE_ID_LENGTH])
{
    if (load->plan->absent == 0)
        return load->agents[load->agents[index].partner].id;
    bench_make_id(absent, 'a', load->run, load->next_absent);
    load->next_absent = (load->next_absent + 1) % load->plan->absent;
    return absent;
}

void bench_agent_send(struct bench_load *load, unsigned index, unsigned count, uint64_t time)
{
    struct bench_agent *agent = &load->agents[index];
    char absent[WIRE_ID_LENGTH];
    const char *to = recipient(load, index, absent);
    size_t length = load->template.length;
    while (count > 0) {
        size_t used = 0;
        for (; count > 0 && used + length <= load->send_capacity; count--, used += length)
            wire_fill(&load->template, load->send_buffer + used, to, next_stamp(agent, time));
        load->sent += used / length;
        agent->unsettled += used / length;
        bench_agent_send_bytes(load, index, slice_from(load->send_buffer, used));
    }
}

void bench_agent_credit(struct bench_load *load, unsigned index, uint32_t credit)
{
    load->agents[index].credit += credit;
    mark_dirty(load, index);
}

static void say_goodbye(struct bench_load *load, unsigned index)
{
    struct bench_agent *agent = &load->agents[index];
    char text[WIRE_TEXT_MAXIMUM];
    size_t length = wire_close(load->plan->protocol, text);
    agent->state = AGENT_CLOSING;
    load->ready--;
    if (length > 0)
        bench_agent_send_bytes(load, index, slice_from(text, length));
    else
        end_agent(load, index);
}

static void on_delivery(struct bench_load *load, unsigned index, struct slice text)
{
    struct bench_agent *agent = &load->agents[index];
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
        hdr_histogram_record(&load->result->latency, latency);
        bench_progress_record(load->progress, latency);
    }
    if (load->plan->scenario == BENCH_DIRECT) {
        bench_agent_credit(load, agent->source, 1);
    } else if (load->plan->scenario == BENCH_BROADCAST) {
        if (load->delivered / load->fan > load->broadcasts_done) {
            bench_agent_credit(load, 0, (uint32_t)(load->delivered / load->fan - load->broadcasts_done));
            load->broadcasts_done = load->delivered / load->fan;
        }
    } else if (load->plan->scenario == BENCH_CHURN) {
        say_goodbye(load, index);
    }
}

static void on_refusal(struct bench_load *load, struct slice text)
{
    tally_count_answer(&load->result->codes, text);
    if (load->result->refused++ == 0)
        snprintf(load->result->first_refusal, BENCH_ERROR_SIZE, "%.*s",
                 (int)(text.length < BENCH_ERROR_SIZE ? text.length : BENCH_ERROR_SIZE - 1), text.data);
}

static void on_ready(struct bench_load *load, unsigned index)
{
    struct bench_agent *agent = &load->agents[index];
    if (agent->state != AGENT_REGISTERING)
        return;
    agent->state = AGENT_READY;
    load->opening--;
    load->ready++;
    if (load->plan->scenario == BENCH_CHURN)
        bench_agent_credit(load, index, 1);
}

static void handle(struct bench_load *load, unsigned index, enum wire_event event, struct slice text)
{
    struct bench_agent *agent = &load->agents[index];
    char answer[WIRE_TEXT_MAXIMUM];
    size_t length;
    switch (event) {
    case WIRE_OPENED:
        length = wire_registration(load->plan->protocol, answer, agent->id, load->plan->token);
        agent->state = AGENT_REGISTERING;
        bench_agent_send_bytes(load, index, slice_from(answer, length));
        break;
    case WIRE_REGISTERED:
        on_ready(load, index);
        break;
    case WIRE_DELIVERY:
        on_delivery(load, index, text);
        break;
    case WIRE_PING:
        length = wire_pong(load->plan->protocol, answer, text);
        bench_agent_send_bytes(load, index, slice_from(answer, length));
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

void bench_agent_receive(struct bench_load *load, unsigned index)
{
    struct bench_agent *agent = &load->agents[index];
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
        bench_fail(load, "out of memory", 0);
}

static void connected(struct bench_load *load, unsigned index)
{
    struct bench_agent *agent = &load->agents[index];
    char text[WIRE_TEXT_MAXIMUM];
    int error = tcp_connected(&agent->stream);
    if (error == 0)
        error = tcp_secure(&agent->stream, &load->plan->url);
    if (error != 0) {
        bench_fail(load, "cannot connect", error);
        return;
    }
    bool listens_to_all = load->plan->scenario == BENCH_BROADCAST && index > 0;
    size_t length = wire_opening(load->plan->protocol, text, &load->plan->url, load->plan->token, agent->id,
                                 listens_to_all ? load->subject : NULL);
    if (length == 0) {
        bench_fail(load, "the URL or the token is too long", 0);
        return;
    }
    agent->state = load->plan->protocol == WIRE_NATS ? AGENT_REGISTERING : AGENT_UPGRADING;
    bench_agent_send_bytes(load, index, slice_from(text, length));
}

void bench_agent_write(struct bench_load *load, unsigned index)
{
    struct bench_agent *agent = &load->agents[index];
    if (agent->state == AGENT_CONNECTING) {
        connected(load, index);
        return;
    }
    if (tcp_flush(&agent->stream) != 0 || tcp_has_unsent(&agent->stream))
        return;
    bench_agent_watch(load, index, poller_change);
    mark_dirty(load, index);
}
