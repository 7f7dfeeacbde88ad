/* What a configuration names, looked at as a start would, without starting: for `luaduct check` and `luaduct doctor`.
 */
#ifndef LUADUCT_AUTHOR_INSPECT_H
#define LUADUCT_AUTHOR_INSPECT_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "runtime/config/config.h"

/* The config that comes with this binary, in `path`: the installation's, or the checkout's for a binary in its build
 * folder. NULL when there is neither. */
const char *inspect_find_config(char path[PATH_MAX]);

/* Gets what was looked at, a path or a key; `problem` is NULL when it is good, else a line that names it. */
typedef void inspect_report(void *context, const char *what, const char *problem);

/* Each gives whether all is good. */

/* The certificates and keys of `tls`. Reports problems only. */
bool inspect_certificates(const struct config *config, inspect_report *report, void *context);

/* The scripts of the configuration, what its auth and policies name, and further scripts. *administrable: whether
 * anybody may administer, over HTTP or by the socket, as far as can be known here. Once in a process. */
bool inspect_scripts(const struct config *config, const char *const *more, size_t more_count, inspect_report *report,
                     void *context, bool *administrable);

/* What to say where nobody may. */
#define INSPECT_NOBODY_ADMINISTERS "nobody may administer, over HTTP or by a socket"
#define INSPECT_NOBODY_ADVICE                                                                                          \
    "set listen.admin (a socket: --url unix:PATH); or give a credential the role admin: `luaduct token new NAME "      \
    "--role admin` and auth.tokens, or auth.token and auth.tokenIsAdmin"

#endif
