/* A request and its answer while they are under way on one connection, for the files that share them: http_session.c,
 * which moves them, http_answer.c, http_upgrade.c, http_listening.c. */
#ifndef LUADUCT_RUNTIME_HTTP_EXCHANGE_H
#define LUADUCT_RUNTIME_HTTP_EXCHANGE_H

#include "protocol/http/http_request.h"
#include "protocol/http/http_response.h"
#include "runtime/http/api/api.h"
#include "runtime/http/http_gate.h"

/* A place in `kept`, which moves as it grows. */
struct kept_text {
    uint32_t at, length;
};

struct http_exchange {
    struct buffer input;
    size_t input_at; /* used up to here */
    struct buffer output;
    size_t output_at; /* written up to here */

    /* The request being read or answered. */
    struct request {
        struct http_scan scan;
        struct http_body reader;
        struct buffer body;
        struct buffer kept;
        struct kept_text method, path, query, accept, origin;
        struct kept_text shown; /* in the place of a path that is none, for the access log */
        struct http_gate gate;
        struct api_call call;
        struct trace_context *trace; /* what its head said of it; NULL: nothing */
        bool in_body;                /* its head is done */
        bool is_head;                /* HEAD: nothing but the head goes out */
        bool http_1_0;               /* knows no chunks, and must be told that the connection stays */
        bool keep_alive;             /* another request may follow */
        bool streams;                /* its answer goes out in pieces, and the head of it is written */
        bool calling;                /* the endpoint has not finished */
        unsigned status;             /* of the answer; 0: none yet. This and the next two are for the access log */
        uint64_t answer_bytes;       /* of its body so far */
        uint64_t began_ns;           /* steady clock: its head was whole; 0: it was not */
    } request;

    bool verifying;     /* the next request waits until it is known who asks */
    bool paused;        /* requests may wait in input because of what waits in output */
    bool its_turn;      /* all was written: when the socket takes more, go on */
    bool last;          /* nothing more is read: close when output is written */
    bool peer_finished; /* nothing more comes */
};

/* Bytes of answers that the socket has not taken yet. */
static inline size_t http_exchange_waiting(const struct http_exchange *exchange)
{
    return exchange->output.length - exchange->output_at;
}

static inline struct slice http_exchange_kept(const struct http_exchange *exchange, struct kept_text text)
{
    return slice_from(exchange->request.kept.data + text.at, text.length);
}

/* Forgets the request, answered or not; input and output stay. */
void http_exchange_end_request(struct connection *connection);

/* What an answer says besides its body. */
struct http_answer {
    unsigned status;
    enum http_framing framing;
    uint64_t length;
    const char *content_type;          /* NULL: none */
    const char *allow;                 /* NULL: none */
    unsigned retry_after;              /* seconds; 0: none */
    const char *cache;                 /* Cache-Control; NULL: no-store */
    const struct http_header *headers; /* more of them, at most 8 */
    size_t header_count;
};

/* The head alone; pieces follow. In all of these, memory's end sets output.failed. */
void http_answer_head(struct connection *connection, const struct http_answer *answer);

/* Some of the body; nothing for an empty piece. */
void http_answer_piece(struct http_exchange *exchange, struct slice data);

/* Behind the last piece; the request is over. */
void http_answer_end(struct connection *connection);

/* Head and body; the request is over. */
void http_answer_whole(struct connection *connection, struct http_answer answer, struct slice body);

/* The same with an error body; counts the refusal. */
void http_answer_error(struct connection *connection, enum code code, struct http_answer answer, const char *text);

/* An error after which the connection closes: where a next request would start is not known, or nobody may go on. */
void http_answer_last(struct connection *connection, enum code code, unsigned status, const char *text);

/* What a browser may ask from this origin. */
void http_answer_preflight(struct connection *connection);

/* Sends what waits in output. */
enum outbox_result http_session_send(struct connection *connection);

/* After any progress: what happens next with this connection. */
void http_session_settle(struct connection *connection);

/* A request to become a WebSocket: the connection is one, or refused, or gone, afterwards. */
void http_upgrade(struct connection *connection, const struct http_request *request, struct slice path);

/* Whether its answer goes on with events. Its calling never ends by itself, and it has no turns: what waits is taken
 * when the socket has taken the last. NULL does not. */
bool http_listens(const struct http_exchange *exchange);
enum outbox_result http_listening_flush(struct connection *connection);

#endif
