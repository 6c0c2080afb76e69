/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The UART's registers, and its saved state. */
#include "tests/unit/devices/serial/serial_fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "devices/serial/uart.h"
#include "tests/fake/vm_line.h"
#include "tests/unit/devices/device_tree.h"
#include "vmm/loop.h"
#include "vmm/x86/layout.h"

/* Linux looks for this in its autoconfig() and THRE test. */
static void registers_answer_as_drivers_probe_them(void **state)
{
	struct fixture *f = *state;
	uint8_t both[2];

	f->config.serial = SERIAL_NONE;
	start(f);
	out(f, IER, 0xff);
	assert_int_equal(in(f, IER), 0x0f);
	out(f, IER, 0);
	assert_int_equal(in(f, IER), 0);
	out(f, MCR, 0x1a);
	assert_int_equal(in(f, MSR) & 0xf0, 0x90);
	out(f, MCR, 0x0b);
	assert_int_equal(in(f, MSR), 0xb0);
	out(f, IIR, 1);
	assert_int_equal(in(f, IIR), 0xc1);
	out(f, IIR, 0);
	assert_int_equal(in(f, IIR), 0x01);
	out(f, SCR, 0xa5);
	assert_int_equal(in(f, SCR), 0xa5);
	out(f, LCR, 0x83);
	out(f, DATA, 0x0c);
	out(f, IER, 0x01);
	bus_read(&f->vm.pio, LAYOUT_SERIAL_PORT, both, 2);
	assert_memory_equal(both, "\x0c\x01", 2);
	out(f, LCR, 0x03);
	assert_int_equal(in(f, IER), 0);
	assert_int_equal(in(f, LSR), 0x60);
	assert_int_equal(in(f, DATA), 0);

	assert_false(fake_line_is_high());
	for (int i = 0; i < 2; i++) {
		out(f, IER, 2);
		assert_true(fake_line_is_high());
		assert_int_equal(in(f, IIR), 0x02);
		assert_int_equal(in(f, IIR), 0x01);
		assert_false(fake_line_is_high());
		out(f, IER, 0);
	}
	out(f, IER, 2);
	in(f, IIR);
	out(f, DATA, 'x');
	assert_int_equal(in(f, IIR), 0x02);
}

static void what_is_sent_in_loopback_is_received(void **state)
{
	struct fixture *f = *state;

	f->config.serial = SERIAL_NONE;
	start(f);
	out(f, MCR, 0x10);
	for (unsigned int i = 0; i < 1000; i++)
		out(f, DATA, (uint8_t)i);
	for (unsigned int i = 0; i < 64; i++) {
		assert_int_equal(in(f, LSR), 0x61);
		assert_int_equal(in(f, DATA), i);
	}
	assert_int_equal(in(f, LSR), 0x60);
	out(f, DATA, 'x');
	out(f, IIR, 3);
	assert_int_equal(in(f, LSR), 0x60);
}

static struct tree save(struct fixture *f)
{
	return tree_write(f->vm.devices, f->vm.devices->ops->save);
}

static void restart(struct fixture *f)
{
	stop(f);
	loop_exit(&f->vm.loop);
	memset(&f->vm, 0, sizeof(f->vm));
	assert_int_equal(loop_init(&f->vm.loop), 0);
	fake_line_reset();
	start(f);
}

/* A guest that has not yet opened the port loses nothing by clearing it. */
static void input_waits_until_the_guest_listens(void **state)
{
	struct fixture *f = *state;
	int client;

	start(f);
	client = join(f);
	write_all(client, "early", 5);
	say(f, "x");
	read_text(client, "x");
	out(f, IIR, 7);
	out(f, IER, 1);
	assert_int_equal(in(f, LSR), 0x60);
	hear_text(f, "early");
	close(client);
}

/* A handler may do more than read: write, and as a console does, with interrupts off for a moment. */
static void answer(struct fixture *f, unsigned int how)
{
	if (how & 1)
		out(f, IER, 0);
	if (how & 2)
		say(f, "x");
	if (how & 7)
		out(f, IER, how & 4 ? 3 : 1);
}

