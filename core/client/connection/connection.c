#include "client/connection/connection.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/random.h"
#include "client/connection/upgrade.h"

static void end(struct client_connection *connection)
{
    tcp_close(&connection->stream);
    buffer_free(&connection->message);
    free(connection->buffer.data);
    connection->buffer = (struct read_buffer){0};
    connection->opcode = WEBSOCKET_CONTINUATION;
}

static bool fail(struct client_connection *connection, const char *what, int error)
{
    snprintf(connection->error, sizeof connection->error, "%s%s%s", what, error ? ": " : "",
             error ? tcp_error(error) : "");
    end(connection);
    return false;
}

static bool wait_readable(struct client_connection *connection, uint64_t deadline)
{
    uint64_t now = clock_steady_ns();
    struct pollfd watched = {connection->stream.descriptor, POLLIN, 0};
    if (tcp_wants_write(&connection->stream))
        watched.events |= POLLOUT;
    return now < deadline && poll(&watched, 1, (int)((deadline - now) / 1000000) + 1) > 0;
}

static uint64_t deadline_in(int timeout_ms)
{
    return clock_steady_ns() + (uint64_t)timeout_ms * 1000000;
}

static bool await_upgrade(struct client_connection *connection, struct slice key, int timeout_ms)
{
    uint64_t deadline = deadline_in(timeout_ms);
    char why[UPGRADE_ERROR_SIZE];
    while (wait_readable(connection, deadline)) {
        struct slice bytes = {0};
        size_t used = 0;
        int got = tcp_flush(&connection->stream);
        if (got == 0)
            got = tcp_receive(&connection->stream, &connection->buffer, &bytes);
        if (got < 0)
            return fail(connection, "the connection broke during the upgrade", got);
        if (got == 0)
            continue;
        enum upgrade_result result = upgrade_read(bytes, key, &used, why);
        if (result == UPGRADE_REFUSED)
            return fail(connection, why, 0);
        if (tcp_hold(&connection->stream, slice_from(bytes.data + used, bytes.length - used)) != 0)
            return fail(connection, "out of memory", 0);
        if (result == UPGRADE_DONE)
            return true;
    }
    return fail(connection, "no answer to the upgrade in time", 0);
}

bool client_open(struct client_connection *connection, const struct bridge_url *url, const char *token, int timeout_ms)
{
    char key[UPGRADE_KEY_LENGTH], request[UPGRADE_REQUEST_MAXIMUM];
    *connection = (struct client_connection){.stream.descriptor = -1};
    int error = tcp_connect(&connection->stream, url, timeout_ms);
    if (error != 0)
        return fail(connection, tcp_error(error), 0);
    upgrade_make_key(key);
    struct slice key_text = slice_from(key, sizeof key);
    size_t length = upgrade_write(request, url, key_text, token);
    if (length == 0)
        return fail(connection, "the URL or the token is too long", 0);
    error = tcp_send(&connection->stream, slice_from(request, length));
    if (error != 0)
        return fail(connection, "cannot send", error);
    return await_upgrade(connection, key_text, timeout_ms);
}

/* 0 or a negative errno. */
static int send_frame(struct client_connection *connection, enum websocket_opcode opcode, struct slice payload)
{
    char header[CLIENT_HEADER_MAXIMUM];
    struct buffer frame = {0};
    uint32_t mask = (uint32_t)random_u64();
    buffer_append(&frame, header, client_frame_header(header, opcode, payload.length, mask));
    size_t header_length = frame.length;
    buffer_append_slice(&frame, payload);
    int error = -ENOMEM;
    if (!frame.failed) {
        client_frame_mask(frame.data + header_length, payload.length, mask, 0);
        error = tcp_send(&connection->stream, slice_from(frame.data, frame.length));
    }
    buffer_free(&frame);
    return error;
}

bool client_send(struct client_connection *connection, enum websocket_opcode opcode, struct slice payload)
{
    if (connection->stream.descriptor < 0)
        return false;
    int error = send_frame(connection, opcode, payload);
    return error == 0 || fail(connection, "cannot send", error);
}

