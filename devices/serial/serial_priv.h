/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the two halves of the UART share: serial.c (registers, on the vCPUs' threads) and host.c (stdio
 * or a unix socket, on the main thread).
 */
#ifndef FERRY_DEVICES_SERIAL_SERIAL_PRIV_H
#define FERRY_DEVICES_SERIAL_SERIAL_PRIV_H

#include "devices/serial/serial.h"
#include "devices/serial/terminal.h"
#include "vmm/loop_timer.h"
#include "vmm/output.h"
#include "vmm/socket_file.h"

#define SERIAL_RX_MAX  64u
#define SERIAL_IN_MAX  4096u
#define SERIAL_OUT_MAX 65536u

struct serial_regs {
	uint8_t ier, lcr, mcr, scr, dll, dlm;
	uint8_t fifo;        /* 1: switched on in FCR */
	uint8_t thr_pending; /* 1: "transmitter empty" has not been seen in IIR */
};

/* One direction of the host side. */
struct serial_end {
	struct loop_source src; /* fd -1: nobody there */
	bool is_client;         /* of the unix socket */
	bool is_fifo;
	bool is_socket;
	bool always_ready; /* what epoll refuses: regular files, /dev/null */
	bool watched;
	uint32_t events;
};

struct serial {
	struct device dev;
	struct vm *vm;

	pthread_mutex_t lock; /* innermost; everything up to the next comment */
	struct serial_regs regs;
	bool irq_high;
	bool paused;
	bool rx_wanted; /* the main thread has more input: wake it when there is room */
	unsigned int n_rx;
	uint8_t rx[SERIAL_RX_MAX];
	uint64_t out_head, out_tail; /* free-running */
	uint64_t n_dropped;
	uint8_t out[SERIAL_OUT_MAX];

	/* The main thread's. */
	struct serial_end input, output; /* @output: a client's */
	struct output *writer;           /* to stdout; NULL: not on stdio */
	struct loop_source listener;
	struct loop_source wake; /* eventfd: output to be written, or room for input or for output */
	struct loop_timer retry; /* descriptors or memory were short */
	const char *path;        /* of the listener */
	struct socket_file file;
	struct guard_undo file_undo;
	struct terminal terminal;
	bool terminal_due; /* once the loop runs */
	bool eof;
	bool escaped;           /* Ctrl-A came last */
	struct log_limit limit; /* of lost output */
	struct log_limit client_limit, stdin_limit, stdout_limit;
	bool stdout_failing; /* the writer's thread's */
	unsigned int n_in;
	uint8_t in[SERIAL_IN_MAX]; /* read, but not yet in rx */
};

/* Registers. The lock is held. */
void serial_push_rx(struct serial *s, const uint8_t *data, unsigned int len);
bool serial_takes_rx(const struct serial *s);
/* After every change: the interrupt line follows the registers, and the main thread learns of room. */
void serial_update(struct serial *s);

/* The host side. serial_wake() on any thread, the others on the main thread. */
void serial_wake(struct serial *s);
int __must_check serial_host_open(struct serial *s, const struct vm_config *config, struct error *err);
/* Every key is the guest's from here on, Ctrl-C too: once the loop runs, or a guest has arrived. */
void serial_take_terminal(struct serial *s);
void serial_host_close(struct serial *s);

#endif
