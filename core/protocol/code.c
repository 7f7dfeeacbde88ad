#include "protocol/code.h"

static const struct {
    const char *name;
    uint16_t http_status;
    uint16_t close_status;
} codes[CODE_COUNT] = {
    [CODE_OK] = {"ok", 200, 0},
    [CODE_BAD_JSON] = {"bad_json", 400, 0},
    [CODE_BAD_MESSAGE] = {"bad_message", 400, 0},
    [CODE_BAD_FIELD] = {"bad_field", 400, 0},
    [CODE_DUPLICATE_FIELD] = {"duplicate_field", 400, 0},
    [CODE_TOO_LARGE] = {"too_large", 413, 1009},
    [CODE_TOO_DEEP] = {"too_deep", 400, 0},
    [CODE_UNAUTHORIZED] = {"unauthorized", 401, 1008},
    [CODE_FORBIDDEN] = {"forbidden", 403, 0}, /* 1008 when it refuses a register: the session decides */
    [CODE_NOT_REGISTERED] = {"not_registered", 403, 0},
    [CODE_ALREADY_REGISTERED] = {"already_registered", 409, 0},
    [CODE_FROM_MISMATCH] = {"from_mismatch", 403, 0},
    [CODE_REGISTER_TIMEOUT] = {"register_timeout", 408, 1008},
    [CODE_RECIPIENT_REQUIRED] = {"recipient_required", 400, 0},
    [CODE_NO_RECIPIENT] = {"no_recipient", 404, 0},
    [CODE_MAILBOX_FULL] = {"mailbox_full", 507, 0},
    [CODE_EXPIRED] = {"expired", 410, 0},
    [CODE_DUPLICATE] = {"duplicate", 409, 0},
    [CODE_RATE_LIMITED] = {"rate_limited", 429, 0},
    [CODE_OVERLOADED] = {"overloaded", 503, 1013},
    [CODE_NOT_FOUND] = {"not_found", 404, 0},
    [CODE_METHOD_NOT_ALLOWED] = {"method_not_allowed", 405, 0},
    [CODE_BAD_REQUEST] = {"bad_request", 400, 0},
    [CODE_REQUEST_TIMEOUT] = {"request_timeout", 408, 0},
    [CODE_HEADERS_TOO_LARGE] = {"headers_too_large", 431, 0},
    [CODE_SCRIPT_DROPPED] = {"script_dropped", 200, 0},
    [CODE_SCRIPT_FAILED] = {"script_failed", 503, 0},
    [CODE_UNKNOWN_OPERATION] = {"unknown_operation", 400, 0},
    [CODE_TASK_FAILED] = {"task_failed", 422, 0},
    [CODE_TASK_TIMEOUT] = {"task_timeout", 504, 0},
    [CODE_RELOAD_FAILED] = {"reload_failed", 422, 0},
    [CODE_BUSY] = {"busy", 409, 0},
    [CODE_DRAINING] = {"draining", 503, 1001},
    [CODE_INTERNAL] = {"internal", 500, 0},
};

const char *code_name(enum code code)
{
    return codes[code].name;
}

unsigned code_http_status(enum code code)
{
    return codes[code].http_status;
}

unsigned code_close_status(enum code code)
{
    return codes[code].close_status;
}
