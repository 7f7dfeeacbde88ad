/* What the compiler cannot know of a branch: which way it goes nearly always. */
#ifndef LUADUCT_BASE_LIKELY_H
#define LUADUCT_BASE_LIKELY_H

#define LIKELY(condition) __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

#endif
