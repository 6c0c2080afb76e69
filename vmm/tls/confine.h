/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Gives up what a process that reads a stranger's bytes must not have. */
#ifndef FERRY_VMM_TLS_CONFINE_H
#define FERRY_VMM_TLS_CONFINE_H

#include "vmm/log.h"

/*
 * From here on the process has no capabilities, gets no new privileges, and opens, starts and writes no file;
 * as root it becomes nobody where the host allows that. Descriptors 0 and 1 must be open, and stay so: no
 * other number can be had. Others of its user cannot look into it. -errno with the reason.
 */
int __must_check tls_confine(struct error *err);

#endif
