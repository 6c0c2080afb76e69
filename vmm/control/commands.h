/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The subcommands that speak to a running Ferry over its control socket. */
#ifndef FERRY_VMM_CONTROL_COMMANDS_H
#define FERRY_VMM_CONTROL_COMMANDS_H

#include "vmm/control/client.h"
#include "vmm/control/options.h"

/* Exit codes beside those of enum vm_exit. */
#define CLIENT_EXIT_USAGE   2
#define CLIENT_EXIT_UNKNOWN 5

/* Says what is wrong with the arguments of @command and where help is; returns the exit code. */
int client_usage(const char *command, const struct error *err);

/* Says what is wrong where a command cannot go on. Returns the exit code. */
int client_failed(const struct error *err);

/* Whether all that was printed has left: returns @status then, else an exit code. */
int client_printed(int status);

/* Prints a reply as it is, without what would command a terminal. */
void client_print_json(const char *object);

/* Prints the members of @object, which begins with a brace, behind others, and its end. */
void client_print_behind(const char *object);

/* Connects to the VM and sends a call, for many replies with --follow. */
int __must_check client_call(struct control_client *c, const struct client_options *o, const char *method,
			     const char *parameters, struct error *err);

/* Sends a call that is answered at once, and waits for that, for a bounded time. As control_receive(). */
int __must_check client_ask(struct control_client *c, const char *method, const char *parameters,
			    const char **object, struct error *err);

/* Reads the arguments of @command for several VMs, and finds those that it is for. Returns 0, or an exit
 * code; the reason has been said. */
int client_several(struct client_options *o, enum command_id command, int argc, char **argv);

/* Does as client_failed(), with the VM's name where there are several. */
int client_failed_of(const struct client_options *o, const char *name, const struct error *err);

/* The whole of @command, which calls @method of VMs and has nothing to print. Returns the exit code. */
int client_do(enum command_id command, const char *method, int argc, char **argv);

/* Arguments begin with the subcommand's name. Return exit codes. */
int client_migrate(int argc, char **argv);
int client_resume(int argc, char **argv);

#endif
