/* The agents of a bridge in the order in which `luaduct top` shows them, with how much each sends: the difference
 * between two answers of GET /agents. */
#ifndef LUADUCT_CLIENT_SENDERS_H
#define LUADUCT_CLIENT_SENDERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "memory/buffer.h"

enum sender_order { ORDER_RATE, ORDER_MESSAGES, ORDER_ERRORS, ORDER_CONNECTED, ORDER_ID, ORDER_COUNT };

enum sender_order sender_order_find(const char *name); /* "rate" …; ORDER_COUNT: there is none */

struct sender {
    const char *id, *role; /* harmless to a terminal; in `texts` */
    double messages, errors, connected_s;
    double rate; /* messages per second since the answer before; 0 in the first one */
    int64_t last_seen_ms;
};

struct senders {
    struct sender *entries;
    size_t count;
    struct buffer texts;
    uint64_t read_ns; /* steady clock */
};

/* Takes the answer of /agents apart (validated JSON). `before`: the answer before, or NULL. False: not enough memory,
 * or it is none; nothing is to be freed. */
bool senders_read(struct slice answer, const struct senders *before, uint64_t read_ns, struct senders *senders);

void senders_free(struct senders *senders);

/* Indices of those whose id or role holds the filter's text, in that order; the first is what there is most of, or of
 * ids the first. Gives how many; `indices` has room for all. */
size_t senders_select(const struct senders *senders, const char *filter, enum sender_order order, bool reversed,
                      size_t *indices);

#endif