/* An IOAPIC takes COM1's line by its edges: a reason for an interrupt that rose without one is never seen. */
static void a_guest_that_sees_edges_alone_hears_all(void **state)
{
	static uint8_t typed[6000], heard[6000 + 32];
	struct fixture *f = *state;
	unsigned int edges = 0, n = 0, iir, seed = 1;
	int client;

	for (unsigned int i = 0; i < sizeof(typed); i++)
		typed[i] = (uint8_t)(i * 7 + i / 256);
	start(f);
	client = join(f);
	write_all(client, typed, sizeof(typed));
	out(f, MCR, 0x0b);
	out(f, IER, 1);
	while (n < sizeof(typed)) {
		edges = fake_line_wait_edge(edges);
		while (!((iir = in(f, IIR)) & 1)) {
			for (unsigned int i = (unsigned int)rand_r(&seed) % 32; i > 0 && (in(f, LSR) & 1);
			     i--)
				heard[n++] = in(f, DATA);
			answer(f, (unsigned int)rand_r(&seed) % 16);
		}
	}
	assert_int_equal(n, sizeof(typed));
	assert_memory_equal(heard, typed, sizeof(typed));
	close(client);
}

static void state_is_saved_and_loaded_and_saved_as_the_same_bytes(void **state)
{
	struct fixture *f = *state;
	struct tree saved;
	int client;

	start(f);
	out(f, LCR, 0x83);
	out(f, DATA, 0x12);
	out(f, IER, 0x34);
	out(f, LCR, 0x03);
	out(f, IIR, 1);
	out(f, MCR, 0x0b);
	out(f, SCR, 0x99);
	client = join(f);
	write_all(client, "typed", 5);
	out(f, IER, 0x03);
	fake_line_wait_high();
	/* The line may be up for the transmitter: wait for what was typed. */
	while (!(in(f, LSR) & 1))
		;
	f->vm.devices->ops->pause(f->vm.devices);
	saved = save(f);
	close(client);

	restart(f);
	assert_int_equal(tree_read(f->vm.devices, f->vm.devices->ops->load, saved.fdt, saved.len, &f->err),
			 0);
	assert_tree_same(save(f), saved);
	assert_false(fake_line_is_high());
	f->vm.devices->ops->resume(f->vm.devices, DEVICE_ARRIVED);
	assert_true(fake_line_is_high());
	assert_int_equal(in(f, IIR), 0xc4);
	assert_int_equal(in(f, SCR), 0x99);
	hear_text(f, "typed");
	free(saved.fdt);
}

static void registers_are_as_at_first_after_a_reset_and_output_stays(void **state)
{
	struct fixture *f = *state;
	struct tree t;

	f->config.serial = SERIAL_NONE;
	create(f);
	t = tree_write(f->vm.devices, f->vm.devices->ops->save);
	out(f, LCR, 0x83);
	out(f, DATA, 0x0c);
	out(f, LCR, 0x03);
	out(f, MCR, 0x1b);
	out(f, DATA, 'x');
	out(f, MCR, 0x0b);
	out(f, IIR, 1);
	out(f, IER, 3);
	out(f, SCR, 0xa5);
	assert_true(fake_line_is_high());
	assert_int_equal(f->vm.devices->ops->reset(f->vm.devices, 0), 0);
	assert_false(fake_line_is_high());
	assert_tree_same(tree_write(f->vm.devices, f->vm.devices->ops->save), t);
	free(t.fdt);
}

static void input_is_held_back_while_paused(void **state)
{
	struct fixture *f = *state;
	struct tree saved;
	int client;

	start(f);
	out(f, IER, 1);
	out(f, MCR, 0x0b);
	client = join(f);
	say(f, "w");
	read_text(client, "w");
	f->vm.devices->ops->pause(f->vm.devices);
	saved = save(f);
	write_all(client, "held", 4);
	/* The answer to what the guest says shows that the main thread has seen the input too. */
	say(f, "x");
	read_text(client, "x");
	assert_tree_same(save(f), saved);
	assert_false(fake_line_is_high());
	f->vm.devices->ops->resume(f->vm.devices, DEVICE_STAYED);
	hear_text(f, "held");
	close(client);
	free(saved.fdt);
}

static void a_value_that_cannot_be_is_refused_and_none_is_applied(void **state)
{
	static const struct {
		const char *name;
		uint32_t bad;
	} t[] = { { "ier", 0x10 },  { "lcr", 0x100 }, { "mcr", 0x20 }, { "scr", 0x100 },
		  { "dll", 0x100 }, { "dlm", 0x100 }, { "fifo", 2 },   { "thr-pending", 2 },
		  { "rx", 65 },     { "more", 0 } };
	struct fixture *f = *state;
	uint8_t rx[65] = { 0 };

	f->config.serial = SERIAL_NONE;
	start(f);
	/* Round ARRAY_SIZE(t): nothing is wrong. */
	for (unsigned int bad = 0; bad <= ARRAY_SIZE(t); bad++) {
		struct state_writer w;
		void *fdt;
		uint32_t len;

		assert_int_equal(state_open_writer(&w), 0);
		for (unsigned int i = 0; i < ARRAY_SIZE(t) - 2; i++)
			state_put_u32(&w, t[i].name, i == bad ? t[i].bad : 1);
		state_put_blob(&w, "rx", rx, bad == ARRAY_SIZE(t) - 2 ? 65 : 64);
		if (bad == ARRAY_SIZE(t) - 1)
			state_put_u32(&w, t[bad].name, 0);
		assert_int_equal(state_close(&w, &fdt, &len), 0);
		assert_int_equal(tree_read(f->vm.devices, f->vm.devices->ops->load, fdt, len, &f->err),
				 bad == ARRAY_SIZE(t) ? 0 : -EINVAL);
		if (bad < ARRAY_SIZE(t))
			assert_non_null(strstr(f->err.text, t[bad].name));
		/* No value is applied before all are good. */
		assert_int_equal(in(f, SCR), bad == ARRAY_SIZE(t));
		free(fdt);
	}
}

