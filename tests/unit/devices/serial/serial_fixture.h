/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The UART, and a guest that is played here: what it says and hears, and the same for a client at the socket.
 */
#ifndef FERRY_TESTS_UNIT_DEVICES_SERIAL_SERIAL_FIXTURE_H
#define FERRY_TESTS_UNIT_DEVICES_SERIAL_SERIAL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "devices/serial/serial.h"
#include "tests/fake/vm_line.h"
#include "vmm/x86/layout.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };

struct fixture {
	char dir[32];
	char path[64];
	struct vm vm;
	struct vm_config config;
	struct error err;
	struct serial *serial;
	bool running;
	bool ended;   /* the input, as the loop's thread sees it */
	int saved[2]; /* stdin and stdout, where a test replaces them */
};

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	alarm(120);
	fake_line_reset();
	strcpy(f->dir, "/tmp/ferry-serial.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/s", f->dir);
	f->config = (struct vm_config){ .serial = SERIAL_UNIX, .serial_path = f->path };
	f->saved[0] = f->saved[1] = -1;
	assert_int_equal(loop_init(&f->vm.loop), 0);
	*state = f;
	return 0;
}

static inline void start(struct fixture *f)
{
	int ret = serial_create(&f->serial, &f->vm, &f->config, &f->err);

	if (ret < 0)
		fail_msg("%s", f->err.text);
	assert_int_equal(loop_start(&f->vm.loop, "serial"), 0);
	f->running = true;
}

static inline void stop(struct fixture *f)
{
	if (f->running)
		loop_join(&f->vm.loop);
	f->running = false;
	if (f->serial)
		serial_destroy(f->serial);
	f->serial = NULL;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	stop(f);
	for (int i = 0; i < 2; i++) {
		if (f->saved[i] >= 0)
			dup2(f->saved[i], i);
		if (f->saved[i] >= 0)
			close(f->saved[i]);
	}
	loop_exit(&f->vm.loop);
	unlink(f->path);
	rmdir(f->dir);
	free(f);
	alarm(0);
	return 0;
}

static inline uint8_t in(struct fixture *f, unsigned int reg)
{
	uint8_t v;

	bus_read(&f->vm.pio, LAYOUT_SERIAL_PORT + reg, &v, 1);
	return v;
}

static inline void out(struct fixture *f, unsigned int reg, uint8_t v)
{
	bus_write(&f->vm.pio, LAYOUT_SERIAL_PORT + reg, &v, 1);
}

static inline void say(struct fixture *f, const char *text)
{
	for (; *text; text++)
		out(f, DATA, (uint8_t)*text);
}

/* As a driver does: on an interrupt, while there is data. */
static inline void hear(struct fixture *f, uint8_t *buf, size_t len)
{
	out(f, IER, 1);
	out(f, MCR, 0x0b);
	for (size_t i = 0; i < len;) {
		fake_line_wait_high();
		assert_int_equal(in(f, IIR) & 0x0f, 0x04);
		while (i < len && (in(f, LSR) & 1))
			buf[i++] = in(f, DATA);
	}
}

static inline void hear_text(struct fixture *f, const char *text)
{
	uint8_t buf[256] = { 0 };

	hear(f, buf, strlen(text));
	assert_string_equal((char *)buf, text);
}

static inline int join(struct fixture *f)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(sun.sun_path, f->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	return fd;
}

static inline void read_all(int fd, void *buf, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = read(fd, (uint8_t *)buf + at, len - at);

		assert_true(n > 0);
		at += (size_t)n;
	}
}

static inline void read_text(int fd, const char *text)
{
	char buf[256] = { 0 };

	read_all(fd, buf, strlen(text));
	assert_string_equal(buf, text);
}

static inline void write_all(int fd, const void *data, size_t len)
{
	assert_int_equal(write(fd, data, len), len);
}

#endif
