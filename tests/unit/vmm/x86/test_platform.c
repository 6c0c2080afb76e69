/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The registers that a guest finds on the board, and how it ends the VM with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>

#include "tests/fake/vm.h"
#include "vmm/x86/layout.h"
#include "vmm/x86/platform.h"

static int setup(void **state)
{
	struct fake_vm *f = fake_vm_new();
	struct error err = { 0 };

	assert_int_equal(memory_init(&f->vm.memory, MIB(1), &err), 0);
	assert_int_equal(platform_init(&f->vm.pio, &f->vm.gate, &err), 0);
	assert_int_equal(platform_power_on(&f->vm.memory, &err), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fake_vm *f = *state;

	memory_exit(&f->vm.memory);
	free(f);
	return 0;
}

static void out(struct fake_vm *f, uint16_t port, uint8_t value)
{
	bus_write(&f->vm.pio, port, &value, 1);
}

static uint8_t in(struct fake_vm *f, uint16_t port)
{
	uint8_t value;

	bus_read(&f->vm.pio, port, &value, 1);
	return value;
}

/* Every byte is written to every register of the board: some end the VM. */
static void the_board_ends_the_vm_by_these_bytes_alone(void **state)
{
	struct fake_vm *f = *state;

	log_level = (enum log_level) - 1;
	for (uint16_t port = 0; port < 0x1000; port++) {
		for (unsigned int value = 0; value < 256; value++) {
			enum vm_exit exit = VM_EXIT_ERROR;

			f->vm.gate.ending = false;
			out(f, port, (uint8_t)value);
			if (port == 0x600 && (value & 0x3c) == 0x34)
				exit = VM_EXIT_POWER_OFF;
			else if (port == 0x602 && value == 1)
				exit = VM_EXIT_RESET;
			else if (port == 0x64 && value >= 0xf0 && value % 2 == 0)
				exit = VM_EXIT_RESET;
			else if (port == 0x505 && (value & 1))
				exit = VM_EXIT_CRASHED;
			if (f->vm.gate.ending != (exit != VM_EXIT_ERROR) ||
			    (f->vm.gate.ending && f->vm.gate.exit != exit))
				fail_msg("0x%x to port 0x%x: ended %d, %d", value, port, f->vm.gate.ending,
					 f->vm.gate.exit);
		}
	}
	log_level = LOG_INFO;
}

/* reboot=k: Linux waits ten times up to 131 ms for bit 1 to clear. And a driver that looks for a controller
 * reads until nothing more is waiting, 16 bytes at most, and goes away. */
static void a_keyboard_controller_takes_a_reset_and_is_not_there(void **state)
{
	struct fake_vm *f = *state;

	for (unsigned int i = 0; i < 17; i++) {
		assert_int_equal(in(f, 0x64) & 0x03, 0x01);
		assert_int_equal(in(f, 0x60), 0xff);
	}
	/* Self-test, port tests and configuration get no answer that a driver would take for one. */
	for (uint8_t command = 0xa0; command < 0xf0; command++)
		out(f, 0x64, command);
	assert_false(f->vm.gate.ending);
	out(f, 0x64, 0xfe);
	assert_int_equal(f->vm.gate.exit, VM_EXIT_RESET);
}

/* reboot=t: the mode that a restart leaves for firmware tells it from a crash. */
static void a_shut_down_cpu_is_a_reset_only_if_the_guest_said_so(void **state)
{
	static const struct {
		uint16_t flag;
		bool wanted;
	} cases[] = {
		{ 0x0000, true }, { 0x1234, true }, { 0xffff, false }, { 0x1235, false }, { 0x0001, false }
	};
	struct fake_vm *f = *state;

	assert_false(platform_reset_wanted(&f->vm.memory));
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(memory_write(&f->vm.memory, 0x472, &cases[i].flag, 2), 0);
		assert_int_equal(platform_reset_wanted(&f->vm.memory), cases[i].wanted);
	}
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_board_ends_the_vm_by_these_bytes_alone),
		T(a_keyboard_controller_takes_a_reset_and_is_not_there),
		T(a_shut_down_cpu_is_a_reset_only_if_the_guest_said_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
