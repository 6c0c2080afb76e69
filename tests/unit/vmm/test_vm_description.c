/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VM described, compared and taken over, on the host's real KVM. Skipped where KVM cannot run a guest. */
#include <errno.h>
#include <libfdt.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "tests/unit/vmm/vm_fixture.h"
#include "vmm/x86/cpuid.h"

/* Returns where in a description's CPUID the registers of a leaf are. */
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

	assert_true(accept_tree(f, fdt, &err) < 0);
	if (!strstr(err.text, reason))
		fail_msg("\"%s\" does not say \"%s\"", err.text, reason);
}

static void check_accepted(struct fixture *f, const void *fdt)
{
	struct error err;

	if (accept_tree(f, fdt, &err) < 0)
		fail_msg("%s", err.text);
}

struct described {
	struct fixture *f;
	/* A description that has been accepted, and one to be changed. */
	void *good, *bad;
};

static int setup(void **state)
{
	struct described *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	*state = d;
	return 0;
}

static int teardown(void **state)
{
	struct described *d = *state;

	free(d->good);
	free(d->bad);
	if (d->f)
		destroy(d->f);
	free(d);
	return 0;
}

static struct described *begin(void **state)
{
	struct described *d = *state;

	d->f = make(busy_code, sizeof(busy_code));
	d->good = describe_tree(d->f);
	check_accepted(d->f, d->good);
	d->bad = edit_tree(d->good);
	return d;
}

static void all_reasons_against_a_description_are_told_at_once(void **state)
{
	struct described *d = begin(state);
	uint32_t *regs = find_leaf(d->bad, 1, 0);

	/* VMX, which nobody offers, and a bit that has no name; a feature less is no reason. */
	regs[2] |= 1u << 5;
	regs[3] &= ~(1u << 26);
	find_leaf(d->bad, 0x7, 0)[2] |= 1u << 30;
	find_leaf(d->bad, 0x80000008, 0)[0] += 8;
	assert_int_equal(fdt_setprop_u64(d->bad, 0, "memory", MEM * 2), 0);
	assert_int_equal(fdt_setprop_u32(d->bad, 0, "cpus", 2), 0);
	assert_int_equal(fdt_setprop_u32(d->bad, 0, "tsc-khz", 1000), 0);
	check_refused(d->f, d->bad, "bytes of memory");
	check_refused(d->f, d->bad, "vCPUs");
	check_refused(d->f, d->bad, "leaf 0x1.0 ecx bit 5");
	check_refused(d->f, d->bad, "leaf 0x7.0 ecx bit 30");
	check_refused(d->f, d->bad, "physical address");
}

static void a_feature_that_this_host_lacks_is_named(void **state)
{
	struct described *d = begin(state);
	uint32_t *regs = find_leaf(d->bad, 7, 0);

	if (regs[1] >> 27 & 1)
		return;
	regs[1] |= 1u << 27;
	check_refused(d->f, d->bad, "CPU feature avx512er is missing");
}

static void a_cpu_of_another_vendor_is_refused(void **state)
{
	struct described *d = begin(state);

	find_leaf(d->bad, 0, 0)[1] ^= 1;
	check_refused(d->f, d->bad, "vendors");
}

static void a_cpuid_table_that_ferry_would_not_write_is_refused(void **state)
{
	struct described *d = begin(state);
	uint8_t buf[16384];
	int len;
	const void *cpuid = fdt_getprop(d->bad, 0, "cpuid", &len);

	memcpy(buf, cpuid, (size_t)len);
	put_le32(buf, 0x8000000a);
	assert_int_equal(fdt_setprop(d->bad, 0, "cpuid", buf, len), 0);
	check_refused(d->f, d->bad, "leaf 0x8000000a.0 is not known");
	put_le32(buf, 1);
	assert_int_equal(fdt_setprop(d->bad, 0, "cpuid", buf, len), 0);
	check_refused(d->f, d->bad, "twice");
	assert_int_equal(fdt_setprop(d->bad, 0, "cpuid", buf, len - 1), 0);
	check_refused(d->f, d->bad, "CPUID");
	memset(buf, 0, sizeof(buf));
	assert_int_equal(fdt_setprop(d->bad, 0, "cpuid", buf, sizeof(buf)), 0);
	check_refused(d->f, d->bad, "cpuid");
}

static void an_msr_or_a_capability_that_this_host_lacks_is_named(void **state)
{
	struct described *d = begin(state);
	uint8_t index[4];

	put_le32(index, 0x480);
	assert_int_equal(fdt_appendprop(d->bad, 0, "msrs", index, sizeof(index)), 0);
	check_refused(d->f, d->bad, "MSR 0x480");
	free(d->bad);
	d->bad = edit_tree(d->good);
	assert_int_equal(fdt_setprop_u64(d->bad, 0, "arch-capabilities", UINT64_MAX), 0);
	check_refused(d->f, d->bad, "ARCH_CAPABILITIES");
}

