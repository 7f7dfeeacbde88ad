/* PROXY headers. A header that is taken must be taken at its last byte and not before, and whatever stands behind it;
 * what is refused must stay refused; and nothing is asked for past the longest header. X-Forwarded-For's addresses and
 * the config's ranges are parsed from the same bytes. */
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/proxy_header.h"
#include "require.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum proxy_step parse_copy(const uint8_t *data, size_t size, struct proxy_header *out)
{
    char *copy = malloc(size ? size : 1); /* exactly that long: a sanitizer sees a read behind it */
    REQUIRE(copy);
    memcpy(copy, data, size);
    enum proxy_step step = proxy_header_parse(slice_from(copy, size), out);
    free(copy);
    return step;
}

/* As it comes from the kernel: the first bytes as an address of IPv4, IPv6 or neither. */
static void check_socket_address(const uint8_t *data, size_t size)
{
    struct sockaddr_storage from = {.ss_family = AF_UNIX};
    struct sockaddr_in *four = (struct sockaddr_in *)&from;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&from;
    if (size >= 16) {
        six->sin6_family = AF_INET6;
        memcpy(&six->sin6_addr, data, 16);
    } else if (size >= 4) {
        four->sin_family = AF_INET;
        memcpy(&four->sin_addr, data, 4);
    }
    struct address address = address_of(&from);
    struct address_range other = {.first = address, .bits = 128};
    other.first.bytes[15] ^= 1;
    REQUIRE(!address_in_any(&address, &(struct address_ranges){&other, 1}));
}

static void check_address(const uint8_t *data, size_t size)
{
    struct address address, again;
    struct address_range range;
    struct slice text = slice_from((const char *)data, size);
    bool with_suffixes = address_parse(text, true, &again);
    if (address_parse(text, false, &address)) {
        REQUIRE(with_suffixes && memcmp(&address, &again, sizeof address) == 0);
        REQUIRE(address_range_parse(text, &range) && memcmp(&range.first, &address, sizeof address) == 0);
    }
    if (address_range_parse(text, &range))
        REQUIRE(range.bits <= 128 && address_in_any(&range.first, &(struct address_ranges){&range, 1}));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_header whole, part;
    if (size > PROXY_HEADER_MOST + 100)
        return 0;
    enum proxy_step step = parse_copy(data, size, &whole);
    REQUIRE(step != PROXY_NEED_BYTES || size < PROXY_HEADER_MOST);
    REQUIRE(step != PROXY_DONE || (whole.length <= size && whole.length <= PROXY_HEADER_MOST));
    REQUIRE(step != PROXY_DONE || !(whole.local && whole.known));
    bool over = false;
    for (size_t i = 0; i <= size; i++) {
        enum proxy_step now = parse_copy(data, i, &part);
        if (step == PROXY_DONE) {
            REQUIRE(now == (i < whole.length ? PROXY_NEED_BYTES : PROXY_DONE));
            REQUIRE(now != PROXY_DONE || memcmp(&part.source, &whole.source, sizeof part.source) == 0);
        }
        REQUIRE(!over || now == PROXY_FAIL);
        over = now == PROXY_FAIL;
        if (i > 64 && step != PROXY_DONE)
            i += 13; /* the middle of a long one is like its neighbours */
    }
    check_address(data, size < 64 ? size : 64);
    check_socket_address(data, size);
    return 0;
}
