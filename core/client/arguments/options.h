/* What the commands share in reading their arguments: getopt_long with one-line errors, numbers with a range. */
#ifndef LUADUCT_CLIENT_OPTIONS_H
#define LUADUCT_CLIENT_OPTIONS_H

#include <getopt.h>
#include <stdbool.h>

#define EXIT_USAGE 2

#define OPTIONS_END -1
#define OPTIONS_WRONG '?' /* the line that says why is written */

/* The next option's `val` (of -h that of --help), its argument in optarg; then OPTIONS_END, and optind is the first
 * operand. Operands may stand between options. argv[0] is the command's name. */
int options_next(int argc, char **argv, const struct option *known);

/* Writes "luaduct COMMAND: …, see luaduct COMMAND --help" to standard error and gives EXIT_USAGE. */
int usage_error(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Reads a number from minimum to maximum, or writes the line and gives false. */
bool option_number(const char *command, const char *option, const char *text, double minimum, double maximum,
                   double *number);

/* The same for a whole number in digits. */
bool option_integer(const char *command, const char *option, const char *text, double minimum, double maximum,
                    double *number);

#endif
