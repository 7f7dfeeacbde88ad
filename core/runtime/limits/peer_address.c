#include "runtime/limits/peer_address.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/hash.h"

struct peer_address peer_address_of(const struct address *address)
{
    static const unsigned char loopback[16] = {[15] = 1}, mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct peer_address out;
    memcpy(out.bytes, address->bytes, sizeof out.bytes);
    if (memcmp(out.bytes, mapped, sizeof mapped) != 0 && memcmp(out.bytes, loopback, sizeof loopback) != 0)
        memset(out.bytes + 8, 0, 8);
    return out;
}

struct slice peer_address_text(const struct peer_address *address, char out[INET6_ADDRSTRLEN])
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    const unsigned char *from = address->bytes;
    bool is_4 = memcmp(from, mapped, sizeof mapped) == 0;
    out[0] = '\0';
    inet_ntop(is_4 ? AF_INET : AF_INET6, is_4 ? from + sizeof mapped : from, out, INET6_ADDRSTRLEN);
    return slice_from_string(out);
}

uint64_t peer_address_hash(const struct peer_address *address)
{
    return hash_slice(peer_address_key(address));
}
