/* floor PORT: the least that a server in C can do for this job, to compare a bridge with. It does the WebSocket
 * handshake, unmasks, finds `to` by searching for its name, and forwards the bytes as they came, unvalidated, to that
 * agent (without a `to`: to all others). No defaults, no checks, no history, no mailboxes, no limits: not a server to
 * use.
 *
 * One thread, one epoll set, one read buffer for all; at the end of each loop pass one send for each connection that
 * was given something. */
#include <errno.h>
#include <mbedtls/base64.h>
#include <mbedtls/sha1.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES (256u << 10)
#define MESSAGE_MAXIMUM (64u << 20)
#define ID_MAXIMUM 64
#define NAMES 65536 /* buckets of the table of agents */

struct bytes {
    char *data;
    size_t length, capacity;
};

struct connection {
    int descriptor;
    bool upgraded, dirty, dead, watches_writing;
    struct bytes held, out; /* half a frame; what is to be sent */
    unsigned place;         /* in `everyone`, once registered */
    size_t id_length;
    char id[ID_MAXIMUM];
    struct connection *next_of_name, *next_dirty, *next_dead;
};

static int poller;
static struct connection *names[NAMES], **everyone, *dirty, *dead;
static unsigned everyone_count, everyone_capacity;
static char *read_buffer;
static size_t read_capacity;

static void *need(void *memory)
{
    if (!memory) {
        fprintf(stderr, "floor: out of memory\n");
        exit(1);
    }
    return memory;
}

static void bytes_reserve(struct bytes *bytes, size_t more)
{
    if (bytes->length + more <= bytes->capacity)
        return;
    bytes->capacity = (bytes->length + more) * 2;
    bytes->data = need(realloc(bytes->data, bytes->capacity));
}

static void bytes_append(struct bytes *bytes, const void *data, size_t length)
{
    bytes_reserve(bytes, length);
    memcpy(bytes->data + bytes->length, data, length);
    bytes->length += length;
}

static struct connection **bucket_of(const char *id, size_t length)
{
    uint32_t hash = 2166136261u; /* FNV-1a: ids here are the load generator's, nobody aims at a bucket */
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)id[i]) * 16777619u;
    return &names[hash % NAMES];
}

static struct connection *find_agent(const char *id, size_t length)
{
    struct connection *agent = *bucket_of(id, length);
    while (agent && (agent->id_length != length || memcmp(agent->id, id, length) != 0))
        agent = agent->next_of_name;
    return agent;
}

static void forget_agent(struct connection *connection)
{
    struct connection **link = bucket_of(connection->id, connection->id_length);
    while (*link && *link != connection)
        link = &(*link)->next_of_name;
    if (!*link)
        return;
    *link = connection->next_of_name;
    everyone[connection->place] = everyone[--everyone_count];
    everyone[connection->place]->place = connection->place;
}

static void connection_end(struct connection *connection)
{
    if (connection->dead)
        return;
    forget_agent(connection);
    connection->dead = true; /* freed at the end of the pass: events and the dirty list may still name it */
    connection->next_dead = dead;
    dead = connection;
}

static void mark_dirty(struct connection *connection)
{
    if (connection->dirty)
        return;
    connection->dirty = true;
    connection->next_dirty = dirty;
    dirty = connection;
}

static void queue_frame(struct connection *to, unsigned opcode, const char *payload, size_t length)
{
    unsigned char header[10] = {(unsigned char)(0x80 | opcode)};
    size_t header_length = length < 126 ? 2 : length < 65536 ? 4 : 10;
    header[1] = (unsigned char)(length < 126 ? length : length < 65536 ? 126 : 127);
    for (size_t i = 2; i < header_length; i++)
        header[i] = (unsigned char)(length >> 8 * (header_length - 1 - i));
    bytes_append(&to->out, header, header_length);
    bytes_append(&to->out, payload, length);
    mark_dirty(to);
}

static void flush(struct connection *connection)
{
    ssize_t sent = 0;
    if (connection->out.length > 0)
        sent = send(connection->descriptor, connection->out.data, connection->out.length, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        connection_end(connection);
        return;
    }
    if (sent > 0) {
        connection->out.length -= (size_t)sent;
        memmove(connection->out.data, connection->out.data + sent, connection->out.length);
    }
    bool blocked = connection->out.length > 0;
    if (blocked != connection->watches_writing) {
        struct epoll_event event = {.events = EPOLLIN | (blocked ? EPOLLOUT : 0), .data.ptr = connection};
        epoll_ctl(poller, EPOLL_CTL_MOD, connection->descriptor, &event);
        connection->watches_writing = blocked;
    }
}

/* The text behind "name":" up to the next quote. */
static char *find_text(char *message, size_t length, const char *name, size_t name_length, size_t *found_length)
{
    char *found = memmem(message, length, name, name_length);
    if (!found)
        return NULL;
    found += name_length;
    char *end = memchr(found, '"', (size_t)(message + length - found));
    *found_length = end ? (size_t)(end - found) : 0;
    return end ? found : NULL;
}

static void register_agent(struct connection *connection, char *message, size_t length)
{
    static const char answer[] = "{\"type\":\"registered\",\"client\":{},\"history\":[]}";
    size_t id_length;
    char *id = find_text(message, length, "\"clientId\":\"", 12, &id_length);
    if (!id || id_length > ID_MAXIMUM || connection->id_length > 0)
        return;
    memcpy(connection->id, id, id_length);
    connection->id_length = id_length;
    struct connection **bucket = bucket_of(id, id_length);
    connection->next_of_name = *bucket;
    *bucket = connection;
    if (everyone_count == everyone_capacity) {
        everyone_capacity = everyone_capacity ? everyone_capacity * 2 : 1024;
        everyone = need(realloc(everyone, everyone_capacity * sizeof *everyone));
    }
    connection->place = everyone_count;
    everyone[everyone_count++] = connection;
    queue_frame(connection, 1, answer, sizeof answer - 1);
}

