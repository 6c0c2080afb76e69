/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A 16550 UART: on stdio, or on a unix socket that one client at a time can use. */
#ifndef FERRY_DEVICES_SERIAL_H
#define FERRY_DEVICES_SERIAL_H

#include "vmm/config.h"
#include "vmm/vm.h"

struct serial;

/*
 * Adds COM1 (LAYOUT_SERIAL_PORT) to @vm. On stdio a terminal is switched to raw mode, and back by
 * serial_destroy(); Ctrl-A x ends the VM, Ctrl-A twice is one. A unix socket takes one client after the
 * other, the next one waits; the last 64 KiB of output are kept for whoever comes. Output that nobody reads
 * is dropped, oldest first, not waited for: a slow reader must not stop a vCPU. Input waits until the guest
 * listens (RTS) and has room. Both on the main thread; SIGPIPE is ignored by the process.
 */
int __must_check serial_create(struct serial **serial, struct vm *vm, const struct vm_config *config,
			       struct error *err);
void serial_destroy(struct serial *serial);

#endif
