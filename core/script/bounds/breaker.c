/* Full of marks of too few senders, it forgets one of whoever has most of them: so one who overruns all day leaves room
 * for the others' marks, and they count. */
#include "script/bounds/breaker.h"

#include <string.h>

static void forget(struct breaker *breaker, unsigned index)
{
    breaker->count--;
    memmove(&breaker->marks[index], &breaker->marks[index + 1], (breaker->count - index) * sizeof breaker->marks[0]);
}

static unsigned marks_of(const struct breaker *breaker, uint64_t sender)
{
    unsigned count = 0;
    for (unsigned i = 0; i < breaker->count; i++)
        count += breaker->marks[i].sender == sender;
    return count;
}

static void make_room(struct breaker *breaker)
{
    unsigned most = 0, index = 0;
    for (unsigned i = 0; i < breaker->count; i++) {
        unsigned count = marks_of(breaker, breaker->marks[i].sender);
        if (count > most) {
            most = count;
            index = i;
        }
    }
    forget(breaker, index);
}

unsigned breaker_senders(const struct breaker *breaker)
{
    unsigned senders = 0;
    for (unsigned i = 0; i < breaker->count; i++) {
        unsigned earlier = 0;
        while (breaker->marks[earlier].sender != breaker->marks[i].sender)
            earlier++;
        senders += earlier == i;
    }
    return senders;
}

bool breaker_overran(struct breaker *breaker, const struct breaker_rules *rules, uint64_t sender, uint64_t now_ms)
{
    if (rules->overruns == 0)
        return false;
    if (breaker->open) { /* on trial, or a call from before that had waited */
        if (now_ms >= breaker->until_ms)
            breaker->until_ms = now_ms + rules->cooldown_ms;
        return false;
    }
    while (breaker->count > 0 && now_ms - breaker->marks[0].at_ms >= rules->window_ms)
        forget(breaker, 0);
    unsigned wanted = rules->overruns < BREAKER_OVERRUNS_MAXIMUM ? rules->overruns : BREAKER_OVERRUNS_MAXIMUM;
    if (breaker->count == wanted)
        make_room(breaker);
    breaker->marks[breaker->count].sender = sender;
    breaker->marks[breaker->count++].at_ms = now_ms;
    if (breaker->count < wanted || breaker_senders(breaker) < rules->senders)
        return false;
    breaker->open = true;
    breaker->until_ms = now_ms + rules->cooldown_ms;
    return true;
}

bool breaker_went_well(struct breaker *breaker, uint64_t now_ms)
{
    if (!breaker->open || now_ms < breaker->until_ms)
        return false;
    breaker->open = false;
    breaker->count = 0;
    return true;
}
