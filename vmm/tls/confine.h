/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Gives up what a process that reads a stranger's bytes must not have. */
#ifndef FERRY_VMM_TLS_CONFINE_H
#define FERRY_VMM_TLS_CONFINE_H

#include "vmm/log.h"

/*
 * From here on the process has no capabilities, gets no new privileges, and writes no file; as root it
 * becomes nobody where the host allows that. Others of its user cannot look into it. -errno with the reason.
 */
int __must_check tls_confine(struct error *err);

/*
 * From here on the process opens no file and starts no other, and has the system calls of a connection alone.
 * Descriptors 0 and 1 must be open, and stay so: no other number can be had. Before the first byte of a
 * stranger's. -errno with the reason.
 */
int __must_check tls_confine_for_stranger(struct error *err);

#endif
