/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "ferry cpu": the CPU features that guests can have. */
#ifndef FERRY_VMM_CPU_COMMAND_H
#define FERRY_VMM_CPU_COMMAND_H

#include <stdio.h>

/* Arguments begin with the subcommand's name. Returns the exit code. */
int command_cpu(int argc, char **argv);
void command_help_cpu(FILE *out);

#endif
