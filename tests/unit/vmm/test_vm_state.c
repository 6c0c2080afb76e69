/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VM's state saved, described, loaded and refused, on the host's real KVM. Skipped where
 * KVM cannot run a guest. */
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "tests/unit/vmm/vm_fixture.h"
#include "vmm/x86/cpuid.h"
#include "vmm/x86/layout.h"

static void save(struct fixture *f, void **fdt)
{
	struct error err = { 0 };
	struct state_writer w;
	uint32_t len;
	int ret;

	assert_int_equal(state_open_writer(&w), 0);
	ret = vm_save(&f->vm, &w, &err);
	if (ret < 0)
		print_error("%s\n", err.text);
	assert_int_equal(ret, 0);
	assert_int_equal(state_close(&w, fdt, &len), 0);
	assert_in_range(len, 1, STATE_MAX);
}

static void describe(struct fixture *f, void **fdt)
{
	struct state_writer w;
	uint32_t len;

	assert_int_equal(state_open_writer(&w), 0);
	vm_describe(&f->vm, &w);
	assert_int_equal(state_close(&w, fdt, &len), 0);
}

static int load(struct fixture *f, const void *fdt, struct error *err, bool description)
{
	struct state_node root;
	void *packed = malloc(fdt_totalsize(fdt));
	int ret;

	*err = (struct error){ 0 };
	memcpy(packed, fdt, fdt_totalsize(fdt));
	assert_int_equal(fdt_pack(packed), 0);
	ret = state_open(&root, packed, fdt_totalsize(packed), err);
	if (ret == 0)
		ret = description ? vm_accept(&f->vm, &root) : vm_load(&f->vm, &root);
	if (ret == 0)
		ret = state_finish(&root);
	free(packed);
	return ret;
}

