/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPU features as text, what hosts have in common, and a guest that has no more than that. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/x86/cpu_baseline.h"
#include "vmm/x86/cpu_model.h"

#define HOST_A                                                                                               \
	"vendor GenuineIntel\naddress-bits 46\n"                                                             \
	"features 0x1.0 ecx sse3 ssse3 fma avx xsave\n"                                                      \
	"features 0x1.0 edx fpu tsc msr pae cx8 apic pge cmov fxsr sse sse2\n"                               \
	"features 0x7.0 ebx bmi1 avx2 avx512f\n"                                                             \
	"features 0x7.0 ecx la57 waitpkg\n"                                                                  \
	"features 0x7.0 edx spec_ctrl arch_capabilities\n"                                                   \
	"features 0xd.0 eax xcr0_x87 xcr0_sse xcr0_avx xcr0_opmask xcr0_zmm_hi256\n"                         \
	"features 0x80000001.0 edx syscall nx lm rdtscp\n"                                                   \
	"arch-capabilities 0xab\n"
#define HOST_B                                                                                               \
	"vendor GenuineIntel\naddress-bits 39\n"                                                             \
	"features 0x1.0 ecx sse3 ssse3 fma avx xsave aes\n"                                                  \
	"features 0x1.0 edx fpu tsc msr pae cx8 apic pge cmov fxsr sse sse2\n"                               \
	"features 0x7.0 ebx bmi1 avx2\n"                                                                     \
	"features 0x7.0 edx spec_ctrl\n"                                                                     \
	"features 0xd.0 eax xcr0_x87 xcr0_sse xcr0_avx\n"                                                    \
	"features 0x80000001.0 edx syscall nx lm\n"

static void parse(struct cpuid_offer *offer, const char *text)
{
	char copy[CPU_BASELINE_TEXT_MAX];
	struct error err = { 0 };

	snprintf(copy, sizeof(copy), "%s", text);
	if (cpu_baseline_parse(offer, copy, "test", &err) < 0)
		fail_msg("%s", err.text);
}

static void load(struct cpuid_offer *offer, const char *from)
{
	struct error err = { 0 };

	if (cpu_baseline_load(offer, from, &err) < 0)
		fail_msg("%s", err.text);
}

/* A host's CPUID with the features of @text, and with sizes as CPUs have them. */
static void make_host(struct cpuid *host, const char *text)
{
	unsigned int n_words;
	const struct cpuid_word *words = cpuid_get_words(&n_words);
	/* XSAVE components: AVX, opmask, and the upper halves of registers. */
	static const struct kvm_cpuid_entry2 parts[] = {
		{ .function = 0xd, .index = 2, .eax = 256, .ebx = 576 },
		{ .function = 0xd, .index = 5, .eax = 64, .ebx = 1088 },
		{ .function = 0xd, .index = 6, .eax = 512, .ebx = 1152 },
	};
	struct cpuid_offer offer;

	parse(&offer, text);
	*host = (struct cpuid){ .nent = 2 };
	host->entries[0] = (struct kvm_cpuid_entry2){ .eax = 0x16 };
	memcpy(&host->entries[0].ebx, offer.vendor, 4);
	memcpy(&host->entries[0].edx, offer.vendor + 4, 4);
	memcpy(&host->entries[0].ecx, offer.vendor + 8, 4);
	host->entries[1] =
		(struct kvm_cpuid_entry2){ .function = 0x80000008, .eax = 57u << 8 | offer.address_bits };
	for (unsigned int i = 0; i < n_words; i++) {
		struct kvm_cpuid_entry2 *e = host->entries;
		uint32_t *regs[4];

		while (e < host->entries + host->nent &&
		       !(e->function == words[i].function && e->index == words[i].index))
			e++;
		if (e == host->entries + host->nent)
			*e = (struct kvm_cpuid_entry2){ .function = words[i].function,
							.index = words[i].index };
		host->nent = (uint32_t)max_u64(host->nent, (uint64_t)(e - host->entries) + 1);
		regs[0] = &e->eax;
		regs[1] = &e->ebx;
		regs[2] = &e->ecx;
		regs[3] = &e->edx;
		*regs[words[i].reg] |= offer.words[i];
		if (e->function == 0xd && e->index == 0)
			e->ecx = 1664;
	}
	memcpy(host->entries + host->nent, parts, sizeof(parts));
	host->nent += ARRAY_SIZE(parts);
}

