/* unit --list: one "file<TAB>promise" a line. unit PROMISE: runs that one, exit 0 when it holds. */
#include "../support/unit.h"

#include "base/hash.h"

static struct unit_test *first;

void unit_register(struct unit_test *test)
{
    test->next = first;
    first = test;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: unit --list | unit PROMISE\n");
        return 2;
    }
    hash_start();
    for (struct unit_test *test = first; test; test = test->next) {
        if (strcmp(argv[1], "--list") == 0) {
            printf("%s\t%s\n", test->file, test->promise);
        } else if (strcmp(argv[1], test->promise) == 0) {
            test->run();
            return 0;
        }
    }
    if (strcmp(argv[1], "--list") == 0)
        return 0;
    fprintf(stderr, "no test \"%s\"\n", argv[1]);
    return 2;
}
