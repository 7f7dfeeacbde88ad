#define NCURSES_NOMACROS 1
#include "client/screen/top_screen.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ncurses.h>

#include "base/clock.h"
#include "client/agent/view.h"
#include "client/screen/charset.h"
#include "client/screen/units.h"
#include "protocol/json/json.h"
#include "protocol/json/utf8.h"

enum { PAIR_GOOD = 1, PAIR_WARN, PAIR_BAD };

#define HEAD_LINES 8 /* above the agents, their titles included */
#define SPARK_COLUMN 24
#define ESCAPE 27
#define BACKSPACE 127
#define CONTROL(letter) ((letter)&0x1f)

static SCREEN *screen;
static bool colours;

bool top_screen_start(void)
{
    const char *no_color = getenv("NO_COLOR");
    screen = newterm(NULL, stdout, stdin);
    if (!screen)
        return false;
    colours = (!no_color || !*no_color) && has_colors() && start_color() == OK && use_default_colors() == OK;
    if (colours) {
        init_pair(PAIR_GOOD, COLOR_GREEN, -1);
        init_pair(PAIR_WARN, COLOR_YELLOW, -1);
        init_pair(PAIR_BAD, COLOR_RED, -1);
    }
    cbreak();
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    set_escdelay(25); /* ms: Escape alone is a key here; sequences arrive in one piece */
    curs_set(0);
    return true;
}

void top_screen_stop(void)
{
    curs_set(1);
    endwin();
    delscreen(screen);
    screen = NULL;
}

/* --- Drawing: a line is put together as text and cut to the screen --- */

static void put(int row, int column, attr_t attribute, const char *text)
{
    size_t columns;
    int room = COLS - column;
    if (row < 0 || row >= LINES || room <= 0)
        return;
    size_t length = charset_fit(slice_from_string(text), (size_t)room, &columns);
    attron(attribute);
    mvaddnstr(row, column, text, (int)length);
    attroff(attribute);
}

static attr_t colour(int pair)
{
    return colours ? (attr_t)COLOR_PAIR(pair) : A_NORMAL;
}

/* What the values of `part` (an offset into struct sample) were, the newest at the right end. */
static void put_spark(int row, int column, int width, const struct sight *sight, size_t part)
{
    static const char *const bars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    char line[SAMPLE_COUNT * 4] = "";
    unsigned count = width > 0 && (unsigned)width < sight->sample_count ? (unsigned)width : sight->sample_count;
    const struct sample *first = sight->samples + sight->sample_count - count;
    double most = 0;
    for (unsigned i = 0; i < count; i++)
        most = fmax(most, *(const double *)(const void *)((const char *)&first[i] + part));
    char *at = line;
    for (unsigned i = 0; i < count && width > 0; i++) {
        double value = *(const double *)(const void *)((const char *)&first[i] + part);
        unsigned level = most > 0 ? (unsigned)(value / most * 7.999) : 0;
        at = stpcpy(at, bars[level < 8 ? level : 7]);
    }
    put(row, column, A_NORMAL, line);
}

static void text_of(struct slice value, char *out, size_t size)
{
    struct buffer text = {0};
    view_append_value(&text, value);
    size_t length = text.length < size ? text.length : size - 1;
    snprintf(out, size, "%.*s", (int)(text.data ? utf8_valid_length(text.data, length) : 0),
             text.data ? text.data : "");
    buffer_free(&text);
}

static void draw_title(const struct target *target, const struct sight *sight, const struct top_choice *choice)
{
    char authority[BRIDGE_URL_AUTHORITY_SIZE], version[32], line[512], state[ASK_PROBLEM_SIZE + 16], text[UNITS_SIZE];
    bridge_url_authority(&target->url, authority);
    text_of(sight->figures.version, version, sizeof version);
    snprintf(line, sizeof line, "luaduct %s  %s  %s  up %s", version,
             target->url.socket[0] ? target->url.socket : authority, sight->figures.enhanced ? "enhanced" : "original",
             units_duration(sight->figures.uptime, text));
    put(0, 0, A_BOLD, sight->seen ? line : "luaduct top");
    attr_t look = colour(PAIR_GOOD);
    if (sight->problem[0]) {
        snprintf(state, sizeof state, "%s", sight->problem);
        put(1, 0, A_BOLD | colour(PAIR_BAD), state);
        return;
    }
    if (!sight->seen) {
        put(1, 0, A_NORMAL, "looking …");
        return;
    }
    if (sight->figures.ready) {
        snprintf(state, sizeof state, "%s", "ready");
    } else {
        char why[128];
        text_of(sight->figures.not_ready, why, sizeof why);
        snprintf(state, sizeof state, "not ready: %s", why);
        look = colour(PAIR_BAD);
    }
    put(1, 0, A_BOLD | look, state);
    if (choice->paused)
        put(1, (int)strlen(state) + 2, A_REVERSE, " paused ");
}

