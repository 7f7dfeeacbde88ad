/* Each reactor has breakers of its own. The alert stands while any of them is open. */
#include "runtime/engines/switches.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

struct off {
    struct switch_view view;
    unsigned reactors; /* in which it is off; 0: the place is free */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct off places[SWITCHES_MAXIMUM];

static struct off *find(const char *name)
{
    struct off *empty = NULL;
    for (unsigned i = 0; i < SWITCHES_MAXIMUM; i++) {
        if (places[i].reactors > 0 && strcmp(places[i].view.name, name) == 0)
            return &places[i];
        if (places[i].reactors == 0 && !empty)
            empty = &places[i];
    }
    return empty;
}

/* The file's name is enough for an alert's; its text has the whole path. */
static void write_name(char name[ALERT_NAME_BYTES], const struct script_switch *what)
{
    const char *slash = strrchr(what->path, '/');
    snprintf(name, ALERT_NAME_BYTES, "script.%s.%s", script_hook_name(what->hook), slash ? slash + 1 : what->path);
}

void switches_note(void *context, const struct script_switch *what)
{
    (void)context;
    char name[ALERT_NAME_BYTES];
    write_name(name, what);
    pthread_mutex_lock(&mutex);
    struct off *off = find(name);
    bool last = false;
    if (off && what->off) {
        if (off->reactors++ == 0)
            memcpy(off->view.name, name, sizeof name);
        snprintf(off->view.reason, sizeof off->view.reason, "%s", what->text);
    } else if (off && off->reactors > 0) {
        last = --off->reactors == 0;
    }
    pthread_mutex_unlock(&mutex);
    if (!off)
        log_warn(SCRIPT, "hook_switched", "script: %s", what->text);
    else if (what->off)
        alert_raise(name, "%s", what->text);
    else if (last)
        alert_resolve(name);
}

unsigned switches_list(struct switch_view out[SWITCHES_MAXIMUM])
{
    unsigned count = 0;
    pthread_mutex_lock(&mutex);
    for (unsigned i = 0; i < SWITCHES_MAXIMUM; i++)
        if (places[i].reactors > 0)
            out[count++] = places[i].view;
    pthread_mutex_unlock(&mutex);
    return count;
}
