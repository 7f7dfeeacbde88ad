/* Tells the service manager how the process is, as sd_notify(3) does: one datagram for each change, to whatever socket
 * has the name in NOTIFY_SOCKET then. Where it names none nobody is told, and every function does nothing. Written out
 * because the protocol is a datagram of lines, and libsystemd would be a library in every bridge for it. */
#ifndef LUADUCT_BASE_SERVICE_H
#define LUADUCT_BASE_SERVICE_H

#include <stdint.h>

/* Looks at the environment and connects. Main thread, before the process gives up the right to open that socket. */
void service_open(void);

/* How often service_alive is due, in milliseconds: half of what WatchdogSec says; 0: nobody waits for it. */
uint32_t service_alive_interval_ms(void);

/* --- Any thread, never waits. After service_stopping the others say nothing. --- */

/* All works, after the start or after service_reloading. `status` is for people; of it the first line is shown. */
void service_ready(const char *status);

/* The configuration is being taken up again; service_ready follows, also when it is refused. */
void service_reloading(void);

/* The process does what it should. */
void service_alive(void);

/* Another process is the service from now on; it says all that is to be said. */
void service_main_process(int pid);

/* It is about to end. */
void service_stopping(const char *status);

#endif
