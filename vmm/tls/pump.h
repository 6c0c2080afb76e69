/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Carries bytes between a TLS session and a local socket, both ways, where the kernel has no TLS. */
#ifndef FERRY_VMM_TLS_PUMP_H
#define FERRY_VMM_TLS_PUMP_H

#include "vmm/tls/session.h"

/*
 * Carries until both ends have ended, the connection breaks, or the local end is closed. The end of one
 * direction is passed on, and the other goes on. It is TCP's end, as with kernel TLS, and no message of TLS:
 * the two ends of a migration know by their own last messages whether they have everything. @s has had its
 * verdicts.
 */
void tls_pump_run(struct tls_session *s, int local_fd);

#endif
