/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The subcommand "connect": what stdin and stdout are the two ways of becomes a source's connection to a
 * Ferry that waits in "receive". */
#ifndef FERRY_VMM_CONTROL_CONNECT_H
#define FERRY_VMM_CONTROL_CONNECT_H

/* Arguments begin with the subcommand's name. Returns the exit code. */
int client_connect(int argc, char **argv);

#endif
