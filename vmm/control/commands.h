/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The subcommands that speak to a running Ferry over its control socket. */
#ifndef FERRY_VMM_CONTROL_COMMANDS_H
#define FERRY_VMM_CONTROL_COMMANDS_H

#include "vmm/log.h"

/* Exit codes beside those of enum vm_exit. */
#define CLIENT_EXIT_USAGE   2
#define CLIENT_EXIT_UNKNOWN 5

/* Says what is wrong with the arguments of @command and where help is; returns the exit code. */
int client_usage(const char *command, const struct error *err);

/* Arguments begin with the subcommand's name. Return exit codes. */
int client_migrate(int argc, char **argv);
int client_resume(int argc, char **argv);

#endif
