#include "client/arguments/options.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int options_next(int argc, char **argv, const struct option *known)
{
    opterr = 0;
    int before = optind;
    int found = getopt_long(argc, argv, ":h", known, NULL);
    for (const struct option *option = known; found == 'h' && option->name; option++)
        if (strcmp(option->name, "help") == 0)
            return option->val;
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

bool option_integer(const char *command, const char *option, const char *text, double minimum, double maximum,
                    double *number)
{
    *number = strtod(text, NULL);
    if (*text && text[strspn(text, "0123456789")] == '\0' && *number >= minimum && *number <= maximum)
        return true;
    usage_error(command, "--%s: expected a whole number from %.0f to %.0f, got \"%s\"", option, minimum, maximum, text);
    return false;
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
