/* The worker pool with operations of the test's own, which come in as a user's would: `echo` gives its data back,
 * `block` runs until the gate opens or it is told to stop, `deaf` runs until the gate opens whatever it is told. */
#include "../../support/unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "workers/worker_pool.h"

static atomic_bool gate_open;
static atomic_uint running, interrupts, failures;
static char failure[256];

static void sleep_ms(unsigned ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

/* Waits for a condition, for at most ten seconds. */
#define EVENTUALLY(condition)                                                                                          \
    do {                                                                                                               \
        for (unsigned tries_ = 0; !(condition) && tries_ < 10000; tries_++)                                            \
            sleep_ms(1);                                                                                               \
        CHECK(condition);                                                                                              \
    } while (0)

static bool has(struct slice name)
{
    return slice_equal(name, SLICE("echo")) || slice_equal(name, SLICE("block")) || slice_equal(name, SLICE("deaf")) ||
           slice_equal(name, SLICE("fail")) || slice_equal(name, SLICE("bytes"));
}

static void *open_state(char *error, size_t size)
{
    (void)error, (void)size;
    return &running; /* something that is not NULL */
}

static void close_state(void *state)
{
    (void)state;
}

static void interrupt(void *state)
{
    (void)state;
    atomic_fetch_add(&interrupts, 1);
}

static enum operation_status run(void *state, struct slice name, struct operation_call *call)
{
    (void)state;
    if (slice_equal(name, SLICE("fail"))) {
        snprintf(call->error, sizeof call->error, "fail: as it should");
        return OPERATION_FAILED;
    }
    if (slice_equal(name, SLICE("bytes"))) {
        value_write_string(call->result, SLICE("\xff\xfe"));
        return OPERATION_DONE;
    }
    bool deaf = slice_equal(name, SLICE("deaf")), block = slice_equal(name, SLICE("block"));
    atomic_fetch_add(&running, 1);
    while ((deaf || block) && !atomic_load(&gate_open) && (deaf || !operation_stopped(call)))
        sleep_ms(1);
    atomic_fetch_sub(&running, 1);
    if (block && !atomic_load(&gate_open))
        return OPERATION_STOPPED;
    buffer_append(call->result, call->data, sizeof *call->data + call->data->bytes);
    return OPERATION_DONE;
}

static void failed(const char *reason)
{
    snprintf(failure, sizeof failure, "%s", reason);
    atomic_fetch_add(&failures, 1);
}

static struct worker_pool_options options(uint32_t least, uint32_t most)
{
    return (struct worker_pool_options){
        .min_workers = least,
        .max_workers = most,
        .task_timeout_ms = 20000,
        .queue_limit = 100000,
        .idle_timeout_ms = 60000,
        .host = {.has = has, .open = open_state, .run = run, .interrupt = interrupt, .close = close_state},
        .failed = failed,
    };
}

static void start(struct worker_pool_options chosen)
{
    char error[256] = "";
    if (!worker_pool_start(&chosen, error, sizeof error))
        fprintf(stderr, "%s\n", error);
    CHECK(!error[0]);
}

static struct worker_pool_statistics statistics(void)
{
    struct worker_pool_statistics read;
    worker_pool_read_statistics(&read);
    return read;
}

/* --- Tasks of the test --- */

struct order {
    struct task task; /* first */
    atomic_uint answers;
    unsigned place; /* in the order of answers, from 1 on */
};

static atomic_uint answered;

static void note(struct task *task)
{
    struct order *order = (struct order *)task;
    order->place = atomic_fetch_add(&answered, 1) + 1;
    atomic_fetch_add(&order->answers, 1);
}

static void ask(struct order *order, const char *operation, enum task_priority priority, uint32_t timeout_ms)
{
    memset(order, 0, sizeof *order);
    order->task = (struct task){
        .operation = slice_from_string(operation), .priority = priority, .timeout_ms = timeout_ms, .done = note};
    value_write_number(&order->task.data, 42);
}

static void submit(struct order *order, const char *operation, enum task_priority priority, uint32_t timeout_ms)
{
    ask(order, operation, priority, timeout_ms);
    CHECK(worker_pool_submit(&order->task) == CODE_OK);
}

static void await(struct order *order)
{
    EVENTUALLY(atomic_load(&order->answers) > 0);
}

static void finish(struct order *order)
{
    task_clear(&order->task);
}

/* Submits one that runs until its time is over, again and again until a worker has begun it before that, which on a
 * busy machine it may not. Gives how often that was. */
static unsigned submit_until_run(struct order *order, const char *operation, uint32_t timeout_ms)
{
    for (unsigned tries = 1;; tries++) {
        unsigned before = atomic_load(&running);
        submit(order, operation, TASK_NORMAL, timeout_ms);
        EVENTUALLY(atomic_load(&running) > before || atomic_load(&order->answers) > 0);
        if (atomic_load(&order->answers) == 0 || strstr(order->task.error, "while it ran"))
            return tries;
        finish(order);
    }
}

TEST("workers: a task comes back with its result, once")
{
    start(options(2, 2));
    struct order order;
    submit(&order, "echo", TASK_NORMAL, 0);
    await(&order);
    CHECK(order.task.status == TASK_DONE);
    CHECK(value_number((const struct value *)(const void *)order.task.result.data) == 42);
    worker_pool_stop();
    CHECK(atomic_load(&order.answers) == 1);
    finish(&order);
}

TEST("workers: a task that fails brings its reason")
{
    start(options(1, 1));
    struct order order;
    submit(&order, "fail", TASK_NORMAL, 0);
    await(&order);
    CHECK(order.task.status == TASK_FAILED);
    CHECK_TEXT(order.task.error, strlen(order.task.error), "fail: as it should");
    worker_pool_stop();
    finish(&order);
}

TEST("workers: JSON is read and written by the worker, and what is none is refused with its place")
{
    start(options(1, 1));
    const struct {
        const char *operation, *data, *result, *error;
    } cases[] = {
        {"echo", "{\"a\":[1,2.5,\"x\"],\"b\":null}", "{\"a\":[1,2.5,\"x\"],\"b\":null}", NULL},
        {"echo", "{\"a\":}", NULL, "echo: data: not JSON"},
        {"bytes", "1", NULL, "bytes: the result:"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct order order;
        ask(&order, cases[i].operation, TASK_NORMAL, 0);
        buffer_free(&order.task.data);
        buffer_append(&order.task.data, cases[i].data, strlen(cases[i].data));
        order.task.format = TASK_JSON;
        CHECK(worker_pool_submit(&order.task) == CODE_OK);
        await(&order);
        if (cases[i].result)
            CHECK_TEXT(order.task.result.data, order.task.result.length, cases[i].result);
        else
            CHECK(order.task.status == TASK_FAILED && strstr(order.task.error, cases[i].error));
        finish(&order);
    }
    worker_pool_stop();
}

TEST("workers: an operation that nobody knows is refused, and so is everything while the pool is off")
{
    struct order order;
    ask(&order, "echo", TASK_NORMAL, 0);
    CHECK(worker_pool_submit(&order.task) == CODE_UNKNOWN_OPERATION); /* no host yet */
    start(options(1, 1));
    order.task.operation = SLICE("nothing");
    CHECK(worker_pool_submit(&order.task) == CODE_UNKNOWN_OPERATION);
    worker_pool_stop();
    order.task.operation = SLICE("echo");
    CHECK(worker_pool_submit(&order.task) == CODE_OVERLOADED);
    CHECK(order.task.data.length > 0); /* still the caller's */
    finish(&order);
}

TEST("workers: past the queue's limit a task is refused, and stays the caller's")
{
    struct worker_pool_options chosen = options(1, 1);
    chosen.queue_limit = 2;
    start(chosen);
    struct order running_one, waiting[2], refused;
    submit(&running_one, "block", TASK_NORMAL, 0);
    EVENTUALLY(atomic_load(&running) == 1);
    submit(&waiting[0], "echo", TASK_NORMAL, 0);
    submit(&waiting[1], "echo", TASK_NORMAL, 0);
    ask(&refused, "echo", TASK_NORMAL, 0);
    CHECK(worker_pool_submit(&refused.task) == CODE_OVERLOADED);
    CHECK(statistics().refused == 1);
    atomic_store(&gate_open, true);
    await(&waiting[1]);
    worker_pool_stop();
    CHECK(atomic_load(&refused.answers) == 0);
    finish(&refused), finish(&running_one), finish(&waiting[0]), finish(&waiting[1]);
}

TEST("workers: high goes before normal before low, each in its order, and low is not starved")
{
    enum { EACH = 40 };
    static struct order high[EACH], normal[EACH], low[EACH];
    struct order gate;
    start(options(1, 1));
    submit(&gate, "block", TASK_NORMAL, 0);
    EVENTUALLY(atomic_load(&running) == 1);
    for (unsigned i = 0; i < EACH; i++) {
        submit(&low[i], "echo", TASK_LOW, 0);
        submit(&normal[i], "echo", TASK_NORMAL, 0);
        submit(&high[i], "echo", TASK_HIGH, 0);
    }
    CHECK(statistics().depth[TASK_LOW] == EACH);
    atomic_store(&gate_open, true);
    for (unsigned i = 0; i < EACH; i++)
        await(&low[i]), await(&normal[i]), await(&high[i]);
    for (unsigned i = 1; i < EACH; i++)
        CHECK(high[i].place > high[i - 1].place && normal[i].place > normal[i - 1].place &&
              low[i].place > low[i - 1].place);
    CHECK(high[EACH - 1].place < normal[EACH - 1].place && normal[EACH - 1].place < low[EACH - 1].place);
    CHECK(low[0].place <= 13); /* at most eleven others, and the gate, before the first low one */
    worker_pool_stop();
    finish(&gate);
    for (unsigned i = 0; i < EACH; i++)
        finish(&high[i]), finish(&normal[i]), finish(&low[i]);
}

TEST("workers: a task over its time is told to stop, and one that waits too long never runs")
{
    start(options(1, 1));
    struct order stopped, running_one, waiting;
    unsigned tries = submit_until_run(&stopped, "block", 50);
    await(&stopped);
    CHECK(stopped.task.status == TASK_TIMED_OUT && strstr(stopped.task.error, "while it ran"));
    CHECK(atomic_load(&interrupts) > 0);
    EVENTUALLY(atomic_load(&running) == 0);
    submit(&running_one, "block", TASK_NORMAL, 0);
    EVENTUALLY(atomic_load(&running) == 1);
    submit(&waiting, "echo", TASK_NORMAL, 20);
    await(&waiting);
    CHECK(waiting.task.status == TASK_TIMED_OUT && strstr(waiting.task.error, "before a worker was free"));
    CHECK(statistics().timeouts == tries + 1 && statistics().replaced == 0);
    worker_pool_stop();
    finish(&stopped), finish(&running_one), finish(&waiting);
}

TEST("workers: a worker that does not stop is replaced, and its task is answered once")
{
    start(options(1, 1));
    struct order deaf, next;
    submit_until_run(&deaf, "deaf", 20);
    submit(&next, "echo", TASK_NORMAL, 0);
    await(&deaf);
    CHECK(deaf.task.status == TASK_TIMED_OUT);
    await(&next);
    CHECK(next.task.status == TASK_DONE);
    CHECK(statistics().replaced == 1 && statistics().workers == 1);
    finish(&deaf); /* the old worker still reads its data, which is not the task's any more */
    atomic_store(&gate_open, true);
    EVENTUALLY(atomic_load(&running) == 0);
    CHECK(atomic_load(&deaf.answers) == 1);
    worker_pool_stop();
    finish(&next);
}

TEST("workers: workers that are given up again and again switch the pool off, with the reason")
{
    enum { MANY = 9, LATE_MS = 4500 }; /* the last falls into the same minute as the others */
    static struct order deaf[MANY];
    struct order waiting;
    start(options(MANY, MANY));
    for (unsigned i = 0; i < MANY; i++)
        submit_until_run(&deaf[i], "deaf", i < MANY - 1 ? 50 : LATE_MS);
    for (unsigned i = 0; i < MANY; i++)
        await(&deaf[i]);
    EVENTUALLY(atomic_load(&failures) == 1);
    CHECK(strstr(failure, "did not stop"));
    ask(&waiting, "echo", TASK_NORMAL, 0);
    CHECK(worker_pool_submit(&waiting.task) == CODE_OVERLOADED);
    CHECK(!worker_pool_running());
    worker_pool_stop();
    for (unsigned i = 0; i < MANY; i++)
        CHECK(atomic_load(&deaf[i].answers) == 1);
    atomic_store(&gate_open, true);
    EVENTUALLY(atomic_load(&running) == 0);
    start(options(1, 1));
    CHECK(worker_pool_submit(&waiting.task) == CODE_OK);
    await(&waiting);
    worker_pool_stop();
    finish(&waiting);
    for (unsigned i = 0; i < MANY; i++)
        finish(&deaf[i]);
}

TEST("workers: a task can be cancelled while it waits and while it runs")
{
    start(options(1, 1));
    struct order running_one, waiting;
    submit(&running_one, "block", TASK_NORMAL, 0);
    EVENTUALLY(atomic_load(&running) == 1);
    submit(&waiting, "echo", TASK_NORMAL, 0);
    task_cancel(&waiting.task);
    CHECK(atomic_load(&waiting.answers) == 1 && waiting.task.status == TASK_CANCELLED);
    task_cancel(&waiting.task); /* too late: nothing */
    task_cancel(&running_one.task);
    await(&running_one);
    CHECK(running_one.task.status == TASK_CANCELLED);
    worker_pool_stop();
    finish(&running_one), finish(&waiting);
}

TEST("workers: stopping answers what waits and what runs")
{
    enum { MANY = 20 };
    static struct order orders[MANY];
    start(options(2, 2));
    for (unsigned i = 0; i < MANY; i++)
        submit(&orders[i], "block", TASK_NORMAL, 0);
    EVENTUALLY(atomic_load(&running) == 2);
    worker_pool_stop();
    for (unsigned i = 0; i < MANY; i++) {
        CHECK(atomic_load(&orders[i].answers) == 1 && orders[i].task.status == TASK_CANCELLED);
        finish(&orders[i]);
    }
    CHECK(statistics().workers == 0 && statistics().created == statistics().destroyed);
}

TEST("workers: more come when tasks wait, up to the most, and go when they are idle")
{
    enum { MANY = 40 };
    static struct order orders[MANY];
    struct worker_pool_options chosen = options(1, 3);
    chosen.idle_timeout_ms = 30;
    start(chosen);
    CHECK(statistics().workers == 1);
    for (unsigned i = 0; i < MANY; i++)
        submit(&orders[i], "block", TASK_NORMAL, 0);
    EVENTUALLY(statistics().busy == 3);
    atomic_store(&gate_open, true);
    for (unsigned i = 0; i < MANY; i++) {
        await(&orders[i]);
        finish(&orders[i]);
    }
    EVENTUALLY(statistics().workers == 1);
    CHECK(statistics().created >= 3 && statistics().created - statistics().destroyed == 1);
    worker_pool_want(3);
    EVENTUALLY(statistics().workers == 3);
    worker_pool_stop();
}

/* --- Counting under load --- */

enum { SUBMITTERS = 4, EACH_SUBMITS = 2500 };
static struct order many[SUBMITTERS][EACH_SUBMITS];

static void *submit_many(void *orders)
{
    struct order *mine = orders;
    for (unsigned i = 0; i < EACH_SUBMITS; i++)
        submit(&mine[i], i % 10 == 0 ? "fail" : "echo", (enum task_priority)(i % TASK_PRIORITIES), 0);
    return NULL;
}

TEST("workers: every task of several threads is answered once, and the figures add up")
{
    pthread_t threads[SUBMITTERS];
    start(options(2, 4));
    for (unsigned i = 0; i < SUBMITTERS; i++)
        CHECK(pthread_create(&threads[i], NULL, submit_many, many[i]) == 0);
    for (unsigned i = 0; i < SUBMITTERS; i++)
        pthread_join(threads[i], NULL);
    EVENTUALLY(atomic_load(&answered) == SUBMITTERS * EACH_SUBMITS);
    struct worker_pool_statistics read = statistics();
    worker_pool_stop();
    for (unsigned i = 0; i < SUBMITTERS; i++) {
        for (unsigned j = 0; j < EACH_SUBMITS; j++) {
            CHECK(atomic_load(&many[i][j].answers) == 1);
            CHECK(many[i][j].task.status == (j % 10 == 0 ? TASK_FAILED : TASK_DONE));
            finish(&many[i][j]);
        }
    }
    CHECK(read.queued_in_all == SUBMITTERS * EACH_SUBMITS);
    CHECK(read.failed == read.queued_in_all / 10 && read.completed == read.queued_in_all - read.failed);
    CHECK(read.depth[TASK_HIGH] + read.depth[TASK_NORMAL] + read.depth[TASK_LOW] == 0);
    CHECK(read.longest_run_ns <= read.total_run_ns && read.longest_wait_ns <= read.total_wait_ns);
}

TEST("workers: a pool that gets no threads does not start, and says why")
{
    /* Stacks of 8 MiB do not fit: nothing else here is that large. */
    struct rlimit limit;
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;
    CHECK(file && fscanf(file, "%lu", &pages) == 1);
    fclose(file);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return; /* their shadow memory leaves no such limit */
#endif
    CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
    limit.rlim_cur = pages * (unsigned long)sysconf(_SC_PAGESIZE) + (1 << 20);
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    struct worker_pool_options chosen = options(2, 2);
    char error[256] = "";
    CHECK(!worker_pool_start(&chosen, error, sizeof error));
    CHECK(strstr(error, "cannot start the workers"));
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    start(chosen);
    worker_pool_stop();
}
