/* The log: what a line looks like, what never happens (a caller that waits, a line that lies), and what is counted. */
#include "../../support/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

static char folder[] = "/tmp/luaduct-log-XXXXXX";
static char path[sizeof folder + 32];

static const char *make_path(const char *name)
{
    static bool made;
    if (!made)
        CHECK(mkdtemp(folder));
    made = true;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* The whole file, NUL-terminated; removes it. */
static char *take_file(const char *name)
{
    static char content[4 << 20];
    int descriptor = open(make_path(name), O_RDONLY);
    CHECK(descriptor >= 0);
    ssize_t length = read(descriptor, content, sizeof content - 1);
    CHECK(length >= 0);
    content[length] = '\0';
    close(descriptor);
    CHECK(unlink(path) == 0);
    return content;
}

static void remove_folder(void)
{
    CHECK(rmdir(folder) == 0);
}

static size_t count_lines(const char *text)
{
    size_t count = 0;
    for (; (text = strchr(text, '\n')); text++)
        count++;
    return count;
}

#define CHECK_ENDS(line, end)                                                                                          \
    do {                                                                                                               \
        const char *line_ = (line), *end_ = (end);                                                                     \
        size_t skip_ = strlen(line_) < strlen(end_) ? 0 : strlen(line_) - strlen(end_);                                \
        CHECK_TEXT(line_ + skip_, strlen(line_ + skip_), end_);                                                        \
    } while (0)

TEST("a text line has time, level, thread and message")
{
    CHECK(log_start(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, make_path("log")) == 0);
    log_name_thread("reactor 7");
    log_warn(AGENT, "event", "agent %s is slow: %d bytes wait", "bob", 42);
    log_stop();
    char *line = take_file("log");
    CHECK(line[4] == '-' && line[10] == 'T' && line[23] == 'Z');
    CHECK_TEXT(line + CLOCK_ISO_LENGTH, strlen(line) - CLOCK_ISO_LENGTH,
               " warn  reactor 7 agent.event: agent bob is slow: 42 bytes wait\n");
    remove_folder();
}

TEST("a JSON line escapes everything that is not plain text")
{
    CHECK(log_start(LOG_LEVEL_DEBUG, LOG_FORMAT_JSON, make_path("log")) == 0);
    log_name_thread("main");
    log_debug(AGENT, "event", "%s", "a \"b\" \\ \n\t\r\001\177 \xc3\xa9 \xc2\x85 \xff \xed\xa0\x80 end");
    log_stop();
    char *line = take_file("log");
    CHECK(strncmp(line, "{\"time\":\"", 9) == 0);
    CHECK_TEXT(line + 9 + CLOCK_ISO_LENGTH, strlen(line) - 9 - CLOCK_ISO_LENGTH,
               "\",\"level\":\"debug\",\"thread\":\"main\",\"room\":\"agent\",\"event\":\"agent.event\",\"message\":"
               "\"a \\\"b\\\" \\\\ \\n\\t\\u000d\\u0001\\u007f "
               "\xc3\xa9 \\u0085 \\ufffd \\ufffd\\ufffd\\ufffd end\"}\n");
    remove_folder();
}

TEST("a text line holds nothing that a terminal acts on, and a newline cannot pretend to be a line of the log")
{
    CHECK(log_start(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, make_path("log")) == 0);
    log_info(AGENT, "event", "%s", "\033[2J\rx\a \xc2\x9b \xff\n2026-01-01 error fake\n\ttabbed\n");
    log_stop();
    CHECK_ENDS(take_file("log"),
               " info  agent.event: \\x1b[2J\\x0dx\\x07 \\x9b \\xff\n    | 2026-01-01 error fake\n    |     tabbed\n");
    remove_folder();
}

TEST("a message that is too long is cut between characters")
{
    static char text[2 * LOG_MESSAGE_MAX + 1];
    CHECK(log_start(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, make_path("log")) == 0);
    memset(text, 'x', sizeof text - 1);
    for (size_t i = 1; i + 2 < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
    log_info(AGENT, "event", "%s", text);
    log_info(AGENT, "event", "%s", text + 1);
    log_stop();
    char *lines = take_file("log");
    CHECK(count_lines(lines) == 2);
    CHECK(!strstr(lines, "\\x"));
    CHECK_ENDS(lines, "\xc3\xa9\xe2\x80\xa6\n");
    CHECK(strlen(lines) > 2 * LOG_MESSAGE_MAX && strlen(lines) < 2 * LOG_MESSAGE_MAX + 200);
    remove_folder();
}

TEST("a message made of escapes is cut, and still is one whole JSON line")
{
    static char text[LOG_MESSAGE_MAX];
    CHECK(log_start(LOG_LEVEL_INFO, LOG_FORMAT_JSON, make_path("log")) == 0);
    memset(text, 1, sizeof text - 1);
    log_info(AGENT, "event", "%s", text);
    log_stop();
    char *line = take_file("log");
    CHECK(count_lines(line) == 1);
    CHECK_ENDS(line, "\\u0001\xe2\x80\xa6\"}\n");
    remove_folder();
}

static int evaluated;

static int evaluate(void)
{
    return ++evaluated;
}

TEST("a line below the level is not written, and its arguments are not evaluated")
{
    CHECK(log_start(LOG_LEVEL_WARN, LOG_FORMAT_TEXT, make_path("log")) == 0);
    log_info(AGENT, "event", "%d", evaluate());
    log_debug(AGENT, "event", "%d", evaluate());
    log_error(AGENT, "event", "%d", evaluate());
    log_stop();
    CHECK(evaluated == 1);
    CHECK(count_lines(take_file("log")) == 1);
    remove_folder();
}

TEST("a room with a level of its own keeps to that, the others to the general one")
{
    struct log_levels levels, before;
    CHECK(log_start(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, make_path("log")) == 0);
    log_read_levels(&before);
    CHECK(before.general == LOG_LEVEL_INFO && before.rooms[LOG_ROOM_TLS] == LOG_AS_GENERAL);
    levels = before;
    levels.rooms[LOG_ROOM_TLS] = LOG_LEVEL_DEBUG;
    levels.rooms[LOG_ROOM_AGENT] = LOG_LEVEL_ERROR;
    log_set_levels(&levels);
    log_debug(TLS, "event", "one");
    log_warn(AGENT, "event", "two");
    log_error(AGENT, "event", "three");
    log_debug(HTTP, "event", "four");
    log_info(HTTP, "event", "five");
    levels.general = LOG_LEVEL_WARN;
    log_set_levels(&levels);
    log_info(HTTP, "event", "six");
    log_debug(TLS, "event", "seven");
    log_set_levels(&before);
    log_debug(TLS, "event", "eight");
    log_stop();
    char *lines = take_file("log");
    CHECK(strstr(lines, "tls.event: one\n") && strstr(lines, "agent.event: three\n") &&
          strstr(lines, "http.event: five\n") && strstr(lines, "tls.event: seven\n"));
    CHECK(count_lines(lines) == 4);
    remove_folder();
}

TEST("rooms and levels are found by their names, and nothing else is")
{
    enum log_room room;
    enum log_level level;
    for (unsigned i = 0; i < LOG_ROOM_COUNT; i++)
        CHECK(log_room_find(slice_from_string(log_room_name((enum log_room)i)), &room) && room == i);
    for (unsigned i = LOG_LEVEL_DEBUG; i <= LOG_LEVEL_ERROR; i++)
        CHECK(log_level_find(slice_from_string(log_level_name((enum log_level)i)), &level) && level == i);
    CHECK(!log_room_find(SLICE("tl"), &room) && !log_room_find(SLICE(""), &room));
    CHECK(!log_level_find(SLICE("INFO"), &level) && !log_level_find(SLICE("loud"), &level));
}

#define SOME_FIELDS                                                                                                    \
    (struct log_field[])                                                                                               \
    {                                                                                                                  \
        LOG_TEXT("method", SLICE("GET")), LOG_TEXT("nobody", SLICE("")), LOG_TEXT("path", SLICE("/a \"b\"\\\n\033")),  \
            LOG_NUMBER("status", 200), LOG_NUMBER("ms", 1.25),                                                         \
        {                                                                                                              \
            0                                                                                                          \
        }                                                                                                              \
    }

static struct log_site fields_site = {.room = LOG_ROOM_ACCESS, .name = "request"};

TEST("fields are members of the JSON line, and name=value in text, where none can pretend to be two")
{
    CHECK(log_start(LOG_LEVEL_INFO, LOG_FORMAT_JSON, make_path("log")) == 0);
    log_write_fields(&fields_site, LOG_LEVEL_INFO, SOME_FIELDS, "%d", 1);
    log_stop();
    CHECK_ENDS(take_file("log"), "\"room\":\"access\",\"event\":\"access.request\",\"method\":\"GET\",\"path\":\"/a "
                                 "\\\"b\\\"\\\\\\n\\u001b\",\"status\":200,\"ms\":1.25,\"message\":\"1\"}\n");
    CHECK(log_start(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, make_path("log")) == 0);
    log_write_fields(&fields_site, LOG_LEVEL_INFO, SOME_FIELDS, "%d", 1);
    log_stop();
    CHECK_ENDS(take_file("log"), "access.request: 1 method=GET path=\"/a \\\"b\\\"\\\\\\n\\x1b\" status=200 ms=1.25\n");
    remove_folder();
}

TEST("a field that finds no room is left out whole")
{
    static char text[LOG_MESSAGE_MAX], long_text[2 * LOG_MESSAGE_MAX];
    memset(long_text, 'x', sizeof long_text);
    memset(text, 'y', sizeof text - 1);
    struct log_field list[] = {LOG_TEXT("long", slice_from(long_text, sizeof long_text)), LOG_NUMBER("short", 7), {0}};
    CHECK(log_start(LOG_LEVEL_INFO, LOG_FORMAT_JSON, make_path("log")) == 0);
    log_write_fields(&fields_site, LOG_LEVEL_INFO, list, "%s", text);
    log_stop();
    char *line = take_file("log");
    CHECK(!strstr(line, "\"long\"") && strstr(line, ",\"short\":7,\"message\":\"yyy"));
    CHECK_ENDS(line, "yyy\"}\n");
    remove_folder();
}

TEST("of one kind of message only some are written in a second, and the rest is counted")
{
    enum { LINES = 500 };
    CHECK(log_start(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, make_path("log")) == 0);
    uint64_t start = clock_steady_ns() / 1000000000;
    for (int i = 0; i < LINES; i++)
        log_warn(AGENT, "event", "peer %d is noisy", i);
    uint64_t seconds = clock_steady_ns() / 1000000000 - start + 1;
    log_info(AGENT, "event", "something else");
    log_stop();
    char *lines = take_file("log");
    CHECK(strstr(lines, "something else\n"));
    size_t written = 0;
    unsigned long withheld = 0;
    for (const char *at = lines; (at = strstr(at, " is noisy\n")); at++)
        written++;
    for (const char *at = lines; (at = strstr(at, "\xe2\x80\xa6 ")); at += 4) {
        char *rest;
        withheld += strtoul(at + 4, &rest, 10);
        CHECK(strncmp(rest, " more like this in the last second: peer %d is noisy\n", 53) == 0);
        written--; /* it ends the same way */
    }
    CHECK(written + withheld == LINES);
    CHECK(written >= LOG_LINES_PER_SECOND && written <= LOG_LINES_PER_SECOND * seconds);
    remove_folder();
}

TEST("what was withheld is told within the second, without a further line")
{
    CHECK(log_start(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, make_path("log")) == 0);
    uint64_t give_up_ns = clock_steady_ns() + 20000000000;
    for (int i = 0; i <= 3 * LOG_LINES_PER_SECOND; i++)
        log_info(AGENT, "event", "much");
    int descriptor = open(make_path("log"), O_RDONLY);
    CHECK(descriptor >= 0);
    static char text[65536];
    while (!strstr(text, " more like this")) {
        CHECK(clock_steady_ns() < give_up_ns);
        poll(NULL, 0, 5); /* a file cannot be waited for */
        CHECK(pread(descriptor, text, sizeof text - 1, 0) >= 0);
    }
    close(descriptor);
    log_stop();
    take_file("log");
    remove_folder();
}

static struct log_site busy_site = {.room = LOG_ROOM_WORKER, .name = "busy", .lines_per_second = 1000000};

static void *write_many(void *name)
{
    log_name_thread(name);
    for (int i = 0; i < 3000; i++)
        log_write(&busy_site, LOG_LEVEL_INFO, "line %d of %s ends here", i, (const char *)name);
    return NULL;
}

TEST("lines of many threads stay whole, and none is lost without being counted")
{
    CHECK(log_start(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, make_path("log")) == 0);
    pthread_t threads[4];
    char *const names[] = {"one", "two", "three", "four"};
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, write_many, names[i]) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    log_stop();
    uint64_t lost = log_lost();
    size_t whole = 0;
    char *save = NULL;
    for (char *line = strtok_r(take_file("log"), "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char first[16], second[16];
        int number;
        if (strstr(line, " log log."))
            continue;
        CHECK(sscanf(line + CLOCK_ISO_LENGTH, " info %15[a-z] worker.busy: line %d of %15s ends here", first, &number,
                     second) == 3);
        CHECK(strcmp(first, second) == 0);
        whole++;
    }
    CHECK(whole + lost == 4 * 3000);
    remove_folder();
}

TEST("a reader that stands still makes nobody wait: lines are lost, counted, and the log says so")
{
    enum { LINES = 20000 };
    CHECK(mkfifo(make_path("fifo"), 0600) == 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    CHECK(reader >= 0);
    CHECK(log_start(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, path) == 0);
    for (int i = 0; i < LINES; i++)
        log_write(&busy_site, LOG_LEVEL_INFO, "line %d", i);
    uint64_t lost = log_lost();
    CHECK(lost > 0 && lost < LINES);

    static char text[4 << 20];
    size_t length = 0;
    while (count_lines(text) < LINES - lost + 1) {
        CHECK(poll(&(struct pollfd){.fd = reader, .events = POLLIN}, 1, 20000) == 1);
        ssize_t got = read(reader, text + length, sizeof text - 1 - length);
        CHECK(got > 0);
        length += (size_t)got;
    }
    char *told = strstr(text, " lines were lost");
    CHECK(told);
    *told = '\0';
    CHECK(strtoull(strrchr(text, ':') + 1, NULL, 10) == lost);
    CHECK(log_lost() == lost);
    log_stop();
    close(reader);
    CHECK(unlink(make_path("fifo")) == 0);
    remove_folder();
}

TEST("stopping does not wait for ever for a reader that stands still")
{
    CHECK(mkfifo(make_path("fifo"), 0600) == 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    CHECK(log_start(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, path) == 0);
    for (int i = 0; i < 10000; i++)
        log_write(&busy_site, LOG_LEVEL_INFO, "line %d fills the pipe", i);
    log_stop();
    close(reader);
    CHECK(unlink(make_path("fifo")) == 0);
    remove_folder();
}

TEST("after a rotation lines go to the new file")
{
    CHECK(log_start(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, make_path("log")) == 0);
    log_info(AGENT, "event", "first");
    char moved[sizeof path];
    snprintf(moved, sizeof moved, "%s/moved", folder);
    CHECK(rename(path, moved) == 0);
    log_reopen();
    log_info(AGENT, "event", "second");
    log_stop();
    CHECK_ENDS(take_file("log"), "second\n");
    CHECK(!strstr(take_file("moved"), "second"));
    remove_folder();
}

TEST("when the file cannot be opened again the old one stays in use and a line says so")
{
    CHECK(log_start(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, make_path("log")) == 0);
    char moved[sizeof path];
    snprintf(moved, sizeof moved, "%s/moved", folder);
    CHECK(rename(path, moved) == 0);
    CHECK(mkdir(path, 0700) == 0);
    log_reopen();
    log_info(AGENT, "event", "second");
    log_stop();
    CHECK(rmdir(make_path("log")) == 0);
    char *lines = take_file("moved");
    CHECK(strstr(lines, "error log log.reopen_failed: cannot open "));
    CHECK_ENDS(lines, "second\n");
    remove_folder();
}

TEST("log_start gives the errno of a file that cannot be opened")
{
    CHECK(log_start(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, "/nowhere/at/all") == ENOENT);
    CHECK(mkfifo(make_path("fifo"), 0600) == 0);
    CHECK(log_start(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, path) == ENXIO);
    CHECK(unlink(path) == 0);
    remove_folder();
}

TEST("before the start and after the stop lines go to standard error at once")
{
    int saved = dup(STDERR_FILENO), file = open(make_path("stderr"), O_RDWR | O_CREAT, 0600);
    CHECK(saved >= 0 && file >= 0);
    dup2(file, STDERR_FILENO);
    log_info(AGENT, "event", "before");
    CHECK(log_start(LOG_LEVEL_INFO, LOG_FORMAT_JSON, make_path("log")) == 0);
    log_info(AGENT, "event", "within");
    log_stop();
    log_stop();
    log_info(AGENT, "event", "after");
    dup2(saved, STDERR_FILENO);
    close(file);
    close(saved);
    char *lines = take_file("stderr");
    CHECK(count_lines(lines) == 2 && strstr(lines, " info  agent.event: before\n"));
    CHECK_ENDS(lines, " info  agent.event: after\n");
    CHECK_ENDS(take_file("log"), "\"message\":\"within\"}\n");
    remove_folder();
}

TEST("a file that takes no more does not stop the log, and the lines are counted as lost")
{
    CHECK(log_start(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, "/dev/full") == 0);
    log_info(AGENT, "event", "one");
    log_info(AGENT, "event", "two");
    log_stop();
    CHECK(log_lost() == 2);
}

TEST("the file is made for its owner and group only")
{
    umask(0);
    struct stat status;
    CHECK(log_start(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, make_path("log")) == 0);
    log_stop();
    CHECK(stat(path, &status) == 0 && (status.st_mode & 0777) == 0640);
    take_file("log");
    remove_folder();
}