/* The UART alone, of which the test is the host side. */
static void init_alone(struct uart *u, struct bus *bus)
{
	*bus = (struct bus){ 0 };
	assert_int_equal(uart_init(u, NULL), 0);
	assert_int_equal(bus_add(bus, 0, UART_N_PORTS, &uart_bus_ops, u), 0);
}

static uint8_t read_register(struct bus *bus, unsigned int reg)
{
	uint8_t v;

	bus_read(bus, reg, &v, 1);
	return v;
}

static void write_register(struct bus *bus, unsigned int reg, uint8_t v)
{
	bus_write(bus, reg, &v, 1);
}

static void the_host_side_is_told_of_room_once_all_is_heard(void **state)
{
	uint8_t typed[UART_RX_MAX + 1] = { 0 };
	struct uart u;
	struct bus bus;

	init_alone(&u, &bus);
	/* The guest does not listen yet, and then it does. */
	assert_int_equal(uart_hand_in(&u, typed, sizeof(typed), false), 0);
	assert_false(loop_take(u.wake_fd));
	write_register(&bus, MCR, 0x0b);
	assert_true(loop_take(u.wake_fd));
	assert_int_equal(uart_hand_in(&u, typed, sizeof(typed), false), UART_RX_MAX);
	for (unsigned int i = 0; i < UART_RX_MAX; i++) {
		assert_false(loop_take(u.wake_fd));
		read_register(&bus, DATA);
	}
	assert_true(loop_take(u.wake_fd));
	/* A host side that has nothing left is not woken, unless it can read more. */
	assert_int_equal(uart_hand_in(&u, typed, 1, false), 1);
	read_register(&bus, DATA);
	assert_false(loop_take(u.wake_fd));
	assert_int_equal(uart_hand_in(&u, typed, 1, true), 1);
	read_register(&bus, DATA);
	assert_true(loop_take(u.wake_fd));
	uart_exit(&u);
}

static void output_that_is_dropped_while_it_is_written_is_gone_once(void **state)
{
	uint8_t first[16], next[16];
	struct uart u;
	struct bus bus;
	uint64_t at, after;

	init_alone(&u, &bus);
	for (unsigned int i = 0; i < UART_OUT_MAX; i++)
		write_register(&bus, DATA, (uint8_t)i);
	assert_int_equal(uart_peek_output(&u, first, sizeof(first), &at), sizeof(first));
	assert_int_equal(first[0], 0);
	/* The guest goes on, and the oldest 20 bytes make room: more than are being written. */
	for (unsigned int i = 0; i < 20; i++)
		write_register(&bus, DATA, 0xff);
	uart_take_output(&u, at + sizeof(first));
	assert_int_equal(uart_peek_output(&u, next, sizeof(next), &after), sizeof(next));
	assert_int_equal(after, at + 20);
	assert_int_equal(next[0], 20);
	assert_int_equal(uart_take_dropped(&u), 20);
	assert_int_equal(uart_take_dropped(&u), 0);
	uart_exit(&u);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(registers_answer_as_drivers_probe_them),
		T(what_is_sent_in_loopback_is_received),
		T(input_waits_until_the_guest_listens),
		T(state_is_saved_and_loaded_and_saved_as_the_same_bytes),
		cmocka_unit_test_setup_teardown(registers_are_as_at_first_after_a_reset_and_output_stays,
						setup, teardown),
		T(input_is_held_back_while_paused),
		T(a_value_that_cannot_be_is_refused_and_none_is_applied),
		T(a_guest_that_sees_edges_alone_hears_all),
		cmocka_unit_test(the_host_side_is_told_of_room_once_all_is_heard),
		cmocka_unit_test(output_that_is_dropped_while_it_is_written_is_gone_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
