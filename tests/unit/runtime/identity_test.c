#include "../../support/unit.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/wildcard.h"
#include "runtime/identity/standing.h"
#include "runtime/identity/tokens/token_file.h"

/* What sha256sum says of "alpha" and "beta". */
#define ALPHA "8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8"
#define BETA "f44e64e75f3948e9f73f8dfa94721c4ce8cbb4f265c4790c702b2d41cfbf2753"
#define LINE(name, hash, rest) "{\"name\":\"" name "\",\"sha256\":\"" hash "\"" rest "}\n"

static char path[64];
static char error[1024];

static struct token_store *load(const char *text)
{
    snprintf(path, sizeof path, "/tmp/luaduct-tokens-XXXXXX");
    int fd = mkstemp(path);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    error[0] = 0;
    struct token_store *store = token_store_load(path, error, sizeof error);
    unlink(path);
    return store;
}

static void refuses(const char *text, const char *expected)
{
    CHECK(!load(text));
    CHECK(strncmp(error, path, strlen(path)) == 0);
    CHECK_TEXT(error + strlen(path), strlen(error + strlen(path)), expected);
}

TEST("finds a token by itself and by its name, and no other")
{
    hash_start();
    struct token_store *store = load("# people\n\n" LINE("alice", ALPHA, ",\"roles\":[\"agent\",\"b\\u0061r\"]")
                                         LINE("bob", BETA, ",\"clientIds\":[\"bob\",\"bob-*\"]"));
    CHECK(store && token_store_count(store) == 2);
    struct identity *alice = token_store_find(store, SLICE("alpha")), *bob = token_store_find(store, SLICE("beta"));
    CHECK(alice && bob && alice != bob);
    CHECK_TEXT(alice->owner.data, alice->owner.length, "token:alice");
    CHECK_TEXT(bob->name.data, bob->name.length, "bob");
    CHECK(token_store_same(store, alice) == alice && token_store_same(store, bob) == bob);
    CHECK(identity_has_role(alice, SLICE("agent")) && identity_has_role(alice, SLICE("bar")));
    CHECK(!identity_has_role(bob, SLICE("agent")) && !identity_has_role(NULL, SLICE("agent")));
    CHECK(!token_store_find(store, SLICE("Alpha")) && !token_store_find(store, SLICE("alph")));
    CHECK(!token_store_find(store, SLICE("")) && !token_store_find(store, SLICE(ALPHA)));
    token_store_release(store);
}

TEST("says in which line a file of tokens is wrong, and how")
{
    hash_start();
    refuses("\n{}\n", ":2: name: expected one");
    refuses("{\"name\":\"a\"}", ":1: sha256: expected one");
    refuses(LINE("a", "12", ""), ":1: sha256: expected 64 hexadecimal digits in lower case");
    refuses(LINE("a b", ALPHA, ""), ":1: name: expected 1 to 64 letters, digits and . _ - @ :");
    refuses(LINE("a", ALPHA, "") LINE("a", BETA, ""), ":2: name: there is a token of this name above");
    refuses(LINE("a", ALPHA, "") LINE("b", ALPHA, ""), ":2: sha256: this token is listed above under another name");
    refuses(LINE("a", ALPHA, ",\"name\":\"b\""), ":1: name: expected it once");
    refuses(LINE("a", ALPHA, ",\"role\":[]"),
            ":1: line: expected name, sha256, roles, clientIds, agentRoles, labels, limits, expires, and nothing else");
    refuses(LINE("a", ALPHA, ",\"roles\":\"admin\""),
            ":1: roles: expected a list of at most 256 texts of 1 to 256 bytes without control characters");
    refuses(LINE("a", ALPHA, ",\"expires\":\"tomorrow\""),
            ":1: expires: expected a time such as \"2030-01-01T00:00:00Z\"");
    refuses(LINE("a", ALPHA, ",\"expires\":\"1970-01-01T00:00:00Z\""),
            ":1: expires: expected a time such as \"2030-01-01T00:00:00Z\"");
    refuses(LINE("a", ALPHA, ",\"limits\":{\"messagesPerSecond\":0}"),
            ":1: limits: expected whole numbers from 1 for messagesPerSecond, messageBurst, bytesPerSecond, "
            "connections");
    refuses("nonsense", ":1: not JSON: expected a value at byte 0");
}

TEST("does not trust a file of tokens that anybody may write")
{
    char name[] = "/tmp/luaduct-tokens-XXXXXX";
    int fd = mkstemp(name);
    CHECK(fd >= 0 && fchmod(fd, 0666) == 0);
    CHECK(!token_store_load(name, error, sizeof error));
    CHECK(strstr(error, "anybody on this machine may write it"));
    close(fd);
    unlink(name);
    CHECK(!token_store_load(name, error, sizeof error) && strstr(error, "No such file"));
}

