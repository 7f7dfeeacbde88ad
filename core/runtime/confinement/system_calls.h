/* Which system calls the process can make: a seccomp filter (seccomp(2)), by libseccomp. */
#ifndef LUADUCT_RUNTIME_SYSTEM_CALLS_H
#define LUADUCT_RUNTIME_SYSTEM_CALLS_H

#include <stdbool.h>
#include <stddef.h>

struct config;

/* From now on every thread can make only the calls that the bridge, LuaJIT and the C library need; others answer EPERM.
 * No program can be executed, no process made or traced, no namespace, mount, module, key ring or BPF program. As the
 * key confinement.systemCalls says; when it says "auto" and the kernel cannot, nothing is restricted and the log says
 * so. Main thread, after the change of user. False: *error says why. */
bool system_calls_confine(const struct config *config, char *error, size_t size);

#endif
