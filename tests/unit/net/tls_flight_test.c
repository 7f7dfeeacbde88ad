#include "../../support/unit.h"

#include <fcntl.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/tls/tls_flight.h"

static unsigned char bytes[64 * 1024], got[sizeof bytes];

TEST("a flight of TLS leaves in one piece, and then there is room for the next")
{
    struct tls_flight flight = {0};
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair) == 0); /* keeps the pieces apart */
    for (unsigned round = 0; round < 3; round++) {
        CHECK(tls_flight_add(&flight, (const unsigned char *)"hello", 5) == 5);
        CHECK(tls_flight_add(&flight, (const unsigned char *)" and more", 9) == 9);
        CHECK(recv(pair[1], got, sizeof got, 0) < 0);
        CHECK(tls_flight_send(&flight, pair[0]) == 0);
        CHECK(recv(pair[1], got, sizeof got, 0) == 14 && memcmp(got, "hello and more", 14) == 0);
    }
    CHECK(tls_flight_send(&flight, pair[0]) == 0 && recv(pair[1], got, sizeof got, 0) < 0); /* nothing: nothing */
    close(pair[0]);
    close(pair[1]);
}

TEST("a flight of TLS that is larger than its buffer and the socket comes whole and in order")
{
    struct tls_flight flight = {0};
    int pair[2], small = 2048, sent = MBEDTLS_ERR_SSL_WANT_WRITE;
    size_t added = 0, came = 0;
    unsigned full = 0;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    CHECK(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small) == 0);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 251);
    while (added < sizeof bytes || sent != 0) {
        size_t taken = tls_flight_add(&flight, bytes + added, sizeof bytes - added);
        added += taken;
        sent = tls_flight_send(&flight, pair[0]);
        CHECK(sent == 0 || sent == MBEDTLS_ERR_SSL_WANT_WRITE);
        full += sent != 0;
        ssize_t n = recv(pair[1], got + came, 700, 0);
        came += n > 0 ? (size_t)n : 0;
    }
    for (ssize_t n; (n = recv(pair[1], got + came, sizeof got - came, 0)) > 0; came += (size_t)n)
        ;
    CHECK(full > 0 && came == sizeof bytes && memcmp(got, bytes, came) == 0);
    close(pair[1]);
    CHECK(tls_flight_add(&flight, bytes, 1) == 1);
    CHECK(tls_flight_send(&flight, pair[0]) == MBEDTLS_ERR_NET_CONN_RESET);
    close(pair[0]);
}
