/* A thread that is no reactor's and looks at what reactors share: agents, roles, loads. While there is one reactor it
 * takes no locks (base/threads/lock.h), so it must know. Waits for the reactor, which must run until guest_leave has
 * returned.
 */
#ifndef LUADUCT_RUNTIME_GUEST_H
#define LUADUCT_RUNTIME_GUEST_H

struct reactor;

void guest_enter(struct reactor *first);
void guest_leave(struct reactor *first);

#endif
