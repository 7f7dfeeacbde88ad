/* Why a parser of our own: Debian's http-parser 2.9.4 accepts bare LF, folded lines and "Host :", so it would need a
 * strict scan in front of it, and two parsers that may disagree about one message are what request smuggling lives on.
 * This one accepts one spelling of everything and refuses the rest.
 *
 * The head is read in two passes. The first, head_scan, looks at every byte once, as it comes: line ends are CR LF, no
 * control bytes, not too long. It keeps two offsets between calls and so costs the same for a peer that sends one byte
 * at a time. The second, when the head is complete, cuts it into slices and knows already that its lines are whole. The
 * price is that most refusals wait for the end of the head; what cannot be HTTP (a TLS hello, say) fails at once.
 *
 * The body is a state machine over bytes, except for content, which is handed out as slices of what is there. */
#include "protocol/http/http_request.h"

#include "protocol/http/url.h"

/* Chunk extensions and trailers that one body may carry, in bytes. Nobody here reads them; it lets a trailing checksum
 * or signature through, and no peer can make us read for ever without sending content. */
#define BODY_OVERHEAD_MAX 4096

/* Chunk sizes up to 4 GiB; longer ones could only be leading zeros or over any limit. */
#define CHUNK_DIGITS_MAX 8

enum byte_class {
    IN_TOKEN = 1,  /* RFC 9110 5.6.2 */
    IN_VALUE = 2,  /* RFC 9110 5.5: visible, space, tabulator, and bytes from 0x80 on as they are */
    IN_TARGET = 4, /* visible but for quote, "#", "<", ">". Wider than RFC 3986: browsers send "|" or "{" unescaped */
};

#define TVG (IN_TOKEN | IN_VALUE | IN_TARGET)
#define VG (IN_VALUE | IN_TARGET)
static const uint8_t classes[256] = {
    ['\t'] = IN_VALUE,    [' '] = IN_VALUE,    ['!'] = TVG,         ['"'] = IN_VALUE,   ['#'] = IN_TOKEN | IN_VALUE,
    ['$' ... '\''] = TVG, ['(' ... ')'] = VG,  ['*' ... '+'] = TVG, [','] = VG,         ['-' ... '.'] = TVG,
    ['/'] = VG,           ['0' ... '9'] = TVG, [':' ... ';'] = VG,  ['<'] = IN_VALUE,   ['='] = VG,
    ['>'] = IN_VALUE,     ['?' ... '@'] = VG,  ['A' ... 'Z'] = TVG, ['[' ... ']'] = VG, ['^' ... 'z'] = TVG,
    ['{'] = VG,           ['|'] = TVG,         ['}'] = VG,          ['~'] = TVG,        [0x80 ... 0xff] = IN_VALUE,
};
#undef TVG
#undef VG

static inline bool byte_is(char byte, enum byte_class class)
{
    return classes[(unsigned char)byte] & class;
}

static bool all_bytes_are(struct slice text, enum byte_class class)
{
    for (size_t i = 0; i < text.length; i++)
        if (!byte_is(text.data[i], class))
            return false;
    return true;
}

bool http_token_valid(struct slice text)
{
    return text.length > 0 && all_bytes_are(text, IN_TOKEN);
}

bool http_value_valid(struct slice text)
{
    return all_bytes_are(text, IN_VALUE);
}

