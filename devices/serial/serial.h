/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A 16550 UART: on stdio, a unix socket that one client at a time can use, a file, or a pseudo terminal. */
#ifndef FERRY_DEVICES_SERIAL_SERIAL_H
#define FERRY_DEVICES_SERIAL_SERIAL_H

#include "vmm/config.h"
#include "vmm/guard.h"
#include "vmm/vm.h"

struct serial;

/*
 * Adds COM1 (LAYOUT_SERIAL_PORT) to @vm. 0 or -errno, with the reason. The main thread calls all functions;
 * the process ignores SIGPIPE.
 *
 * On stdio a terminal is the guest's while this process is in its foreground, and serial_destroy() gives it
 * back. Ctrl-A x ends the VM, Ctrl-A twice is one. A unix socket takes one client after the other, and the
 * next one waits; the last 64 KiB of output are kept for whoever comes.
 *
 * A file has output alone. A pseudo terminal has room for some 68 KiB until somebody reads there.
 *
 * Output that nobody reads is dropped, oldest first, and counted: neither a vCPU nor the main thread stands
 * still for a reader. Input waits until the guest listens (RTS) and has room.
 */
int __must_check serial_create(struct serial **serial, struct vm *vm, const struct vm_config *config,
			       struct error *err);
void serial_destroy(struct serial *serial);

/* Has @guard give a terminal back, and remove a socket's file, where the process ends otherwise than by
 * serial_destroy(). */
void serial_guard(struct serial *serial, struct guard *guard);

#endif
