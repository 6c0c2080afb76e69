/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The subcommands about a migration that runs or has ended: "status", "cancel", "tune", and "report". */
#ifndef FERRY_VMM_CONTROL_JOB_COMMANDS_H
#define FERRY_VMM_CONTROL_JOB_COMMANDS_H

/* Arguments begin with the subcommand's name. Return exit codes. */
int client_status(int argc, char **argv);
int client_cancel(int argc, char **argv);
int client_tune(int argc, char **argv);
int client_report(int argc, char **argv);

#endif
