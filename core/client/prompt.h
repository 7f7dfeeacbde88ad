/* A line at a time that a person types into the terminal on standard input, with editing and a history, while other
 * things go on: by libedit, which has one state for the process. */
#ifndef LUADUCT_CLIENT_PROMPT_H
#define LUADUCT_CLIENT_PROMPT_H

#include <stdbool.h>

/* Whether somebody can type: standard input is a terminal, and standard output or standard error is one to show it. */
bool prompt_possible(void);

enum prompt_outcome {
    PROMPT_MORE, /* the line is not complete */
    PROMPT_LINE,
    PROMPT_END, /* Ctrl-D, or the terminal is gone */
};

/* Shows the prompt, on standard output where that is a terminal, else on standard error, and takes the terminal's keys
 * until prompt_read gives something else than PROMPT_MORE. */
void prompt_start(const char *text);

/* To be called with what poll says of standard input, when it says anything. PROMPT_LINE: *line is the caller's to
 * free, without its end, and stands in the history. */
enum prompt_outcome prompt_read(short events, char **line);

/* Takes the prompt away, to write something in its place, and shows it again below with what was typed. */
void prompt_hide(void);
void prompt_show(void);

void prompt_resize(void); /* after SIGWINCH */

/* Gives the terminal back as it was, and ends the line on it. After PROMPT_END it ends the line alone. */
void prompt_stop(void);

#endif
