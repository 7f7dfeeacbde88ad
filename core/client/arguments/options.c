#include "client/arguments/options.h"

#include <assert.h>
#include <getopt.h>
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

/* The next option's `val`, its argument in optarg; -1: there is none. '?': the line that says why is written. */
static int next_option(int argc, char **argv, const struct option *known)
{
    opterr = 0;
    int before = optind;
    int found = getopt_long(argc, argv, ":h", known, NULL);
    if (found == ':') {
        usage_error(argv[0], "%s needs a value", argv[optind - 1]);
        return '?';
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

/* In digits. */
static bool read_integer(const char *command, const struct option_rule *rule, double *number)
{
    *number = strtod(optarg, NULL);
    if (*optarg && optarg[strspn(optarg, "0123456789")] == '\0' && *number >= rule->minimum && *number <= rule->maximum)
        return true;
    usage_error(command, "--%s: expected a whole number from %.0f to %.0f, got \"%s\"", rule->name, rule->minimum,
                rule->maximum, optarg);
    return false;
}

static bool read_number(const char *command, const struct option_rule *rule, double *number)
{
    char *end;
    *number = strtod(optarg, &end);
    if (end != optarg && *end == '\0' && isfinite(*number) && *number >= rule->minimum && *number <= rule->maximum)
        return true;
    usage_error(command, "--%s: expected a number from %.12g to %.12g, got \"%s\"", rule->name, rule->minimum,
                rule->maximum, optarg);
    return false;
}

static int take_option(const char *command, const struct option_rule *rule)
{
    double number = 0;
    if (rule->number && !read_number(command, rule, &number))
        return EXIT_USAGE;
    if ((rule->whole || rule->large) && !read_integer(command, rule, &number))
        return EXIT_USAGE;
    if (rule->flag)
        *rule->flag = true;
    if (rule->text)
        *rule->text = optarg;
    if (rule->number)
        *rule->number = number;
    if (rule->whole)
        *rule->whole = (unsigned)number;
    if (rule->large)
        *rule->large = (uint64_t)number;
    return rule->take ? rule->take(rule->context, command, optarg) : 0;
}

int options_read(int argc, char **argv, const struct option_rule *rules, const char *help)
{
    enum { FIRST = 256 }; /* past the letters of short options */
    struct option known[OPTIONS_MAXIMUM + 2] = {{0}};
    int count = 0, found, code = 0;
    for (; rules[count].name; count++) {
        assert(count < OPTIONS_MAXIMUM);
        known[count] = (struct option){rules[count].name, rules[count].flag ? no_argument : required_argument, NULL,
                                       FIRST + count};
    }
    known[count] = (struct option){"help", no_argument, NULL, FIRST + count};
    while (code == 0 && (found = next_option(argc, argv, known)) != -1) {
        if (found == FIRST + count || found == 'h') {
            fputs(help, stdout);
            return 0;
        }
        code = found == '?' ? EXIT_USAGE : take_option(argv[0], &rules[found - FIRST]);
    }
    return code == 0 ? OPTIONS_READ : code;
}

int options_read_all(int argc, char **argv, const struct option_rule *rules, const char *help)
{
    int code = options_read(argc, argv, rules, help);
    return code == OPTIONS_READ && optind < argc ? usage_error(argv[0], "there is no place for %s", argv[optind])
                                                 : code;
}
