#include "client/options.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls/tls_client.h"

/* A process runs one command. */
static struct tls_client_options tls_options;
static struct tls_client *tls_client;

int usage_error(const char *command, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "luaduct %s: ", command);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, ", see luaduct %s --help\n", command);
    va_end(arguments);
    return EXIT_USAGE;
}

static bool take_tls_option(int option)
{
    switch (option) {
    case OPTION_TLS_CA:
        tls_options.ca = optarg;
        return true;
    case OPTION_TLS_CERT:
        tls_options.cert = optarg;
        return true;
    case OPTION_TLS_KEY:
        tls_options.key = optarg;
        return true;
    case OPTION_TLS_INSECURE:
        tls_options.insecure = true;
        return true;
    default:
        return false;
    }
}

int options_next(int argc, char **argv, const struct option *known)
{
    opterr = 0;
    int before, found;
    do {
        before = optind;
        found = getopt_long(argc, argv, ":", known, NULL);
    } while (take_tls_option(found));
    if (found == ':') {
        usage_error(argv[0], "%s needs a value", argv[optind - 1]);
        return OPTIONS_WRONG;
    }
    if (found == '?') {
        /* optopt is the letter of a short option; of a long one, 0 when unknown, its val when it takes no value */
        if (optopt > 0 && optopt < 128 && argv[before] && argv[before][1] != '-')
            usage_error(argv[0], "unknown option -%c", optopt);
        else if (optopt > 0)
            usage_error(argv[0], "%.*s takes no value", (int)strcspn(argv[optind - 1], "="), argv[optind - 1]);
        else
            usage_error(argv[0], "unknown option %s", argv[optind - 1]);
    }
    return found;
}

bool option_number(const char *command, const char *option, const char *text, double minimum, double maximum,
                   double *number)
{
    char *end;
    *number = strtod(text, &end);
    if (end != text && *end == '\0' && isfinite(*number) && *number >= minimum && *number <= maximum)
        return true;
    usage_error(command, "--%s: expected a number from %.12g to %.12g, got \"%s\"", option, minimum, maximum, text);
    return false;
}

bool option_token(const char *command, const char *file, char buffer[TOKEN_MAXIMUM], const char **token)
{
    const char *from_environment = getenv("AI_BRIDGE_AUTH_TOKEN");
    *token = NULL;
    if (file) {
        FILE *stream = fopen(file, "re");
        if (!stream || !fgets(buffer, TOKEN_MAXIMUM, stream)) {
            fprintf(stderr, "luaduct %s: cannot read a token from %s: %s\n", command, file,
                    stream ? "the file is empty" : strerror(errno));
            if (stream)
                fclose(stream);
            return false;
        }
        fclose(stream);
        buffer[strcspn(buffer, "\r\n")] = '\0';
    } else if (from_environment && *from_environment) {
        if (strlen(from_environment) >= TOKEN_MAXIMUM) {
            fprintf(stderr, "luaduct %s: AI_BRIDGE_AUTH_TOKEN is too long\n", command);
            return false;
        }
        strcpy(buffer, from_environment);
    } else {
        return true;
    }
    for (const char *c = buffer; *c; c++) {
        if (*c < ' ' ||
            *c == 0x7f) { /* it goes into a header line; bytes past ASCII are negative or not, never allowed */
            fprintf(stderr, "luaduct %s: the token holds a character that no token can hold\n", command);
            return false;
        }
    }
    *token = buffer;
    return true;
}

/* NULL when the options fit each other and the URL. */
static const char *tls_mistake(const struct bridge_url *url)
{
    const struct tls_client_options *given = &tls_options;
    if (!url->secure && (given->ca || given->cert || given->key || given->insecure))
        return "--ca, --cert, --key and --insecure-skip-verify are for wss:// and https://";
    if (!given->cert != !given->key)
        return "--cert and --key belong together";
    if (given->ca && given->insecure)
        return "--ca and --insecure-skip-verify exclude each other";
    return NULL;
}

bool option_url(const char *command, const char *given, const char *standard, struct bridge_url *url)
{
    const char *from_environment = getenv("AI_BRIDGE_URL");
    const char *text = given ? given : from_environment && *from_environment ? from_environment : standard;
    const char *wrong = bridge_url_parse(text, url);
    if (wrong) {
        usage_error(command, "%s \"%s\": %s", given ? "--url" : "AI_BRIDGE_URL", text, wrong);
        return false;
    }
    wrong = tls_mistake(url);
    if (wrong)
        usage_error(command, "%s", wrong);
    return wrong == NULL;
}

bool option_tls(const char *command, struct bridge_url *url)
{
    char error[TLS_ERROR_SIZE];
    if (url->secure && !tls_client) {
        tls_client = tls_client_new(&tls_options, error);
        if (!tls_client)
            fprintf(stderr, "luaduct %s: cannot use TLS: %s\n", command, error);
    }
    url->tls = tls_client;
    return !url->secure || tls_client;
}
