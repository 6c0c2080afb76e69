/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "nic" and "metrics": what a running VM says of its devices, for a person and for Prometheus. */
#ifndef FERRY_VMM_CONTROL_NIC_COMMANDS_H
#define FERRY_VMM_CONTROL_NIC_COMMANDS_H

/* Arguments begin with the subcommand's name. Return exit codes. */
int client_nic(int argc, char **argv);
int client_metrics(int argc, char **argv);

#endif
