/* compress and decompress: zlib, fed in pieces with a look at the stop flag between. */
#include <zlib.h>

#include "workers/operations/inputs.h"
#include "workers/operations/operations.h"

/* Bytes between two looks: half a millisecond of deflate at its slowest common pace, and of inflate. */
#define DEFLATE_PIECE (16u << 10)
#define INFLATE_PIECE (128u << 10)

#define MOST_BYTES_DEFAULT ((uint64_t)64 << 20)

enum { GZIP, ZLIB, RAW };
static const char *const formats[] = {"gzip", "zlib", "raw", NULL};
static const int window_bits[] = {[GZIP] = 15 + 16, [ZLIB] = 15, [RAW] = -15};

/* The bytes are collected in a string value of `out`: the result itself, or a buffer to be encoded from. */
static enum operation_status finish_bytes(struct operation_call *call, const char *name, struct buffer *out,
                                          size_t place, unsigned encoding)
{
    size_t length = out->length - place - sizeof(struct value);
    value_end(out, place, (uint32_t)length);
    if (out == call->result)
        return inputs_finish(call, name);
    enum operation_status status = OPERATION_DONE;
    if (out->failed)
        call->result->failed = true;
    else
        status = encoding_write(call, slice_from(out->data + place + sizeof(struct value), length), encoding);
    return status == OPERATION_DONE ? inputs_finish(call, name) : status;
}

static enum operation_status deflate_all(struct operation_call *call, z_stream *stream, struct slice text,
                                         struct buffer *out)
{
    stream->next_in = (unsigned char *)(uintptr_t)text.data;
    size_t left = text.length;
    for (int end = Z_OK; end != Z_STREAM_END;) {
        if (operation_stopped(call))
            return OPERATION_STOPPED;
        size_t taken = left < DEFLATE_PIECE ? left : DEFLATE_PIECE;
        left -= taken;
        stream->avail_in = (unsigned)taken;
        do {
            char *room = buffer_reserve(out, DEFLATE_PIECE);
            if (!room)
                return inputs_refuse(call, "compress: out of memory");
            stream->next_out = (unsigned char *)room;
            stream->avail_out = DEFLATE_PIECE;
            end = deflate(stream, left == 0 ? Z_FINISH : Z_NO_FLUSH);
            out->length += DEFLATE_PIECE - stream->avail_out;
        } while (stream->avail_in > 0 || (left == 0 && end != Z_STREAM_END));
    }
    return OPERATION_DONE;
}

