/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "events": what happens to VMs, told as it happens. */
#ifndef FERRY_VMM_CONTROL_EVENT_COMMANDS_H
#define FERRY_VMM_CONTROL_EVENT_COMMANDS_H

/* Arguments begin with the subcommand's name. Returns the exit code, once all VMs have ended. */
int client_events(int argc, char **argv);

#endif
