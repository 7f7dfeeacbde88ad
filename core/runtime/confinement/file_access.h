/* Which files the process can open: Landlock (Linux 5.13, landlock(7)). Besides the file modes, and for good. */
#ifndef LUADUCT_RUNTIME_FILE_ACCESS_H
#define LUADUCT_RUNTIME_FILE_ACCESS_H

#include <stdbool.h>
#include <stddef.h>

struct config;

/* From now on the process opens only what its configuration names (the folders of the config file, scripts, policies,
 * certificates and tokens for reading, those of the log file and the administration socket for writing) and what the C
 * library looks up names and time zones in. As the key confinement.files says; when it says "auto" and the kernel
 * cannot, nothing is restricted and the log says so. Main thread, before any other is started. False: *error says why.
 */
bool file_access_confine(const struct config *config, char *error, size_t size);

#endif