static struct kvm_cpuid_entry2 *find(struct cpuid *cpuid, uint32_t function, uint32_t index)
{
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		if (cpuid->entries[i].function == function && cpuid->entries[i].index == index)
			return &cpuid->entries[i];
	}
	return NULL;
}

static void what_is_printed_can_be_read(void **state)
{
	char text[CPU_BASELINE_TEXT_MAX];
	unsigned int n_words;
	const struct cpuid_word *words = cpuid_get_words(&n_words);

	for (unsigned int round = 0; round < 200; round++) {
		struct cpuid_offer offer = { .vendor = "AuthenticAMD", .address_bits = 52 }, again;

		for (unsigned int i = 0; i < n_words; i++)
			offer.words[i] =
				cpuid_word_mask(&words[i]) & (round ? (uint32_t)mrand48() : UINT32_MAX);
		offer.arch_capabilities = round ? (uint64_t)mrand48() : UINT64_MAX;
		if (round % 3 == 1) {
			offer.vendor[0] = '\0';
			memset(offer.vendor, 0, sizeof(offer.vendor));
			offer.address_bits = 0;
		}
		cpu_baseline_print(&offer, text);
		/* All features that there are have room. */
		assert_in_range(strlen(text), 1, sizeof(text) / 2);
		parse(&again, text);
		assert_memory_equal(&again, &offer, sizeof(offer));
	}
}

static void lines_add_up_and_comments_say_nothing(void **state)
{
	struct cpuid_offer a, b;

	parse(&a, "features 0x7.0 ebx bmi1 avx2\n");
	parse(&b, "# a host\n\n  features\t0x7.0 ebx  bmi1 # and\nfeatures 0x7.0 ebx avx2");
	assert_memory_equal(&a, &b, sizeof(a));
}

static void what_makes_no_sense_is_refused_with_its_line(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ "\n\nnonsense", "test, line 3: \"nonsense\" is not known" },
		{ "vendor", "line 1: a CPU's vendor has" },
		{ "vendor GenuineIntel2", "a CPU's vendor has" },
		{ "vendor GenuineIntel b", "more than \"vendor\" takes" },
		{ "address-bits", "32 to 52 bits" },
		{ "address-bits 31", "32 to 52 bits" },
		{ "address-bits 53", "32 to 52 bits" },
		{ "address-bits -1", "32 to 52 bits" },
		{ "address-bits 40x", "32 to 52 bits" },
		{ "address-bits 99999999999999999999999", "32 to 52 bits" },
		{ "features", "a leaf and a register" },
		{ "features 0x7.0", "a leaf and a register" },
		{ "features 7 ebx bmi1", "a leaf and a register" },
		{ "features 0x7. ebx bmi1", "a leaf and a register" },
		{ "features 0x7.9 ebx bmi1", "a leaf and a register" },
		{ "features 0x100000007.0 ebx bmi1", "a leaf and a register" },
		{ "features 0x7.0 eex bmi1", "a leaf and a register" },
		{ "features 0x7.0 ebx bmi1 sgx", "\"sgx\" is no CPU feature that this Ferry knows there" },
		{ "features 0x7.0 ebx sse3", "\"sse3\" is no CPU feature" },
		{ "arch-capabilities", "a number is needed" },
		{ "arch-capabilities all", "a number is needed" },
		{ "arch-capabilities 0x1ffffffffffffffff", "a number is needed" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[128];
		struct cpuid_offer offer;
		struct error err = { 0 };

		snprintf(text, sizeof(text), "%s", cases[i].text);
		assert_int_equal(cpu_baseline_parse(&offer, text, "test", &err), -EINVAL);
		if (!strstr(err.text, cases[i].why))
			fail_msg("%u: %s", i, err.text);
	}
}

/* Each level has all of the one before it, and more. */
static void levels_are_those_of_the_psabi(void **state)
{
	struct cpuid_offer v2, v3, v4, common;
	struct error err = { 0 };

	load(&v2, "x86-64-v2");
	load(&v3, "x86-64-v3");
	load(&v4, "x86-64-v4");
	common = v3;
	assert_int_equal(cpu_baseline_intersect(&common, &v2, &err), 0);
	assert_memory_equal(&common, &v2, sizeof(v2));
	assert_memory_not_equal(&v3, &v2, sizeof(v2));
	common = v4;
	assert_int_equal(cpu_baseline_intersect(&common, &v3, &err), 0);
	assert_memory_equal(&common, &v3, sizeof(v3));
	assert_memory_not_equal(&v4, &v3, sizeof(v3));
}