/* The guest has what it had at the source. */
static void fewer_features_are_taken_over(void **state)
{
	struct described *d = begin(state);

	assert_int_equal(find_leaf(d->bad, 1, 0)[2] >> 13 & 1, 1);
	find_leaf(d->bad, 1, 0)[2] &= ~(1u << 13);
	check_accepted(d->f, d->bad);
	free(d->good);
	d->good = describe_tree(d->f);
	assert_int_equal(find_leaf(d->good, 1, 0)[2] >> 13 & 1, 0);
}

/* A host that lacks much says all of it, and leaves room for what devices have to say. */
static void all_missing_features_are_told(void **state)
{
	struct fixture *f = make(busy_code, sizeof(busy_code));
	struct error err;
	unsigned int n = 0;
	uint32_t *regs;
	void *fdt;

	fdt = describe_tree(f);
	regs = find_leaf(fdt, 7, 0);
	/* Bits of all features that there are, of two registers. */
	n += (unsigned int)__builtin_popcount(~regs[1] & 0xfdf52bffu);
	regs[1] |= 0xfdf52bffu;
	n += (unsigned int)__builtin_popcount(~regs[2] & 0x1b415f6eu);
	regs[2] |= 0x1b415f6eu;
	assert_int_equal(accept_tree(f, fdt, &err) < 0, n > 0);
	/* Each feature has a name, and there are two sentences. */
	assert_in_range(strlen(err.text), 0, 20 * n + 200);
	assert_in_range(strlen(err.text), 0, ERROR_TEXT_MAX * 3 / 4);
	free(fdt);
	destroy(f);
}

/* Returns a description of a guest with @mem bytes and @cpus vCPUs like those of @f. */
static void *describe_sized(struct fixture *f, uint64_t mem, uint32_t cpus)
{
	void *fdt, *edited;

	fdt = describe_tree(f);
	edited = edit_tree(fdt);
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

	assert_int_equal(vm_begin(&frame.vm, GIB(4096), &err), 0);
	assert_int_equal(vm_frame(&frame.vm, "/dev/kvm", 64, &err), 0);
	check_accepted(&frame, fdt);
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
	assert_int_equal(vm_begin(&filled.vm, MEM, &err), 0);
	assert_int_equal(vm_frame(&filled.vm, "/dev/kvm", 3, &err), 0);
	check_accepted(&filled, fdt);
	assert_int_equal(vm_fill(&filled.vm, &err), 0);
	assert_non_null(memory_at(&filled.vm.memory, 0, MEM));
	/* The call does nothing yet, and no harm. */
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

/* The guest has all but one feature of the host's, and a destination is told so; what the host lacks is not
 * given. */
static void a_guest_has_no_more_than_its_baseline(void **state)
{
	struct fixture *f = make(busy_code, sizeof(busy_code)), limited;
	struct error err = { 0 };
	struct cpuid_offer offer, has;
	void *fdt;

	assert_int_equal(vm_begin(&limited.vm, MEM, &err), 0);
	assert_int_equal(vm_frame(&limited.vm, "/dev/kvm", 1, &err), 0);
	vm_get_cpu(&limited.vm, &offer);
	/* cx16, which each x86-64 CPU but the first ones has. */
	assert_int_equal(offer.words[0] >> 13 & 1, 1);
	offer.words[0] &= ~(1u << 13);
	assert_int_equal(vm_limit_cpu(&limited.vm, &offer, &err), 0);
	vm_get_cpu(&limited.vm, &has);
	assert_memory_equal(&has, &offer, sizeof(has));
	fdt = describe_tree(&limited);
	assert_int_equal(find_leaf(fdt, 1, 0)[2] >> 13 & 1, 0);
	check_accepted(f, fdt);
	offer.words[0] |= 1u << 13;
	assert_int_equal(vm_limit_cpu(&limited.vm, &offer, &err), -ENOTSUP);
	offer.words[0] &= ~(1u << 13);
	err = (struct error){ 0 };
	offer.address_bits = 23;
	assert_int_equal(vm_limit_cpu(&limited.vm, &offer, &err), -EINVAL);
	assert_string_equal(err.text, "23 bits of physical address are too few for the guest's memory");
	vm_destroy(&limited.vm);
	free(fdt);
	destroy(f);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_guest_has_no_more_than_its_baseline),
		T(all_reasons_against_a_description_are_told_at_once),
		T(a_feature_that_this_host_lacks_is_named),
		T(a_cpu_of_another_vendor_is_refused),
		T(a_cpuid_table_that_ferry_would_not_write_is_refused),
		T(an_msr_or_a_capability_that_this_host_lacks_is_named),
		T(fewer_features_are_taken_over),
		cmocka_unit_test(all_missing_features_are_told),
		cmocka_unit_test(a_guest_is_compared_before_anything_is_taken),
		cmocka_unit_test(vcpus_made_later_are_as_the_sources),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
