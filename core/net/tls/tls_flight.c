#include "net/tls/tls_flight.h"

#include <errno.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <string.h>
#include <sys/socket.h>

size_t tls_flight_add(struct tls_flight *flight, const unsigned char *bytes, size_t length)
{
    size_t room = TLS_FLIGHT_BYTES - flight->length;
    size_t taken = length < room ? length : room;
    memcpy(flight->bytes + flight->length, bytes, taken);
    flight->length = (uint16_t)(flight->length + taken);
    return taken;
}

int tls_flight_send(struct tls_flight *flight, int fd)
{
    while (flight->sent < flight->length) {
        ssize_t n = send(fd, flight->bytes + flight->sent, (size_t)(flight->length - flight->sent), MSG_NOSIGNAL);
        if (n > 0)
            flight->sent = (uint16_t)(flight->sent + n);
        else if (errno != EINTR)
            return errno == EAGAIN || errno == EWOULDBLOCK ? MBEDTLS_ERR_SSL_WANT_WRITE : MBEDTLS_ERR_NET_CONN_RESET;
    }
    flight->sent = flight->length = 0;
    return 0;
}
