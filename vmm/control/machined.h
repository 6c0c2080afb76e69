/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Telling systemd-machined of a VM, so that machinectl(1) lists it and can call its control socket. */
#ifndef FERRY_VMM_CONTROL_MACHINED_H
#define FERRY_VMM_CONTROL_MACHINED_H

#include "vmm/log.h"

/* Where systemd-machined takes calls. */
#define MACHINED_SOCKET "/run/systemd/machine/io.systemd.Machine"

/*
 * Registers this process as the leader of the machine @name, whose control socket is at @control, an absolute
 * path; the machine goes with the process. Calls io.systemd.Machine.Register at the socket @path, as of
 * systemd 261, and without the control socket's address where machined is older. Takes 5 s at most. -ENOENT:
 * nobody has such a socket; -EREMOTEIO: machined refuses; or -errno; @err says why. Any thread.
 */
int __must_check machined_register(const char *path, const char *name, const char *control,
				   struct error *err);

#endif
