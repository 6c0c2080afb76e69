/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Consoles at the serial port: several at once, slow ones, and what is none. */
#define _GNU_SOURCE
#include "tests/unit/devices/serial/serial_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/serial/console.h"

static int attach(struct fixture *f, int fd)
{
	struct device *dev = f->vm.devices;
	struct error err = { 0 };
	int ret = dev->ops->attach(dev, fd, &err);

	assert_true((ret < 0) == (err.text[0] != '\0'));
	return ret;
}

/* Makes a console, and returns its other end. */
static int open_console(struct fixture *f)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(attach(f, fds[1]), 0);
	return fds[0];
}

/* Makes a console once there is a place for it. */
static int open_console_at_last(struct fixture *f)
{
	int fds[2], ret;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	while ((ret = attach(f, fds[1])) == -EBUSY)
		usleep(1000);
	assert_int_equal(ret, 0);
	return fds[0];
}

static void every_console_has_all_output_beside_the_ports_own_place(void **state)
{
	struct fixture *f = *state;
	int client, one, two;

	start(f);
	client = join(f);
	one = open_console(f);
	two = open_console(f);
	say(f, "login: ");
	read_text(client, "login: ");
	read_text(one, "login: ");
	read_text(two, "login: ");
	write_all(one, "root\n", 5);
	hear_text(f, "root\n");
	write_all(two, "pw", 2);
	hear_text(f, "pw");
	write_all(client, "\n", 1);
	hear_text(f, "\n");
	/* One that leaves is missed by nobody. */
	close(one);
	say(f, "# ");
	read_text(client, "# ");
	read_text(two, "# ");
	close(two);
	close(client);
}

static void a_port_without_a_place_has_consoles(void **state)
{
	struct fixture *f = *state;
	int console;

	f->config.serial = SERIAL_NONE;
	start(f);
	for (unsigned int i = 0; i < 70000; i++)
		out(f, DATA, '.');
	say(f, "boot\n");
	console = open_console(f);
	for (unsigned int i = 0; i < SERIAL_CONSOLE_RECENT - 5; i++)
		read_text(console, ".");
	read_text(console, "boot\n");
	say(f, "on");
	read_text(console, "on");
	write_all(console, "x", 1);
	hear_text(f, "x");
	close(console);
}

static void a_console_gets_what_was_said_before_it_came(void **state)
{
	struct fixture *f = *state;
	int client, console;

	start(f);
	client = join(f);
	say(f, "early\n");
	read_text(client, "early\n");
	console = open_console(f);
	read_text(console, "early\n");
	close(client);
	close(console);
}

/* Neither the guest nor another console waits. */
static void a_console_that_does_not_read_is_told_how_much_it_lost(void **state)
{
	enum { LEN = 2000000 };
	struct fixture *f = *state;
	int slow, quick;
	unsigned long long lost = 0;
	uint64_t n = 0, n_dots = 0;
	char byte = 0;

	start(f);
	slow = open_console(f);
	quick = open_console(f);
	/* Both are there. */
	say(f, "+");
	read_text(slow, "+");
	read_text(quick, "+");
	fcntl(quick, F_SETFL, O_NONBLOCK);
	for (unsigned int i = 0; i < LEN; i++) {
		char buf[4096];

		out(f, DATA, '.');
		if (i % 1024 == 0)
			while (read(quick, buf, sizeof(buf)) > 0)
				;
	}
	say(f, "!");
	while (byte != '!') {
		read_all(slow, &byte, 1);
		n++;
		n_dots += byte == '.';
		if (byte == '[') {
			char text[80] = { 0 };

			for (unsigned int i = 0; text[i > 0 ? i - 1 : 0] != ']'; i++)
				read_all(slow, &text[i], 1);
			assert_int_equal(sscanf(text, "ferry: %llu bytes of output lost", &lost), 1);
			n_dots += lost;
		}
	}
	assert_true(lost > 0);
	assert_true(n < LEN);
	assert_int_equal(n_dots, LEN);
	close(slow);
	close(quick);
}

