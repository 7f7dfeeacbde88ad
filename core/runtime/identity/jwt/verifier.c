#include "runtime/identity/jwt/verifier.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "runtime/agent/session.h"
#include "runtime/http/http_session.h"
#include "runtime/limits/attempts.h"

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct verification *first, **last; /* with the mutex, as all up to the thread */
    unsigned waiting;
    bool stops;
    pthread_t thread;
    bool runs;
    atomic_ullong done, refused;
} verifier = {.mutex = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .last = &verifier.first};

static void verification_free(struct verification *verification)
{
    jwk_set_release(verification->keys);
    free(verification);
}

/* --- On the reactor --- */

static void come_back(struct reactor *reactor, struct errand *errand)
{
    struct verification *verification = (struct verification *)errand;
    struct connection *connection = verification->connection;
    (void)reactor;
    verification->ended = true;
    if (verification->code == CODE_OK)
        verified_add(verification->digest);
    else if (verification->code == CODE_UNAUTHORIZED)
        limits_signature_wrong(&verification->address, clock_coarse_ns());
    if (connection->is_websocket)
        session_hook_ended(connection);
    else
        http_session_authenticated(connection);
    if (connection->verification == verification) /* or it is for another token already */
        connection->verification = NULL;
    verification_free(verification);
}

static struct verification *verification_new(const struct credentials *shown, const struct jwt *jwt,
                                             struct jwk_set *keys)
{
    struct verification *new = malloc(sizeof *new + jwt->signed_text.length + jwt->signature.length);
    if (!new)
        return NULL;
    *new = (struct verification){.errand = {.run = come_back},
                                 .connection = shown->connection,
                                 .address = *shown->address,
                                 .keys = jwk_set_retain(keys),
                                 .key = jwt->key,
                                 .signed_text = {new->bytes, jwt->signed_text.length},
                                 .signature = {new->bytes + jwt->signed_text.length, jwt->signature.length}};
    memcpy(new->bytes, jwt->signed_text.data, jwt->signed_text.length);
    memcpy(new->bytes + jwt->signed_text.length, jwt->signature.data, jwt->signature.length);
    return new;
}

static bool queue(struct verification *verification)
{
    unsigned of_address = 0;
    pthread_mutex_lock(&verifier.mutex);
    for (const struct verification *other = verifier.first; other; other = other->next)
        of_address += memcmp(&other->address, &verification->address, sizeof other->address) == 0;
    bool room = verifier.waiting < VERIFIER_WAITING_MOST && of_address < VERIFIER_WAITING_OF_ADDRESS;
    if (room) {
        *verifier.last = verification;
        verifier.last = &verification->next;
        verifier.waiting++;
        pthread_cond_signal(&verifier.wake);
    }
    pthread_mutex_unlock(&verifier.mutex);
    return room;
}

bool verifier_take(const struct credentials *shown, const struct jwt *jwt, struct jwk_set *keys,
                   const unsigned char digest[VERIFIED_DIGEST_BYTES])
{
    struct connection *connection = shown->connection;
    struct verification *verification = verification_new(shown, jwt, keys);
    if (!verification)
        return false;
    memcpy(verification->digest, digest, VERIFIED_DIGEST_BYTES);
    /* Before it can come back. */
    struct verification *before = connection->verification;
    connection->verification = verification;
    if (queue(verification))
        return true;
    connection->verification = before;
    verification_free(verification);
    atomic_fetch_add_explicit(&verifier.refused, 1, memory_order_relaxed);
    return false;
}

/* --- The thread --- */

static struct verification *next(void)
{
    pthread_mutex_lock(&verifier.mutex);
    while (!verifier.first && !verifier.stops)
        pthread_cond_wait(&verifier.wake, &verifier.mutex);
    struct verification *verification = verifier.first;
    if (verification) {
        verifier.first = verification->next;
        if (!verifier.first)
            verifier.last = &verifier.first;
        verifier.waiting--;
    }
    pthread_mutex_unlock(&verifier.mutex);
    return verification;
}

static void *run(void *unused)
{
    struct verification *verification;
    log_name_thread("verifier");
    while ((verification = next())) {
        verification->code = jwk_verify(verification->key, verification->signed_text, verification->signature);
        atomic_fetch_add_explicit(&verifier.done, 1, memory_order_relaxed);
        reactor_post(connection_reactor(verification->connection), &verification->errand);
    }
    return unused;
}

bool verifier_start(char *error, size_t size)
{
    int failure = pthread_create(&verifier.thread, NULL, run, NULL);
    if (failure != 0)
        snprintf(error, size, "cannot start a thread: %s", strerror(failure));
    verifier.runs = failure == 0;
    return verifier.runs;
}

void verifier_stop(void)
{
    if (!verifier.runs)
        return;
    pthread_mutex_lock(&verifier.mutex);
    verifier.stops = true;
    pthread_cond_signal(&verifier.wake);
    pthread_mutex_unlock(&verifier.mutex);
    pthread_join(verifier.thread, NULL);
    verifier.runs = false;
}

uint64_t verifier_done(void)
{
    return atomic_load_explicit(&verifier.done, memory_order_relaxed);
}

uint64_t verifier_refused(void)
{
    return atomic_load_explicit(&verifier.refused, memory_order_relaxed);
}
