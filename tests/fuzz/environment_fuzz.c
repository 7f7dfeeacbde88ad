/* Whatever the environment says, the configuration is either loaded whole or refused with a reason for each problem.
 * Input: lines of N=VALUE, N being the number of a variable. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/config/bundle.h"
#include "runtime/config/config.h"

static const char *const names[] = {"AI_BRIDGE_HOST",
                                    "AI_BRIDGE_INSECURE",
                                    "AI_BRIDGE_PORT",
                                    "AI_BRIDGE_HTTP_PORT",
                                    "PORT",
                                    "AI_BRIDGE_AUTH_TOKEN",
                                    "AI_BRIDGE_CORS_ORIGINS",
                                    "AI_BRIDGE_HISTORY_LIMIT",
                                    "AI_BRIDGE_MAX_QUEUE",
                                    "AI_BRIDGE_CLIENT_TTL_MS",
                                    "AI_BRIDGE_RATE_MAX",
                                    "AI_BRIDGE_CLEANUP_INTERVAL_MS",
                                    "NODE_ENV",
                                    "AI_BRIDGE_RATE_WINDOW_MS"};
enum { NAMES = sizeof names / sizeof *names };

static void require(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), *rest = text, *line;
    memcpy(text, data, size);
    text[size] = 0;
    for (unsigned i = 0; i < NAMES; i++)
        unsetenv(names[i]);
    while ((line = strsep(&rest, "\n"))) {
        char *equals = strchr(line, '=');
        if (equals && equals > line)
            setenv(names[(unsigned char)line[0] % NAMES], equals + 1, 1);
    }
    struct config config;
    char *problems = NULL;
    struct config_source source = {.install_bundle = bundle_install};
    if (config_load(&config, &source, &problems)) {
        require(config.mode_name && config.limits.connections > 0 && config.performance.worker_threads > 0);
        require(!config.auth.token || config.auth.token[0]);
        config_free(&config);
    } else {
        require(problems && problems[0] && problems[strlen(problems) - 1] == '\n');
        free(problems);
    }
    free(text);
    return 0;
}
