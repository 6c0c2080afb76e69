/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's end of the serial port: stdio, a unix socket, a file, a pseudo terminal, or nothing. No vCPU
 * waits for any of them. */
#ifndef FERRY_DEVICES_SERIAL_HOST_H
#define FERRY_DEVICES_SERIAL_HOST_H

#include "devices/serial/console.h"
#include "devices/serial/input.h"
#include "devices/serial/listener.h"
#include "devices/serial/pty.h"
#include "devices/serial/writer.h"
#include "vmm/config.h"
#include "vmm/loop_timer.h"
#include "vmm/vm.h"

/* Owned by the caller. All functions on the main thread. */
struct serial_host {
	struct loop *loop;
	struct uart *uart;
	struct serial_input input;
	struct serial_writer writer;
	struct serial_listener listener;
	struct terminal terminal;
	struct serial_pty pty;
	struct serial_consoles consoles; /* beside all of these */
	struct loop_source wake;         /* the UART's eventfd */
	struct loop_timer retry;         /* descriptors or memory were short */
	/* The guest gets the terminal once the loop runs. */
	bool terminal_due;
	struct log_limit stdin_limit;
};

/* Opens what @config names for @uart. @vm's loop does not run yet. serial_host_close() is to be called also
 * where this fails. 0 or -errno, with the reason. */
int __must_check serial_host_open(struct serial_host *h, struct uart *uart, struct vm *vm,
				  const struct vm_config *config, struct error *err);
/* Writes the guest's last words, as long as somebody takes them. vCPUs have ended. */
void serial_host_close(struct serial_host *h);

/* Every key is the guest's from here on, Ctrl-C too: once a guest has arrived. */
void serial_host_take_terminal(struct serial_host *h);

/* Until serial_host_close() @guard undoes what would outlive the process. */
void serial_host_guard(struct serial_host *h, struct guard *guard);

#endif
