/* One HTTP/1.1 POST to a server elsewhere, with TLS or without, for a thread that may wait. */
#ifndef LUADUCT_NET_POST_H
#define LUADUCT_NET_POST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "net/post_answer.h"

struct tls_client;

struct post_target {
    char host[256]; /* without the brackets of an IPv6 address */
    char port[6];
    char path[1024]; /* with the query */
    bool ipv6;       /* the host stood in brackets */
    bool secure;     /* https */
};

/* Takes "http://host[:port][/path]" or https://… apart. *tls: whom to trust where that is https, to be given to each
 * post; else NULL. False: *error says why, the configuration's `key` first. */
bool post_target_open(const char *url, const char *key, struct post_target *out, struct tls_client **tls, char *error,
                      size_t size);

struct post {
    const struct post_target *target;
    struct slice headers;       /* further ones, whole lines with CRLF */
    struct slice body;          /* JSON */
    uint32_t timeout_ms;        /* for all of it but the look-up of the name */
    const atomic_bool *stop;    /* set by another thread: gives up soon */
    struct post_answer *answer; /* what is to be known of the answer; NULL: its status alone */
    struct tls_client *tls;     /* whom to trust, for a target that is secure; this thread's alone */
};

/* The status of the answer; 0: none came, and `error` says why. */
unsigned post_send(const struct post *post, char *error, size_t size);

#endif
