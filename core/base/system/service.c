#include "base/system/service.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define STATUS_BYTES 256

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* where `manager` leads to */
static int manager = -1;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static socklen_t address_size;
static uint32_t alive_interval_ms;
static atomic_bool stopping;

static uint64_t number_of(const char *variable)
{
    const char *text = getenv(variable);
    char *end;
    uint64_t number = text && *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
    return number > 0 && *end == '\0' ? number : 0;
}

static void read_watchdog(void)
{
    uint64_t micros = number_of("WATCHDOG_USEC");
    if (getenv("WATCHDOG_PID") && number_of("WATCHDOG_PID") != (uint64_t)getpid())
        return; /* it is for another process, which started this one */
    uint64_t interval_ms = micros / 2000;
    alive_interval_ms = micros == 0                ? 0
                        : interval_ms == 0         ? 1
                        : interval_ms > UINT32_MAX ? UINT32_MAX
                                                   : (uint32_t)interval_ms;
}

/* The manager may have made its socket anew (as when it starts again) or not yet. Where the name cannot be followed any
 * more, because the process has fewer rights now, the socket that it led to stays the one. */
static void connect_again(void)
{
    (void)!connect(manager, (const struct sockaddr *)&address, address_size);
}

void service_open(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t length = path ? strlen(path) : 0;
    if ((length == 0 || (path[0] != '/' && path[0] != '@')) || length >= sizeof address.sun_path)
        return;
    memcpy(address.sun_path, path, length);
    if (path[0] == '@') /* a name outside of the file system */
        address.sun_path[0] = '\0';
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (path[0] == '/'));
    if (manager < 0)
        return;
    connect_again();
    read_watchdog();
}

uint32_t service_alive_interval_ms(void)
{
    return alive_interval_ms;
}

/* One that reads too slowly misses it: the next change tells the state again. */
static void tell(const char *text, int length)
{
    if (manager < 0 || length <= 0)
        return;
    pthread_mutex_lock(&mutex);
    connect_again();
    (void)!send(manager, text, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT);
    pthread_mutex_unlock(&mutex);
}

/* Nothing of it may be read as an assignment of its own. */
static void one_line(char out[STATUS_BYTES], const char *status)
{
    snprintf(out, STATUS_BYTES, "%.*s", (int)strcspn(status, "\n"), status);
    for (char *at = out; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = ' ';
    size_t end = strlen(out);
    bool cut = end == STATUS_BYTES - 1;
    while (cut && end > 0 && (out[end - 1] & 0x80)) /* not in the middle of a character */
        out[--end] = '\0';
}

void service_ready(const char *status)
{
    char line[STATUS_BYTES], text[STATUS_BYTES + 32];
    if (manager < 0 || atomic_load(&stopping))
        return;
    one_line(line, status);
    tell(text, snprintf(text, sizeof text, "READY=1\nSTATUS=%s\n", line));
}

void service_reloading(void)
{
    char text[96];
    struct timespec now;
    if (manager < 0 || atomic_load(&stopping))
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    unsigned long long micros = (unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_nsec / 1000;
    tell(text, snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=reloading\n", micros));
}

void service_alive(void)
{
    if (!atomic_load(&stopping))
        tell("WATCHDOG=1\n", sizeof "WATCHDOG=1\n" - 1);
}

void service_main_process(int pid)
{
    char text[32];
    if (!atomic_exchange(&stopping, true))
        tell(text, snprintf(text, sizeof text, "MAINPID=%d\n", pid));
}

void service_stopping(const char *status)
{
    char line[STATUS_BYTES], text[STATUS_BYTES + 32];
    if (manager < 0 || atomic_exchange(&stopping, true))
        return;
    one_line(line, status);
    tell(text, snprintf(text, sizeof text, "STOPPING=1\nSTATUS=%s\n", line));
}
