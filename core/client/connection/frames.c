#include "client/connection/frames.h"

#include <string.h>

enum server_frame_result server_frame_read(struct slice bytes, struct server_frame *frame)
{
    const unsigned char *data = (const unsigned char *)bytes.data;
    if (bytes.length < 2)
        return SERVER_FRAME_PARTIAL;
    unsigned opcode = data[0] & 15;
    bool final = data[0] & 0x80, control = opcode >= 8;
    uint64_t payload_length = data[1] & 0x7f;
    if (data[0] & 0x70 || data[1] & 0x80) /* no extension was agreed on; a server never masks (5.1) */
        return SERVER_FRAME_BROKEN;
    if ((opcode > WEBSOCKET_BINARY && opcode < WEBSOCKET_CLOSE) || opcode > WEBSOCKET_PONG)
        return SERVER_FRAME_BROKEN;
    if (control && (!final || payload_length > 125)) /* 5.5 */
        return SERVER_FRAME_BROKEN;

    size_t header_length = payload_length < 126 ? 2 : payload_length == 126 ? 4 : 10;
    if (bytes.length < header_length)
        return SERVER_FRAME_PARTIAL;
    if (header_length > 2) {
        payload_length = 0;
        for (size_t i = 2; i < header_length; i++)
            payload_length = payload_length << 8 | data[i];
        if (payload_length < (header_length == 4 ? 126 : 65536) || payload_length >> 63) /* 5.2: minimal, 63 bits */
            return SERVER_FRAME_BROKEN;
    }
    if (bytes.length - header_length < payload_length)
        return SERVER_FRAME_PARTIAL;
    frame->opcode = opcode;
    frame->final = final;
    frame->payload = slice_from(bytes.data + header_length, payload_length);
    frame->length = header_length + payload_length;
    return SERVER_FRAME_WHOLE;
}

size_t client_frame_header(char out[CLIENT_HEADER_MAXIMUM], enum websocket_opcode opcode, uint64_t payload_length,
                           uint32_t mask)
{
    size_t length_bytes = payload_length < 126 ? 0 : payload_length < 65536 ? 2 : 8;
    out[0] = (char)(0x80 | opcode);
    out[1] = (char)(0x80 | (length_bytes == 0 ? payload_length : length_bytes == 2 ? 126 : 127));
    for (size_t i = 0; i < length_bytes; i++)
        out[2 + i] = (char)(payload_length >> (8 * (length_bytes - 1 - i)));
    memcpy(out + 2 + length_bytes, &mask, 4);
    return 2 + length_bytes + 4;
}

void client_frame_mask(char *text, size_t length, uint32_t mask, size_t offset)
{
    unsigned turn = 8 * (offset & 3);
    if (turn > 0) /* on a little-endian machine the first byte in memory is the lowest */
        mask = mask >> turn | mask << (32 - turn);
    websocket_unmask(text, length, mask);
}
