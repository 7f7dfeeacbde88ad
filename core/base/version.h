/* The one place that says which version this is (semantic versioning). */
#ifndef LUADUCT_BASE_VERSION_H
#define LUADUCT_BASE_VERSION_H

#define LUADUCT_VERSION "0.1.0"

#endif
