/* The commands that talk to a bridge from outside. Each takes its own arguments (argv[0] is the command's name), writes
 * data to standard output and all else to standard error, and gives the process's exit code: 0 done, 1 it did not work
 * (one line says why and what to do), 2 wrong usage (one line says what was wrong). `--help` answers with 0. */
#ifndef LUADUCT_CLIENT_COMMANDS_H
#define LUADUCT_CLIENT_COMMANDS_H

int command_agent(int argc, char **argv); /* an agent in a terminal or a pipe: lines in are sent, envelopes out shown */
int command_send(int argc, char **argv);  /* one envelope over HTTP, prints the bridge's answer */
int command_health(int argc, char **argv); /* whether a bridge lives, or takes work */
int command_reload(int argc, char **argv); /* has a bridge take up its scripts and config again */
int command_drain(int argc, char **argv);  /* has a bridge send its agents elsewhere, and end */
int command_canary(int argc, char **argv); /* a version of the scripts on trial */
int command_status(int argc, char **argv); /* how a bridge does, on one screen */
int command_top(int argc, char **argv);    /* the same, live */
int command_agents(int argc, char **argv); /* who is connected */
int command_history(int argc, char **argv);
int command_tasks(int argc, char **argv);
int command_alerts(int argc, char **argv);
int command_tail(int argc, char **argv);   /* envelopes, as they pass */
int command_trace(int argc, char **argv);  /* what becomes of each envelope, as it happens */
int command_repl(int argc, char **argv);   /* a prompt in a scratch state of a bridge */
int command_export(int argc, char **argv); /* mailboxes and history, as lines of JSON */
int command_import(int argc, char **argv); /* … and back */
int command_bench(int argc, char **argv);  /* the load generator */
int command_cert(int argc, char **argv);   /* certificates for developing; needs no bridge */

#endif