bool client_flush(struct client_connection *connection)
{
    if (connection->stream.descriptor < 0)
        return false;
    int error = tcp_flush(&connection->stream);
    return error == 0 || fail(connection, "cannot send", error);
}

static bool on_close_frame(struct client_connection *connection, struct slice payload)
{
    connection->status = WEBSOCKET_NO_STATUS;
    int reason_length = payload.length > 2 ? (int)payload.length - 2 : 0;
    if (payload.length >= 2)
        connection->status = (unsigned)(unsigned char)payload.data[0] << 8 | (unsigned char)payload.data[1];
    snprintf(connection->error, sizeof connection->error, "the bridge closed the connection (%u)%s%.*s",
             connection->status, reason_length ? ": " : "", reason_length, reason_length ? payload.data + 2 : "");
    if (!connection->leaving) /* else this is the answer to ours */
        send_frame(connection, WEBSOCKET_CLOSE, slice_from(payload.data, payload.length < 2 ? 0 : 2));
    end(connection);
    return false;
}

/* Puts fragments together (RFC 6455 5.4); a message in one frame is handed on where it lies. */
static bool on_data_frame(struct client_connection *connection, const struct server_frame *frame,
                          client_handler *handler, void *context)
{
    bool begins = frame->opcode != WEBSOCKET_CONTINUATION, begun = connection->opcode != WEBSOCKET_CONTINUATION;
    if (begins == begun)
        return fail(connection, "the bridge sent fragments out of order", 0);
    if (begins && frame->final) {
        handler(context, frame->opcode, frame->payload);
        return true;
    }
    if (begins)
        connection->opcode = frame->opcode;
    buffer_append_slice(&connection->message, frame->payload);
    if (connection->message.failed || connection->message.length > READ_BUFFER_MAXIMUM)
        return fail(connection, "a message is too large for this memory", 0);
    if (frame->final) {
        handler(context, connection->opcode, slice_from(connection->message.data, connection->message.length));
        connection->opcode = WEBSOCKET_CONTINUATION;
        buffer_free(&connection->message);
    }
    return true;
}

static bool on_frame(struct client_connection *connection, const struct server_frame *frame, client_handler *handler,
                     void *context)
{
    switch (frame->opcode) {
    case WEBSOCKET_CLOSE:
        return on_close_frame(connection, frame->payload);
    case WEBSOCKET_PING:
        return connection->leaving || client_send(connection, WEBSOCKET_PONG, frame->payload);
    case WEBSOCKET_PONG:
        handler(context, frame->opcode, frame->payload);
        return true;
    default:
        return on_data_frame(connection, frame, handler, context);
    }
}

bool client_receive(struct client_connection *connection, client_handler *handler, void *context)
{
    struct slice rest;
    struct server_frame frame;
    enum server_frame_result result;
    if (connection->stream.descriptor < 0)
        return false;
    int got = tcp_receive(&connection->stream, &connection->buffer, &rest);
    if (got < 0)
        return fail(connection, "the connection broke", got);
    if (got == 0)
        return true;
    while ((result = server_frame_read(rest, &frame)) == SERVER_FRAME_WHOLE) {
        if (!on_frame(connection, &frame, handler, context))
            return false;
        rest = slice_from(rest.data + frame.length, rest.length - frame.length);
    }
    if (result == SERVER_FRAME_BROKEN) {
        send_frame(connection, WEBSOCKET_CLOSE, SLICE("\x03\xea")); /* 1002 */
        return fail(connection, "the bridge sent a frame against RFC 6455", 0);
    }
    return tcp_hold(&connection->stream, rest) == 0 || fail(connection, "out of memory", 0);
}

void client_close(struct client_connection *connection, int timeout_ms, client_handler *handler, void *context)
{
    uint64_t deadline = deadline_in(timeout_ms);
    bool open = client_send(connection, WEBSOCKET_CLOSE, SLICE("\x03\xe8")); /* 1000 */
    connection->leaving = true;
    while (open && wait_readable(connection, deadline))
        open = client_flush(connection) && client_receive(connection, handler, context);
    end(connection);
}
