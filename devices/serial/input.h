/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Input for the guest: from stdin, a terminal perhaps, or from a client of the socket. It is read as far as
 * there is room, and handed in as far as the guest listens.
 */
#ifndef FERRY_DEVICES_SERIAL_INPUT_H
#define FERRY_DEVICES_SERIAL_INPUT_H

#include "devices/serial/end.h"
#include "devices/serial/terminal.h"
#include "devices/serial/uart.h"
#include "vmm/gate.h"

/* Read at once: as much as a terminal holds for its reader. */
#define SERIAL_IN_MAX 4096u

/* Owned by the caller. All functions on the loop's thread, or before it runs; none of them waits. */
struct serial_input {
	struct uart *uart;
	struct gate *gate; /* the VM's end */
	struct serial_end end;
	struct terminal *terminal; /* fd -1: @end is none */
	/* @end is a connection, whose hanging up is watched for. */
	bool is_client;
	/* The input has ended, though a FIFO can have another writer. */
	bool eof;
	bool escaped; /* Ctrl-A came last */
	unsigned int n;
	uint8_t data[SERIAL_IN_MAX]; /* read, and not yet handed in */
};

/* A descriptor for stdin, where reading never waits for what somebody else has read; -1 if there is none. */
int serial_input_open_stdin(void);

/* Reads what there is. Returns -errno if the input has ended by an error just now, else 0. Where the operator
 * has typed Ctrl-A x at a terminal, the VM is ended. */
int __must_check serial_input_read(struct serial_input *in);

/* Hands in what has been read, and goes on watching or not. -errno as of serial_end_watch(). */
int __must_check serial_input_feed(struct serial_input *in);

/* Whether reading is worth a try without an event: @end cannot be watched, and all that was read has been
 * handed in. */
bool serial_input_due(const struct serial_input *in);

#endif
