/* The head of an HTTP answer, as far as a client needs it: what it is, and where its body ends. */
#ifndef LUADUCT_CLIENT_HTTP_HEAD_H
#define LUADUCT_CLIENT_HTTP_HEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct http_head {
    unsigned status;
    size_t length; /* of the head, its empty line included; 0: not whole yet */
    bool chunked, has_length, closes;
    uint64_t content_length;
};

/* Fills the head once it is whole. False: it is not HTTP. */
bool http_head_read(struct slice bytes, struct http_head *head);

#endif