static struct slice trim(struct slice text)
{
    while (text.length > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = slice_from(text.data + 1, text.length - 1);
    while (text.length > 0 && (text.data[text.length - 1] == ' ' || text.data[text.length - 1] == '\t'))
        text.length--;
    return text;
}

bool http_list_has(struct slice list, struct slice token)
{
    while (list.length > 0) {
        const char *comma = memchr(list.data, ',', list.length);
        size_t length = comma ? (size_t)(comma - list.data) : list.length;
        if (slice_equal_ignoring_case(trim(slice_from(list.data, length)), token))
            return true;
        size_t used = comma ? length + 1 : length;
        list = slice_from(list.data + used, list.length - used);
    }
    return false;
}

const struct http_header *http_request_header(const struct http_request *request, struct slice name,
                                              const struct http_header *after)
{
    const struct http_header *end = request->headers + request->header_count;
    for (const struct http_header *header = after ? after + 1 : request->headers; header < end; header++)
        if (slice_equal_ignoring_case(header->name, name))
            return header;
    return NULL;
}

static enum http_step fail(struct http_error *error, enum code code, unsigned status, const char *text)
{
    *error = (struct http_error){code, status, text};
    return HTTP_FAIL;
}

static enum http_step fail_bad(struct http_error *error, const char *text)
{
    return fail(error, CODE_BAD_REQUEST, 400, text);
}

/* HTTP_DONE: the head, its empty line included, ends at scan->scanned. */
static enum http_step head_scan(struct http_scan *scan, const char *data, size_t length,
                                const struct http_limits *limits, struct http_error *error)
{
    uint32_t end = length < limits->head_bytes ? (uint32_t)length : limits->head_bytes;
    for (uint32_t i = scan->scanned; i < end; i++) {
        bool after_return = i > 0 && data[i - 1] == '\r';
        if (data[i] != '\n') {
            if (after_return || (data[i] != '\r' && !byte_is(data[i], IN_VALUE)))
                return fail_bad(error, "control byte in the head");
            continue;
        }
        if (!after_return)
            return fail_bad(error, "a line must end with CR LF");
        if (i - 1 == scan->line_start) {
            /* One empty line before a request is forgiven (RFC 9112 2.2): old clients sent it after a body. A first
             * line that is not empty leaves the second at 3 or later. */
            if (scan->line_start == 2)
                return fail_bad(error, "more than one empty line before the request");
            if (scan->line_start > 2) {
                scan->scanned = i + 1;
                return HTTP_DONE;
            }
        }
        scan->line_start = i + 1;
    }
    scan->scanned = end;
    if (length >= limits->head_bytes)
        return fail(error, CODE_HEADERS_TOO_LARGE, 431, "request line and headers are too large");
    return HTTP_NEED_BYTES;
}

/* Takes one line off the head, without its CR LF, which head_scan has seen. */
static struct slice line_take(struct slice *head)
{
    const char *feed = memchr(head->data, '\n', head->length);
    size_t used = feed ? (size_t)(feed - head->data) + 1 : head->length;
    struct slice line = slice_from(head->data, used < 2 ? 0 : used - 2);
    *head = slice_from(head->data + used, head->length - used);
    return line;
}

static bool word_take(struct slice *rest, struct slice *word)
{
    const char *space = memchr(rest->data, ' ', rest->length);
    if (!space)
        return false;
    *word = slice_from(rest->data, (size_t)(space - rest->data));
    *rest = slice_from(space + 1, rest->length - word->length - 1);
    return true;
}

/* RFC 9112 3. The target is cut up later, when Host is known. */
static enum http_step request_line_parse(struct slice line, struct http_request *out, struct slice *target)
{
    struct slice version = line;
    if (!word_take(&version, &out->method) || !word_take(&version, target))
        return fail_bad(&out->error, "the request line is method, target, version, with one space between");
    if (!http_token_valid(out->method))
        return fail_bad(&out->error, "the method is not a token");
    if (version.length != 8 || memcmp(version.data, "HTTP/", 5) != 0 || version.data[6] != '.' ||
        version.data[5] < '0' || version.data[5] > '9' || version.data[7] < '0' || version.data[7] > '9')
        return fail_bad(&out->error, "malformed HTTP version");
    if (version.data[5] != '1' || version.data[7] > '1')
        return fail(&out->error, CODE_BAD_REQUEST, 505, "only HTTP/1.0 and HTTP/1.1 are served");
    out->version_minor = (unsigned)(version.data[7] - '0');
    if (slice_equal(out->method, SLICE("CONNECT")))
        return fail_bad(&out->error, "CONNECT is not served");
    if (target->length == 0 || !all_bytes_are(*target, IN_TARGET))
        return fail_bad(&out->error, "malformed request target");
    return HTTP_DONE;
}

/* What the headers said that matters to us, gathered while they are cut up and judged together afterwards. */
struct facts {
    bool has_host, has_length, says_close, says_keep_alive, says_upgrade, upgrade_to_websocket, expects;
};

static enum http_step content_length_parse(struct slice value, const struct http_limits *limits,
                                           struct http_request *out)
{
    if (value.length == 0)
        return fail_bad(&out->error, "Content-Length must be digits");
    bool over = false;
    for (size_t i = 0; i < value.length; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return fail_bad(&out->error, "Content-Length must be digits");
        over = over || out->content_length > (UINT64_MAX - 9) / 10;
        if (!over)
            out->content_length = out->content_length * 10 + (uint64_t)(value.data[i] - '0');
    }
    if (over || out->content_length > limits->body_bytes)
        return fail(&out->error, CODE_TOO_LARGE, 413, "the body is too large");
    return HTTP_DONE;
}

static enum http_step header_read(struct http_header header, const struct http_limits *limits, struct facts *facts,
                                  struct http_request *out)
{
    struct slice name = header.name, value = header.value;
    if (slice_equal_ignoring_case(name, SLICE("host"))) {
        struct url_authority authority;
        if (facts->has_host)
            return fail_bad(&out->error, "more than one Host");
        if (!url_authority_parse(value, &authority))
            return fail_bad(&out->error, "malformed Host");
        facts->has_host = true;
        out->host = value;
    } else if (slice_equal_ignoring_case(name, SLICE("content-length"))) {
        if (facts->has_length)
            return fail_bad(&out->error, "more than one Content-Length");
        facts->has_length = true;
        return content_length_parse(value, limits, out);
    } else if (slice_equal_ignoring_case(name, SLICE("transfer-encoding"))) {
        if (out->chunked || !slice_equal_ignoring_case(value, SLICE("chunked")))
            return fail_bad(&out->error, "the only Transfer-Encoding is chunked, said once");
        out->chunked = true;
    } else if (slice_equal_ignoring_case(name, SLICE("connection"))) {
        facts->says_close = facts->says_close || http_list_has(value, SLICE("close"));
        facts->says_keep_alive = facts->says_keep_alive || http_list_has(value, SLICE("keep-alive"));
        facts->says_upgrade = facts->says_upgrade || http_list_has(value, SLICE("upgrade"));
    } else if (slice_equal_ignoring_case(name, SLICE("upgrade"))) {
        facts->upgrade_to_websocket = facts->upgrade_to_websocket || http_list_has(value, SLICE("websocket"));
    } else if (slice_equal_ignoring_case(name, SLICE("expect")) && out->version_minor > 0) {
        /* An HTTP/1.0 proxy may have passed it on without understanding it (RFC 9110 10.1.1): not read there. */
        if (!slice_equal_ignoring_case(value, SLICE("100-continue")))
            return fail(&out->error, CODE_BAD_REQUEST, 417, "the only expectation served is 100-continue");
        facts->expects = true;
    }
    return HTTP_DONE;
}

static enum http_step headers_parse(struct slice head, const struct http_limits *limits, struct facts *facts,
                                    struct http_request *out)
{
    unsigned most = limits->headers < HTTP_HEADERS_MAX ? limits->headers : HTTP_HEADERS_MAX;
    for (;;) {
        struct slice line = line_take(&head);
        if (line.length == 0)
            return HTTP_DONE;
        const char *colon = memchr(line.data, ':', line.length);
        if (!colon)
            return fail_bad(&out->error, "a header without a colon");
        struct http_header header;
        header.name = slice_from(line.data, (size_t)(colon - line.data));
        header.value = trim(slice_from(colon + 1, line.length - header.name.length - 1));
        /* Refuses white space before the colon and lines that continue the one before, too. */
        if (!http_token_valid(header.name))
            return fail_bad(&out->error, "a header name is not a token");
        if (out->header_count == most)
            return fail(&out->error, CODE_HEADERS_TOO_LARGE, 431, "too many headers");
        out->headers[out->header_count++] = header;
        enum http_step step = header_read(header, limits, facts, out);
        if (step != HTTP_DONE)
            return step;
    }
}

/* RFC 9112 3.2: a path, a whole URL, or "*". */
static enum http_step target_parse(struct slice target, struct http_request *out)
{
    static const struct slice schemes[] = {{"http://", 7}, {"https://", 8}};
    bool absolute = false;
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (target.length < schemes[i].length ||
            !slice_equal_ignoring_case(slice_from(target.data, schemes[i].length), schemes[i]))
            continue;
        struct slice rest = slice_from(target.data + schemes[i].length, target.length - schemes[i].length);
        struct slice named = rest;
        struct url_authority authority;
        for (named.length = 0; named.length < rest.length; named.length++)
            if (rest.data[named.length] == '/' || rest.data[named.length] == '?')
                break;
        if (!url_authority_parse(named, &authority))
            return fail_bad(&out->error, "malformed host in the request target");
        /* RFC 9112 3.2.2 lets the target win; a request that says two things is refused here. */
        if (out->host.length > 0 && !slice_equal_ignoring_case(named, out->host))
            return fail_bad(&out->error, "the request target and Host differ");
        out->host = named;
        absolute = true;
        target = slice_from(rest.data + named.length, rest.length - named.length);
        break;
    }
    const char *question = target.length > 0 ? memchr(target.data, '?', target.length) : NULL;
    out->path = target;
    if (question) {
        out->path.length = (size_t)(question - target.data);
        out->query = slice_from(question + 1, target.length - out->path.length - 1);
    }
    if (absolute && out->path.length == 0)
        out->path = SLICE("/");
    if (slice_equal(target, SLICE("*")) && slice_equal(out->method, SLICE("OPTIONS")))
        return HTTP_DONE;
    if (out->path.length == 0 || out->path.data[0] != '/')
        return fail_bad(&out->error, "the request target must be a path or a URL");
    return HTTP_DONE;
}

