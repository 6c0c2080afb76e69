/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Consoles at the serial port: sockets of "ferry console", beside whatever else is at the host's end. Each
 * has all of the guest's output, at its own pace, and any of them can write.
 */
#ifndef FERRY_DEVICES_SERIAL_CONSOLE_H
#define FERRY_DEVICES_SERIAL_CONSOLE_H

#include "devices/serial/end.h"
#include "devices/serial/uart.h"
#include "vmm/log.h"

/* At a time. */
#define SERIAL_MAX_CONSOLES 8u
/* Output from before a console came that it gets first: what is on the screen. */
#define SERIAL_CONSOLE_RECENT 4096u

struct serial_consoles;

struct serial_console {
	struct serial_consoles *all;
	struct serial_end end; /* fd -1: there is none */
	bool eof;              /* nothing more is typed there */
	uint64_t at;           /* the place of what it gets next, as the UART counts */
	uint64_t n_lost;       /* bytes that it was too slow for, and has not been told of */
	unsigned int n;
	uint8_t data[UART_RX_MAX]; /* typed, and not yet handed in */
};

/* Owned by the caller. All functions on the loop's thread, or while it does not run; none of them waits. */
struct serial_consoles {
	struct loop *loop;
	struct uart *uart;
	pthread_mutex_t lock;   /* the two below */
	unsigned int n_waiting; /* sockets that the loop's thread has not yet taken */
	int waiting[SERIAL_MAX_CONSOLES];
	unsigned int n_held; /* with those */
	struct serial_console consoles[SERIAL_MAX_CONSOLES];
};

void serial_consoles_init(struct serial_consoles *s, struct loop *loop, struct uart *uart);
/* Each gets what it takes at once of the guest's last words. */
void serial_consoles_close(struct serial_consoles *s);

/*
 * Makes @fd, a unix stream socket, a console until its other end is closed: -EINVAL: it is none; -EBUSY:
 * there are as many as there can be. It is the consoles' from here on unless this fails, with the reason. Any
 * thread, between the other two.
 */
int __must_check serial_consoles_attach(struct serial_consoles *s, int fd, struct error *err);

/*
 * Takes new consoles, and passes on in both directions what can be: when the UART has signalled its host
 * side. A console that does not read misses output, is told how much, and holds up nobody. -errno:
 * descriptors or memory are short, and the call is to be made again.
 */
int __must_check serial_consoles_serve(struct serial_consoles *s);

#endif
