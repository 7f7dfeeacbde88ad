/* Memory for libev, which aborts the process when its allocator fails. */
#ifndef LUADUCT_MEMORY_LOOP_RESERVE_H
#define LUADUCT_MEMORY_LOOP_RESERVE_H

/* Has libev allocate by malloc, and from a reserve where malloc fails. Main thread, before any loop is made. */
void loop_reserve_install(void);

#endif
