/* What endpoints show of TLS. */
#include "runtime/http/api/api_native.h"

#include "base/clock.h"
#include "runtime/tls/certificates.h"
#include "runtime/tls/handshakes.h"

static void push_certificates(lua_State *L)
{
    struct tls_context *context = certificates_current();
    size_t count = context ? tls_context_certificate_count(context) : 0;
    lua_newtable(L);
    for (size_t i = 0; i < count; i++) {
        struct tls_certificate_view view;
        tls_context_certificate(context, i, &view);
        lua_newtable(L);
        set_text(L, "key", view.key);
        set_text(L, "name", view.name);
        set_time(L, "notAfter", view.not_after_s * 1000);
        int64_t seconds_left = view.not_after_s - clock_wall_ms() / 1000;
        set_number(L, "secondsLeft", (double)seconds_left);
        lua_rawseti(L, -2, (int)i + 1);
    }
    tls_context_release(context);
    lua_setfield(L, -2, "certificates");
}

/* tls_figures(): nil where the ports are plain. */
static int native_tls_figures(lua_State *L)
{
    struct handshake_figures figures;
    unsigned sessions = tls_session_count();
    if (!certificates_in_use())
        return 0;
    handshakes_read(&figures);
    lua_newtable(L);
    push_certificates(L);
    set_number(L, "connections", sessions > figures.in_progress ? sessions - figures.in_progress : 0);
    set_number(L, "handshakeThreads", figures.threads);
    lua_newtable(L);
    set_number(L, "full", (double)figures.full);
    set_number(L, "resumed", (double)figures.resumed);
    set_number(L, "inProgress", figures.in_progress);
    set_number(L, "waiting", figures.waiting);
    lua_newtable(L);
    for (unsigned i = 0; i < HANDSHAKE_FAILURES; i++)
        if (handshake_failure_name(i))
            set_number(L, handshake_failure_name(i), (double)figures.failed[i]);
    lua_setfield(L, -2, "failed");
    lua_setfield(L, -2, "handshakes");
    return 1;
}

const luaL_Reg api_tls_functions[] = {
    {"tls_figures", native_tls_figures},
    {NULL, NULL},
};
