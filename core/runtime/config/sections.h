/* Copies a checked configuration, section by section, into the struct, where "auto" and "no limit" become numbers. */
#ifndef LUADUCT_RUNTIME_CONFIG_SECTIONS_H
#define LUADUCT_RUNTIME_CONFIG_SECTIONS_H

#include <lua.h>

#include "runtime/config/config.h"

/* From the table at SETTINGS_INDEX (setting.h). What was allocated is attached to *config at once, so after a Lua error
 * config_free releases it. file: the path as it was given, NULL for the built-in configuration. */
void config_read_sections(lua_State *L, struct config *config, const char *file);

/* How many connections the limit of open files leaves beside the reactors; at least 1. */
uint64_t config_affordable_connections(const struct config *config);

#endif
