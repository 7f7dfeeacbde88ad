#include "../../support/unit.h"

#include "client/connection/frames.h"

static enum server_frame_result read_text(const char *bytes, size_t length, struct server_frame *frame)
{
    return server_frame_read(slice_from(bytes, length), frame);
}

TEST("client: reads a server's frame and leaves what follows it")
{
    struct server_frame frame;
    CHECK(read_text("\x81\x02hi\x81", 5, &frame) == SERVER_FRAME_WHOLE);
    CHECK(frame.opcode == WEBSOCKET_TEXT && frame.final && frame.length == 4);
    CHECK_TEXT(frame.payload.data, frame.payload.length, "hi");
}

TEST("client: asks for more at every cut of a frame, whatever the form of its length")
{
    static const size_t lengths[] = {0, 125, 126, 65535, 65536};
    static char bytes[65536 + 16];
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t length = lengths[i], header = length < 126 ? 2 : length < 65536 ? 4 : 10;
        struct server_frame frame;
        bytes[0] = (char)0x82;
        bytes[1] = (char)(header == 2 ? length : header == 4 ? 126 : 127);
        for (size_t at = 2; at < header; at++)
            bytes[at] = (char)(length >> 8 * (header - 1 - at));
        for (size_t cut = 0; cut < header + length; cut += cut < 20 ? 1 : 997)
            CHECK(read_text(bytes, cut, &frame) == SERVER_FRAME_PARTIAL);
        CHECK(read_text(bytes, header + length, &frame) == SERVER_FRAME_WHOLE);
        CHECK(frame.payload.length == length && frame.length == header + length);
    }
}

TEST("client: refuses frames that no server may send")
{
    struct server_frame frame;
    CHECK(read_text("\x81\x82mask", 6, &frame) == SERVER_FRAME_BROKEN);     /* masked */
    CHECK(read_text("\xc1\x00", 2, &frame) == SERVER_FRAME_BROKEN);         /* a reserved bit */
    CHECK(read_text("\x83\x00", 2, &frame) == SERVER_FRAME_BROKEN);         /* opcode 3 */
    CHECK(read_text("\x8b\x00", 2, &frame) == SERVER_FRAME_BROKEN);         /* opcode 11 */
    CHECK(read_text("\x09\x00", 2, &frame) == SERVER_FRAME_BROKEN);         /* a ping in fragments */
    CHECK(read_text("\x89\x7e\x00\x7e", 4, &frame) == SERVER_FRAME_BROKEN); /* a ping of 126 bytes */
    CHECK(read_text("\x81\x7e\x00\x7d", 4, &frame) == SERVER_FRAME_BROKEN); /* 125 in the long form */
    CHECK(read_text("\x81\x7f\0\0\0\0\0\0\xff\xff", 10, &frame) == SERVER_FRAME_BROKEN);
    CHECK(read_text("\x81\x7f\x80\0\0\0\0\0\0\0", 10, &frame) == SERVER_FRAME_BROKEN); /* the 64th bit */
}

TEST("client: a length near the top of the range is a partial frame, not an overflow")
{
    struct server_frame frame;
    CHECK(read_text("\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 10, &frame) == SERVER_FRAME_PARTIAL);
}

TEST("client: writes the shortest header, the mask bit and the key as it lies in memory")
{
    char header[CLIENT_HEADER_MAXIMUM];
    uint32_t mask;
    memcpy(&mask, "\x01\x02\x03\x04", 4);
    CHECK(client_frame_header(header, WEBSOCKET_TEXT, 125, mask) == 6);
    CHECK(memcmp(header, "\x81\xfd\x01\x02\x03\x04", 6) == 0);
    CHECK(client_frame_header(header, WEBSOCKET_PING, 126, mask) == 8);
    CHECK(memcmp(header, "\x89\xfe\x00\x7e\x01\x02\x03\x04", 8) == 0);
    CHECK(client_frame_header(header, WEBSOCKET_BINARY, 65536, mask) == 14);
    CHECK(memcmp(header, "\x82\xff\0\0\0\0\0\x01\0\0\x01\x02\x03\x04", 14) == 0);
}

TEST("client: masks the same from the start and in pieces at any offset")
{
    char whole[37], pieces[37];
    uint32_t mask;
    memcpy(&mask, "\x11\x22\x44\x88", 4);
    for (size_t i = 0; i < sizeof whole; i++)
        whole[i] = pieces[i] = (char)('a' + i % 26);
    client_frame_mask(whole, sizeof whole, mask, 0);
    CHECK(whole[0] == ('a' ^ 0x11) && whole[5] == ('f' ^ 0x22));
    for (size_t at = 0, step = 1; at < sizeof pieces; at += step, step = step % 7 + 1) {
        size_t length = at + step < sizeof pieces ? step : sizeof pieces - at;
        client_frame_mask(pieces + at, length, mask, at);
    }
    CHECK(memcmp(whole, pieces, sizeof whole) == 0);
}
