/* The `register` message: what an agent says of itself when it joins. Rare, so it is read in a pass of its own over
 * text that message_scan has already accepted. */
#ifndef LUADUCT_PROTOCOL_REGISTRATION_H
#define LUADUCT_PROTOCOL_REGISTRATION_H

#include "protocol/envelope.h"

/* More labels, tools, intents or features than this are refused: every one costs an entry in the registry. */
#define REGISTRATION_LIST_MAXIMUM 256
#define REGISTRATION_TASKS_MAXIMUM 1000000

struct registration {
    struct slice client_id;  /* unescaped text; length 0: none given, the bridge makes one */
    struct slice role;       /* unescaped text; length 0: the default, "agent" */
    struct slice auth_token; /* unescaped text; length 0: none */
    /* JSON arrays as sent, validated; length 0: none given. Read them with registration_next. */
    struct slice labels, tools, intents, features;
    uint32_t max_concurrent_tasks; /* 1 where none is given */
    bool has_features;             /* the list names at least one */
    bool wants_batches;            /* it names "batch" */
};

/* Reads `text`, a message that message_scan called MESSAGE_REGISTER. Only rules->lenient matters. Slices point into the
 * text or, unescaped, into the store, which is not reset. CODE_BAD_FIELD (also for the reserved ids api, bridge and
 * unknown), CODE_DUPLICATE_FIELD or CODE_INTERNAL with the reason in `error`. */
enum code registration_scan(struct slice text, const struct message_rules *rules, struct text_store *store,
                            struct registration *out, char error[ERROR_TEXT_BYTES]);

/* Walks a validated list: `rest` starts as the list and is what is left of it afterwards. Gives the next entry's text,
 * unescaped into `buffer` where it must be (an object's text is its "name"). False at the end. */
bool registration_next(struct slice *rest, char buffer[TEXT_BYTES_MAXIMUM], struct slice *text);

/* 1 to TEXT_BYTES_MAXIMUM bytes of valid Unicode without control characters: what ids, roles and labels must be. */
bool identifier_valid(struct slice text);

/* True for the ids that no agent may take. */
bool client_id_reserved(struct slice text);

#endif