static void draw_figures(const struct sight *sight)
{
    const struct figures *figures = &sight->figures;
    char line[256], text[UNITS_SIZE], more[UNITS_SIZE], third[UNITS_SIZE], fourth[UNITS_SIZE];
    struct sample now = sight->sample_count > 0 ? sight->samples[sight->sample_count - 1] : (struct sample){0};
    int width = COLS - SPARK_COLUMN;
    snprintf(line, sizeof line, "%-9s %s/s", "messages", units_count(now.per_second, text));
    put(2, 0, A_NORMAL, line);
    put_spark(2, SPARK_COLUMN, width, sight, offsetof(struct sample, per_second));
    snprintf(line, sizeof line, "%-9s %s", "p99", figures->latency_count > 0 ? units_latency(figures->p99, text) : "-");
    put(3, 0, A_NORMAL, line);
    put_spark(3, SPARK_COLUMN, width, sight, offsetof(struct sample, p99));
    char level[16];
    text_of(figures->memory_level, level, sizeof level);
    bool pressed = strcmp(level, "high") == 0 || strcmp(level, "critical") == 0;
    snprintf(line, sizeof line, "%-9s %s", "memory", units_bytes(figures->memory_used, text));
    put(4, 0, pressed ? A_BOLD | colour(PAIR_BAD) : A_NORMAL, line);
    put_spark(4, SPARK_COLUMN, width, sight, offsetof(struct sample, memory));
    int length = snprintf(line, sizeof line, "%s agents  %s in mailboxes  %s refused  %s errors",
                          units_count(figures->agents, text), units_count(figures->queued, more),
                          units_count(figures->refused, third), units_count(figures->errors, fourth));
    if (figures->memory_budget > 0)
        snprintf(line + length, sizeof line - (size_t)length, "  %.1f %% of %s, %s",
                 100 * figures->memory_used / figures->memory_budget, units_bytes(figures->memory_budget, text), level);
    put(5, 0, A_NORMAL, line);
}

static void draw_alerts(const struct sight *sight)
{
    char line[320];
    if (!sight->alerts_known) {
        put(6, 0, A_DIM, "alerts are not shown: the bridge refused");
    } else if (sight->alert_count == 0) {
        put(6, 0, A_NORMAL, "no alerts");
    } else {
        snprintf(line, sizeof line, "%u alert%s  %s", sight->alert_count, sight->alert_count > 1 ? "s" : "",
                 sight->alert);
        put(6, 0, A_BOLD | colour(PAIR_WARN), line);
    }
}

/* Where the columns of the table begin, for the width there is: numbers keep theirs, id and role share the rest. */
struct layout {
    int id, role; /* their widths; role 0: not shown */
};

static struct layout lay_out(void)
{
    int rest = COLS - 44;
    struct layout layout = {rest > 40 ? rest * 2 / 3 : rest, 0};
    layout.role = rest > 24 ? rest - (layout.id = rest * 2 / 3) : 0;
    layout.id = layout.id < 8 ? 8 : layout.id;
    return layout;
}

/* In that many columns, with one free at the end. */
static void put_text(int row, int column, int width, attr_t attribute, const char *text)
{
    size_t columns, length = charset_fit(slice_from_string(text), width > 1 ? (size_t)width - 1 : 0, &columns);
    bool whole = text[length] == '\0';
    char cut[1024];
    if (!whole)
        length = charset_fit(slice_from_string(text), width > 2 ? (size_t)width - 2 : 0, &columns);
    if (length < sizeof cut - 8) {
        snprintf(cut, sizeof cut, "%.*s%s", (int)length, text, whole ? "" : "…");
        put(row, column, attribute, cut);
    }
}

static void draw_titles(int row, const struct layout *layout, const struct top_choice *choice)
{
    static const char *const titles[] = {"MSG/S", "MESSAGES", "ERRORS", "CONNECTED"};
    static const enum sender_order orders[] = {ORDER_RATE, ORDER_MESSAGES, ORDER_ERRORS, ORDER_CONNECTED};
    char line[64];
    int at = layout->id + layout->role;
    mvhline(row, 0, ' ' | A_REVERSE, COLS);
    put(row, 0, A_REVERSE | (choice->order == ORDER_ID ? A_BOLD | A_UNDERLINE : 0), "AGENT");
    if (layout->role > 0)
        put(row, layout->id, A_REVERSE, "ROLE");
    for (unsigned i = 0; i < 4; i++, at += 11) {
        snprintf(line, sizeof line, "%11s", titles[i]);
        put(row, at, A_REVERSE | (choice->order == orders[i] ? A_BOLD | A_UNDERLINE : 0), line);
    }
}

static void draw_sender(int row, const struct layout *layout, const struct sender *sender)
{
    char line[128], text[UNITS_SIZE], more[UNITS_SIZE], third[UNITS_SIZE], fourth[UNITS_SIZE];
    put_text(row, 0, layout->id, A_NORMAL, sender->id);
    if (layout->role > 0)
        put_text(row, layout->id, layout->role, A_DIM, sender->role);
    snprintf(line, sizeof line, "%11s%11s%11s%11s", units_count(sender->rate, text),
             units_count(sender->messages, more), units_count(sender->errors, third),
             units_duration(sender->connected_s, fourth));
    put(row, layout->id + layout->role, sender->rate > 0 ? A_BOLD : A_NORMAL, line);
}

