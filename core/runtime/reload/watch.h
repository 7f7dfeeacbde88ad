/* script.watch: a reload whenever a file changes that the version in use was made from, or that its configuration
 * names: scripts, access and alert rules, tokens, keys, certificates. */
#ifndef LUADUCT_RUNTIME_WATCH_H
#define LUADUCT_RUNTIME_WATCH_H

struct version;

/* Watches the files of that version and of its configuration from now on, in the place of those before; NULL: none.
 * What changes asks the loader to reload, a tenth of a second after the last change. One thread at a time. */
void watch_files(const struct version *version, const char *config_path);

#endif