TEST("writes a line that reads back as the same token")
{
    struct text_store texts = {0};
    static struct token_entry entry, again;
    char problem[ERROR_TEXT_BYTES];
    struct buffer out = {0};
    struct slice line =
        SLICE("{\"name\":\"ci\",\"sha256\":\"" ALPHA "\",\"roles\":[\"a\"],\"clientIds\":[\"\\\"x\\\"*\"],"
              "\"agentRoles\":[\"r\"],\"labels\":[\"l\"],\"limits\":{\"messagesPerSecond\":5,"
              "\"connections\":2,\"bytesPerSecond\":1000000},\"expires\":\"2030-01-01T00:00:00.000Z\"}");
    CHECK(token_line_read(line, &texts, &entry, problem));
    CHECK(entry.source.limits.messages_per_second == 5 && entry.source.limits.connections == 2);
    CHECK(entry.source.limits.bytes_per_second == 1000000 && entry.source.limits.message_burst == 0);
    token_line_write(&out, &entry);
    CHECK(out.length == line.length + 1 && memcmp(out.data, line.data, line.length) == 0);
    CHECK(token_line_read(slice_from(out.data, out.length), &texts, &again, problem));
    buffer_free(&out);
    text_store_free(&texts);
}

static struct token_store *replace(const char *text)
{
    struct standing before = standing_use((struct standing){.tokens = load(text)});
    standing_release(&before);
    return standing_current().tokens;
}

TEST("lets tokens that are not in use any more live as long as somebody looks into them")
{
    hash_start();
    struct token_store *held = replace(LINE("alice", ALPHA, ""));
    struct identity *alice = identity_retain(token_store_find(held, SLICE("alpha")));
    struct token_store *now = replace("");
    CHECK(!token_store_find(now, SLICE("alpha")) && token_store_find(held, SLICE("alpha")) == alice);
    token_store_release(held);
    token_store_release(now);
    struct standing last = standing_use((struct standing){0});
    standing_release(&last);
    CHECK_TEXT(alice->name.data, alice->name.length, "alice");
    identity_release(alice);
}

TEST("knows a token again in another store, unless it was revoked or made anew")
{
    hash_start();
    struct token_store *store = load(LINE("alice", ALPHA, "")),
                       *same = load(LINE("alice", ALPHA, ",\"roles\":[\"a\"]"));
    struct token_store *other = load(LINE("alice", BETA, "")), *none = load("");
    struct identity *alice = token_store_find(store, SLICE("alpha"));
    CHECK(identity_has_role(token_store_same(same, alice), SLICE("a")));
    CHECK(!token_store_same(other, alice) && !token_store_same(none, alice));
    token_store_release(store);
    token_store_release(same);
    token_store_release(other);
    token_store_release(none);
}

TEST("says what an identity's agent may be called, and that the shared token and nobody may be anything")
{
    hash_start();
    struct slice ids[] = {SLICE("bob"), SLICE("w-*")}, roles[] = {SLICE("worker")};
    struct identity_source source = {.kind = IDENTITY_TOKEN, .name = SLICE("t"), .client_ids = {ids, 2}};
    struct identity *said = identity_new(&source);
    source.client_ids.count = 0;
    source.agent_roles = (struct slice_list){roles, 1};
    struct identity *silent = identity_new(&source), *shared = identity_shared(false);
    CHECK(identity_may_take(said, SLICE("bob"), true) && identity_may_take(said, SLICE("w-7"), false));
    CHECK(!identity_may_take(said, SLICE("bobby"), true) && !identity_may_take(said, SLICE("xw-7"), false));
    CHECK(!identity_may_take(silent, SLICE("bob"), true) && identity_may_take(silent, SLICE("bob"), false));
    CHECK(identity_may_take(shared, SLICE("x"), true) && identity_may_take(NULL, SLICE("x"), true));
    CHECK(identity_may_be(silent, SLICE("worker"), true) && !identity_may_be(silent, SLICE("agent"), true));
    CHECK(identity_may_be(said, SLICE("agent"), true) && !identity_may_be(said, SLICE("boss"), true));
    CHECK(identity_may_be(said, SLICE("boss"), false) && identity_may_be(shared, SLICE("boss"), true));
    CHECK(identity_same(said, silent) && !identity_same(said, shared) && !identity_same(said, NULL));
    CHECK(identity_same(NULL, NULL) && identity_key(said) == identity_key(silent));
    identity_release(said);
    identity_release(silent);
    identity_release(shared);
}

TEST("takes * for any text, and everything else for itself")
{
    CHECK(wildcard_matches(SLICE("*"), SLICE("")) && wildcard_matches(SLICE("a*c*e"), SLICE("abcde")));
    CHECK(wildcard_matches(SLICE(""), SLICE("")) && wildcard_matches(SLICE("a**"), SLICE("a")));
    CHECK(!wildcard_matches(SLICE(""), SLICE("a")) && !wildcard_matches(SLICE("a*b"), SLICE("a")));
    CHECK(!wildcard_matches(SLICE("a.c"), SLICE("abc")) && !wildcard_matches(SLICE("*ab"), SLICE("abc")));
}
