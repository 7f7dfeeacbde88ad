/* A backtracking matcher without C recursion. It walks pattern and subject together; wherever it could have gone on
 * differently it leaves a choice on a stack of its own, and a mismatch goes back to the newest choice. A repeated
 * single character is one choice with a counter, however often it repeats, so the stack grows with the pattern and not
 * with the subject. It has as many entries as LuaJIT allows nested matches, and "pattern too complex" comes for the
 * same patterns.
 *
 * Patterns are read as they are used, not compiled: a malformed part that no match reaches is no error, as in the stock
 * library. Like there, a NUL ends the pattern (it is %z that matches one), while find without magic characters and
 * replacements take NUL as any byte.
 *
 * Every look at a character takes from an allowance; when that is used up the flag is looked at. Work that is done in
 * one go (back references, long sets) takes its share. The price is a decrement per character. */
#include "script/pattern/matcher.h"

#include <string.h>

#include <lauxlib.h>

#include "base/clock.h"
#include "script/pattern/pattern.h"

/* Between two looks at the flag: some microseconds, far below any script budget, and too rare to be measured. */
#define MATCHER_STEPS 1024

/* Bytes compared or copied in one go that count as one step. */
#define BYTES_PER_STEP 16

static _Thread_local uint64_t stop_at_ns; /* 0: never */

void pattern_stop_at(uint64_t deadline_ns)
{
    stop_at_ns = deadline_ns;
}

void matcher_look(struct matcher *matcher)
{
    if (atomic_load_explicit(matcher->stop, memory_order_relaxed) ||
        __builtin_expect(stop_at_ns && clock_steady_ns() > stop_at_ns, 0))
        luaL_error(matcher->L, PATTERN_STOPPED);
    matcher->steps_left = MATCHER_STEPS;
}

static void step_bytes(struct matcher *matcher, size_t bytes)
{
    size_t steps = bytes / BYTES_PER_STEP;
    matcher->steps_left = steps < (size_t)matcher->steps_left ? matcher->steps_left - (int)steps : 0;
    matcher_step(matcher);
}

void matcher_start(struct matcher *matcher, lua_State *L, const atomic_bool *stop, struct slice subject,
                   struct slice pattern, bool anchor)
{
    matcher->L = L;
    matcher->stop = stop;
    matcher->steps_left = MATCHER_STEPS;
    matcher->capture_count = matcher->choice_count = 0;
    matcher->subject = subject.data;
    matcher->subject_end = subject.data + subject.length;
    matcher->anchored = anchor && pattern.length > 0 && pattern.data[0] == '^';
    matcher->pattern = pattern.data + matcher->anchored;
    matcher->pattern_end = pattern.data + strnlen(pattern.data, pattern.length);
    /* Many short calls are as long as one long call: each looks at the flag once. */
    matcher_look(matcher);
}

/* Not <ctype.h>: classes are those of ASCII, whatever the locale. */
static bool in_class(unsigned char byte, unsigned char class)
{
    bool lower = byte >= 'a' && byte <= 'z', upper = byte >= 'A' && byte <= 'Z', digit = byte >= '0' && byte <= '9';
    bool visible = byte > ' ' && byte < 0x7f, found;
    unsigned char letter = class | 0x20;
    switch (letter) {
    case 'a':
        found = lower || upper;
        break;
    case 'c':
        found = byte < ' ' || byte == 0x7f;
        break;
    case 'd':
        found = digit;
        break;
    case 'g':
        found = visible;
        break;
    case 'l':
        found = lower;
        break;
    case 'p':
        found = visible && !lower && !upper && !digit;
        break;
    case 's':
        found = byte == ' ' || (byte >= '\t' && byte <= '\r');
        break;
    case 'u':
        found = upper;
        break;
    case 'w':
        found = lower || upper || digit;
        break;
    case 'x':
        found = digit || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
        break;
    case 'z':
        found = byte == '\0';
        break;
    default:
        return byte == class;
    }
    return class == letter ? found : !found;
}

/* set is "[…", set_end its "]". */
static bool in_set(unsigned char byte, const char *set, const char *set_end)
{
    const char *at = set + 1;
    bool negated = *at == '^';
    for (at += negated; at < set_end; at++) {
        if (*at == '%') {
            at++;
            if (in_class(byte, (unsigned char)*at))
                return !negated;
        } else if (set_end - at > 2 && at[1] == '-') {
            if ((unsigned char)at[0] <= byte && byte <= (unsigned char)at[2])
                return !negated;
            at += 2;
        } else if ((unsigned char)*at == byte) {
            return !negated;
        }
    }
    return negated;
}