static int load_text(const char *text, size_t len, struct error *err)
{
	int fd = memfd_create("cpu", 0);
	struct cpuid_offer offer;
	char path[40];
	int ret;

	assert_int_equal(write(fd, text, len), len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ret = cpu_baseline_load(&offer, path, err);
	close(fd);
	return ret;
}

static void a_file_that_no_guest_can_start_with_is_refused(void **state)
{
	static char large[CPU_BASELINE_FILE_MAX];
	struct cpuid_offer offer;
	struct error err[6] = { 0 };

	assert_int_equal(load_text(HOST_A, strlen(HOST_A), &err[0]), 0);
	assert_int_equal(load_text("", 0, &err[1]), -EINVAL);
	assert_non_null(strstr(err[1].text, "without which no guest starts: fpu, tsc"));
	assert_int_equal(load_text(HOST_A, strlen(HOST_A) - 70, &err[2]), -EINVAL);
	assert_non_null(strstr(err[2].text, "syscall, nx, lm"));
	assert_int_equal(load_text(HOST_A, strlen(HOST_A) + 1, &err[3]), -EINVAL);
	assert_non_null(strstr(err[3].text, "no description of CPUs"));
	memset(large, '\n', sizeof(large));
	assert_int_equal(load_text(large, sizeof(large), &err[4]), -EINVAL);
	assert_int_equal(cpu_baseline_load(&offer, "/absent/x86-64-v2", &err[5]), -ENOENT);
	assert_string_equal(err[5].text, "cannot open /absent/x86-64-v2: No such file or directory");
}

static void hosts_have_in_common_what_both_have(void **state)
{
	struct cpuid_offer a, b, want;
	struct error err = { 0 };

	parse(&a, HOST_A);
	parse(&b, HOST_B);
	parse(&want, "vendor GenuineIntel\naddress-bits 39\n"
		     "features 0x1.0 ecx sse3 ssse3 fma avx xsave\n"
		     "features 0x1.0 edx fpu tsc msr pae cx8 apic pge cmov fxsr sse sse2\n"
		     "features 0x7.0 ebx bmi1 avx2\n"
		     "features 0x7.0 edx spec_ctrl\n"
		     "features 0xd.0 eax xcr0_x87 xcr0_sse xcr0_avx\n"
		     "features 0x80000001.0 edx syscall nx lm\n");
	assert_int_equal(cpu_baseline_intersect(&a, &b, &err), 0);
	assert_memory_equal(&a, &want, sizeof(want));
	/* Any vendor is each one's. */
	parse(&b, "address-bits 40\n");
	assert_int_equal(cpu_baseline_intersect(&b, &a, &err), 0);
	assert_string_equal(b.vendor, "GenuineIntel");
	assert_int_equal(b.address_bits, 39);
	parse(&b, "vendor AuthenticAMD\n");
	assert_int_equal(cpu_baseline_intersect(&b, &a, &err), -ENOTSUP);
	assert_string_equal(
		err.text,
		"one CPU is of AuthenticAMD, another of GenuineIntel: a guest cannot move between them");
}

#define LACKS "features 0x7.0 ebx fdp_excptn_only zero_fcs_fds\n"
/* RDCL_NO; and with RSBA and RRSBA. */
#define CAPABLE "arch-capabilities 0x1\n"
#define WARNED  "arch-capabilities 0x80005\n"
#define PLAIN                                                                                                \
	"vendor GenuineIntel\naddress-bits 46\n"                                                             \
	"features 0x1.0 edx fpu tsc msr pae cx8 apic pge cmov fxsr sse sse2\n"                               \
	"features 0x7.0 edx arch_capabilities\n"

/* A feature that says what a CPU lacks is one of all as soon as it is one's, and no host refuses it. */
static void what_one_host_lacks_all_are_said_to_lack(void **state)
{
	static const char *const hosts[] = { PLAIN CAPABLE, PLAIN LACKS WARNED };
	struct cpuid_offer want;

	parse(&want, PLAIN LACKS WARNED);
	for (unsigned int i = 0; i < 2; i++) {
		struct cpuid_offer common, other;
		struct cpuid cpuid, guest, out;
		struct error err = { 0 };

		parse(&common, hosts[i]);
		parse(&other, hosts[1 - i]);
		assert_int_equal(cpu_baseline_intersect(&common, &other, &err), 0);
		assert_memory_equal(&common, &want, sizeof(want));
		/* On both hosts it can have them, and goes from either to the other. */
		make_host(&cpuid, hosts[i]);
		guest = cpuid;
		if (cpuid_restrict(&guest, &common, &err) < 0)
			fail_msg("%s", err.text);
		assert_true(cpuid_has_any(&guest, "fdp_excptn_only"));
		make_host(&cpuid, hosts[1 - i]);
		if (cpuid_accept(&out, &cpuid, guest.entries, guest.nent, &err) < 0)
			fail_msg("%s", err.text);
		assert_true(cpuid_has_any(&out, "fdp_excptn_only"));
		/* A file that knows nothing of it does not hide it either. */
		make_host(&cpuid, hosts[1]);
		parse(&common, PLAIN CAPABLE);
		assert_int_equal(cpuid_restrict(&cpuid, &common, &err), 0);
		assert_true(cpuid_has_any(&cpuid, "zero_fcs_fds"));
	}
}

/* Host A's guest can run on host B only if it was limited to what both have; and back. */
static void a_limited_guest_moves_between_unlike_hosts(void **state)
{
	struct cpuid a, b, guest, out;
	struct cpuid_offer common, of_b;
	struct error err = { 0 };

	make_host(&a, HOST_A);
	make_host(&b, HOST_B);
	assert_int_equal(cpuid_accept(&out, &b, a.entries, a.nent, &err), -EINVAL);
	assert_non_null(strstr(err.text, "avx512f"));
	parse(&common, HOST_A);
	parse(&of_b, HOST_B);
	assert_int_equal(cpu_baseline_intersect(&common, &of_b, &err), 0);
	guest = a;
	assert_int_equal(cpuid_restrict(&guest, &common, &err), 0);
	err = (struct error){ 0 };
	if (cpuid_accept(&out, &b, guest.entries, guest.nent, &err) < 0)
		fail_msg("%s", err.text);
	if (cpuid_accept(&guest, &a, out.entries, out.nent, &err) < 0)
		fail_msg("%s", err.text);
}

/* Sizes that follow from features do, and what XSAVE has no more is left out. */
static void sizes_follow_the_features(void **state)
{
	struct cpuid a;
	struct cpuid_offer offer;
	struct error err = { 0 };

	make_host(&a, HOST_A);
	parse(&offer, HOST_B);
	offer.words[0] &= ~(1u << 25);
	assert_int_equal(cpuid_restrict(&a, &offer, &err), 0);
	assert_int_equal(find(&a, 0x80000008, 0)->eax, 48u << 8 | 39);
	assert_int_equal(find(&a, 0xd, 0)->ecx, 832);
	assert_non_null(find(&a, 0xd, 2));
	assert_null(find(&a, 0xd, 5));
	assert_null(find(&a, 0xd, 6));
	assert_true(cpuid_has_any(&a, "waitpkg bmi1"));
	assert_false(cpuid_has_any(&a, "waitpkg bmi avx512f"));
}

static void what_the_host_lacks_is_refused_by_name(void **state)
{
	struct cpuid b, before;
	struct cpuid_offer offer;
	struct error err = { 0 };

	make_host(&b, HOST_B);
	before = b;
	parse(&offer, HOST_A);
	snprintf(offer.vendor, sizeof(offer.vendor), "AuthenticAMD");
	assert_int_equal(cpuid_restrict(&b, &offer, &err), -ENOTSUP);
	assert_non_null(strstr(err.text, "this host's CPU is of GenuineIntel, not of AuthenticAMD"));
	assert_non_null(strstr(err.text, "has 39 bits of physical address, not 46"));
	assert_non_null(strstr(err.text, "CPU feature avx512f is missing on this host"));
	assert_non_null(strstr(err.text, "waitpkg"));
	assert_non_null(strstr(err.text, "xcr0_opmask, xcr0_zmm_hi256 are missing"));
	assert_memory_equal(&b, &before, sizeof(b));
}

static struct cpu_model *make_model(const char *text)
{
	/* TSC, ARCH_CAPABILITIES, SPEC_CTRL, TSX_CTRL, UMWAIT_CONTROL, TSC_AUX, PAT */
	static const uint32_t msrs[] = { 0x10, 0x10a, 0x48, 0x122, 0xe1, 0xc0000103, 0x277 };
	struct cpu_model *model = calloc(1, sizeof(*model));
	struct cpuid_offer offer;

	parse(&offer, text);
	make_host(&model->host, text);
	model->cpuid = model->host;
	model->arch_capabilities = offer.arch_capabilities;
	memcpy(model->msrs, msrs, sizeof(msrs));
	model->n_msrs = ARRAY_SIZE(msrs);
	return model;
}

/* A host that never had the feature has no such register to take it into. */
static void registers_go_with_their_features(void **state)
{
	struct cpu_model *model = make_model(HOST_A);
	struct cpuid_offer offer, of_b;
	struct error err = { 0 };

	parse(&offer, HOST_A);
	assert_int_equal(cpu_model_limit(model, &offer, &err), 0);
	assert_int_equal(model->n_msrs, 7);
	assert_int_equal(model->arch_capabilities, 0xab);
	/* IA32_TSX_CTRL is one of the capabilities. */
	offer.arch_capabilities = 0x2b;
	assert_int_equal(cpu_model_limit(model, &offer, &err), 0);
	assert_int_equal(model->n_msrs, 6);
	assert_false(cpu_has_msr(model, 0x122));
	parse(&of_b, HOST_B);
	assert_int_equal(cpu_baseline_intersect(&offer, &of_b, &err), 0);
	assert_int_equal(cpu_model_limit(model, &offer, &err), 0);
	assert_int_equal(model->n_msrs, 3);
	assert_true(cpu_has_msr(model, 0x10) && cpu_has_msr(model, 0x48) && cpu_has_msr(model, 0x277));
	assert_int_equal(model->arch_capabilities, 0);
	cpu_model_get_offer(model, &of_b);
	assert_memory_equal(&of_b, &offer, sizeof(offer));
	free(model);
}

static void capabilities_that_the_host_lacks_are_refused(void **state)
{
	struct cpu_model *model = make_model(HOST_A);
	struct cpuid_offer offer;
	struct error err = { 0 };

	parse(&offer, HOST_A);
	offer.arch_capabilities = 0x100ab;
	assert_int_equal(cpu_model_limit(model, &offer, &err), -ENOTSUP);
	assert_string_equal(err.text, "bits 0x10000 of MSR ARCH_CAPABILITIES are missing on this host");
	assert_false(model->limited);
	assert_int_equal(model->n_msrs, 7);
	free(model);
}

static void capabilities_that_warn_are_added_up(void **state)
{
	static const struct {
		const char *host, *file;
		uint64_t guest;
	} cases[] = {
		{ PLAIN CAPABLE, PLAIN WARNED, 0x80005 },
		{ PLAIN WARNED, PLAIN CAPABLE, 0x80005 },
		{ PLAIN CAPABLE, PLAIN CAPABLE, 0x1 },
		/* One that does not look there. */
		{ PLAIN WARNED, HOST_B, 0 },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cpu_model *model = make_model(i == 3 ? HOST_B WARNED : cases[i].host);
		struct cpuid_offer offer;
		struct error err = { 0 };

		parse(&offer, cases[i].file);
		if (cpu_model_limit(model, &offer, &err) < 0)
			fail_msg("%u: %s", i, err.text);
		assert_int_equal(model->arch_capabilities, cases[i].guest);
		free(model);
	}
}

/* What this host has beyond the source's, the guest does not have: it goes on to a third host. */
static void a_guest_that_came_has_the_registers_of_its_source(void **state)
{
	static const uint32_t there[] = { 0x277, 0x48, 0x999 };
	struct cpu_model *model = make_model(HOST_A);

	cpu_model_keep_msrs(model, there, ARRAY_SIZE(there));
	assert_int_equal(model->n_msrs, 2);
	assert_int_equal(model->msrs[0], 0x48);
	assert_int_equal(model->msrs[1], 0x277);
	free(model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_printed_can_be_read),
		cmocka_unit_test(lines_add_up_and_comments_say_nothing),
		cmocka_unit_test(what_makes_no_sense_is_refused_with_its_line),
		cmocka_unit_test(levels_are_those_of_the_psabi),
		cmocka_unit_test(a_file_that_no_guest_can_start_with_is_refused),
		cmocka_unit_test(hosts_have_in_common_what_both_have),
		cmocka_unit_test(a_limited_guest_moves_between_unlike_hosts),
		cmocka_unit_test(sizes_follow_the_features),
		cmocka_unit_test(what_the_host_lacks_is_refused_by_name),
		cmocka_unit_test(registers_go_with_their_features),
		cmocka_unit_test(capabilities_that_the_host_lacks_are_refused),
		cmocka_unit_test(capabilities_that_warn_are_added_up),
		cmocka_unit_test(what_one_host_lacks_all_are_said_to_lack),
		cmocka_unit_test(a_guest_that_came_has_the_registers_of_its_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
