/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The serial port, with the guest and the other end of it played here. Functions fail the test where
 * something is not as it must be; one that waits in vain is ended by an alarm.
 */
#ifndef FERRY_TESTS_UNIT_DEVICES_SERIAL_SERIAL_FIXTURE_H
#define FERRY_TESTS_UNIT_DEVICES_SERIAL_SERIAL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <sys/epoll.h>
#include <termios.h>

#include "devices/serial/serial.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };

struct fixture {
	char dir[32];
	char path[64]; /* of the socket */
	struct vm vm;
	struct vm_config config;
	struct error err;
	struct serial *serial;
	bool running;
	int saved[2]; /* stdin and stdout, where a test replaces them */
};

/* Prepare a port on a socket at @path, which start() makes; and clean up. */
int setup(void **state);
int teardown(void **state);

/* Makes the port; runs the VM's loop on a thread; both. */
void create(struct fixture *f);
void run(struct fixture *f);
void start(struct fixture *f);
/* Ends the loop's thread, if there is one, and the port. */
void stop(struct fixture *f);
/* stop(), and the same VM can have another port. */
void end_of_one(struct fixture *f);
/* Does what the guard does before it ends the process. */
void force_end(struct fixture *f);

/* Play the loop where no thread runs it: next_event() waits for an event, which dispatch() handles later;
 * assert_comes_to_rest() handles all that there are, which must be few. */
struct epoll_event next_event(struct fixture *f);
void dispatch(struct fixture *f, struct epoll_event event);
void assert_comes_to_rest(struct fixture *f);

/* The guest at the registers. hear() takes bytes as a driver does: on an interrupt, while there is data. */
uint8_t in(struct fixture *f, unsigned int reg);
void out(struct fixture *f, unsigned int reg, uint8_t v);
void say(struct fixture *f, const char *text);
void hear(struct fixture *f, uint8_t *buf, size_t len);
void hear_text(struct fixture *f, const char *text);

/* Becomes a client of the socket. */
int join(struct fixture *f);

void read_all(int fd, void *buf, size_t len);
void read_text(int fd, const char *text);
void write_all(int fd, const void *data, size_t len);

/* Makes @in_fd stdin and @out_fd stdout until teardown, and has the port use them. */
void replace_stdio(struct fixture *f, int in_fd, int out_fd);
/* The same with a terminal: returns its other end, *@slave is its own, and @before how it is set. */
int open_terminal(struct fixture *f, int *slave, struct termios *before);

#endif