static enum http_step facts_judge(const struct facts *facts, struct http_request *out)
{
    bool modern = out->version_minor > 0;
    if (modern && !facts->has_host)
        return fail_bad(&out->error, "Host is missing");
    if (out->chunked && facts->has_length)
        return fail_bad(&out->error, "both Content-Length and Transfer-Encoding");
    if (out->chunked && !modern)
        return fail_bad(&out->error, "Transfer-Encoding needs HTTP/1.1");
    out->keep_alive = !facts->says_close && (modern || facts->says_keep_alive);
    out->expect_continue = facts->expects && (out->chunked || out->content_length > 0);
    out->upgrade = modern && facts->says_upgrade && facts->upgrade_to_websocket;
    return HTTP_DONE;
}

enum http_step http_request_parse(struct http_scan *scan, const char *data, size_t length,
                                  const struct http_limits *limits, struct http_request *out)
{
    enum http_step step = head_scan(scan, data, length, limits, &out->error);
    if (step != HTTP_DONE)
        return step;

    /* All but the header array, which is large and has a count. */
    out->head_bytes = scan->scanned;
    out->query = out->host = slice_from(NULL, 0);
    out->header_count = 0;
    out->content_length = 0;
    out->chunked = false;
    out->error = (struct http_error){CODE_OK, 0, NULL};

    struct facts facts = {0};
    struct slice target;
    struct slice head = slice_from(data, scan->scanned);
    if (data[0] == '\r')
        line_take(&head);
    step = request_line_parse(line_take(&head), out, &target);
    if (step == HTTP_DONE)
        step = headers_parse(head, limits, &facts, out);
    if (step == HTTP_DONE)
        step = target_parse(target, out);
    if (step == HTTP_DONE)
        step = facts_judge(&facts, out);
    return step;
}

