/* Which bridge a command talks to, what it shows there, and whom it trusts: the options --url, --token-file and those
 * of TLS, which every such command has, and what holds without them. */
#ifndef LUADUCT_CLIENT_TARGET_H
#define LUADUCT_CLIENT_TARGET_H

#include <stdbool.h>

#include "client/arguments/bridge_url.h"
#include "client/arguments/options.h"

/* In a command's help. */
#define TARGET_HTTP "http://127.0.0.1:4568"
#define TARGET_HTTP_HELP                                                                                               \
    "  --url URL       where; standard AI_BRIDGE_URL, else " TARGET_HTTP "; unix:PATH for listen.admin\n"              \
    "  --token-file F  the credential is the file's first line; standard AI_BRIDGE_AUTH_TOKEN\n" TARGET_TLS_HELP
#define TARGET_TLS_HELP                                                                                                \
    "  --ca FILE       for wss:// and https://: the authorities to trust; standard SSL_CERT_FILE, else the "           \
    "system's\n"                                                                                                       \
    "  --cert FILE, --key FILE  a certificate to show where it is asked for, and its key; all in PEM\n"                \
    "  --insecure-skip-verify   trust whoever answers; for trying things out only\n"

/* As they were given; NULL: not. */
struct target_options {
    const char *url, *token_file, *ca, *cert, *key;
    bool insecure;
};

/* In a command's list of options. */
#define TARGET_RULES(options)                                                                                          \
    {"url", .text = &(options)->url}, {"token-file", .text = &(options)->token_file}, {"ca", .text = &(options)->ca},  \
        {"cert", .text = &(options)->cert}, {"key", .text = &(options)->key},                                          \
    {                                                                                                                  \
        "insecure-skip-verify", .flag = &(options)->insecure                                                           \
    }

/* The longest credential that the bridge takes (a JSON Web Token), and a zero. */
#define TOKEN_MAXIMUM 8193

struct target {
    struct bridge_url url; /* its `tls` lives as long as the process */
    const char *token;     /* token_text, or NULL: there is none */
    char token_text[TOKEN_MAXIMUM];
};

/* The bridge: --url, else AI_BRIDGE_URL, else `standard`. The credential: the first line of --token-file, else
 * AI_BRIDGE_AUTH_TOKEN, else none. 0; or the exit code, after a line on standard error. */
int target_find(const char *command, const struct target_options *options, const char *standard, struct target *target);

#endif
