/* A rate with a burst, for any number of threads at once: the generic cell rate algorithm (ITU-T I.371 annex A,
 * "virtual scheduling"). All that is kept is the time at which what was taken is paid off, so that a bucket is one
 * word, needs no lock, and a bucket that was not used for a burst's length is as good as new. */
#ifndef LUADUCT_BASE_RATE_H
#define LUADUCT_BASE_RATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Steady clock, ns; zero is a full bucket. */
typedef atomic_ullong rate_bucket;

/* `per_second` 0: no limit. The burst is at least 1. */
struct rate {
    uint64_t per_second, burst;
};

/* What `amount` units take of the bucket, in ns. */
static inline uint64_t rate_cost(const struct rate *rate, uint64_t amount)
{
    return (uint64_t)((double)amount * 1e9 / (double)rate->per_second);
}

/* Takes `amount` if that much may pass now. 0: taken, or there is no limit; else the ns after which it could be. More
 * than the whole burst passes when the bucket is full, and is paid off afterwards. */
static inline uint64_t rate_take(rate_bucket *bucket, const struct rate *rate, uint64_t amount, uint64_t now_ns)
{
    if (rate->per_second == 0)
        return 0;
    uint64_t cost = rate_cost(rate, amount), burst = rate_cost(rate, rate->burst);
    unsigned long long paid_off = atomic_load_explicit(bucket, memory_order_relaxed);
    for (;;) {
        uint64_t from = paid_off > now_ns ? paid_off : now_ns;
        if (from > now_ns && from + cost - now_ns > burst)
            return from + cost - now_ns - burst;
        if (atomic_compare_exchange_weak_explicit(bucket, &paid_off, from + cost, memory_order_relaxed,
                                                  memory_order_relaxed))
            return 0;
    }
}

/* Puts back what rate_take took, for something that was refused on other grounds. */
static inline void rate_give_back(rate_bucket *bucket, const struct rate *rate, uint64_t amount)
{
    if (rate->per_second > 0)
        atomic_fetch_sub_explicit(bucket, rate_cost(rate, amount), memory_order_relaxed);
}

/* Takes it whether it may pass or not: what is known only afterwards, such as time that was used. */
static inline void rate_charge(rate_bucket *bucket, const struct rate *rate, uint64_t amount, uint64_t now_ns)
{
    if (rate->per_second == 0)
        return;
    uint64_t cost = rate_cost(rate, amount);
    unsigned long long paid_off = atomic_load_explicit(bucket, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(bucket, &paid_off, (paid_off > now_ns ? paid_off : now_ns) + cost,
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

/* How long until nothing more passes is over: 0 while something may. For what rate_charge charges. */
static inline uint64_t rate_wait(const rate_bucket *bucket, const struct rate *rate, uint64_t now_ns)
{
    if (rate->per_second == 0)
        return 0;
    uint64_t paid_off = atomic_load_explicit(bucket, memory_order_relaxed), burst = rate_cost(rate, rate->burst);
    return paid_off > now_ns + burst ? paid_off - now_ns - burst : 0;
}

#endif
