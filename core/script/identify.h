/* The hooks by which scripts say who somebody is: `authenticate(credentials)` and `on_identify(certificate)`. The first
 * script of the chain that returns something other than nil decides. Neither may wait, and whatever goes wrong in one
 * is a no. */
#ifndef LUADUCT_SCRIPT_IDENTIFY_H
#define LUADUCT_SCRIPT_IDENTIFY_H

#include "script/hook.h"

/* As the script sees it: {commonName =, uris = {…}, dns = {…}, fingerprint =, expires =}. */
struct script_certificate {
    struct slice common_name; /* data NULL: nil */
    struct slice_list uris, dns;
    struct slice fingerprint; /* SHA-256, hexadecimal */
    int64_t expires_ms;       /* wall clock */
};

/* The same: {token =, address =, path =, headers = {name = value}, certificate =}. */
struct script_credentials {
    struct slice token;   /* data NULL: nil */
    struct slice address; /* of the peer, as text */
    struct slice path;    /* of the request; data NULL: a register message */
    const struct script_header {
        struct slice name, value;
    } * headers; /* names in any case: the script sees lower case, and the values of a name with ", " between */
    size_t header_count;
    const struct script_certificate *certificate; /* NULL: nil */
};

#define SCRIPT_IDENTITY_LIST_MAXIMUM 256

/* What a script says: {name =, roles = {…}, clientIds = {…}, agentRoles = {…}, labels = {…}, limits = {…}, expires =}.
 * Text is valid until the state's next call. */
struct script_identity {
    struct slice name;
    struct slice_list roles, client_ids, agent_roles, labels;
    double limits[4];   /* in the order of script_identity_limits; 0: not said */
    int64_t expires_ms; /* wall clock; 0: never */
    struct slice items[4][SCRIPT_IDENTITY_LIST_MAXIMUM];
};
extern const char *const script_identity_limits[4]; /* messagesPerSecond, messageBurst, connections, bytesPerSecond */

enum script_identified {
    SCRIPT_IDENTIFIED, /* *out is filled in */
    SCRIPT_UNKNOWN,    /* every script returned nil */
    SCRIPT_DENIED,     /* false, or a hook failed, which is counted and logged; *reason is for the log */
};

/* On the state's thread, with no call under way. `origin`: a hash of where it comes from; to the breaker, who asks. */
enum script_identified script_authenticate(struct script_state *state, const struct script_credentials *credentials,
                                           uint64_t origin, struct script_identity *out, struct slice *reason);
enum script_identified script_identify(struct script_state *state, const struct script_certificate *certificate,
                                       uint64_t origin, struct script_identity *out, struct slice *reason);

/* --- For chain.c --- */

struct lua_State;

struct identify_call {
    const struct script_credentials *credentials; /* authenticate */
    const struct script_certificate *certificate; /* on_identify */
    uint64_t origin;
    struct script_identity *out;
    struct slice reason;
    bool identified, denied;
};

/* Pushes the one argument. May raise. */
void identify_push(struct lua_State *lua, const struct identify_call *call);

/* Reads the two results, which are the stack. Raises what is wrong with them. */
void identify_read(struct lua_State *lua, struct script_state *state, struct identify_call *call);

#endif
