/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The serial port, with the guest and the other end of it played here. */
#define _GNU_SOURCE
#include "tests/unit/devices/serial/serial_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/fake/vm_line.h"
#include "vmm/x86/layout.h"

int setup(void **state)
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

void create(struct fixture *f)
{
	int ret = serial_create(&f->serial, &f->vm, &f->config, &f->err);

	if (ret < 0)
		fail_msg("%s", f->err.text);
}

void run(struct fixture *f)
{
	assert_int_equal(loop_start(&f->vm.loop, "serial"), 0);
	f->running = true;
}

void start(struct fixture *f)
{
	create(f);
	run(f);
}

void stop(struct fixture *f)
{
	if (f->running)
		loop_join(&f->vm.loop);
	f->running = false;
	if (f->serial)
		serial_destroy(f->serial);
	f->serial = NULL;
}

int teardown(void **state)
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

uint8_t in(struct fixture *f, unsigned int reg)
{
	uint8_t v;

	bus_read(&f->vm.pio, LAYOUT_SERIAL_PORT + reg, &v, 1);
	return v;
}

void out(struct fixture *f, unsigned int reg, uint8_t v)
{
	bus_write(&f->vm.pio, LAYOUT_SERIAL_PORT + reg, &v, 1);
}

void say(struct fixture *f, const char *text)
{
	for (; *text; text++)
		out(f, DATA, (uint8_t)*text);
}

void hear(struct fixture *f, uint8_t *buf, size_t len)
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

void hear_text(struct fixture *f, const char *text)
{
	uint8_t buf[256] = { 0 };

	hear(f, buf, strlen(text));
	assert_string_equal((char *)buf, text);
}

int join(struct fixture *f)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(sun.sun_path, f->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	return fd;
}

void read_all(int fd, void *buf, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = read(fd, (uint8_t *)buf + at, len - at);

		assert_true(n > 0);
		at += (size_t)n;
	}
}

void read_text(int fd, const char *text)
{
	char buf[256] = { 0 };

	read_all(fd, buf, strlen(text));
	assert_string_equal(buf, text);
}

void write_all(int fd, const void *data, size_t len)
{
	assert_int_equal(write(fd, data, len), len);
}

void replace_stdio(struct fixture *f, int in_fd, int out_fd)
{
	fflush(stdout);
	f->config.serial = SERIAL_STDIO;
	f->saved[0] = dup(0);
	f->saved[1] = dup(1);
	dup2(in_fd, 0);
	dup2(out_fd, 1);
}

int open_terminal(struct fixture *f, int *slave, struct termios *before)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY);

	assert_int_equal(grantpt(master), 0);
	assert_int_equal(unlockpt(master), 0);
	*slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	assert_true(*slave >= 0);
	assert_int_equal(tcgetattr(*slave, before), 0);
	replace_stdio(f, *slave, *slave);
	return master;
}

struct epoll_event next_event(struct fixture *f)
{
	struct epoll_event event;

	assert_int_equal(epoll_wait(f->vm.loop.epoll_fd, &event, 1, -1), 1);
	return event;
}

void dispatch(struct fixture *f, struct epoll_event event)
{
	struct loop_source *src = event.data.ptr;

	src->fn(src, event.events);
}

void assert_comes_to_rest(struct fixture *f)
{
	struct epoll_event event;
	unsigned int n = 0;

	while (epoll_wait(f->vm.loop.epoll_fd, &event, 1, 0) == 1) {
		dispatch(f, event);
		assert_true(++n < 20);
	}
}

void end_of_one(struct fixture *f)
{
	stop(f);
	f->vm.loop.stop = false;
	f->vm.pio = (struct bus){ 0 };
	f->vm.devices = NULL;
}

void force_end(struct fixture *f)
{
	struct guard guard = { .lock = PTHREAD_MUTEX_INITIALIZER };

	serial_guard(f->serial, &guard);
	for (struct guard_undo *undo = guard.undos; undo; undo = undo->next)
		undo->fn(undo);
	while (guard.undos)
		guard_del(guard.undos);
}