enum body_state {
    BODY_DONE,
    BODY_FAILED,
    BODY_CONTENT, /* of known length */
    CHUNK_SIZE,
    CHUNK_SIZE_FEED, /* the LF behind the size line */
    EXTENSION_NAME_START,
    EXTENSION_NAME,
    EXTENSION_VALUE_START,
    EXTENSION_VALUE,
    EXTENSION_QUOTED,
    EXTENSION_ESCAPE,
    EXTENSION_QUOTED_END,
    CHUNK_CONTENT,
    CHUNK_RETURN, /* the CR behind the content */
    CHUNK_FEED,
    TRAILER_START,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_FEED,
    TRAILERS_FEED, /* the LF of the empty line that ends the body */
};

void http_body_start(struct http_body *body, const struct http_request *request, const struct http_limits *limits)
{
    *body = (struct http_body){.limit = limits->body_bytes, .state = BODY_DONE};
    if (request->chunked) {
        body->state = CHUNK_SIZE;
    } else if (request->content_length > limits->body_bytes) {
        fail(&body->error, CODE_TOO_LARGE, 413, "the body is too large");
        body->state = BODY_FAILED;
    } else if (request->content_length > 0) {
        body->state = BODY_CONTENT;
        body->remaining = request->content_length;
    }
}

static enum http_step body_fail(struct http_body *body, enum code code, unsigned status, const char *text)
{
    body->state = BODY_FAILED;
    return fail(&body->error, code, status, text);
}