static void check_load(struct fixture *f, const void *fdt, bool description)
{
	struct error err;

	if (load(f, fdt, &err, description) < 0)
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

	describe(a, &description);
	gate_resume(&a->vm.gate);
	for (unsigned int i = 0; i < 20; i++)
		wait_for(&a->probe.written);
	gate_pause(&a->vm.gate);
	set_registers(a);
	save(a, &saved);
	save(a, &again);
	compare_saves(saved, again, 2);
	free(again);
	stopped = a->probe.value;

	b = make_sized(busy_code, sizeof(busy_code), MEM, 2, false);
	check_load(b, description, true);
	move_memory(b, a);
	check_load(b, saved, false);
	save(b, &again);
	compare_saves(saved, again, 2);
	gate_resume(&b->vm.gate);
	wait_for(&b->probe.written);
	gate_pause(&b->vm.gate);
	assert_in_range(b->probe.value, stopped + 1, stopped + 1000000);
	assert_int_equal(a->probe.value, stopped);
	/* Nothing left out and nothing twice: the first that b wrote follows the last that a wrote. */
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

/* A vCPU that halted with interrupts on, and a pending one: it arrives at the destination. */
static void a_pending_interrupt_moves_with_a_halted_guest(void **state)
{
	struct fixture *a = make_irq(), *b;
	struct irq irq;
	void *description, *saved;

	describe(a, &description);
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
	save(a, &saved);
	b = make_irq();
	check_load(b, description, true);
	move_memory(b, a);
	check_load(b, saved, false);
	gate_resume(&b->vm.gate);
	assert_int_equal(next_value(&b->probe), 0x41);
	irq_exit(&irq);
	free(description);
	free(saved);
	destroy(a);
	destroy(b);
}

static void *edit(const void *fdt)
{
	const int room = 65536;
	void *copy = malloc(fdt_totalsize(fdt) + (size_t)room);

	assert_int_equal(fdt_open_into(fdt, copy, (int)fdt_totalsize(fdt) + room), 0);
	return copy;
}

static void state_that_is_not_whole_is_refused_by_name(void **state)
{
	static const char *const props[] = { "mp-state", "events", "lapic", "xcrs", "debugregs",
					     "sregs2",   "regs",   "xsave", "msrs" };
	static const char *const vm_props[] = { "pic-master", "pic-slave", "ioapic",
						"clock",      "realtime",  "host-tsc" };
	static const uint8_t junk[8192] = { 1 };
	struct fixture *f = make(busy_code, sizeof(busy_code));
	uint8_t buf[8192];
	struct error err;
	const void *prop;
	void *saved, *bad;
	int vcpu, len;

	save(f, &saved);
	check_load(f, saved, false);
	vcpu = fdt_path_offset(saved, "/vcpu@0");
	for (unsigned int i = 0; i < ARRAY_SIZE(props) + ARRAY_SIZE(vm_props); i++) {
		const bool of_vm = i >= ARRAY_SIZE(props);
		const char *name = of_vm ? vm_props[i - ARRAY_SIZE(props)] : props[i];

		for (unsigned int how = 0; how < 3; how++) {
			int node;

			bad = edit(saved);
			node = of_vm ? 0 : fdt_path_offset(bad, "/vcpu@0");
			if (how == 0)
				assert_int_equal(fdt_delprop(bad, node, name), 0);
			else
				assert_int_equal(
					fdt_setprop(bad, node, name, junk, how == 1 ? 3 : sizeof(junk)), 0);
			assert_true(load(f, bad, &err, false) < 0);
			if (!strstr(err.text, name))
				fail_msg("\"%s\" does not say \"%s\"", err.text, name);
			free(bad);
		}
	}

	/* An MSR that is not ours, named; one value for it is not even tried. */
	bad = edit(saved);
	vcpu = fdt_path_offset(bad, "/vcpu@0");
	prop = fdt_getprop(bad, vcpu, "msrs", &len);
	memcpy(buf, prop, (size_t)len);
	put_le32(buf + 16, 0xc0000080);
	assert_int_equal(fdt_setprop(bad, vcpu, "msrs", buf, len), 0);
	assert_true(load(f, bad, &err, false) < 0);
	assert_non_null(strstr(err.text, "0xc0000080"));
	assert_int_equal(fdt_setprop(bad, vcpu, "msrs", buf, len - 1), 0);
	assert_true(load(f, bad, &err, false) < 0);
	free(bad);

	/* A vCPU more, a property more, a vCPU less. */
	bad = edit(saved);
	assert_true(fdt_add_subnode(bad, 0, "vcpu@1") > 0);
	assert_true(load(f, bad, &err, false) < 0);
	free(bad);
	bad = edit(saved);
	assert_int_equal(fdt_setprop_u32(bad, fdt_path_offset(bad, "/vcpu@0"), "nested", 1), 0);
	assert_true(load(f, bad, &err, false) < 0);
	free(bad);
	bad = edit(saved);
	assert_int_equal(fdt_del_node(bad, fdt_path_offset(bad, "/vcpu@0")), 0);
	assert_true(load(f, bad, &err, false) < 0);
	free(bad);

	/* Any content of any part: refused or taken, and the process lives. */
	for (unsigned int i = 0; i < ARRAY_SIZE(props); i++) {
		bad = edit(saved);
		vcpu = fdt_path_offset(bad, "/vcpu@0");
		fdt_getprop(bad, vcpu, props[i], &len);
		memset(buf, 0xff, sizeof(buf));
		assert_int_equal(fdt_setprop(bad, vcpu, props[i], buf, len), 0);
		if (load(f, bad, &err, false) < 0)
			assert_non_null(strstr(err.text, "vCPU 0"));
		free(bad);
	}
	check_load(f, saved, false);
	free(saved);
	destroy(f);
}

/* Where in a description's CPUID the registers of a leaf are. */
static uint32_t *find_leaf(void *fdt, uint32_t function, uint32_t index)
{
	int len;
	uint8_t *p = fdt_getprop_w(fdt, 0, "cpuid", &len);

	for (int i = 0; i + 40 <= len; i += 40) {
		if (get_le32(p + i) == function && get_le32(p + i + 4) == index)
			return (uint32_t *)(void *)(p + i + 12);
	}
	return NULL;
}

static void check_refused(struct fixture *f, void *fdt, const char *reason)
{
	struct error err;

	assert_true(load(f, fdt, &err, true) < 0);
	if (!strstr(err.text, reason))
		fail_msg("\"%s\" does not say \"%s\"", err.text, reason);
}

static void a_description_that_does_not_fit_is_refused_for_all_reasons(void **state)
{
	struct fixture *f = make(busy_code, sizeof(busy_code));
	void *good, *bad;
	uint32_t *regs;
	uint8_t buf[16384];
	const void *prop;
	int len;

	describe(f, &good);
	check_load(f, good, true);

	bad = edit(good);
	assert_int_equal(fdt_setprop_u64(bad, 0, "memory", MEM * 2), 0);
	assert_int_equal(fdt_setprop_u32(bad, 0, "cpus", 2), 0);
	assert_int_equal(fdt_setprop_u32(bad, 0, "tsc-khz", 1000), 0);
	regs = find_leaf(bad, 1, 0);
	regs[2] |= 1u << 5;                    /* VMX: nobody offers it */
	regs[3] &= ~(1u << 26);                /* a feature less is no reason */
	find_leaf(bad, 0x7, 0)[2] |= 1u << 30; /* and one that has no name */
	find_leaf(bad, 0x80000008, 0)[0] += 8;
	/* All reasons at once. */
	check_refused(f, bad, "bytes of memory");
	check_refused(f, bad, "vCPUs");
	check_refused(f, bad, "leaf 0x1.0 ecx bit 5");
	check_refused(f, bad, "leaf 0x7.0 ecx bit 30");
	check_refused(f, bad, "physical address");
	free(bad);

	bad = edit(good);
	regs = find_leaf(bad, 7, 0);
	if (!(regs[1] >> 27 & 1)) {
		regs[1] |= 1u << 27;
		check_refused(f, bad, "CPU feature avx512er is missing");
	}
	free(bad);

	bad = edit(good);
	find_leaf(bad, 0, 0)[1] ^= 1;
	check_refused(f, bad, "vendors");
	free(bad);

	bad = edit(good);
	prop = fdt_getprop(bad, 0, "cpuid", &len);
	memcpy(buf, prop, (size_t)len);
	put_le32(buf, 0x8000000a);
	assert_int_equal(fdt_setprop(bad, 0, "cpuid", buf, len), 0);
	check_refused(f, bad, "leaf 0x8000000a.0 is not known");
	put_le32(buf, 1);
	assert_int_equal(fdt_setprop(bad, 0, "cpuid", buf, len), 0);
	check_refused(f, bad, "twice");
	assert_int_equal(fdt_setprop(bad, 0, "cpuid", buf, len - 1), 0);
	check_refused(f, bad, "CPUID");
	memset(buf, 0, sizeof(buf));
	assert_int_equal(fdt_setprop(bad, 0, "cpuid", buf, sizeof(buf)), 0);
	check_refused(f, bad, "cpuid");
	free(bad);

	bad = edit(good);
	put_le32(buf, 0x480);
	assert_int_equal(fdt_appendprop(bad, 0, "msrs", buf, 4), 0);
	check_refused(f, bad, "MSR 0x480");
	free(bad);

	bad = edit(good);
	assert_int_equal(fdt_setprop_u64(bad, 0, "arch-capabilities", UINT64_MAX), 0);
	check_refused(f, bad, "ARCH_CAPABILITIES");
	free(bad);

	/* Fewer features are taken over: the guest has what it had at the source. */
	bad = edit(good);
	assert_int_equal(find_leaf(bad, 1, 0)[2] >> 13 & 1, 1);
	find_leaf(bad, 1, 0)[2] &= ~(1u << 13);
	check_load(f, bad, true);
	free(good);
	describe(f, &good);
	assert_int_equal(find_leaf(good, 1, 0)[2] >> 13 & 1, 0);
	free(good);
	free(bad);
	destroy(f);
}

/* A host that lacks much says all of it, and leaves room for what devices have to say. */
static void all_missing_features_are_told(void **state)
{
	struct fixture *f = make(busy_code, sizeof(busy_code));
	struct error err;
	unsigned int n = 0;
	uint32_t *regs;
	void *fdt;

	describe(f, &fdt);
	regs = find_leaf(fdt, 7, 0);
	/* All features that there are, of two registers. */
	n += (unsigned int)__builtin_popcount(~regs[1] & 0xfdf52bffu);
	regs[1] |= 0xfdf52bffu;
	n += (unsigned int)__builtin_popcount(~regs[2] & 0x1b415f6eu);
	regs[2] |= 0x1b415f6eu;
	assert_int_equal(load(f, fdt, &err, true) < 0, n > 0);
	/* A name each, and two sentences. */
	assert_in_range(strlen(err.text), 0, 20 * n + 200);
	assert_in_range(strlen(err.text), 0, ERROR_TEXT_MAX * 3 / 4);
	free(fdt);
	destroy(f);
}

/* A description of a guest with @mem bytes and @cpus vCPUs like those of @f. */
static void *describe_sized(struct fixture *f, uint64_t mem, uint32_t cpus)
{
	void *fdt, *edited;

	describe(f, &fdt);
	edited = edit(fdt);
	assert_int_equal(fdt_setprop_u64(edited, 0, "memory", mem), 0);
	assert_int_equal(fdt_setprop_u32(edited, 0, "cpus", cpus), 0);
	free(fdt);
	return edited;
}

/* The largest guest there can be costs no memory and one vCPU before its description is accepted. */
static void a_guest_is_compared_before_anything_is_taken(void **state)
{
	struct fixture *f = make(busy_code, sizeof(busy_code)), frame;
	void *fdt = describe_sized(f, GIB(4096), 64);
	struct error err = { 0 };

	assert_int_equal(vm_frame(&frame.vm, GIB(4096), 64, &err), 0);
	check_load(&frame, fdt, true);
	find_leaf(fdt, 1, 0)[2] |= 1u << 5;
	check_refused(&frame, fdt, "leaf 0x1.0 ecx bit 5");
	assert_int_equal(frame.vm.memory.fd, -1);
	assert_null(frame.vm.memory.regions[0].hva);
	assert_true(frame.vm.vcpus[0].fd >= 0);
	for (unsigned int i = 1; i < 64; i++)
		assert_int_equal(frame.vm.vcpus[i].fd, -1);
	vm_destroy(&frame.vm);
	free(fdt);
	destroy(f);
}

/* vCPUs that are made after the comparison are as the source's, too. */
static void vcpus_made_later_are_as_the_sources(void **state)
{
	struct fixture *f = make(busy_code, sizeof(busy_code)), filled;
	void *fdt = describe_sized(f, MEM, 3);
	struct error err = { 0 };

	assert_int_equal(find_leaf(fdt, 1, 0)[2] >> 13 & 1, 1);
	find_leaf(fdt, 1, 0)[2] &= ~(1u << 13);
	assert_int_equal(vm_frame(&filled.vm, MEM, 3, &err), 0);
	check_load(&filled, fdt, true);
	assert_int_equal(vm_fill(&filled.vm, &err), 0);
	assert_non_null(memory_at(&filled.vm.memory, 0, MEM));
	/* Does nothing yet, and does no harm. */
	vm_prefault(&filled.vm, 0, MEM);
	assert_int_equal(vm_equip(&filled.vm, &err), 0);
	for (unsigned int i = 0; i < 3; i++) {
		struct cpuid cpuid = { .nent = CPUID_MAX_ENTRIES };
		unsigned int k = 0;

		assert_int_equal(ioctl(filled.vm.vcpus[i].fd, KVM_GET_CPUID2, &cpuid), 0);
		while (k < cpuid.nent && cpuid.entries[k].function != 1)
			k++;
		assert_true(k < cpuid.nent);
		assert_int_equal(cpuid.entries[k].ecx >> 13 & 1, 0);
		assert_int_equal(cpuid.entries[k].ebx >> 24, i);
	}
	vm_destroy(&filled.vm);
	free(fdt);
	destroy(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_moved_guest_goes_on_where_it_was),
		cmocka_unit_test(a_pending_interrupt_moves_with_a_halted_guest),
		cmocka_unit_test(state_that_is_not_whole_is_refused_by_name),
		cmocka_unit_test(a_description_that_does_not_fit_is_refused_for_all_reasons),
		cmocka_unit_test(all_missing_features_are_told),
		cmocka_unit_test(a_guest_is_compared_before_anything_is_taken),
		cmocka_unit_test(vcpus_made_later_are_as_the_sources),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
