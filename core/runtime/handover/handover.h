/* An upgrade without a gap: SIGUSR2 starts the bridge's program anew, as it is on disk by now and with the config as it
 * is by now, and hands over to that process: listening sockets, connections with all that belongs to them, mailboxes,
 * history. Agents notice nothing but a moment's silence.
 *
 *   old process                                   new process
 *   ───────────                                   ───────────
 *   has the starter start it ─────────────────►   begins
 *   SETUP: version, hash key, sockets ────────►   reads its config, loads scripts, makes reactors
 *   serves on                     ◄───────────    READY, or REFUSE and why
 *   GIVE ─────────────────────────────────────►   each reactor reads the channel of its own
 *   sends ahead the envelopes that mailboxes
 *   and the history hold, serves on
 *   waits a little for hooks that wait
 *   FREEZE: reactors stop between two envelopes
 *   each reactor writes its part, to the one  ►   each reactor takes its part, and touches no socket
 *   of the same number
 *                                 ◄───────────    TAKEN
 *   GO ───────────────────────────────────────►
 *   ══════════════════════════════◄═══════════    SERVES: the point of no return; serves
 *   tells the service manager, KNOWN ─────────►   tells it READY
 *   DRAIN: it was told to stop meanwhile ──────►   drains
 *   lets go, says goodbye to who stayed,
 *   LATE: what its last tasks come to ────────►   gives it to who asked
 *   closes its end for writing, ends
 *
 * **Who owns it all.** Up to SERVES the old process has given nothing away: whatever fails (the new one does not start,
 * refuses, ends, hangs, is of another version) ends with a line in the log that says why, and the reactors go on where
 * they stood. SERVES decides, and the kernel sees to it that both sides decide alike: the new process serves if, and
 * only if, it could write that record into the old one's socket. When the old one has waited enough it closes its end
 * for reading, from when on that cannot be written, and then looks whether it came before (unix(7), shutdown(2)). So a
 * new process that ends before it, at whatever point, has touched nothing; one that ends after it was the bridge, and
 * that is a crash like any other.
 *
 * All records are net/channel.h's; those of the bridge's part are bridge/state/carry.h's, so what a connection waits
 * for goes the same way as what a mailbox holds. SETUP begins with the version of all of it: a process that does not
 * know it refuses.
 *
 * **Who stays.** Connections with TLS (their keys are mbedtls's own), and those that are closing, have a token with the
 * verifier, or a task with the workers without having registered. Agents among them get 1012 after SERVES and come back
 * to the new process; what they have not read goes along, to the front of their mailbox, and what they had sent by the
 * freeze is handled before. Requests over HTTP that are under way are finished by the old process; what they would send
 * is refused with `draining`. Idle connections of HTTP go along.
 *
 * **Tasks** of agents (bridge.execute) stay with the old process's workers, which it stays for (drain.timeoutMs): what
 * they come to goes to the agent by LATE. Those that are not done then are answered `overloaded`: late.h. */
#ifndef LUADUCT_RUNTIME_HANDOVER_H
#define LUADUCT_RUNTIME_HANDOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config;
struct reactor;

/* Counts up with every change of what the records say. */
#define HANDOVER_VERSION 3u

/* Where a process that is started by the starter finds its end of the control channel. */
#define HANDOVER_VARIABLE "LUADUCT_HANDOVER"

/* Records of the control channel, and, from 100 on, of the reactors' channels beside bridge/state/carry.h's. */
enum handover_kind {
    HANDOVER_SETUP = 1,
    HANDOVER_READY,
    HANDOVER_REFUSE,
    HANDOVER_GIVE,
    HANDOVER_TAKEN,
    HANDOVER_GO,
    HANDOVER_SERVES,
    HANDOVER_KNOWN,
    HANDOVER_LATE,
    HANDOVER_DRAIN,
    HANDOVER_AGENT = 100, /* a WebSocket; records of its own follow */
    HANDOVER_BACKLOG,     /* a message that the WebSocket before has sent, and that waits */
    HANDOVER_HTTP,        /* an idle connection */
    HANDOVER_PROXIED,     /* one whose PROXY header has not come */
    HANDOVER_TASK,        /* an open one: late.h */
    HANDOVER_PHASE,       /* who is registered is known from here on */
    HANDOVER_END,
};

/* --- The old process --- */

/* Main, before the reactors run. */
void handover_start(const struct config *config);

/* Main: starts all that, on a thread of its own; a line in the log where it cannot. */
void handover_begin(void);

/* Before the process ends. Main, in this order: one that is under way is given up, and the new process does not listen
 * to the old one any more; that is over (and errands of both are done) when handover_is_over says so. Then, when no
 * reactor runs any more, what is left to be said by the old process is, until handover_has_ended. Each wakes main
 * (supervision.h), which watches scripts meanwhile. */
void handover_give_up(void);
bool handover_is_over(void);
void handover_end(void);
bool handover_has_ended(void);

/* And waits for the threads. */
void handover_stop(void);

/* Any thread: whether one is under way, so that what it has read already must not change. */
bool handover_under_way(void);

/* Whether another process serves by now: then what is shared with it (the administration socket's name) stays. */
bool handover_done(void);

/* --- The new process: main --- */

/* First of all: whether it is one, and what it is to know. Without the environment variable true, and all of these do
 * nothing. False: *error says why. */
bool handover_join(char *error, size_t size);
bool handover_joined(void);

/* Takes the old one's listening sockets and ports, where the config has the same. */
bool handover_listen(const struct config *config, uint16_t *ws_port, uint16_t *http_port, char *error, size_t size);

/* The reactors run: has the old one hand over, and its own go on. False: nothing was taken, and the process must end
 * without touching a connection. */
bool handover_take_over(char *error, size_t size);

/* Instead of service_ready: says it as soon as the service manager knows this process, and takes what comes late, on a
 * thread of its own that ends when the old process has no more of it. */
void handover_follow(const char *status);

/* Whether more may come: then agents must not go elsewhere meanwhile. */
bool handover_follows(void);

/* It comes to nothing: the old one hears why. */
void handover_refuse(const char *why);

/* --- The new process: a reactor's thread, before it serves --- */

/* Takes its part, and waits until it may go on. False: it must not. */
bool handover_take(struct reactor *reactor);

#endif
