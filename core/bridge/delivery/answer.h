/* What the bridge itself says to an agent, as frames; and `meta`, an agent's description, as JSON. Any thread. */
#ifndef LUADUCT_BRIDGE_ANSWER_H
#define LUADUCT_BRIDGE_ANSWER_H

#include "bridge/registry/registry.h"
#include "memory/buffer.h"
#include "protocol/code.h"
#include "protocol/json/json_write.h"
#include "protocol/websocket/frame.h"

/* {"type":"error","error":text,"code":…,"id"?:id}. id of length 0: left out. NULL when memory is out. */
struct frame *answer_error(enum code code, struct slice text, struct slice id);

/* {"type":"registered","client":{meta},"history":[…]}. The frames are borrowed. `packed`: as MessagePack, with the
 * history's opaque fields as they came. */
struct frame *answer_registered(const struct agent_view *view, bool enhanced, int64_t now_ms,
                                struct frame *const *history, unsigned history_count, bool packed);

/* {"type":"heartbeat_ack"} */
struct frame *answer_heartbeat(void);

/* Appends one agent's meta object: what it registered with; with its counts and uptime; with what it got and what waits
 * for it as well. own_limits: the JSON of its member `limits`, those that hold for it in the place of the config's;
 * length 0: it has none. */
enum meta_extent { META_REGISTERED, META_COUNTS, META_LOAD };
void meta_append(struct buffer *out, const struct agent_view *view, enum meta_extent extent, struct slice own_limits,
                 int64_t now_ms);

#endif
