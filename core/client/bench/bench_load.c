/* One loop: wait, receive from whoever has something, then one send for each agent that may send, however many messages
 * that is. Nothing waits in step with the server but the windows.
 *
 * In the open loop the time at which a message should have gone out is in the message, so a server (or a generator)
 * that falls behind shows in the percentiles instead of hiding in them. */
#include "client/bench/bench_load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/system/system.h"
#include "client/bench/bench_agents.h"
#include "client/bench/bench_server.h"

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

static void send_to_all_dirty(struct bench_load *load)
{
    for (unsigned i = 0; i < load->dirty_count; i++) {
        struct bench_agent *agent = &load->agents[load->dirty[i]];
        uint32_t credit = agent->credit;
        agent->dirty = false;
        if (agent->state != AGENT_READY || !load->sending)
            continue;
        agent->credit = 0;
        load->now = clock_steady_ns();
        bench_agent_send(load, load->dirty[i], credit, load->now);
    }
    load->dirty_count = 0;
}

static unsigned next_sender(const struct bench_load *load)
{
    unsigned next = load->next_sender + (load->plan->one_way ? 2 : 1);
    return next < load->count ? next : 0;
}

static void send_what_is_due(struct bench_load *load)
{
    double step = (double)SECOND / load->plan->rate;
    unsigned at_most = load->count; /* then look what has come: receiving must not starve */
    while (load->due <= (double)load->now && at_most-- > 0) {
        bench_agent_send(load, load->next_sender, 1, (uint64_t)load->due);
        load->next_sender = next_sender(load);
        load->due += step;
    }
}

/* The same, but to connections that take it: what the server does not take waits here, unmade. */
static void flood(struct bench_load *load)
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
        bench_agent_send(load, index, 1, load->now);
        load->sent_bytes += plan->size;
        load->due += step;
        load->blocked = false;
    }
    if (load->due > (double)load->now)
        load->blocked = false;
}

static void turn(struct bench_load *load)
{
    load->deaf = !load->deaf;
    load->next_turn = load->now + (uint64_t)(load->plan->pause * (double)SECOND);
    for (unsigned i = 0; i < load->count; i++)
        if (load->agents[i].state == AGENT_READY && bench_agent_listens(load, i))
            bench_agent_watch(load, i, poller_change);
}

static void rejoin(struct bench_load *load)
{
    load->next_rejoin = load->now + TICK_NS;
    for (unsigned i = 0; i < load->opened && load->opening < OPENING_AT_ONCE && !load->failed; i++)
        if (load->agents[i].state == AGENT_OUT)
            bench_agent_start(load, i);
}

