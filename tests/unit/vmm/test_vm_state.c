/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VM's state saved, loaded and refused, on the host's real KVM. Skipped where KVM cannot run a guest. */
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "tests/unit/vmm/vm_fixture.h"
#include "vmm/x86/layout.h"

static void check_load(struct fixture *f, const void *fdt)
{
	struct error err;

	if (load_tree(f, fdt, &err) < 0)
		fail_msg("%s", err.text);
}

static void check_accept(struct fixture *f, const void *fdt)
{
	struct error err;

	if (accept_tree(f, fdt, &err) < 0)
		fail_msg("%s", err.text);
}

/* Properties of two saves of one machine are equal, but for those in which time goes by. */
static void compare_node(const void *a, const void *b, int node_a, int node_b)
{
	int prop;

	fdt_for_each_property_offset(prop, a, node_a)
	{
		const char *name;
		int len_a, len_b;
		const char *va = fdt_getprop_by_offset(a, prop, &name, &len_a);
		const char *vb = fdt_getprop(b, node_b, name, &len_b);

		assert_non_null(vb);
		assert_int_equal(len_a, len_b);
		if (!strcmp(name, "clock") || !strcmp(name, "realtime") || !strcmp(name, "host-tsc") ||
		    !strcmp(name, "tsc-offset"))
			continue;
		for (int i = 0; i < len_a; i++) {
			if (va[i] == vb[i])
				continue;
			/* The first MSR is the TSC; 0x390 is the local APIC's current count. */
			if (!strcmp(name, "msrs") && i >= 8 && i < 16)
				continue;
			if (!strcmp(name, "lapic") && i >= 0x390 && i < 0x394)
				continue;
			fail_msg("%s differs at 0x%x: %02x, %02x", name, i, va[i] & 0xff, vb[i] & 0xff);
		}
	}
}

static void compare_saves(const void *a, const void *b, unsigned int cpus)
{
	for (unsigned int i = 0; i < cpus; i++) {
		char path[16];

		snprintf(path, sizeof(path), "/vcpu@%x", i);
		compare_node(a, b, fdt_path_offset(a, path), fdt_path_offset(b, path));
	}
	compare_node(a, b, 0, 0);
}

static void move_memory(struct fixture *to, struct fixture *from)
{
	memcpy(memory_at(&to->vm.memory, 0, MEM), memory_at(&from->vm.memory, 0, MEM), MEM);
}

/* Registers that these guests do not use get values of their own, so that one that is not carried shows. */
static void set_registers(struct fixture *f)
{
	static const struct {
		uint32_t index;
		uint64_t value;
	} values[] = {
		{ 0x174, 0x10 },
		{ 0x3b, 0x123456 },
		{ 0x277, 0x0007040600070401 },
		{ 0x200, 0xe0000006 },
		{ 0x250, 0x0606060606060606 },
		{ 0xc0000082, 0xffffffff81000000 },
		{ 0xc0000102, 0x112233445566 },
		{ 0x4b564d05, 0 },
	};
	struct kvm_debugregs debugregs = { .db = { 0x1000, 0x2000 }, .dr6 = 0xffff0ff0, .dr7 = 0x400 };
	struct kvm_fpu fpu = { .fcw = 0x37f, .mxcsr = 0x1f80, .xmm = { { 1, 2, 3, 4 } } };

	for (unsigned int i = 0; i < f->vm.n_vcpus; i++) {
		int fd = f->vm.vcpus[i].fd;

		for (unsigned int j = 0; j < ARRAY_SIZE(values); j++) {
			uint64_t msrs[3] = { 1, values[j].index, values[j].value };

			assert_int_equal(ioctl(fd, KVM_SET_MSRS, msrs), 1);
		}
		assert_int_equal(ioctl(fd, KVM_SET_DEBUGREGS, &debugregs), 0);
		assert_int_equal(ioctl(fd, KVM_SET_FPU, &fpu), 0);
	}
}

