#include "../../support/unit.h"

#include "runtime/reload/version.h"

static struct config config = {.mode_name = "enhanced"};

static struct version *made(void)
{
    struct script_sources *sources = sources_new();
    struct version *version = version_new(&config, NULL, sources);
    sources_release(sources);
    CHECK(version && version->number == 0);
    return version;
}

TEST("has its number before it is in use, and leaves it to the next one if it does not come into use")
{
    struct version *first = made(), *refused = made(), *second = made();
    versions_add(first);
    versions_number(refused);
    CHECK(first->number == 1 && refused->number == 2 && !versions_find(2));

    versions_take_number(refused);
    versions_number(second);
    CHECK(refused->number == 0 && second->number == 2);
    versions_add(second);
    struct version *found = versions_find(2);
    CHECK(found == second);
    version_release(found);

    versions_take_number(second); /* it is in use */
    versions_add(first);          /* the same */
    CHECK(second->number == 2 && first->number == 1);
    version_release(first);
    version_release(refused);
    version_release(second);
    versions_stop();
}