/* One loop pass. Waits no longer than until `until`. */
static void pass(struct bench_load *load, uint64_t until)
{
    struct poller_event events[EVENTS_AT_ONCE];
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
    int count = poller_wait_ns(&load->poller, events, EVENTS_AT_ONCE, wait);
    if (count < 0 && errno != EINTR)
        bench_fail(load, "cannot wait for connections", -errno);
    load->now = clock_steady_ns();
    for (int i = 0; i < count && !load->failed; i++) {
        unsigned index = (unsigned)(uintptr_t)poller_owner(&events[i]);
        if (events[i].events & POLLER_WRITE && load->agents[index].state != AGENT_OUT)
            bench_agent_write(load, index);
        if (events[i].events & (POLLER_READ | POLLER_FAILED) && load->agents[index].state > AGENT_CONNECTING)
            bench_agent_receive(load, index);
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

static bool join_all(struct bench_load *load)
{
    uint64_t last_progress = load->now = clock_steady_ns();
    unsigned ready = 0;
    while (load->ready < load->count) {
        if (bench_interrupted())
            return bench_fail(load, "interrupted before all agents were in", 0);
        while (load->opened < load->count && load->opening < OPENING_AT_ONCE && !load->failed)
            bench_agent_start(load, load->opened++);
        pass(load, load->now + SECOND / 10);
        if (load->failed)
            return false;
        if (load->result->refused > 0 || load->result->disconnected > 0) {
            char what[BENCH_ERROR_SIZE];
            snprintf(what, sizeof what, "the server let %u of %u agents in, then refused%s%.180s", load->ready,
                     load->count, load->result->refused ? ": " : "", load->result->first_refusal);
            return bench_fail(load, what, 0);
        }
        if (load->ready != ready)
            last_progress = load->now;
        ready = load->ready;
        if (load->now - last_progress > PATIENCE_NS)
            return bench_fail(load, "the server accepts connections but does not let the agents in", 0);
    }
    return true;
}

static void run_until(struct bench_load *load, uint64_t end)
{
    while (load->now < end && !load->failed && !bench_interrupted() &&
           (load->sending || load->plan->scenario != BENCH_FLOOD))
        pass(load, end);
}

/* After a flood: reads all that comes, and asks every connection for a pong, which comes behind the answers to all that
 * was sent on it. Waits as long as there is progress. */
static void settle(struct bench_load *load)
{
    if (load->deaf)
        turn(load);
    for (unsigned i = 0; i < load->count; i++) {
        struct bench_agent *agent = &load->agents[i];
        char text[WIRE_TEXT_MAXIMUM];
        if (agent->state != AGENT_READY)
            continue;
        agent->awaits_pong = true;
        load->awaiting++;
        bench_agent_send_bytes(load, i, slice_from(text, wire_ping(load->plan->protocol, text)));
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

static void measure(struct bench_load *load)
{
    struct bench_result *result = load->result;
    const struct bench_plan *plan = load->plan;
    load->sending = true;
    load->due = (double)load->now;
    if (plan->scenario == BENCH_DIRECT)
        for (unsigned i = 0; i < load->count; i++)
            bench_agent_credit(load, i, bench_agent_sends(load, i) ? plan->window : 0);
    else if (plan->scenario == BENCH_BROADCAST)
        bench_agent_credit(load, 0, plan->window);
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

static bool prepare(struct bench_load *load)
{
    const struct bench_plan *plan = load->plan;
    load->count = plan->agents + (plan->scenario == BENCH_BROADCAST ? 1 : 0);
    load->fan = plan->scenario == BENCH_BROADCAST ? plan->agents : 1;
    if (system_raise_file_limit() < load->count + 32)
        return bench_fail(load, "too many agents for the limit of open files: raise it with ulimit -n", 0);
    load->run = (unsigned)random_u64();
    bench_make_id(load->subject, 'c', load->run, 0);
    load->agents = calloc(load->count, sizeof *load->agents);
    load->dirty = calloc(load->count, sizeof *load->dirty);
    if (!load->agents || !load->dirty)
        return bench_fail(load, "out of memory", 0);
    for (unsigned i = 0; i < load->count; i++) {
        struct bench_agent *agent = &load->agents[i];
        bench_make_id(agent->id, 'b', load->run, i);
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
        return bench_fail(load, "out of memory", 0);
    load->send_capacity = load->template.length > SEND_BUFFER_BYTES ? load->template.length : SEND_BUFFER_BYTES;
    load->send_buffer = malloc(load->send_capacity);
    if (!load->send_buffer || !poller_open_alone(&load->poller))
        return bench_fail(load, "out of memory or descriptors", 0);
    system_time_precisely(); /* or it would be seen in an open loop's percentiles */
    return true;
}

static void release(struct bench_load *load)
{
    poller_close(&load->poller);
    for (unsigned i = 0; load->agents && i < load->count; i++)
        tcp_close(&load->agents[i].stream);
    free(load->agents);
    free(load->dirty);
    free(load->send_buffer);
    free(load->buffer.data);
    wire_template_free(&load->template);
}

bool bench_run(const struct bench_plan *plan, struct bench_result *result, char error[BENCH_ERROR_SIZE])
{
    static struct bench_progress progress; /* large: the histogram */
    struct bench_load load = {.plan = plan, .result = result, .error = error, .progress = &progress};
    memset(result, 0, sizeof *result);
    poller_clear(&load.poller);
    if (plan->server.pids[0] && server_cpu_ns(&plan->server) == 0)
        bench_fail(&load, "there is no process with the given --server-pid", 0);
    if (!load.failed && prepare(&load))
        load.failed = !bench_resolve(&plan->url, &load.address, &load.address_length, error);
    if (!load.failed) {
        result->server_rss_before = server_rss_bytes(&plan->server);
        if (plan->scenario == BENCH_CHURN) {
            load.now = clock_steady_ns();
            load.sending = true;
            while (load.opened < load.count && !load.failed)
                bench_agent_start(&load, load.opened++);
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
