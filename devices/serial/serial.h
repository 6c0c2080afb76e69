/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A 16550 UART: on stdio, or on a unix socket that one client at a time can use. */
#ifndef FERRY_DEVICES_SERIAL_SERIAL_H
#define FERRY_DEVICES_SERIAL_SERIAL_H

#include "vmm/config.h"
#include "vmm/guard.h"
#include "vmm/vm.h"

struct serial;

/*
 * Adds COM1 (LAYOUT_SERIAL_PORT) to @vm. On stdio a terminal is the guest's while this process is in its
 * foreground, and given back by serial_destroy(); Ctrl-A x ends the VM, Ctrl-A twice is one. A unix socket
 * takes one client after the other, the next one waits; the last 64 KiB of output are kept for whoever comes.
 * Output that nobody reads is dropped, oldest first, and counted, not waited for: neither a vCPU nor the main
 * thread stands still for a reader. Input waits until the guest listens (RTS) and has room. Both on the main
 * thread; SIGPIPE is ignored by the process.
 */
int __must_check serial_create(struct serial **serial, struct vm *vm, const struct vm_config *config,
			       struct error *err);
void serial_destroy(struct serial *serial);

/* Where the process ends otherwise than by serial_destroy() @guard gives a terminal back, and removes a
 * socket's file. */
void serial_guard(struct serial *serial, struct guard *guard);

#endif
