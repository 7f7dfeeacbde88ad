/* Whether every reactor still turns, for a service manager that waits to hear so (base/system/service.h): each is asked
 * by an errand, and the manager is told when all have answered. One that hangs for longer than WatchdogSec says has the
 * bridge started again. Main thread. */
#ifndef LUADUCT_RUNTIME_HEARTBEAT_H
#define LUADUCT_RUNTIME_HEARTBEAT_H

#include <stdint.h>

/* Does what is due; gives when to call again, by the steady clock; UINT64_MAX: nobody waits to hear. */
uint64_t heartbeat_tick(uint64_t now_ms);

#endif
