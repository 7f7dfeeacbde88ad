/* Negotiating permessage-deflate: the grammar of Sec-WebSocket-Extensions (RFC 6455 9.1) read token by token, and the
 * parameter rules of RFC 7692 7.1. All values are read to the end even when an offer was taken, because a list that is
 * malformed anywhere fails the handshake. */
#include "protocol/websocket/deflate.h"

#include <stdio.h>

#include "protocol/http/http_request.h"

struct reader {
    const char *at, *end;
};

struct parameter {
    struct slice name;
    bool has_value;
    size_t length; /* of the value, unquoted */
    char value[4]; /* its start: no value that we know is longer than two digits */
};

/* What one offer asks for; 0 for "not said". */
struct offer {
    bool server_no_takeover, client_no_takeover, client_bits_known;
    unsigned server_bits, client_bits;
    bool acceptable;
};

static void skip_space(struct reader *reader)
{
    while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\t'))
        reader->at++;
}

/* After white space: takes that byte if it is next. */
static bool take(struct reader *reader, char byte)
{
    skip_space(reader);
    if (reader->at == reader->end || *reader->at != byte)
        return false;
    reader->at++;
    return true;
}

static struct slice read_token(struct reader *reader)
{
    skip_space(reader);
    const char *start = reader->at;
    while (reader->at < reader->end && http_token_valid(slice_from(reader->at, 1)))
        reader->at++;
    return slice_from(start, (size_t)(reader->at - start));
}

static void keep_byte(struct parameter *parameter, char byte)
{
    if (parameter->length < sizeof parameter->value)
        parameter->value[parameter->length] = byte;
    parameter->length++;
}

/* A token, or a quoted string whose content is a token after unescaping. */
static bool read_value(struct reader *reader, struct parameter *parameter)
{
    parameter->has_value = true;
    if (!take(reader, '"')) {
        struct slice token = read_token(reader);
        for (size_t i = 0; i < token.length; i++)
            keep_byte(parameter, token.data[i]);
        return token.length > 0;
    }
    while (reader->at < reader->end) {
        char byte = *reader->at++;
        if (byte == '"')
            return parameter->length > 0;
        if (byte == '\\') {
            if (reader->at == reader->end)
                return false;
            byte = *reader->at++;
        }
        if (!http_token_valid(slice_from(&byte, 1)))
            return false;
        keep_byte(parameter, byte);
    }
    return false;
}

/* 8 to 15 without leading zeros (7.1.2.1); 0: anything else. */
static unsigned window_bits(const struct parameter *parameter)
{
    const char *value = parameter->value;
    if (parameter->length == 1)
        return value[0] == '8' || value[0] == '9' ? (unsigned)(value[0] - '0') : 0;
    if (parameter->length == 2 && value[0] == '1' && value[1] >= '0' && value[1] <= '5')
        return 10u + (unsigned)(value[1] - '0');
    return 0;
}

static void apply(struct offer *offer, const struct parameter *parameter)
{
    bool fits = false;
    if (slice_equal(parameter->name, SLICE("server_no_context_takeover"))) {
        fits = !parameter->has_value && !offer->server_no_takeover;
        offer->server_no_takeover = true;
    } else if (slice_equal(parameter->name, SLICE("client_no_context_takeover"))) {
        fits = !parameter->has_value && !offer->client_no_takeover;
        offer->client_no_takeover = true;
    } else if (slice_equal(parameter->name, SLICE("server_max_window_bits"))) {
        unsigned bits = window_bits(parameter);
        /* 8 is a valid wish, but zlib has no raw window that small. */
        fits = bits >= 9 && offer->server_bits == 0;
        offer->server_bits = bits;
    } else if (slice_equal(parameter->name, SLICE("client_max_window_bits"))) {
        unsigned bits = parameter->has_value ? window_bits(parameter) : 15;
        fits = bits > 0 && !offer->client_bits_known;
        offer->client_bits_known = true;
        offer->client_bits = bits;
    }
    if (!fits)
        offer->acceptable = false;
}

static void accept_offer(const struct offer *offer, bool allow_takeover, struct deflate_agreement *out)
{
    out->send_window_bits = (uint8_t)(offer->server_bits ? offer->server_bits : 15);
    out->say_send_window_bits = offer->server_bits > 0;
    out->receive_window_bits = 15;
    /* A client that said 8 may really use 9 (zlib's habit), so it is not held to a window. */
    out->receive_takeover =
        allow_takeover && offer->client_bits_known && offer->client_bits >= 9 && !offer->client_no_takeover;
    if (out->receive_takeover)
        out->receive_window_bits = offer->client_bits < DEFLATE_TAKEOVER_WINDOW_BITS ? (uint8_t)offer->client_bits
                                                                                     : DEFLATE_TAKEOVER_WINDOW_BITS;
}

enum deflate_offer deflate_negotiate(const struct slice *values, size_t count, bool allow_takeover,
                                     struct deflate_agreement *out)
{
    *out = (struct deflate_agreement){0};
    enum deflate_offer result = DEFLATE_DECLINED;
    for (size_t i = 0; i < count; i++) {
        struct reader reader = {values[i].data, values[i].data + values[i].length};
        for (;;) {
            while (take(&reader, ',')) /* empty elements mean nothing (RFC 9110 5.6.1.2) */
                continue;
            if (reader.at == reader.end)
                break;
            struct slice name = read_token(&reader);
            if (name.length == 0)
                return DEFLATE_MALFORMED;
            struct offer offer = {.acceptable = slice_equal(name, SLICE("permessage-deflate"))};
            while (take(&reader, ';')) {
                struct parameter parameter = {.name = read_token(&reader)};
                if (parameter.name.length == 0 || (take(&reader, '=') && !read_value(&reader, &parameter)))
                    return DEFLATE_MALFORMED;
                apply(&offer, &parameter);
            }
            if (reader.at < reader.end && *reader.at != ',') /* take() went past the white space */
                return DEFLATE_MALFORMED;
            if (offer.acceptable && result == DEFLATE_DECLINED) {
                accept_offer(&offer, allow_takeover, out);
                result = DEFLATE_AGREED;
            }
        }
    }
    return result;
}

size_t deflate_agreement_write(const struct deflate_agreement *agreement, char out[DEFLATE_AGREEMENT_LENGTH])
{
    char server_bits[32] = "", client[40] = "; client_no_context_takeover";
    if (agreement->say_send_window_bits)
        snprintf(server_bits, sizeof server_bits, "; server_max_window_bits=%u", agreement->send_window_bits);
    if (agreement->receive_takeover)
        snprintf(client, sizeof client, "; client_max_window_bits=%u", agreement->receive_window_bits);
    return (size_t)snprintf(out, DEFLATE_AGREEMENT_LENGTH, "permessage-deflate; server_no_context_takeover%s%s",
                            server_bits, client);
}
