/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The subcommands about VMs as machines: "list", "pause", "stop" and "reset". */
#ifndef FERRY_VMM_CONTROL_MACHINE_COMMANDS_H
#define FERRY_VMM_CONTROL_MACHINE_COMMANDS_H

/* Arguments begin with the subcommand's name. Return exit codes. */
int client_list(int argc, char **argv);
int client_pause(int argc, char **argv);
int client_stop(int argc, char **argv);
int client_reset(int argc, char **argv);

#endif