static void a_moved_guest_goes_on_where_it_was(void **state)
{
	struct fixture *a = make_sized(counter_code, sizeof(counter_code), MEM, 2, false), *b;
	void *description, *saved, *again;
	uint32_t stopped;

	description = describe_tree(a);
	gate_resume(&a->vm.gate);
	for (unsigned int i = 0; i < 20; i++)
		wait_for(&a->probe.written);
	gate_pause(&a->vm.gate);
	set_registers(a);
	saved = save_tree(a);
	again = save_tree(a);
	compare_saves(saved, again, 2);
	free(again);
	stopped = a->probe.value;

	b = make_sized(busy_code, sizeof(busy_code), MEM, 2, false);
	check_accept(b, description);
	move_memory(b, a);
	check_load(b, saved);
	again = save_tree(b);
	compare_saves(saved, again, 2);
	gate_resume(&b->vm.gate);
	wait_for(&b->probe.written);
	gate_pause(&b->vm.gate);
	assert_in_range(b->probe.value, stopped + 1, stopped + 1000000);
	assert_int_equal(a->probe.value, stopped);
	/* Nothing is left out and nothing comes twice: the first value that b writes follows the last that a
	 * wrote. */
	assert_int_equal(guest_u32(b, 0x200000) - stopped <= b->probe.value + 1 - stopped, 1);

	/* The source can go on as if nothing had been. */
	gate_resume(&a->vm.gate);
	wait_for(&a->probe.written);
	free(description);
	free(saved);
	free(again);
	destroy(a);
	destroy(b);
}

/* A vCPU has halted with interrupts on, and one is pending: it arrives at the destination. */
static void a_pending_interrupt_moves_with_a_halted_guest(void **state)
{
	struct fixture *a = make_irq(), *b;
	struct irq irq;
	void *description, *saved;

	description = describe_tree(a);
	gate_resume(&a->vm.gate);
	assert_int_equal(next_value(&a->probe), 1);
	assert_int_equal(irq_init(&irq, &a->vm.irqs), 0);
	assert_int_equal(set_msi(&a->vm, &irq, LAYOUT_LAPIC, 0x41), 0);
	assert_int_equal(irq_unmask(&irq), 0);
	signal_irq(&irq);
	assert_int_equal(next_value(&a->probe), 0x41);
	gate_pause(&a->vm.gate);
	signal_irq(&irq);
	/* Masking waits until KVM has done with it. */
	irq_mask(&irq);
	saved = save_tree(a);
	b = make_irq();
	check_accept(b, description);
	move_memory(b, a);
	check_load(b, saved);
	gate_resume(&b->vm.gate);
	assert_int_equal(next_value(&b->probe), 0x41);
	irq_exit(&irq);
	free(description);
	free(saved);
	destroy(a);
	destroy(b);
}

static void check_refused(struct fixture *f, const void *fdt, const char *reason)
{
	struct error err;

	assert_true(load_tree(f, fdt, &err) < 0);
	if (!strstr(err.text, reason))
		fail_msg("\"%s\" does not say \"%s\"", err.text, reason);
}

static const char *const vcpu_parts[] = { "mp-state", "events", "lapic", "xcrs", "debugregs",
					  "sregs2",   "regs",   "xsave", "msrs" };
static const char *const vm_parts[] = {
	"pic-master", "pic-slave", "ioapic", "clock", "realtime", "host-tsc"
};

static void check_part(struct fixture *f, const void *saved, const char *path, const char *name)
{
	static const uint8_t junk[8192] = { 1 };
	static const int lengths[] = { 3, sizeof(junk) };
	void *bad = edit_tree(saved);

	assert_int_equal(fdt_delprop(bad, fdt_path_offset(bad, path), name), 0);
	check_refused(f, bad, name);
	free(bad);
	for (unsigned int i = 0; i < ARRAY_SIZE(lengths); i++) {
		bad = edit_tree(saved);
		assert_int_equal(fdt_setprop(bad, fdt_path_offset(bad, path), name, junk, lengths[i]), 0);
		check_refused(f, bad, name);
		free(bad);
	}
}

