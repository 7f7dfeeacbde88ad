/* A little store for texts that a scan or a script had to make (unescaped, quoted): they stay where they are until the
 * store is reset. All zero is an empty one; it takes no memory before the first text. One thread at a time. */
#ifndef LUADUCT_PROTOCOL_TEXT_STORE_H
#define LUADUCT_PROTOCOL_TEXT_STORE_H

#include <stddef.h>

struct text_store {
    struct text_chunk *chunks;
};

/* Room for `length` bytes, valid until the store is reset or freed; NULL when memory is out. */
char *text_store_take(struct text_store *store, size_t length);

/* Forgets all texts and keeps one chunk of ordinary size for the next ones. Cheap when nothing was taken. */
void text_store_reset(struct text_store *store);

void text_store_free(struct text_store *store);

#endif
