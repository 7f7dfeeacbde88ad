/* What the commands share in reading their arguments: getopt_long with one-line errors, numbers with a range, the
 * token, the URL of the bridge, and whom to trust where that is encrypted. */
#ifndef LUADUCT_CLIENT_OPTIONS_H
#define LUADUCT_CLIENT_OPTIONS_H

#include <getopt.h>
#include <stdbool.h>

#include "client/bridge_url.h"

#define EXIT_USAGE 2

#define OPTIONS_END -1
#define OPTIONS_WRONG '?' /* the line that says why is written */

/* Belong into `known` of every command that takes a URL, and into its help; options_next takes them in itself. */
enum { OPTION_TLS_CA = 1000, OPTION_TLS_CERT, OPTION_TLS_KEY, OPTION_TLS_INSECURE };
#define OPTIONS_TLS                                                                                                    \
    {"ca", required_argument, NULL, OPTION_TLS_CA}, {"cert", required_argument, NULL, OPTION_TLS_CERT},                \
        {"key", required_argument, NULL, OPTION_TLS_KEY},                                                              \
    {                                                                                                                  \
        "insecure-skip-verify", no_argument, NULL, OPTION_TLS_INSECURE                                                 \
    }
#define OPTIONS_TLS_HELP                                                                                               \
    "  --ca FILE       for wss:// and https://: the authorities to trust, PEM; standard SSL_CERT_FILE, else the "      \
    "system's\n"                                                                                                       \
    "  --cert FILE, --key FILE  a certificate to show, and its key, PEM\n"                                             \
    "  --insecure-skip-verify   trust whoever answers; for trying things out only\n"

/* The next option's `val`, its argument in optarg; then OPTIONS_END, and optind is the first operand. Operands may
 * stand between options. argv[0] is the command's name. */
int options_next(int argc, char **argv, const struct option *known);

/* Writes "luaduct COMMAND: …, see luaduct COMMAND --help" to standard error and gives EXIT_USAGE. */
int usage_error(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Reads a number from minimum to maximum, or writes the line and gives false. */
bool option_number(const char *command, const char *option, const char *text, double minimum, double maximum,
                   double *number);

#define TOKEN_MAXIMUM 1024

/* The credential: the first line of the file (NULL: none given), else AI_BRIDGE_AUTH_TOKEN. *token becomes `buffer` or
 * NULL where there is none. False: the line is written. */
bool option_token(const char *command, const char *file, char buffer[TOKEN_MAXIMUM], const char **token);

/* The bridge: `given`, else AI_BRIDGE_URL, else the default. Also says what is wrong with the options of TLS. False:
 * the line is written. */
bool option_url(const char *command, const char *given, const char *standard, struct bridge_url *url);

/* Reads the files of TLS for a URL that wants it; they live as long as the process. False: the line is written. */
bool option_tls(const char *command, struct bridge_url *url);

#endif
