#include "runtime/reload/in_use.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/log.h"
#include "runtime/confinement/privileges.h"
#include "runtime/identity/standing.h"
#include "runtime/policies/policies.h"
#include "runtime/reload/watch.h"
#include "runtime/tls/certificates.h"
#include "script/user_operation.h"

struct in_use in_use;

void in_use_change(struct version *current, struct version *trial, enum version_use trial_use)
{
    struct version *current_before = in_use.current, *trial_before = in_use.trial;
    in_use.current = version_retain(current);
    in_use.trial = trial ? version_retain(trial) : NULL;
    versions_set_use(current, trial, trial_use);
    user_operation_use(current->sources, trial ? trial->sources : NULL);
    if (!current_before || current_before->config != current->config)
        log_set_levels(&current->config->log.levels);
    privileges_hide_memory(current->config);
    watch_files(current->config->script.watch ? current : NULL, in_use.source.path);
    policies_change(current->config);
    version_release(current_before);
    version_release(trial_before);
}

/* --- Parts -------------------------------------------------------------------------------------------------------- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* both below */
static pthread_cond_t errands_done = PTHREAD_COND_INITIALIZER;
static unsigned errands_out;

static void run_part(struct reactor *reactor, struct errand *errand)
{
    struct part *part = (struct part *)errand;
    part->act(reactor, part);
    pthread_mutex_lock(&mutex);
    errands_out--;
    pthread_cond_signal(&errands_done);
    pthread_mutex_unlock(&mutex);
}

void parts_act(struct part *parts, void (*act)(struct reactor *reactor, struct part *part))
{
    pthread_mutex_lock(&mutex);
    errands_out = in_use.reactor_count;
    pthread_mutex_unlock(&mutex);
    for (unsigned i = 0; i < in_use.reactor_count; i++) {
        parts[i].errand.run = run_part;
        parts[i].act = act;
        reactor_post(&in_use.reactors[i], &parts[i].errand);
    }
    pthread_mutex_lock(&mutex);
    while (errands_out > 0)
        pthread_cond_wait(&errands_done, &mutex);
    pthread_mutex_unlock(&mutex);
}

const struct part *parts_first_failure(const struct part *parts)
{
    for (unsigned i = 0; i < in_use.reactor_count; i++)
        if (!parts[i].good)
            return &parts[i];
    return NULL;
}

struct part *parts_new(void)
{
    return calloc(in_use.reactor_count, sizeof(struct part));
}

void parts_free(struct part *parts)
{
    for (unsigned i = 0; parts && i < in_use.reactor_count; i++) {
        buffer_free(&parts[i].kept);
        slot_free(parts[i].slot);
    }
    free(parts);
}

/* --- Certificates ------------------------------------------------------------------------------------------------- */

static void act_review_certificates(struct reactor *reactor, struct part *part)
{
    (void)part;
    standing_review_certificates(reactor);
}

void in_use_certificates(const struct config *config, struct tls_context *certificates)
{
    char error[256];
    struct part *parts = parts_new();
    struct tls_context *before = certificates_current();
    if (!parts)
        log_error(TLS, "review_failed", "TLS: not enough memory to look at the certificates of open connections again");
    if (!certificates_use(config, certificates, error, sizeof error))
        log_error(TLS, "off", "TLS stays off: %s", error);
    struct tls_context *now = certificates_current();
    if (parts && before && before != now)
        parts_act(parts, act_review_certificates);
    tls_context_release(before);
    tls_context_release(now);
    parts_free(parts);
}
