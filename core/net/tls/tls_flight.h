/* What a side of a handshake says in one go (a flight, RFC 5246 7.3) is several records, and the library hands over
 * each when it is made. They wait here until the other side is to be heard, or can work on them meanwhile, and go out
 * together: a packet, and a turn of the kernel's, in place of two or three. */
#ifndef LUADUCT_NET_TLS_FLIGHT_H
#define LUADUCT_NET_TLS_FLIGHT_H

#include <stddef.h>
#include <stdint.h>

/* Holds what a server says with a chain of two or three certificates; more goes in pieces of this size. */
#define TLS_FLIGHT_BYTES 4096u

/* All zero is an empty one. */
struct tls_flight {
    unsigned char bytes[TLS_FLIGHT_BYTES];
    uint16_t length, sent;
};

/* How many of the bytes it took; 0: it is full, and is to be sent first. */
size_t tls_flight_add(struct tls_flight *flight, const unsigned char *bytes, size_t length);

/* 0: the kernel has all of it, and it is empty. Or MBEDTLS_ERR_SSL_WANT_WRITE: the socket takes no more now; or
 * MBEDTLS_ERR_NET_CONN_RESET. */
int tls_flight_send(struct tls_flight *flight, int fd);

#endif
