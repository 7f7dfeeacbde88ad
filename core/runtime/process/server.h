/* The whole program: starts what the configuration asks for, runs until it is told to stop, and leaves nothing behind.
 */
#ifndef LUADUCT_RUNTIME_SERVER_H
#define LUADUCT_RUNTIME_SERVER_H

#include <stdint.h>

#include "runtime/config/config.h"

/* Runs the bridge and prints on standard output where it listens. `source` says where the configuration came
 * from, for a reload. Gives
 * the process's exit code: 0 after SIGTERM or SIGINT, 1 when it could not start (said on standard error). Main thread.
 */
int server_run(const struct config *config, const struct config_source *source);

/* While it runs, any thread: the reactors, for figures. */
struct reactor;
unsigned server_reactor_count(void);
struct reactor *server_reactor(unsigned index);

uint64_t server_started_ms(void); /* steady clock */
uint16_t server_ws_port(void);    /* the ports in use, also where the configuration says 0 */
uint16_t server_http_port(void);

#endif
