/* Reads single values of a checked configuration, which lies as a table at the bottom of a Lua stack. Keys are read by
 * their whole path: a misspelt one, and one of another type, is a Lua error in the first test that loads anything. */
#ifndef LUADUCT_RUNTIME_CONFIG_SETTING_H
#define LUADUCT_RUNTIME_CONFIG_SETTING_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "runtime/config/config.h"

#define SETTINGS_INDEX 1

/* Whether the file may have said nothing, or "auto", where the key allows that. */
bool setting_is_set(lua_State *L, const char *path);
bool setting_is_auto(lua_State *L, const char *path);

double setting_number(lua_State *L, const char *path);
uint64_t setting_size(lua_State *L, const char *path); /* bytes */
uint32_t setting_count(lua_State *L, const char *path);
bool setting_boolean(lua_State *L, const char *path);

/* A copy; NULL where the key was left out. The caller's struct owns it. */
char *setting_text(lua_State *L, const char *path);

/* The index of the text in `names`, which ends with NULL and has the order of the enum. */
int setting_choice(lua_State *L, const char *path, const char *const *names);

/* Copies the list into *list, which is empty before; after an error it holds what was copied. */
void setting_list(lua_State *L, const char *path, struct config_list *list);

/* For what has a form of its own: pushes the value; copies the list at the top of the stack (anything else is an empty
 * one); `block` unless it is NULL, which is a Lua error. */
void setting_push(lua_State *L, const char *path);
void setting_items(lua_State *L, struct config_list *list);
void *config_checked(lua_State *L, void *block);

#endif
