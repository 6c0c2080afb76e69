/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The registers of a 16550A UART, COM1 of the guest, and the bytes on their way in and out of it. Who sends
 * and reads these on the host is not known here.
 *
 * Any thread: vCPUs are at the registers, the host side's thread at the bytes. No function waits for another
 * party, so a vCPU stands still for no reader.
 */
#ifndef FERRY_DEVICES_SERIAL_UART_H
#define FERRY_DEVICES_SERIAL_UART_H

#include <pthread.h>

#include "vmm/bus.h"
#include "vmm/irq.h"
#include "vmm/state.h"

#define UART_N_PORTS 8u
/* Longer than the FIFO of 16 bytes that the guest knows: a driver reads until LSR says that there is no more,
 * so one interrupt brings more. */
#define UART_RX_MAX 64u
/* Output that is kept for a reader who comes later: some screens of boot messages. */
#define UART_OUT_MAX 65536u

struct uart_regs {
	uint8_t ier, lcr, mcr, scr, dll, dlm;
	uint8_t fifo;        /* 1: switched on in FCR */
	uint8_t thr_pending; /* 1: not yet seen in IIR */
};

struct uart {
	struct irq_table *irqs; /* has its interrupt line */
	/* An eventfd for the host side: there is output, or room for input that was not taken. Whoever has
	 * something else to tell that side signals it, too. */
	int wake_fd;
	/* Innermost: no other lock is taken with it. Protects everything below. */
	pthread_mutex_t lock;
	struct uart_regs regs;
	bool irq_high;
	bool paused;
	bool rx_wanted; /* @wake_fd is due when @rx is empty */
	unsigned int n_rx;
	uint8_t rx[UART_RX_MAX];
	/* Places in @out, free-running. */
	uint64_t out_head, out_tail;
	bool out_copied; /* @wake_fd is due at the next byte, for who copies */
	uint64_t n_dropped;
	uint8_t out[UART_OUT_MAX];
};

/* 0 or -errno. */
int __must_check uart_init(struct uart *u, struct irq_table *irqs);
void uart_exit(struct uart *u);

/* The registers, of UART_N_PORTS ports; the opaque pointer is the UART. */
extern const struct bus_ops uart_bus_ops;

/*
 * Hands in as much of @data as there is room for, if the guest listens (RTS): returns how many bytes that is.
 * wake_fd is signalled once the guest has taken what is there, where bytes were left or the caller has @more
 * to read.
 */
unsigned int uart_hand_in(struct uart *u, const uint8_t *data, unsigned int len, bool more);

/* Copies up to @size bytes of the guest's output, the oldest first, and leaves them: returns how many, and
 * *@at is the place of the first. uart_take_output() takes all that lies before the place @end. */
size_t uart_peek_output(struct uart *u, uint8_t *data, size_t size, uint64_t *at);
void uart_take_output(struct uart *u, uint64_t end);
bool uart_has_output(struct uart *u);
/*
 * Copies up to @size bytes of the guest's output from the place *@at on, and returns how many, whether
 * anybody has taken them or not: the last UART_OUT_MAX are kept. Where it has dropped what was at *@at, that
 * becomes the oldest place that it has. wake_fd is signalled when there is more. uart_recent_output() returns
 * the place of the last @len bytes.
 */
size_t uart_copy_output(struct uart *u, uint64_t *at, uint8_t *data, size_t size);
uint64_t uart_recent_output(struct uart *u, size_t len);
/* Returns how many bytes of output were dropped since the last call, because nobody took them. */
uint64_t uart_take_dropped(struct uart *u);

/*
 * The UART's part in the operations of device.h. State is what the guest can see, without what the host side
 * has still to write or has not yet handed in. While paused no input is handed in. uart_load() reads all
 * before it applies any.
 */
void uart_pause(struct uart *u);
void uart_save(struct uart *u, struct state_writer *w);
int __must_check uart_load(struct uart *u, struct state_node *node);
void uart_resume(struct uart *u);
/* Registers as at power-on. What the guest has said before is written still. */
void uart_reset(struct uart *u);

#endif
