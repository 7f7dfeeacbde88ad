/* Carrying out what the loader was asked for. Its thread only, but for order_refuse. */
#ifndef LUADUCT_RUNTIME_ORDERS_H
#define LUADUCT_RUNTIME_ORDERS_H

#include "runtime/reload/loader.h"

/* Reads, checks and brings into use, or settles a trial; fills in how it went. `stopping`: it is refused. */
bool order_carry_out(struct order *order, bool stopping);

/* Tries the hooks of the version in use, which the start did not do: agents may come before a failure is known. A hook
 * that fails is told to the log, for the next reload is going to be refused. */
void order_try_current(void);

/* Writes the refusal, cut to one line, into the order; gives false. Any thread. */
bool order_refuse(struct order *order, enum code code, const char *text);

#endif