/* Gives the end of the single-character item at `item`: a character, "%" and one, or a set. */
static const char *item_end(struct matcher *matcher, const char *item)
{
    const char *end = matcher->pattern_end;
    if (*item == '%') {
        if (item + 1 == end)
            luaL_error(matcher->L, "malformed pattern (ends with '%%')");
        return item + 2;
    }
    if (*item != '[')
        return item + 1;
    const char *at = item + 1;
    if (at < end && *at == '^')
        at++;
    /* A "]" in the first place is one of the set. */
    for (const char *first = at; at < end && (at == first || *at != ']'); at++)
        if (*at == '%' && at + 1 < end)
            at++;
    if (at >= end)
        luaL_error(matcher->L, "malformed pattern (missing ']')");
    step_bytes(matcher, (size_t)(at - item));
    return at + 1;
}

static bool item_matches(struct matcher *matcher, const char *subject, const char *item, const char *end)
{
    matcher_step(matcher);
    if (subject == matcher->subject_end)
        return false;
    switch (*item) {
    case '.':
        return true;
    case '%':
        return in_class((unsigned char)*subject, (unsigned char)item[1]);
    case '[':
        if (end - item > BYTES_PER_STEP)
            step_bytes(matcher, (size_t)(end - item));
        return in_set((unsigned char)*subject, item, end - 1);
    default:
        return *item == *subject;
    }
}

static size_t item_repetitions(struct matcher *matcher, const char *subject, const char *item, const char *end)
{
    if (*item == '.')
        return (size_t)(matcher->subject_end - subject);
    const char *at = subject;
    while (item_matches(matcher, at, item, end))
        at++;
    return (size_t)(at - subject);
}

static struct choice *choice_push(struct matcher *matcher, enum choice_kind kind)
{
    if (matcher->choice_count == MATCHER_CHOICES)
        luaL_error(matcher->L, "pattern too complex");
    struct choice *choice = &matcher->choices[matcher->choice_count++];
    choice->kind = kind;
    return choice;
}

static void capture_open(struct matcher *matcher, const char *subject, enum capture_state state)
{
    if (matcher->capture_count == MATCHER_CAPTURES)
        luaL_error(matcher->L, "too many captures");
    choice_push(matcher, CHOICE_OPENED);
    matcher->captures[matcher->capture_count++] = (struct capture){subject, 0, state};
}

static void capture_close(struct matcher *matcher, const char *subject)
{
    unsigned which = matcher->capture_count;
    do {
        if (which == 0)
            luaL_error(matcher->L, "invalid pattern capture");
        which--;
    } while (matcher->captures[which].state != CAPTURE_OPEN);
    choice_push(matcher, CHOICE_FINISHED)->count = which;
    struct capture *capture = &matcher->captures[which];
    capture->length = (size_t)(subject - capture->start);
    capture->state = CAPTURE_CLOSED;
}

/* Takes the newest choice that is left: the next place to try, or false. */
static bool choice_take(struct matcher *matcher, const char **subject, const char **pattern)
{
    while (matcher->choice_count > 0) {
        struct choice *choice = &matcher->choices[matcher->choice_count - 1];
        matcher_step(matcher);
        switch (choice->kind) {
        case CHOICE_FEWER:
            if (choice->count > 0) {
                *subject = choice->subject + --choice->count;
                *pattern = choice->rest;
                return true;
            }
            break;
        case CHOICE_NONE:
            matcher->choice_count--;
            *subject = choice->subject;
            *pattern = choice->rest;
            return true;
        case CHOICE_MORE:
            if (item_matches(matcher, choice->subject, choice->item, choice->rest - 1)) {
                *subject = ++choice->subject;
                *pattern = choice->rest;
                return true;
            }
            break;
        case CHOICE_OPENED:
            matcher->capture_count--;
            break;
        case CHOICE_FINISHED:
            matcher->captures[choice->count].state = CAPTURE_OPEN;
            break;
        }
        matcher->choice_count--;
    }
    return false;
}

/* "%bxy" at `pattern`. Gives the subject behind the balanced part, or NULL. */
static const char *balance_match(struct matcher *matcher, const char *subject, const char *pattern)
{
    if (matcher->pattern_end - pattern < 4)
        luaL_error(matcher->L, "unbalanced pattern");
    char opening = pattern[2], closing = pattern[3];
    if (subject == matcher->subject_end || *subject != opening)
        return NULL;
    size_t depth = 1;
    for (const char *at = subject + 1; at < matcher->subject_end; at++) {
        matcher_step(matcher);
        if (*at == closing) {
            if (--depth == 0)
                return at + 1;
        } else if (*at == opening) {
            depth++;
        }
    }
    return NULL;
}

/* "%f[set]" at `pattern`. Gives the pattern behind it, or NULL when here is no frontier. */
static const char *frontier_match(struct matcher *matcher, const char *subject, const char *pattern)
{
    const char *set = pattern + 2;
    if (set == matcher->pattern_end || *set != '[')
        luaL_error(matcher->L, "missing '[' after '%%f' in pattern");
    const char *end = item_end(matcher, set);
    unsigned char before = subject == matcher->subject ? '\0' : (unsigned char)subject[-1];
    if (in_set(before, set, end - 1) || !in_set((unsigned char)*subject, set, end - 1))
        return NULL;
    return end;
}