static void a_part_that_is_missing_or_of_another_length_is_refused_by_name(void **state)
{
	struct fixture *f = make(busy_code, sizeof(busy_code));
	void *saved = save_tree(f);

	for (unsigned int i = 0; i < ARRAY_SIZE(vcpu_parts); i++)
		check_part(f, saved, "/vcpu@0", vcpu_parts[i]);
	for (unsigned int i = 0; i < ARRAY_SIZE(vm_parts); i++)
		check_part(f, saved, "/", vm_parts[i]);
	check_load(f, saved);
	free(saved);
	destroy(f);
}

static void an_msr_that_ferry_does_not_carry_is_refused_by_name(void **state)
{
	struct fixture *f = make(busy_code, sizeof(busy_code));
	void *saved = save_tree(f), *bad = edit_tree(saved);
	int vcpu = fdt_path_offset(bad, "/vcpu@0"), len;
	const void *msrs = fdt_getprop(bad, vcpu, "msrs", &len);
	uint8_t buf[8192];

	memcpy(buf, msrs, (size_t)len);
	/* The second entry becomes EFER. */
	put_le32(buf + 16, 0xc0000080);
	assert_int_equal(fdt_setprop(bad, vcpu, "msrs", buf, len), 0);
	check_refused(f, bad, "0xc0000080");
	assert_int_equal(fdt_setprop(bad, vcpu, "msrs", buf, len - 1), 0);
	check_refused(f, bad, "msrs");
	free(bad);
	free(saved);
	destroy(f);
}

static void a_vcpu_or_a_property_more_or_less_is_refused(void **state)
{
	struct fixture *f = make(busy_code, sizeof(busy_code));
	void *saved = save_tree(f), *bad = edit_tree(saved);

	assert_true(fdt_add_subnode(bad, 0, "vcpu@1") > 0);
	check_refused(f, bad, "more in it");
	free(bad);
	bad = edit_tree(saved);
	assert_int_equal(fdt_setprop_u32(bad, fdt_path_offset(bad, "/vcpu@0"), "nested", 1), 0);
	check_refused(f, bad, "/vcpu@0");
	free(bad);
	bad = edit_tree(saved);
	assert_int_equal(fdt_del_node(bad, fdt_path_offset(bad, "/vcpu@0")), 0);
	check_refused(f, bad, "vcpu@0");
	free(bad);
	free(saved);
	destroy(f);
}

static void any_content_of_a_part_is_taken_or_refused_by_name(void **state)
{
	struct fixture *f = make(busy_code, sizeof(busy_code));
	void *saved = save_tree(f);
	uint8_t buf[8192];

	memset(buf, 0xff, sizeof(buf));
	for (unsigned int i = 0; i < ARRAY_SIZE(vcpu_parts); i++) {
		void *bad = edit_tree(saved);
		int vcpu = fdt_path_offset(bad, "/vcpu@0"), len;
		struct error err;

		fdt_getprop(bad, vcpu, vcpu_parts[i], &len);
		assert_int_equal(fdt_setprop(bad, vcpu, vcpu_parts[i], buf, len), 0);
		if (load_tree(f, bad, &err) < 0)
			assert_non_null(strstr(err.text, "vCPU 0"));
		free(bad);
	}
	check_load(f, saved);
	free(saved);
	destroy(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_moved_guest_goes_on_where_it_was),
		cmocka_unit_test(a_pending_interrupt_moves_with_a_halted_guest),
		cmocka_unit_test(a_part_that_is_missing_or_of_another_length_is_refused_by_name),
		cmocka_unit_test(an_msr_that_ferry_does_not_carry_is_refused_by_name),
		cmocka_unit_test(a_vcpu_or_a_property_more_or_less_is_refused),
		cmocka_unit_test(any_content_of_a_part_is_taken_or_refused_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
