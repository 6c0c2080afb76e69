/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Words to the service manager that has started the process: sd_notify(3), as far as it is needed. */
#ifndef FERRY_VMM_NOTIFY_H
#define FERRY_VMM_NOTIFY_H

#include "vmm/log.h"

/*
 * Says READY=1 on the datagram socket that $NOTIFY_SOCKET names, a path or, after "@", an abstract name.
 * Waits for nobody. Returns 0, also where nobody is to be told, or -errno with the reason. Any thread, while
 * none changes the environment.
 */
int __must_check notify_ready(struct error *err);

#endif
