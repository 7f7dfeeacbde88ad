/* Times of certificates. */
#ifndef LUADUCT_NET_TLS_TIME_H
#define LUADUCT_NET_TLS_TIME_H

#include <mbedtls/x509.h>
#include <stdint.h>
#include <time.h>

/* Seconds since the epoch, UTC. */
static inline int64_t tls_time_seconds(const mbedtls_x509_time *time)
{
    struct tm parts = {.tm_year = time->year - 1900,
                       .tm_mon = time->mon - 1,
                       .tm_mday = time->day,
                       .tm_hour = time->hour,
                       .tm_min = time->min,
                       .tm_sec = time->sec};
    return (int64_t)timegm(&parts);
}

#endif
