/* The closed list of refusals. Each has one stable name, said in an `error` message over WebSocket and in the error
 * body over HTTP; its HTTP status; and the WebSocket close code that follows it (0: the connection stays open). */
#ifndef LUADUCT_PROTOCOL_CODE_H
#define LUADUCT_PROTOCOL_CODE_H

#include <stdint.h>

enum code {
    CODE_OK,
    CODE_BAD_JSON,
    CODE_BAD_MESSAGE,
    CODE_BAD_FIELD,
    CODE_DUPLICATE_FIELD,
    CODE_TOO_LARGE,
    CODE_TOO_DEEP,
    CODE_UNAUTHORIZED,
    CODE_FORBIDDEN,
    CODE_NOT_REGISTERED,
    CODE_ALREADY_REGISTERED,
    CODE_FROM_MISMATCH,
    CODE_REGISTER_TIMEOUT,
    CODE_RECIPIENT_REQUIRED,
    CODE_NO_RECIPIENT,
    CODE_MAILBOX_FULL,
    CODE_EXPIRED,
    CODE_DUPLICATE,
    CODE_RATE_LIMITED,
    CODE_OVERLOADED,
    CODE_NOT_FOUND,
    CODE_METHOD_NOT_ALLOWED,
    CODE_BAD_REQUEST,
    CODE_REQUEST_TIMEOUT,
    CODE_HEADERS_TOO_LARGE,
    CODE_SCRIPT_DROPPED,
    CODE_SCRIPT_FAILED,
    CODE_UNKNOWN_OPERATION,
    CODE_TASK_FAILED,
    CODE_TASK_TIMEOUT,
    CODE_RELOAD_FAILED,
    CODE_BUSY,
    CODE_DRAINING,
    CODE_INTERNAL,
    CODE_COUNT,
};

const char *code_name(enum code code);      /* "bad_json" … ; "ok" for CODE_OK */
unsigned code_http_status(enum code code);  /* 400 … */
unsigned code_close_status(enum code code); /* 1008, 1009, 1013 …; 0: stays open */

#endif
