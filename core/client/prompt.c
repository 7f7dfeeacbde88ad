/* libedit's callback interface differs from readline's in this: once a line is complete it reads the next one whole,
 * and blocks. So the handler is installed anew for each line. */
#include "client/prompt.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <editline/readline.h>

#include "client/screen/charset.h"

static char *typed; /* NULL with `complete`: Ctrl-D */
static bool complete;
static const char *prompt;

bool prompt_possible(void)
{
    return isatty(STDIN_FILENO) && (isatty(STDOUT_FILENO) || isatty(STDERR_FILENO));
}

static void on_line(char *line)
{
    typed = line;
    complete = true;
}

static void set_up(void)
{
    charset_start(); /* libedit reads characters, not bytes */
    rl_readline_name = "luaduct";
    rl_outstream = isatty(STDOUT_FILENO) ? stdout : stderr;
    rl_catch_signals = 0;
    rl_initialize();
    rl_bind_key('\t', rl_insert); /* there are no file names to complete here */
    using_history();
}

void prompt_start(const char *text)
{
    static bool ready;
    if (!ready)
        set_up();
    ready = true;
    prompt = text;
    complete = false;
    rl_callback_handler_install(text, on_line);
}

enum prompt_outcome prompt_read(short events, char **line)
{
    if (events & (POLLHUP | POLLERR | POLLNVAL)) {
        on_line(NULL);
    } else {
        rl_callback_read_char();
    }
    if (!complete)
        return PROMPT_MORE;
    rl_callback_handler_remove();
    if (!typed)
        return PROMPT_END;
    if (*typed)
        add_history(typed);
    *line = typed;
    return PROMPT_LINE;
}

static size_t columns_of(const char *text, size_t length)
{
    size_t columns;
    charset_fit(slice_from(text, length), SIZE_MAX, &columns);
    return columns;
}

void prompt_hide(void)
{
    int rows, columns;
    rl_get_screen_size(&rows, &columns);
    size_t before = rl_line_buffer && rl_point > 0 ? columns_of(rl_line_buffer, (size_t)rl_point) : 0;
    size_t above = columns > 0 ? (columns_of(prompt, strlen(prompt)) + before) / (size_t)columns : 0;
    if (above > 0)
        fprintf(rl_outstream, "\033[%zuA", above);
    fputs("\r\033[J", rl_outstream);
    fflush(rl_outstream);
}

void prompt_show(void)
{
    fflush(stdout);
    rl_forced_update_display();
}

void prompt_resize(void)
{
    rl_resize_terminal();
}

void prompt_stop(void)
{
    if (!complete)
        rl_callback_handler_remove();
    complete = true;
    fputs("\n", rl_outstream);
    fflush(rl_outstream);
}