static void there_are_as_many_consoles_as_there_can_be(void **state)
{
	struct fixture *f = *state;
	int consoles[SERIAL_MAX_CONSOLES], fds[2], again;

	start(f);
	for (unsigned int i = 0; i < SERIAL_MAX_CONSOLES; i++)
		consoles[i] = open_console(f);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(attach(f, fds[1]), -EBUSY);
	close(fds[0]);
	close(fds[1]);
	close(consoles[3]);
	again = open_console_at_last(f);
	say(f, "hi");
	read_text(again, "hi");
	for (unsigned int i = 0; i < SERIAL_MAX_CONSOLES; i++) {
		if (i != 3)
			read_text(consoles[i], "hi");
		if (i != 3)
			close(consoles[i]);
	}
	close(again);
}

static void what_is_no_unix_stream_socket_is_no_console(void **state)
{
	struct fixture *f = *state;
	int fds[2], pipes[2], tcp = socket(AF_INET, SOCK_STREAM, 0);

	start(f);
	assert_int_equal(attach(f, -1), -EINVAL);
	assert_int_equal(attach(f, tcp), -EINVAL);
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(attach(f, pipes[1]), -EINVAL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), 0);
	assert_int_equal(attach(f, fds[0]), -EINVAL);
	close(tcp);
	for (int i = 0; i < 2; i++) {
		close(fds[i]);
		close(pipes[i]);
	}
}

/* A socket that nobody is at the other end of takes no place. */
static void an_unconnected_socket_goes_at_once(void **state)
{
	struct fixture *f = *state;

	start(f);
	say(f, "x");
	for (unsigned int i = 0; i < 3 * SERIAL_MAX_CONSOLES; i++) {
		int fd = socket(AF_UNIX, SOCK_STREAM, 0), ret;

		while ((ret = attach(f, fd)) == -EBUSY)
			usleep(1000);
		assert_int_equal(ret, 0);
	}
}

/* The guest does not listen, and a console that goes takes what it typed along. */
static void typing_for_a_deaf_guest_keeps_nobody_busy(void **state)
{
	struct fixture *f = *state;
	char keys[1000];
	int console, other;

	memset(keys, 'k', sizeof(keys));
	create(f);
	console = open_console(f);
	write_all(console, keys, sizeof(keys));
	assert_comes_to_rest(f);
	close(console);
	assert_comes_to_rest(f);
	run(f);
	other = open_console(f);
	write_all(other, "heard", 5);
	hear_text(f, "heard");
	close(other);
}

static void all_that_is_typed_at_a_console_is_heard(void **state)
{
	enum { LEN = 100000 };
	struct fixture *f = *state;
	uint8_t *sent = malloc(LEN), *heard = malloc(LEN);
	int console;

	for (unsigned int i = 0; i < LEN; i++)
		sent[i] = (uint8_t)(i * 7 + i / 251);
	start(f);
	console = open_console(f);
	write_all(console, sent, LEN);
	shutdown(console, SHUT_WR);
	hear(f, heard, LEN);
	assert_memory_equal(sent, heard, LEN);
	/* Who has ended its input still reads. */
	say(f, "done");
	read_text(console, "done");
	close(console);
	free(sent);
	free(heard);
}

static void the_end_of_the_port_is_the_end_of_its_consoles(void **state)
{
	struct fixture *f = *state;
	int console;
	char byte;

	start(f);
	console = open_console(f);
	say(f, "last words");
	stop(f);
	read_text(console, "last words");
	assert_int_equal(read(console, &byte, 1), 0);
	close(console);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_console_has_all_output_beside_the_ports_own_place,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_port_without_a_place_has_consoles, setup, teardown),
		cmocka_unit_test_setup_teardown(a_console_gets_what_was_said_before_it_came, setup, teardown),
		cmocka_unit_test_setup_teardown(a_console_that_does_not_read_is_told_how_much_it_lost, setup,
						teardown),
		cmocka_unit_test_setup_teardown(there_are_as_many_consoles_as_there_can_be, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_no_unix_stream_socket_is_no_console, setup, teardown),
		cmocka_unit_test_setup_teardown(an_unconnected_socket_goes_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(typing_for_a_deaf_guest_keeps_nobody_busy, setup, teardown),
		cmocka_unit_test_setup_teardown(all_that_is_typed_at_a_console_is_heard, setup, teardown),
		cmocka_unit_test_setup_teardown(the_end_of_the_port_is_the_end_of_its_consoles, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
