#include "client/target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool target_option(struct target_options *options, int option)
{
    if (option == OPTION_URL)
        options->url = optarg;
    else if (option == OPTION_TOKEN_FILE)
        options->token_file = optarg;
    else
        return false;
    return true;
}

static bool read_url(const char *command, const char *given, const char *standard, struct bridge_url *url)
{
    const char *from_environment = getenv("AI_BRIDGE_URL");
    const char *text = given ? given : from_environment && *from_environment ? from_environment : standard;
    const char *wrong = bridge_url_parse(text, url);
    if (wrong)
        usage_error(command, "%s \"%s\": %s", given ? "--url" : "AI_BRIDGE_URL", text, wrong);
    return wrong == NULL;
}

static bool read_token(const char *command, const char *file, struct target *target)
{
    const char *from_environment = getenv("AI_BRIDGE_AUTH_TOKEN");
    char *text = target->token_text;
    target->token = NULL;
    if (file) {
        FILE *stream = fopen(file, "re");
        if (!stream || !fgets(text, TOKEN_MAXIMUM, stream)) {
            fprintf(stderr, "luaduct %s: cannot read a token from %s: %s\n", command, file,
                    stream ? "the file is empty" : strerror(errno));
            if (stream)
                fclose(stream);
            return false;
        }
        fclose(stream);
        text[strcspn(text, "\r\n")] = '\0';
    } else if (from_environment && *from_environment) {
        if (strlen(from_environment) >= TOKEN_MAXIMUM) {
            fprintf(stderr, "luaduct %s: AI_BRIDGE_AUTH_TOKEN is too long\n", command);
            return false;
        }
        strcpy(text, from_environment);
    } else {
        return true;
    }
    for (const char *c = text; *c; c++) {
        if (*c < ' ' ||
            *c == 0x7f) { /* it goes into a header line; bytes past ASCII are negative or not, never allowed */
            fprintf(stderr, "luaduct %s: the token holds a character that no token can hold\n", command);
            return false;
        }
    }
    target->token = text;
    return true;
}

int target_find(const char *command, const struct target_options *options, const char *standard, struct target *target)
{
    if (!read_url(command, options->url, standard, &target->url))
        return EXIT_USAGE;
    return read_token(command, options->token_file, target) ? 0 : 1;
}
