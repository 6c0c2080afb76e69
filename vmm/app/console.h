/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "console": a guest's serial line on this terminal. */
#ifndef FERRY_VMM_APP_CONSOLE_H
#define FERRY_VMM_APP_CONSOLE_H

/* Arguments begin with the subcommand's name. Returns the exit code, or ends by the signal that ended it: the
 * terminal is as it was found. For a process of one thread, once. */
int console_run(int argc, char **argv);

#endif
