/* What the commands share in reading their arguments: a list says what options there are and where their values go, one
 * line says what is wrong. */
#ifndef LUADUCT_CLIENT_OPTIONS_H
#define LUADUCT_CLIENT_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#define EXIT_USAGE 2

/* An option, and where what it says goes: one of the pointers is set, or `text` and one for a number that is needed as
 * it was given. A list of them ends with {0}. */
struct option_rule {
    const char *name;
    bool *flag;        /* takes no value */
    const char **text; /* points into argv */
    double *number;    /* from minimum to maximum, as are the next two */
    unsigned *whole;   /* in digits alone */
    uint64_t *large;   /* the same */
    double minimum, maximum;
    int (*take)(void *context, const char *command, const char *text); /* 0; or EXIT_USAGE, after usage_error */
    void *context;
};

#define OPTIONS_MAXIMUM 48
#define OPTIONS_READ (-1)

/* Reads the options, between which operands may stand: then optind is the first of these. argv[0] is the command's
 * name. OPTIONS_READ; or the exit code, after the line that says what is wrong, or after printing `help`: every command
 * has the options --help and -h, behind which nothing is read. */
int options_read(int argc, char **argv, const struct option_rule *rules, const char *help);

/* The same for commands that take no operands. */
int options_read_all(int argc, char **argv, const struct option_rule *rules, const char *help);

/* Writes "luaduct COMMAND: …, see luaduct COMMAND --help" to standard error and gives EXIT_USAGE. */
int usage_error(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
