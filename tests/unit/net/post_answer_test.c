#include "../../support/unit.h"

#include "net/post_answer.h"

static struct post_answer answer;

static bool whole(const char *text)
{
    answer.length = strlen(text);
    memcpy(answer.text, text, answer.length);
    return post_answer_whole(&answer);
}

static void is_read(const char *text, const char *body, unsigned retry_after)
{
    whole(text);
    post_answer_read(&answer);
    CHECK_TEXT(answer.body.data, answer.body.length, body);
    CHECK(answer.retry_after_s == retry_after);
}

#define HEAD "HTTP/1.1 200 OK\r\nDate: now\r\n"

TEST("an answer is whole when it has as much as it says, whatever comes behind")
{
    static const char text[] = HEAD "content-LENGTH:  5 \r\n\r\nhello";
    for (size_t length = 0; length < sizeof text - 1; length++) {
        char part[sizeof text];
        memcpy(part, text, length);
        part[length] = '\0';
        CHECK(!whole(part));
    }
    CHECK(whole(text));
    is_read(text, "hello", 0);
    is_read(HEAD "Content-Length: 5\r\n\r\nhello world", "hello", 0);
    is_read(HEAD "Content-Length: 5\r\n\r\nhel", "hel", 0);
    is_read(HEAD "Content-Length: 0\r\n\r\n", "", 0);
    is_read(HEAD "\r\nall there is", "all there is", 0);
    CHECK(!whole(HEAD "\r\nall there is")); /* it ends with the connection */
    is_read(HEAD "Content-Length: 5", "", 0);
    is_read("", "", 0);
}

TEST("a body in chunks is put together, as far as it came")
{
    CHECK(whole(HEAD "Transfer-Encoding: Chunked\r\n\r\n3\r\nhel\r\nA;x=y\r\nlo, world!\r\n0\r\n\r\n"));
    post_answer_read(&answer);
    CHECK_TEXT(answer.body.data, answer.body.length, "hello, world!");
    is_read(HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\nA\r\nlo", "hello", 0);
    is_read(HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\nhelp", "hel", 0);
    is_read(HEAD "Transfer-Encoding: chunked\r\n\r\nzebra\r\nhelp", "", 0);
    is_read(HEAD "Transfer-Encoding: chunked\r\n\r\nffffffffffff\r\nhelp", "", 0);
    is_read(HEAD "Transfer-Encoding: chunked\r\n\r\n-3\r\nhelp", "", 0);
    is_read(HEAD "Transfer-Encoding: chunked\r\n\r\nffffffff\r\nhelp", "help", 0);
}

TEST("Retry-After counts in seconds; what is none is nothing")
{
    is_read("HTTP/1.1 503 Busy\nretry-after: 7\n\n", "", 7);
    is_read(HEAD "Retry-After: 0\r\n\r\n", "", 0);
    is_read(HEAD "Retry-After: -1\r\n\r\n", "", 0);
    is_read(HEAD "Retry-After: 1e3\r\n\r\n", "", 0);
    is_read(HEAD "Retry-After: 99999999999999999999\r\n\r\n", "", 0);
    is_read(HEAD "Retry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n\r\n", "", 0);
}
