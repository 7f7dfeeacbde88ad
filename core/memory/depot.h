/* Where threads leave unused blocks to one another: one depot per pool and size class, a list of batches in the order
 * in which they came. They are taken from its warm end, and go back to the system from its cold one. Each depot has a
 * lock of its own, held for moments. Any thread. */
#ifndef LUADUCT_MEMORY_DEPOT_H
#define LUADUCT_MEMORY_DEPOT_H

#include "memory/pool.h"
#include "memory/size_class.h"

/* An unused block. */
struct block {
    struct block *next;
    uint64_t mark; /* the pool's: that it is unused */
};

/* The first block of a batch, in the depot. */
struct batch {
    struct block block; /* a chain of `count` */
    struct batch *colder, *warmer;
    uint64_t put_ms;
    uint32_t count;
};
_Static_assert(sizeof(struct batch) <= SIZE_CLASS_SMALLEST, "it lies in a block of the smallest class");

/* Before all else, once. */
void depots_init(void);

/* Puts a chain of that many blocks, one at least, at the warm end. */
void depot_put(enum pool pool, unsigned class, struct block *chain, uint32_t count);

/* The batch that came last, for use, and how many blocks it has; NULL: the depot is empty. */
struct block *depot_take(enum pool pool, unsigned class, uint32_t *count);

/* The coldest batch, to be freed: while the depot has more than `most` bytes; of those put in until `put_ms`. NULL:
 * there is none such. */
struct block *depot_take_surplus(enum pool pool, unsigned class, size_t most);
struct block *depot_take_old(enum pool pool, unsigned class, uint64_t put_ms);

/* The batch that has lain longest in any depot, and which that is; NULL: all are empty. */
struct block *depots_take_coldest(enum pool *pool, unsigned *class);

/* Blocks in all depots of a pool, read while they change. */
unsigned depots_count(enum pool pool);

#endif
