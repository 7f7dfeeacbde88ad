/* Of the answer's headers only those that RFC 6455 4.1 makes a client check are looked at. */
#include "client/connection/upgrade.h"

#include <stdio.h>

#include "base/random.h"
#include "protocol/websocket/handshake.h"

void upgrade_make_key(char key[UPGRADE_KEY_LENGTH])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char bytes[16];
    random_bytes(bytes, sizeof bytes);
    /* 16 bytes are 21 digits of 6 bits, one of 2, and two signs of padding (RFC 4648 4). */
    for (unsigned i = 0; i < 22; i++) {
        unsigned bit = i * 6, byte = bit / 8;
        unsigned pair = (unsigned)bytes[byte] << 8 | (byte + 1 < 16 ? bytes[byte + 1] : 0);
        key[i] = digits[pair >> (10 - bit % 8) & 63];
    }
    key[22] = key[23] = '=';
}

size_t upgrade_write(char out[UPGRADE_REQUEST_MAXIMUM], const struct bridge_url *url, struct slice key,
                     const char *token)
{
    char authority[BRIDGE_URL_AUTHORITY_SIZE];
    bridge_url_authority(url, authority);
    int length = snprintf(out, UPGRADE_REQUEST_MAXIMUM,
                          "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Key: %.*s\r\nSec-WebSocket-Version: 13\r\n%s%s%s\r\n",
                          url->path, authority, (int)key.length, key.data, token ? "Authorization: Bearer " : "",
                          token ? token : "", token ? "\r\n" : "");
    return length > 0 && length < UPGRADE_REQUEST_MAXIMUM ? (size_t)length : 0;
}

static struct slice find_header(struct slice head, struct slice name)
{
    const char *at = head.data, *end = head.data + head.length;
    while (at < end) {
        const char *line_end = memmem(at, (size_t)(end - at), "\r\n", 2);
        if (!line_end)
            line_end = end;
        const char *colon = memchr(at, ':', (size_t)(line_end - at));
        if (colon && slice_equal_ignoring_case(slice_from(at, (size_t)(colon - at)), name)) {
            const char *value = colon + 1, *value_end = line_end;
            while (value < value_end && (*value == ' ' || *value == '\t'))
                value++;
            while (value_end > value && (value_end[-1] == ' ' || value_end[-1] == '\t'))
                value_end--;
            return slice_from(value, (size_t)(value_end - value));
        }
        at = line_end + 2;
    }
    return slice_from(NULL, 0);
}

enum upgrade_result upgrade_read(struct slice bytes, struct slice key, size_t *used, char error[UPGRADE_ERROR_SIZE])
{
    const char *end = memmem(bytes.data, bytes.length, "\r\n\r\n", 4);
    if (!end) {
        if (bytes.length <= UPGRADE_ANSWER_MAXIMUM)
            return UPGRADE_PARTIAL;
        snprintf(error, UPGRADE_ERROR_SIZE, "the answer to the upgrade does not end");
        return UPGRADE_REFUSED;
    }
    *used = (size_t)(end + 4 - bytes.data);
    struct slice head = slice_from(bytes.data, (size_t)(end - bytes.data));
    if (head.length < 12 || memcmp(head.data, "HTTP/1.1 ", 9) != 0) {
        snprintf(error, UPGRADE_ERROR_SIZE, "the answer to the upgrade is not HTTP");
        return UPGRADE_REFUSED;
    }
    if (memcmp(head.data + 9, "101", 3) != 0) {
        int line = (int)strcspn(head.data + 9, "\r"); /* ends at the latest where the head does */
        snprintf(error, UPGRADE_ERROR_SIZE, "the upgrade was refused: %.*s", line, head.data + 9);
        return UPGRADE_REFUSED;
    }
    char expected[HANDSHAKE_ACCEPT_LENGTH];
    struct slice accept = find_header(head, SLICE("Sec-WebSocket-Accept"));
    if (!slice_equal_ignoring_case(find_header(head, SLICE("Upgrade")), SLICE("websocket")) ||
        !handshake_accept(key, expected) || !slice_equal(accept, slice_from(expected, sizeof expected)) ||
        find_header(head, SLICE("Sec-WebSocket-Extensions")).data) {
        snprintf(error, UPGRADE_ERROR_SIZE, "the answer to the upgrade is not a WebSocket's");
        return UPGRADE_REFUSED;
    }
    return UPGRADE_DONE;
}
