/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kernel's TLS: records are made and opened behind the socket (Documentation/networking/tls.rst). */
#ifndef FERRY_VMM_TLS_KERNEL_H
#define FERRY_VMM_TLS_KERNEL_H

#include "vmm/tls/session.h"

/*
 * Prepares the connected TCP socket @fd for kernel TLS; its bytes still go as they are. While there is the
 * right to load modules, if there ever was. -errno where the kernel has no TLS.
 */
int __must_check tls_kernel_prepare(int fd);

/*
 * Gives the kernel the keys of @s, whose verdicts have been exchanged. 0: mbedTLS must not touch the socket
 * any more. -EOPNOTSUPP: nothing has changed, mbedTLS can go on. -EIO: the socket is of no use.
 */
int __must_check tls_kernel_start(const struct tls_session *s);

#endif
