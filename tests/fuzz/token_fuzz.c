/* The file of named tokens: what is read of a line is written as a line that reads the same. The first byte, where it
 * is 'f', makes the rest a file, whose lines are taken one after the other. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "memory.h"
#include "memory/pool.h"
#include "require.h"
#include "runtime/identity/tokens/token_file.h"

#define INPUT_MOST 4096

static bool lists_equal(const struct slice_list *a, const struct slice_list *b)
{
    bool equal = a->count == b->count;
    for (uint32_t i = 0; equal && i < a->count; i++)
        equal = slice_equal(a->items[i], b->items[i]);
    return equal;
}

static void check_entry(const struct token_entry *entry)
{
    static struct token_entry twin;
    struct buffer line = {0};
    struct text_store store = {0};
    char error[ERROR_TEXT_BYTES] = "";
    const struct identity_source *first = &entry->source, *second = &twin.source;
    REQUIRE(token_name_valid(first->name));
    token_line_write(&line, entry);
    REQUIRE(!line.failed && line.data[line.length - 1] == '\n');
    REQUIRE(token_line_read(slice_from(line.data, line.length - 1), &store, &twin, error));
    REQUIRE(slice_equal(first->name, second->name));
    REQUIRE(memcmp(entry->digest, twin.digest, sizeof twin.digest) == 0);
    REQUIRE(lists_equal(&first->roles, &second->roles) && lists_equal(&first->client_ids, &second->client_ids));
    REQUIRE(lists_equal(&first->agent_roles, &second->agent_roles) && lists_equal(&first->labels, &second->labels));
    REQUIRE(first->limits.messages_per_second == second->limits.messages_per_second);
    REQUIRE(first->limits.message_burst == second->limits.message_burst);
    REQUIRE(first->limits.connections == second->limits.connections);
    REQUIRE(first->limits.bytes_per_second == second->limits.bytes_per_second);
    REQUIRE(first->expires_ms == second->expires_ms);
    text_store_free(&store);
    buffer_free(&line);
}

static void read_line(struct slice line, unsigned fails)
{
    static struct token_entry entry;
    struct text_store store = {0};
    char error[ERROR_TEXT_BYTES] = "", *exact = malloc(line.length ? line.length : 1);
    REQUIRE(exact);
    memcpy(exact, line.data, line.length);
    line.data = exact;
    memory_fail(fails);
    bool good = token_line_read(line, &store, &entry, error);
    (void)memory_failed();
    if (good)
        check_entry(&entry);
    else
        REQUIRE(error[0] && memchr(error, '\0', sizeof error));
    text_store_free(&store);
    free(exact);
}

/* The file lies in memory: descriptors have a path. */
static void read_as_file(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];
    char error[256] = "";
    struct buffer text = {0};
    struct slice rest, line;
    if (fd < 0) {
        fd = memfd_create("tokens", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    bool open = size > 0 && data[0] == 'w', long_one = size > 0 && data[0] == 'l', none = size > 0 && data[0] == 'n';
    REQUIRE(fd >= 0 && ftruncate(fd, long_one ? TOKEN_FILE_BYTES + 1 : 0) == 0);
    REQUIRE(pwrite(fd, data, size, 0) == (ssize_t)size && fchmod(fd, open ? 0606 : 0600) == 0);
    pool_set_enabled(false);
    memory_fail(size > 0 && data[0] == 'm' ? 1 : 0);
    bool good = token_file_read(none ? "/nowhere/at/all" : path, &text, error, sizeof error);
    bool failed = memory_failed();
    pool_set_enabled(true);
    REQUIRE(good == !(open || long_one || none || failed) && good == !error[0]);
    if (good) {
        rest = slice_from(text.data, text.length);
        REQUIRE(text.length == size && (size == 0 || memcmp(text.data, data, size) == 0));
        while (token_file_next(&rest, &line))
            if (token_line_counts(line))
                read_line(line, 0);
    }
    buffer_free(&text);
}

static void read_times(struct slice text)
{
    int64_t ms, again;
    char written[CLOCK_ISO_LENGTH];
    if (!clock_parse_iso(text, &ms) || ms < 0)
        return;
    clock_format_iso(ms, written);
    REQUIRE(clock_parse_iso(slice_from(written, sizeof written), &again) && again == ms);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > INPUT_MOST)
        return 0;
    unsigned char digest[TOKEN_DIGEST_BYTES];
    struct slice text = slice_from((const char *)data + 1, size - 1);
    if (data[0] == 'f') {
        read_as_file(data + 1, size - 1);
    } else if (data[0] == 't') {
        read_times(text);
        token_digest(text, digest);
    } else {
        read_line(text, 0);
        if (data[0] < '9')
            read_line(text, 1 + data[0] % 8);
    }
    return 0;
}
