#include "client/arguments/target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls/tls_client.h"

static bool read_url(const char *command, const char *given, const char *standard, struct bridge_url *url)
{
    const char *from_environment = getenv("AI_BRIDGE_URL");
    const char *text = given ? given : from_environment && *from_environment ? from_environment : standard;
    const char *wrong = bridge_url_parse(text, url);
    if (wrong)
        usage_error(command, "%s \"%s\": %s", given ? "--url" : "AI_BRIDGE_URL", text, wrong);
    return wrong == NULL;
}

/* The first line, into `text`; else what is wrong. It may be a pipe: a shell gives one for <(command). */
static const char *read_token_file(const char *file, char text[TOKEN_MAXIMUM])
{
    errno = 0;
    FILE *stream = fopen(file, "re");
    size_t length = stream ? fread(text, 1, TOKEN_MAXIMUM - 1, stream) : 0;
    int failure = errno;
    bool whole = stream && (feof(stream) || fgetc(stream) == EOF);
    if (stream)
        fclose(stream);
    if (!stream || (length == 0 && failure != 0))
        return strerror(failure);
    if (length == 0)
        return "the file is empty";
    size_t line = 0;
    while (line < length && text[line] != '\r' && text[line] != '\n')
        line++;
    text[line] = '\0';
    if (line == length && !whole)
        return "its first line is longer than the 8192 bytes that a token may have";
    if (strlen(text) != line)
        return "it holds a zero byte: that is no token";
    return line == 0 ? "its first line is blank" : NULL;
}

static bool read_token(const char *command, const char *file, struct target *target)
{
    const char *from_environment = getenv("AI_BRIDGE_AUTH_TOKEN");
    char *text = target->token_text;
    target->token = NULL;
    if (file) {
        const char *wrong = read_token_file(file, text);
        if (wrong) {
            fprintf(stderr, "luaduct %s: cannot read a token from %s: %s\n", command, file, wrong);
            return false;
        }
    } else if (from_environment && *from_environment) {
        if (strlen(from_environment) >= TOKEN_MAXIMUM) {
            fprintf(stderr, "luaduct %s: AI_BRIDGE_AUTH_TOKEN is longer than the 8192 bytes that a token may have\n",
                    command);
            return false;
        }
        memcpy(text, from_environment, strlen(from_environment) + 1);
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

/* NULL when the options of TLS fit each other and the URL. */
static const char *find_mistake(const struct target_options *options, const struct bridge_url *url)
{
    if (!url->secure && (options->ca || options->cert || options->key || options->insecure))
        return "--ca, --cert, --key and --insecure-skip-verify are for wss:// and https://";
    if (!options->cert != !options->key)
        return "--cert and --key belong together";
    if (options->ca && options->insecure)
        return "--ca and --insecure-skip-verify exclude each other";
    return NULL;
}

static bool set_up_tls(const char *command, const struct target_options *options, struct bridge_url *url)
{
    static struct tls_client *client; /* of the process, which runs one command */
    char error[TLS_ERROR_SIZE];
    const struct tls_client_options what = {options->ca, options->cert, options->key, options->insecure};
    if (url->secure && !client)
        client = tls_client_new(&what, error);
    if (url->secure && !client)
        fprintf(stderr, "luaduct %s: cannot use TLS: %s\n", command, error);
    url->tls = client;
    return !url->secure || client;
}

int target_find(const char *command, const struct target_options *options, const char *standard, struct target *target)
{
    if (!read_url(command, options->url, standard, &target->url))
        return EXIT_USAGE;
    const char *mistake = find_mistake(options, &target->url);
    if (mistake)
        return usage_error(command, "%s", mistake);
    return set_up_tls(command, options, &target->url) && read_token(command, options->token_file, target) ? 0 : 1;
}
