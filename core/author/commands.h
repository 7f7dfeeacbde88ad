/* The commands for people who write scripts and run bridges. They stand beside main.c, right of every room: they run
 * scripts in the real script room, deliver with the real bridge and edit what it reads, but without a server. Argument
 * and exit codes as in client/commands.h. */
#ifndef LUADUCT_AUTHOR_COMMANDS_H
#define LUADUCT_AUTHOR_COMMANDS_H

int command_test(int argc, char **argv);   /* runs specs of scripts with busted */
int command_new(int argc, char **argv);    /* writes a script and its spec */
int command_replay(int argc, char **argv); /* a recorded trace through scripts, decisions compared */
int command_config(int argc, char **argv); /* the Node bridge's config becomes one of ours */
int command_doctor(int argc, char **argv); /* whether machine and config are fit for each other */
int command_token(int argc, char **argv);  /* makes, lists and revokes named tokens */

#endif