static void draw_senders(const struct sight *sight, struct top_choice *choice)
{
    const struct senders *senders = &sight->senders;
    struct layout layout = lay_out();
    int rows = LINES - HEAD_LINES - 1;
    draw_titles(HEAD_LINES - 1, &layout, choice);
    if (sight->agents_problem[0])
        put(HEAD_LINES, 0, colour(PAIR_WARN), sight->agents_problem);
    size_t *indices = senders->count > 0 ? calloc(senders->count, sizeof *indices) : NULL;
    if (!indices || rows <= 0) {
        free(indices);
        return;
    }
    size_t count = senders_select(senders, choice->filter, choice->order, choice->reversed, indices);
    size_t last = count > (size_t)rows ? count - (size_t)rows : 0;
    choice->first = choice->first < last ? choice->first : last;
    for (size_t i = 0; i < (size_t)rows && choice->first + i < count; i++)
        draw_sender(HEAD_LINES + (int)i, &layout, &senders->entries[indices[choice->first + i]]);
    free(indices);
}

static void draw_foot(const struct top_choice *choice)
{
    char line[192];
    if (choice->typing_filter)
        snprintf(line, sizeof line, "filter: %s▏ Enter keeps it, Escape drops it", choice->filter);
    else if (choice->filter[0])
        snprintf(line, sizeof line, "filter: %s  / changes it, Escape drops it", choice->filter);
    else
        snprintf(line, sizeof line, "q quit  sort: s rate m messages e errors c connected n id  r reverse  / filter");
    put(LINES - 1, 0, A_DIM, line);
}

void top_screen_draw(const struct target *target, const struct sight *sight, struct top_choice *choice)
{
    erase();
    draw_title(target, sight, choice);
    if (sight->seen) {
        draw_figures(sight);
        draw_alerts(sight);
        draw_senders(sight, choice);
    }
    draw_foot(choice);
    refresh();
}

/* --- Keys --- */

/* Bytes of the filter's last character. */
static void drop_character(char *text)
{
    size_t length = strlen(text);
    while (length > 0 && ((unsigned char)text[--length] & 0xc0) == 0x80)
        ;
    text[length] = '\0';
}

static void type_filter(struct top_choice *choice, int key)
{
    size_t length = strlen(choice->filter);
    if (key == ESCAPE) {
        choice->filter[0] = '\0';
        choice->typing_filter = false;
    } else if (key == '\r' || key == '\n' || key == KEY_ENTER) {
        choice->typing_filter = false;
    } else if (key == KEY_BACKSPACE || key == BACKSPACE || key == CONTROL('h')) {
        drop_character(choice->filter);
    } else if (key == CONTROL('u')) {
        choice->filter[0] = '\0';
    } else if (key >= ' ' && key < 256 &&
               length + 1 < sizeof choice->filter) { /* bytes of a character come one by one */
        choice->filter[length] = (char)key;
        choice->filter[length + 1] = '\0';
    }
    choice->first = 0;
}

static void choose_order(struct top_choice *choice, enum sender_order order)
{
    choice->order = order;
    choice->first = 0;
}

static void scroll_by(struct top_choice *choice, long by)
{
    choice->first = by < 0 && choice->first < (size_t)-by ? 0 : choice->first + (size_t)by;
}

static bool take_key(struct top_choice *choice, int key)
{
    int page = LINES - HEAD_LINES - 1;
    if (choice->typing_filter) {
        type_filter(choice, key);
        return true;
    }
    switch (key) {
    case 'q':
    case CONTROL('d'):
        return false;
    case 's':
        choose_order(choice, ORDER_RATE);
        break;
    case 'm':
        choose_order(choice, ORDER_MESSAGES);
        break;
    case 'e':
        choose_order(choice, ORDER_ERRORS);
        break;
    case 'c':
        choose_order(choice, ORDER_CONNECTED);
        break;
    case 'n':
        choose_order(choice, ORDER_ID);
        break;
    case 'r':
        choice->reversed = !choice->reversed;
        break;
    case '/':
        choice->typing_filter = true;
        break;
    case ESCAPE:
        choice->filter[0] = '\0';
        break;
    case ' ':
        choice->paused = !choice->paused;
        break;
    case KEY_UP:
    case 'k':
        scroll_by(choice, -1);
        break;
    case KEY_DOWN:
    case 'j':
        scroll_by(choice, 1);
        break;
    case KEY_PPAGE:
        scroll_by(choice, -page);
        break;
    case KEY_NPAGE:
        scroll_by(choice, page);
        break;
    case KEY_HOME:
        choice->first = 0;
        break;
    case KEY_END:
        choice->first = SIZE_MAX / 2;
        break;
    case CONTROL('l'):
        clear(); /* another program has written over it: all is drawn anew */
        break;
    default:
        break; /* KEY_RESIZE: ncurses has taken the new size */
    }
    return true;
}

bool top_screen_keys(struct top_choice *choice)
{
    int key;
    while ((key = getch()) != ERR)
        if (!take_key(choice, key))
            return false;
    return true;
}
