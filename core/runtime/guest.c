#include "runtime/guest.h"

#include <pthread.h>

#include "base/threads/lock.h"
#include "runtime/reactor.h"

struct visit {
    struct errand errand; /* first */
    void (*act)(void);
    pthread_mutex_t mutex;
    pthread_cond_t done;
    bool over;
};

/* Between two envelopes: the reactor holds no lock. */
static void run_visit(struct reactor *reactor, struct errand *errand)
{
    struct visit *visit = (struct visit *)errand;
    (void)reactor;
    visit->act();
    pthread_mutex_lock(&visit->mutex);
    visit->over = true;
    pthread_cond_signal(&visit->done);
    pthread_mutex_unlock(&visit->mutex);
}

static void have_done(struct reactor *first, void (*act)(void))
{
    struct visit visit = {
        .errand.run = run_visit, .act = act, .mutex = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};
    reactor_post(first, &visit.errand);
    pthread_mutex_lock(&visit.mutex);
    while (!visit.over)
        pthread_cond_wait(&visit.done, &visit.mutex);
    pthread_mutex_unlock(&visit.mutex);
    pthread_cond_destroy(&visit.done);
    pthread_mutex_destroy(&visit.mutex);
}

void guest_enter(struct reactor *first)
{
    have_done(first, lock_admit);
}

void guest_leave(struct reactor *first)
{
    have_done(first, lock_dismiss);
}
