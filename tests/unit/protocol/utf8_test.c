/* UTF-8: the whole-text check, the check in pieces, and what is fit for a log. */
#include "protocol/json/utf8.h"

#include "../../support/unit.h"

/* RFC 3629 by its table, one character at a time: slow and plain, to compare with. */
static bool plainly_valid(const unsigned char *p, size_t length)
{
    for (size_t i = 0; i < length;) {
        uint32_t value;
        unsigned more;
        if (p[i] < 0x80)
            more = 0, value = p[i];
        else if (p[i] >> 5 == 6)
            more = 1, value = p[i] & 0x1f;
        else if (p[i] >> 4 == 14)
            more = 2, value = p[i] & 0x0f;
        else if (p[i] >> 3 == 30)
            more = 3, value = p[i] & 0x07;
        else
            return false;
        if (length - i <= more)
            return false;
        for (unsigned k = 1; k <= more; k++) {
            if (p[i + k] >> 6 != 2)
                return false;
            value = value << 6 | (p[i + k] & 0x3f);
        }
        static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
        if (value < least[more] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
            return false;
        i += more + 1;
    }
    return true;
}

static const struct {
    const char *text;
    bool valid;
} samples[] = {
    {"", true},
    {"plain", true},
    {"\xc2\x80", true},
    {"\xdf\xbf", true},
    {"\xe0\xa0\x80", true},
    {"\xed\x9f\xbf", true},
    {"\xee\x80\x80", true},
    {"\xef\xbf\xbf", true},
    {"\xf0\x90\x80\x80", true},
    {"\xf4\x8f\xbf\xbf", true},
    {"\x80", false},
    {"\xbf", false},
    {"\xc0\x80", false},
    {"\xc1\xbf", false},
    {"\xc2", false},
    {"\xc2\x41", false},
    {"\xe0\x80\x80", false},
    {"\xe0\x9f\xbf", false},
    {"\xe2\x82", false},
    {"\xed\xa0\x80", false},
    {"\xed\xbf\xbf", false},
    {"\xf0\x8f\xbf\xbf", false},
    {"\xf0\x9f\x98", false},
    {"\xf4\x90\x80\x80", false},
    {"\xf5\x80\x80\x80", false},
    {"\xf8\x88\x80\x80\x80", false},
    {"\xfe", false},
    {"\xff", false},
    {"\xe2\x82\xac\xac", false},
};

TEST("UTF-8: every kind of broken sequence is refused wherever it stands in the text")
{
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++)
        for (size_t before = 0; before < 140; before++)
            for (size_t after = 0; after < 40; after += 13) {
                /* An exact heap block, so that the address sanitizer sees a read past the end. */
                size_t length = before + strlen(samples[i].text) + after;
                char *text = malloc(length + !length);
                memset(text, 'a', length);
                memcpy(text + before, samples[i].text, strlen(samples[i].text));
                CHECK(utf8_valid(text, length) == samples[i].valid);
                CHECK((utf8_valid_length(text, length) == length) == samples[i].valid);
                if (!samples[i].valid)
                    CHECK(utf8_valid_length(text, length) >= before && utf8_valid_length(text, length) < before + 4);
                free(text);
            }
}

TEST("UTF-8: vectors and plain code agree on random bytes")
{
    srand(11);
    static const char *const pieces[] = {"a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
                                         "abcdefghijklmnopqrstuvwxyz"};
    for (int round = 0; round < 40000; round++) {
        unsigned char text[200];
        size_t length = 0;
        while (length < 160) {
            const char *piece = pieces[rand() % 5];
            memcpy(text + length, piece, strlen(piece));
            length += strlen(piece);
        }
        if (round % 2)
            text[(size_t)rand() % length] = (unsigned char)rand();
        length -= (size_t)rand() % 100;
        bool expected = plainly_valid(text, length);
        CHECK(utf8_valid((char *)text, length) == expected);
        CHECK((utf8_valid_length((char *)text, length) == length) == expected);
        struct utf8_stream stream = {0};
        bool good = true;
        for (size_t at = 0; at < length && good;) {
            size_t piece = (size_t)rand() % 70;
            if (piece > length - at)
                piece = length - at;
            good = utf8_stream_feed(&stream, (char *)text + at, piece);
            at += piece;
        }
        CHECK((good && utf8_stream_complete(&stream)) == expected);
    }
}

TEST("UTF-8: a text in pieces fails at the first byte that no continuation can mend")
{
    static const struct {
        const char *text;
        int fails_at; /* the byte that is impossible; -1: none, though the text may be unfinished */
    } cases[] = {
        {"\xe2\x82", -1},
        {"\xf0\x9f\x98", -1},
        {"\xed\xa0", 1},
        {"\xf4\x90", 1},
        {"\xe0\x9f", 1},
        {"\xf0\x8f", 1},
        {"\xc0", 0},
        {"\xf5", 0},
        {"\xe2\x82\x41", 2},
        {"a\x80", 1},
        {"\xf0\x9f\x98\x41", 3},
        {"\xe2\x82\xac\xff", 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct utf8_stream stream = {0};
        int failed_at = -1;
        for (int at = 0; cases[i].text[at] && failed_at < 0; at++)
            if (!utf8_stream_feed(&stream, cases[i].text + at, 1))
                failed_at = at;
        CHECK(failed_at == cases[i].fails_at);
        CHECK(!utf8_stream_complete(&stream));
        /* In one piece it is found out as well. */
        struct utf8_stream whole = {0};
        CHECK(utf8_stream_feed(&whole, cases[i].text, strlen(cases[i].text)) == (failed_at < 0));
        if (failed_at >= 0)
            CHECK(!utf8_stream_feed(&whole, "a", 1));
    }
}

TEST("UTF-8: text for logs has no control characters, neither of ASCII nor of Latin-1")
{
    CHECK(utf8_printable(SLICE("agent \xc3\xa4 \xf0\x9f\x98\x80 ~")));
    CHECK(utf8_printable(SLICE("\xc2\xa0")));
    CHECK(!utf8_printable(SLICE("a\nb")));
    CHECK(!utf8_printable(SLICE("a\0b")));
    CHECK(!utf8_printable(SLICE("\x7f")));
    CHECK(!utf8_printable(SLICE("\xc2\x9b")));
    CHECK(!utf8_printable(SLICE("\xc2\x80")));
    CHECK(!utf8_printable(SLICE("\xff")));
}