static int hex_digit(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    char lower = (char)(byte | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static enum http_step chunk_size_end(struct http_body *body, char byte)
{
    if (body->digits == 0)
        return body_fail(body, CODE_BAD_REQUEST, 400, "a chunk size must be hexadecimal digits");
    if (body->remaining > body->limit - body->received)
        return body_fail(body, CODE_TOO_LARGE, 413, "the body is too large");
    body->received += body->remaining;
    body->state = byte == '\r' ? CHUNK_SIZE_FEED : EXTENSION_NAME_START;
    return HTTP_NEED_BYTES;
}

/* Behind a name or value of an extension comes the next one or the end of the line; no white space (RFC 9112 7.1.1
 * calls it bad and lets a server read it; nobody sends it). */
static bool extension_end(struct http_body *body, char byte)
{
    if (byte == '\r')
        body->state = CHUNK_SIZE_FEED;
    else if (byte == ';')
        body->state = EXTENSION_NAME_START;
    else
        return false;
    return true;
}

/* One byte of chunk framing. HTTP_NEED_BYTES: go on. */
static enum http_step framing_byte(struct http_body *body, char byte)
{
    bool good = false;
    if (body->state >= TRAILER_START || (body->state >= EXTENSION_NAME_START && body->state <= EXTENSION_QUOTED_END))
        if (++body->overhead > BODY_OVERHEAD_MAX)
            return body_fail(body, CODE_HEADERS_TOO_LARGE, 431, "chunk extensions and trailers are too large");

    switch ((enum body_state)body->state) {
    case CHUNK_SIZE: {
        if (byte == '\r' || byte == ';')
            return chunk_size_end(body, byte);
        int digit = hex_digit(byte);
        if (digit < 0 || body->digits == CHUNK_DIGITS_MAX)
            return body_fail(body, CODE_BAD_REQUEST, 400, "a chunk size must be up to 8 hexadecimal digits");
        body->remaining = body->remaining * 16 + (unsigned)digit;
        body->digits++;
        return HTTP_NEED_BYTES;
    }
    case CHUNK_SIZE_FEED:
        good = byte == '\n';
        body->state = body->remaining > 0 ? CHUNK_CONTENT : TRAILER_START;
        break;
    case EXTENSION_NAME_START:
        good = byte_is(byte, IN_TOKEN);
        body->state = EXTENSION_NAME;
        break;
    case EXTENSION_NAME:
        good = byte_is(byte, IN_TOKEN) || byte == '=' || extension_end(body, byte);
        if (byte == '=')
            body->state = EXTENSION_VALUE_START;
        break;
    case EXTENSION_VALUE_START:
        good = byte_is(byte, IN_TOKEN) || byte == '"';
        body->state = byte == '"' ? EXTENSION_QUOTED : EXTENSION_VALUE;
        break;
    case EXTENSION_VALUE:
        good = byte_is(byte, IN_TOKEN) || extension_end(body, byte);
        break;
    case EXTENSION_QUOTED:
        good = byte_is(byte, IN_VALUE);
        if (byte == '\\')
            body->state = EXTENSION_ESCAPE;
        else if (byte == '"')
            body->state = EXTENSION_QUOTED_END;
        break;
    case EXTENSION_ESCAPE:
        good = byte_is(byte, IN_VALUE);
        body->state = EXTENSION_QUOTED;
        break;
    case EXTENSION_QUOTED_END:
        good = extension_end(body, byte);
        break;
    case CHUNK_RETURN:
        good = byte == '\r';
        body->state = CHUNK_FEED;
        break;
    case CHUNK_FEED:
        good = byte == '\n';
        body->state = CHUNK_SIZE;
        body->digits = 0;
        break;
    case TRAILER_START:
        good = byte == '\r' || byte_is(byte, IN_TOKEN);
        body->state = byte == '\r' ? TRAILERS_FEED : TRAILER_NAME;
        break;
    case TRAILER_NAME:
        good = byte == ':' || byte_is(byte, IN_TOKEN);
        if (byte == ':')
            body->state = TRAILER_VALUE;
        break;
    case TRAILER_VALUE:
        good = byte == '\r' || byte_is(byte, IN_VALUE);
        if (byte == '\r')
            body->state = TRAILER_FEED;
        break;
    case TRAILER_FEED:
        good = byte == '\n';
        body->state = TRAILER_START;
        break;
    case TRAILERS_FEED:
        good = byte == '\n';
        body->state = BODY_DONE;
        break;
    case BODY_DONE:
    case BODY_FAILED:
    case BODY_CONTENT:
    case CHUNK_CONTENT:
        break; /* not framing */
    }
    if (!good)
        return body_fail(body, CODE_BAD_REQUEST, 400, "malformed chunk");
    return HTTP_NEED_BYTES;
}

enum http_step http_body_next(struct http_body *body, const char **at, const char *end, struct slice *out)
{
    for (;;) {
        if (body->state == BODY_DONE)
            return HTTP_DONE;
        if (body->state == BODY_FAILED)
            return HTTP_FAIL;
        if (*at == end)
            return HTTP_NEED_BYTES;
        if (body->state == BODY_CONTENT || body->state == CHUNK_CONTENT) {
            size_t there = (size_t)(end - *at);
            *out = slice_from(*at, there < body->remaining ? there : (size_t)body->remaining);
            *at += out->length;
            body->remaining -= out->length;
            if (body->remaining == 0)
                body->state = body->state == BODY_CONTENT ? BODY_DONE : CHUNK_RETURN;
            return HTTP_DATA;
        }
        if (framing_byte(body, *(*at)++) == HTTP_FAIL)
            return HTTP_FAIL;
    }
}