enum operation_status operation_compress(struct operation_call *call)
{
    static const char name[] = "compress";
    struct slice text;
    uint64_t level = 6;
    unsigned format = GZIP, encoding = ENCODING_RAW;
    if (!input_is_object(call, name) || !input_text(call, name, "text", &text) ||
        !input_optional_choice(call, name, "format", formats, &format) ||
        !input_optional_whole(call, name, "level", 0, 9, &level) ||
        !input_optional_choice(call, name, "encoding", encoding_names, &encoding))
        return OPERATION_FAILED;
    if (text.length > OPERATION_RESULT_MAXIMUM / 2)
        return inputs_refuse(call, "%s: data.text: expected at most %zu MiB", name, OPERATION_RESULT_MAXIMUM >> 21);
    z_stream stream = {0};
    if (deflateInit2(&stream, (int)level, Z_DEFLATED, window_bits[format], 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return inputs_refuse(call, "%s: out of memory", name);
    struct buffer bytes = {0}, *out = encoding == ENCODING_RAW ? call->result : &bytes;
    size_t place = value_begin(out, VALUE_STRING);
    enum operation_status status = deflate_all(call, &stream, text, out);
    deflateEnd(&stream);
    if (status == OPERATION_DONE)
        status = finish_bytes(call, name, out, place, encoding);
    buffer_free(&bytes);
    return status;
}

static enum operation_status inflate_all(struct operation_call *call, z_stream *stream, struct slice text, bool members,
                                         size_t most, struct buffer *out)
{
    static const char name[] = "decompress";
    size_t written = 0;
    stream->next_in = (unsigned char *)(uintptr_t)text.data;
    stream->avail_in = (unsigned)text.length;
    for (;;) {
        if (operation_stopped(call))
            return OPERATION_STOPPED;
        size_t room_bytes = most - written < INFLATE_PIECE ? most - written + 1 : INFLATE_PIECE;
        char *room = buffer_reserve(out, room_bytes);
        if (!room)
            return inputs_refuse(call, "%s: out of memory", name);
        stream->next_out = (unsigned char *)room;
        stream->avail_out = (unsigned)room_bytes;
        int end = inflate(stream, Z_NO_FLUSH);
        written += room_bytes - stream->avail_out;
        out->length += room_bytes - stream->avail_out;
        if (written > most)
            return inputs_refuse(call, "%s: data.text: gives more than maxBytes (%zu)", name, most);
        if (end == Z_STREAM_END) {
            if (stream->avail_in == 0)
                return OPERATION_DONE;
            /* gzip files may stand one behind the other (RFC 1952 2.2). */
            if (!members || inflateReset(stream) != Z_OK)
                return inputs_refuse(call, "%s: data.text: something behind the end of the data at byte %zu", name,
                                     text.length - stream->avail_in);
        } else if (end == Z_BUF_ERROR || (end == Z_OK && stream->avail_in == 0 && stream->avail_out > 0)) {
            return inputs_refuse(call, "%s: data.text: cut short", name);
        } else if (end == Z_MEM_ERROR) {
            return inputs_refuse(call, "%s: out of memory", name);
        } else if (end != Z_OK) {
            return inputs_refuse(call, "%s: data.text: %s at byte %zu", name,
                                 stream->msg ? stream->msg : "needs a dictionary", text.length - stream->avail_in);
        }
    }
}

enum operation_status operation_decompress(struct operation_call *call)
{
    static const char name[] = "decompress";
    static const char *const input_encodings[] = {"raw", "base64", NULL};
    struct slice text;
    uint64_t most = MOST_BYTES_DEFAULT;
    unsigned format = GZIP, encoding = ENCODING_RAW, input_encoding = 0;
    if (!input_is_object(call, name) || !input_text(call, name, "text", &text) ||
        !input_optional_choice(call, name, "format", formats, &format) ||
        !input_optional_whole(call, name, "maxBytes", 1, OPERATION_RESULT_MAXIMUM / 2, &most) ||
        !input_optional_choice(call, name, "encoding", encoding_names, &encoding) ||
        !input_optional_choice(call, name, "inputEncoding", input_encodings, &input_encoding))
        return OPERATION_FAILED;
    struct buffer decoded = {0}, bytes = {0}, *out = encoding == ENCODING_RAW ? call->result : &bytes;
    enum operation_status status = OPERATION_DONE;
    if (input_encoding == 1) {
        size_t wrong;
        status = base64_decode(call, text, &decoded, &wrong);
        if (status == OPERATION_FAILED)
            inputs_refuse(call, "%s: data.text: not base64 at byte %zu", name, wrong);
        else if (decoded.failed)
            status = inputs_refuse(call, "%s: out of memory", name);
        else
            text = value_string((const struct value *)(const void *)decoded.data);
    }
    z_stream stream = {0};
    if (status == OPERATION_DONE && inflateInit2(&stream, window_bits[format]) != Z_OK)
        status = inputs_refuse(call, "%s: out of memory", name);
    if (status == OPERATION_DONE) {
        size_t place = value_begin(out, VALUE_STRING);
        status = inflate_all(call, &stream, text, format == GZIP, (size_t)most, out);
        inflateEnd(&stream);
        if (status == OPERATION_DONE)
            status = finish_bytes(call, name, out, place, encoding);
    }
    buffer_free(&decoded);
    buffer_free(&bytes);
    return status;
}