static void forward(struct connection *from, char *message, size_t length)
{
    size_t to_length;
    char *to = find_text(message, length, "\"to\":\"", 6, &to_length);
    if (to) {
        struct connection *agent = find_agent(to, to_length);
        if (agent)
            queue_frame(agent, 1, message, length);
        return;
    }
    for (unsigned i = 0; i < everyone_count; i++)
        if (everyone[i] != from)
            queue_frame(everyone[i], 1, message, length);
}

static void unmask(char *data, size_t length, const char key[4])
{
    uint32_t narrow;
    memcpy(&narrow, key, 4);
    uint64_t wide = (uint64_t)narrow << 32 | narrow, word;
    size_t i = 0;
    for (; i + 8 <= length; i += 8) {
        memcpy(&word, data + i, 8);
        word ^= wide;
        memcpy(data + i, &word, 8);
    }
    for (; i < length; i++)
        data[i] = (char)(data[i] ^ key[i & 3]);
}

/* The length of the first frame, which was handled; 0: not whole yet. */
static size_t take_frame(struct connection *connection, char *data, size_t length)
{
    if (length < 6)
        return 0;
    size_t payload_length = data[1] & 127, header_length = payload_length < 126 ? 6 : payload_length == 126 ? 8 : 14;
    if (length < header_length)
        return 0;
    if (header_length > 6) {
        payload_length = 0;
        for (size_t i = 2; i < header_length - 4; i++)
            payload_length = payload_length << 8 | (unsigned char)data[i];
    }
    if (payload_length > MESSAGE_MAXIMUM)
        connection_end(connection);
    if (length - header_length < payload_length)
        return 0;
    char *message = data + header_length;
    unmask(message, payload_length, message - 4);
    switch (data[0] & 15) {
    case 8:
        queue_frame(connection, 8, message, payload_length);
        flush(connection);
        connection_end(connection);
        break;
    case 9:
        queue_frame(connection, 10, message, payload_length);
        break;
    case 1:
        if (payload_length > 19 && memcmp(message, "{\"type\":\"register\",", 19) == 0)
            register_agent(connection, message, payload_length);
        else
            forward(connection, message, payload_length);
        break;
    }
    return header_length + payload_length;
}

/* The length of the request, which was answered; 0: not whole yet. */
static size_t take_upgrade(struct connection *connection, char *data, size_t length)
{
    char *end = memmem(data, length, "\r\n\r\n", 4), answer[256], joined[128];
    if (!end)
        return 0;
    *end = '\0';
    char *key = strcasestr(data, "\r\nSec-WebSocket-Key: ");
    unsigned char digest[20], accept[32];
    size_t accept_length;
    snprintf(joined, sizeof joined, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key ? key + 21 : "");
    if (!key || mbedtls_sha1_ret((const unsigned char *)joined, strlen(joined), digest) != 0 ||
        mbedtls_base64_encode(accept, sizeof accept, &accept_length, digest, sizeof digest) != 0) {
        connection_end(connection);
        return 0;
    }
    int answer_length = snprintf(answer, sizeof answer,
                                 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                 "Sec-WebSocket-Accept: %s\r\n\r\n",
                                 accept);
    bytes_append(&connection->out, answer, (size_t)answer_length);
    mark_dirty(connection);
    connection->upgraded = true;
    return (size_t)(end + 4 - data);
}

static void receive(struct connection *connection)
{
    size_t held = connection->held.length;
    if (read_capacity < held * 2 || read_capacity == 0) {
        read_capacity = held * 2 > READ_BYTES ? held * 2 : READ_BYTES;
        read_buffer = need(realloc(read_buffer, read_capacity));
    }
    ssize_t got = recv(connection->descriptor, read_buffer + held, read_capacity - held, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            connection_end(connection);
        return;
    }
    if (held > 0)
        memcpy(read_buffer, connection->held.data, held);
    connection->held.length = 0;
    char *at = read_buffer, *end = at + held + (size_t)got;
    size_t used;
    do {
        used = connection->upgraded ? take_frame(connection, at, (size_t)(end - at))
                                    : take_upgrade(connection, at, (size_t)(end - at));
        at += used;
    } while (used > 0 && at < end && !connection->dead);
    if (at < end)
        bytes_append(&connection->held, at, (size_t)(end - at));
}

static void accept_all(int listener)
{
    int descriptor, on = 1;
    while ((descriptor = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *connection = need(calloc(1, sizeof *connection));
        connection->descriptor = descriptor;
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        epoll_ctl(poller, EPOLL_CTL_ADD, descriptor, &event);
    }
}

static void finish_pass(void)
{
    while (dirty) {
        struct connection *connection = dirty;
        dirty = connection->next_dirty;
        connection->dirty = false;
        if (!connection->dead)
            flush(connection);
    }
    while (dead) {
        struct connection *connection = dead;
        dead = connection->next_dead;
        close(connection->descriptor);
        free(connection->held.data);
        free(connection->out.data);
        free(connection);
    }
}

int main(int argc, char **argv)
{
    int port = argc == 2 ? atoi(argv[1]) : 0, on = 1;
    if (port <= 0 || port > 65535) {
        fprintf(stderr, "usage: floor PORT\n");
        return 2;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 4096) < 0) {
        perror("floor: cannot listen");
        return 1;
    }
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[512];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(poller, events, 512, -1);
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (!connection) {
                accept_all(listener);
                continue;
            }
            if (events[i].events & EPOLLOUT)
                mark_dirty(connection);
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !connection->dead)
                receive(connection);
        }
        finish_pass();
    }
}
