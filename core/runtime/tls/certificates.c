#include "runtime/tls/certificates.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "runtime/config/config.h"
#include "runtime/tls/handshakes.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* the pointer */
static struct tls_context *current;
static atomic_bool in_use;

bool certificates_load(const struct config *config, struct tls_context **out, char *error, size_t size)
{
    char problem[1024];
    *out = NULL;
    if (config->tls.pair_count == 0)
        return true;
    struct tls_pair *pairs = calloc(config->tls.pair_count, sizeof *pairs);
    for (size_t i = 0; pairs && i < config->tls.pair_count; i++) {
        const struct config_pair *pair = &config->tls.pairs[i];
        pairs[i] = (struct tls_pair){.certificate = pair->cert,
                                     .key = pair->key,
                                     .names = (const char *const *)pair->names.items,
                                     .name_count = pair->names.count,
                                     .label = pair->label};
    }
    struct tls_options options = {.pairs = pairs,
                                  .pair_count = config->tls.pair_count,
                                  .client_ca = config->tls.client_ca,
                                  .require_client_certificate = config->tls.require_client_cert,
                                  .crl = config->tls.crl,
                                  .ciphers = (const char *const *)config->tls.ciphers.items,
                                  .cipher_count = config->tls.ciphers.count,
                                  .slots = handshakes_threads(config->tls.handshake_threads)};
    snprintf(problem, sizeof problem, "not enough memory");
    *out = pairs ? tls_context_load(&options, problem, sizeof problem) : NULL;
    free(pairs);
    if (!*out)
        snprintf(error, size, "%s: %s", config->file ? config->file : "built-in configuration", problem);
    return *out != NULL;
}

static void log_use(const struct tls_context *context)
{
    for (size_t i = 0; context && i < tls_context_certificate_count(context); i++) {
        struct tls_certificate_view view;
        char until[CLOCK_ISO_LENGTH];
        tls_context_certificate(context, i, &view);
        clock_format_iso(view.not_after_s * 1000, until);
        log_info(TLS, "certificate_in_use", "TLS: %s (%s) is in use, until %.*s", view.key, view.name, CLOCK_ISO_LENGTH,
                 until);
    }
}

bool certificates_use(const struct config *config, struct tls_context *context, char *error, size_t size)
{
    if (context && !handshakes_start(config->tls.handshake_threads, error, size)) {
        tls_context_release(context);
        return false;
    }
    handshakes_configure(config->tls.handshake_timeout_ms, config->tls.max_handshakes);
    pthread_mutex_lock(&mutex);
    struct tls_context *gone = context;
    bool changed = !tls_context_equal(current, context);
    if (changed) {
        gone = current;
        current = context;
    }
    pthread_mutex_unlock(&mutex);
    atomic_store_explicit(&in_use, context != NULL, memory_order_release);
    if (changed)
        log_use(context);
    tls_context_release(gone);
    return true;
}

void certificates_stop(void)
{
    atomic_store_explicit(&in_use, false, memory_order_relaxed);
    tls_context_release(current);
    current = NULL;
}

bool certificates_in_use(void)
{
    return atomic_load_explicit(&in_use, memory_order_acquire);
}

struct tls_context *certificates_current(void)
{
    pthread_mutex_lock(&mutex);
    struct tls_context *context = current ? tls_context_retain(current) : NULL;
    pthread_mutex_unlock(&mutex);
    return context;
}

double certificates_days_left(void)
{
    struct tls_context *context = certificates_current();
    double least = NAN;
    for (size_t i = 0; context && i < tls_context_certificate_count(context); i++) {
        struct tls_certificate_view view;
        tls_context_certificate(context, i, &view);
        double left = ((double)view.not_after_s - (double)clock_wall_ms() / 1000) / 86400;
        /* Revocation lists are made anew every few days. */
        if (strcmp(view.key, "tls.crl") != 0 && !(left >= least))
            least = left;
    }
    tls_context_release(context);
    return least;
}
