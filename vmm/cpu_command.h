/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "ferry cpu": the CPU features that guests can have. */
#ifndef FERRY_VMM_CPU_COMMAND_H
#define FERRY_VMM_CPU_COMMAND_H

/* Arguments begin with the subcommand's name. Returns the exit code. */
int command_cpu(int argc, char **argv);

#endif
