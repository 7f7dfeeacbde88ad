/* The opening handshake of a WebSocket, client side (RFC 6455 4.1): the request, and the reading of its answer. */
#ifndef LUADUCT_CLIENT_UPGRADE_H
#define LUADUCT_CLIENT_UPGRADE_H

#include <stddef.h>

#include "base/slice.h"
#include "client/arguments/bridge_url.h"

#define UPGRADE_KEY_LENGTH 24
#define UPGRADE_REQUEST_MAXIMUM 12288 /* with the longest credential */
#define UPGRADE_ANSWER_MAXIMUM 16384  /* a longer head is no bridge's */
#define UPGRADE_ERROR_SIZE 160

/* A fresh random key, no NUL. */
void upgrade_make_key(char key[UPGRADE_KEY_LENGTH]);

/* Writes the request and gives its length; 0 when it does not fit. The token may be NULL. No extension is offered. */
size_t upgrade_write(char out[UPGRADE_REQUEST_MAXIMUM], const struct bridge_url *url, struct slice key,
                     const char *token);

enum upgrade_result {
    UPGRADE_DONE,    /* *used bytes were the answer, what follows are frames */
    UPGRADE_PARTIAL, /* more bytes are needed */
    UPGRADE_REFUSED, /* `error` says why */
};

/* Reads the answer from the front of the bytes. */
enum upgrade_result upgrade_read(struct slice bytes, struct slice key, size_t *used, char error[UPGRADE_ERROR_SIZE]);

#endif
