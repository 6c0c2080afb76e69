/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "ferry cpu": the CPU features that guests can have. */
#ifndef FERRY_VMM_CPU_COMMAND_H
#define FERRY_VMM_CPU_COMMAND_H

#include "vmm/x86/cpuid.h"

/* Reads what this host has to offer, by a VM that never runs: so all that a VM needs is there. -errno with
 * the reason. */
int __must_check cpu_command_host(struct cpuid_offer *offer, struct error *err);

/* Arguments begin with the subcommand's name. Returns the exit code. */
int command_cpu(int argc, char **argv);

#endif