/* Gives the subject behind the repeated capture, or NULL. */
static const char *reference_match(struct matcher *matcher, const char *subject, char digit)
{
    int which = digit - '1';
    if (which < 0 || which >= (int)matcher->capture_count || matcher->captures[which].state == CAPTURE_OPEN)
        luaL_error(matcher->L, "invalid capture index");
    const struct capture *capture = &matcher->captures[which];
    if (capture->state == CAPTURE_POSITION || (size_t)(matcher->subject_end - subject) < capture->length)
        return NULL;
    step_bytes(matcher, capture->length);
    return memcmp(subject, capture->start, capture->length) == 0 ? subject + capture->length : NULL;
}

/* A single-character item with what may stand behind it ("*", "+", "-", "?"). Moves both on, or gives false. */
static bool repeated_item_match(struct matcher *matcher, const char **subject, const char **pattern)
{
    const char *item = *pattern, *end = item_end(matcher, item), *at = *subject;
    char repetition = end < matcher->pattern_end ? *end : '\0';
    struct choice *choice;
    switch (repetition) {
    case '?':
        *pattern = end + 1;
        if (item_matches(matcher, at, item, end)) {
            choice = choice_push(matcher, CHOICE_NONE);
            choice->subject = at;
            choice->rest = end + 1;
            *subject = at + 1;
        }
        return true;
    case '+':
        if (!item_matches(matcher, at, item, end))
            return false;
        at++;
        /* fall through */
    case '*': {
        size_t count = item_repetitions(matcher, at, item, end);
        choice = choice_push(matcher, CHOICE_FEWER);
        choice->subject = at;
        choice->rest = *pattern = end + 1;
        choice->count = count;
        *subject = at + count;
        return true;
    }
    case '-':
        choice = choice_push(matcher, CHOICE_MORE);
        choice->subject = at;
        choice->item = item;
        choice->rest = *pattern = end + 1;
        return true;
    default:
        *pattern = end;
        *subject = at + 1;
        return item_matches(matcher, at, item, end);
    }
}

/* One element of the pattern, which is not at its end. Moves both on, or gives false. */
static bool element_match(struct matcher *matcher, const char **subject, const char **pattern)
{
    const char *at = *pattern;
    char next = at + 1 < matcher->pattern_end ? at[1] : '\0';
    switch (*at) {
    case '(':
        capture_open(matcher, *subject, next == ')' ? CAPTURE_POSITION : CAPTURE_OPEN);
        *pattern = at + (next == ')' ? 2 : 1);
        return true;
    case ')':
        capture_close(matcher, *subject);
        *pattern = at + 1;
        return true;
    case '$':
        if (at + 1 != matcher->pattern_end)
            break;
        *pattern = at + 1;
        return *subject == matcher->subject_end;
    case '%':
        if (next == 'b') {
            *subject = balance_match(matcher, *subject, at);
            *pattern = at + 4;
            return *subject;
        }
        if (next == 'f') {
            *pattern = frontier_match(matcher, *subject, at);
            return *pattern;
        }
        if (next >= '0' && next <= '9') {
            *subject = reference_match(matcher, *subject, next);
            *pattern = at + 2;
            return *subject;
        }
        break;
    default:
        break;
    }
    return repeated_item_match(matcher, subject, pattern);
}

/* Gives the end of the match that starts at subject, or NULL. */
static const char *match_at(struct matcher *matcher, const char *subject)
{
    const char *pattern = matcher->pattern;
    matcher->capture_count = matcher->choice_count = 0;
    matcher_step(matcher);
    while (pattern != matcher->pattern_end)
        if (!element_match(matcher, &subject, &pattern) && !choice_take(matcher, &subject, &pattern))
            return NULL;
    return subject;
}

/* The character that every match starts with, or -1: the places between its occurrences need no try. */
static int first_character(const struct matcher *matcher)
{
    if (matcher->pattern == matcher->pattern_end || strchr(MATCHER_MAGIC ")", *matcher->pattern))
        return -1;
    if (matcher->pattern + 1 < matcher->pattern_end && strchr("*?-", matcher->pattern[1]))
        return -1;
    return (unsigned char)*matcher->pattern;
}

const char *matcher_search(struct matcher *matcher, const char *from, const char **end)
{
    int first = matcher->anchored ? -1 : first_character(matcher);
    for (;; from++) {
        if (first >= 0) {
            from = memchr(from, first, (size_t)(matcher->subject_end - from));
            if (!from)
                return NULL;
        }
        *end = match_at(matcher, from);
        if (*end)
            return from;
        if (matcher->anchored || from == matcher->subject_end)
            return NULL;
    }
}
