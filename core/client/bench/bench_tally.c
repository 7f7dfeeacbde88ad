#include "client/bench/bench_tally.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

static const char code_member[] = "\"code\":\"";
#define CODE_MEMBER_LENGTH (sizeof code_member - 1)

static volatile sig_atomic_t interrupted;

static void on_signal(int signal)
{
    (void)signal;
    interrupted = 1;
}

void bench_catch_interrupt(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool bench_interrupted(void)
{
    return interrupted;
}

void tally_count(struct tally *tally, struct slice code)
{
    if (code.length >= TALLY_NAME_SIZE)
        code.length = TALLY_NAME_SIZE - 1;
    for (size_t i = 0; i < code.length; i++) /* it is shown as it is, in JSON and in tables */
        if (!((code.data[i] >= 'a' && code.data[i] <= 'z') || (code.data[i] >= '0' && code.data[i] <= '9') ||
              code.data[i] == '_'))
            code = SLICE("unknown");
    for (unsigned i = 0; i < tally->count; i++) {
        if (slice_equal(slice_from_string(tally->codes[i].name), code)) {
            tally->codes[i].count++;
            return;
        }
    }
    if (tally->count == TALLY_CODES) {
        tally->codes[TALLY_CODES - 1].count++;
        return;
    }
    if (tally->count == TALLY_CODES - 1)
        code = SLICE("other");
    snprintf(tally->codes[tally->count].name, TALLY_NAME_SIZE, "%.*s", (int)code.length, code.data);
    tally->codes[tally->count++].count = 1;
}

void tally_count_answer(struct tally *tally, struct slice answer)
{
    char closed[TALLY_NAME_SIZE];
    const char *member = answer.length > 0 ? memmem(answer.data, answer.length, code_member, CODE_MEMBER_LENGTH) : NULL;
    if (answer.length > 0 && answer.data[0] == '{' && member) {
        const char *start = member + CODE_MEMBER_LENGTH, *end = answer.data + answer.length;
        const char *quote = memchr(start, '"', (size_t)(end - start));
        tally_count(tally, quote ? slice_from(start, (size_t)(quote - start)) : SLICE("unknown"));
    } else if (answer.length >= 2 && (unsigned char)answer.data[0] <= 0x13) { /* a status, 1000 to 4999 */
        unsigned status = (unsigned)(unsigned char)answer.data[0] << 8 | (unsigned char)answer.data[1];
        int length = snprintf(closed, sizeof closed, "closed_%u", status);
        tally_count(tally, slice_from(closed, (size_t)length));
    } else {
        tally_count(tally, SLICE("unknown"));
    }
}

void bench_progress_start(struct bench_progress *progress, double seconds, uint64_t now)
{
    progress->every = (uint64_t)(seconds * 1e9);
    progress->started = now;
    progress->next = now + progress->every;
}

void bench_progress_write(struct bench_progress *progress, uint64_t now, const struct bench_totals *totals)
{
    const struct hdr_histogram *latency = &progress->latency;
    fprintf(stderr,
            "{\"elapsed\":%.2f,\"sent\":%" PRIu64 ",\"delivered\":%" PRIu64 ",\"refused\":%" PRIu64
            ",\"failed\":%" PRIu64 ",\"count\":%" PRIu64
            ",\"p50us\":%.1f,\"p95us\":%.1f,\"p99us\":%.1f,\"maximumUs\":%.1f}\n",
            (double)(now - progress->started) / 1e9, totals->sent, totals->delivered, totals->refused, totals->failed,
            latency->count, (double)hdr_histogram_percentile(latency, 0.5) / 1000,
            (double)hdr_histogram_percentile(latency, 0.95) / 1000,
            (double)hdr_histogram_percentile(latency, 0.99) / 1000, (double)latency->maximum / 1000);
    memset(&progress->latency, 0, sizeof progress->latency);
    while (progress->next <= now)
        progress->next += progress->every;
}
