/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two hosts' reports: what stops a move, and what does not. */
#include "tests/unit/vmm/host/host_fixture.h"

#include <stdlib.h>

#include "devices/virtio/virtio.h"
#include "vmm/app/doctor_compare.h"

#define NOW_US UINT64_C(1800000000000000)

static const struct host_moments moments = { NOW_US, NOW_US + 2000000 };

static const struct host_nic plain_nic = {
	.node = "/dev/vhost-vdpa-0",
	.offered = VIRTIO_BIT(VIRTIO_NET_F_MAC) | VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ),
	.pairs = 2,
	.ring = 256,
	.mtu = 1500,
};

struct pair {
	struct host_report here, there;
};

static void fill(struct host_facts *facts)
{
	*facts = (struct host_facts){ .version = "0.1.0",
				      .stream_oldest = 1,
				      .stream_newest = 2,
				      .clock_us = NOW_US + 1000000,
				      .mem_available = GIB(4),
				      .has_cpu = true,
				      .cpu = { .vendor = "GenuineIntel", .address_bits = 46 },
				      .n_nics = 1 };
	facts->cpu.words[0] = 1;
	facts->nics[0] = plain_nic;
}

static int setup(void **state)
{
	struct pair *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	fill(&p->here.facts);
	fill(&p->there.facts);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static void compare(struct pair *p, uint64_t mem)
{
	p->here.n_checks = p->here.n_fails = 0;
	doctor_compare(&p->here, &p->there, "hostB", &moments, mem);
}

static void hosts_of_a_kind_have_nothing_against_a_move(void **state)
{
	struct pair *p = *state;

	compare(p, GIB(1));
	assert_int_equal(p->here.n_fails, 0);
	for (unsigned int i = 0; i < p->here.n_checks; i++)
		assert_int_equal(p->here.checks[i].state, HOST_OK);
	assert_int_equal(p->here.n_checks, 6);
}

static void what_fails_there_fails_here_in_its_words(void **state)
{
	struct pair *p = *state;

	host_report_add(&p->there, HOST_WARN, "clock", "", "%s", "not kept");
	host_report_add(&p->there, HOST_FAIL, "kvm", "load it", "%s", "not loaded");
	compare(p, GIB(1));
	assert_int_equal(p->here.n_fails, 1);
	assert_check(&p->here, "peer", HOST_FAIL, "at hostB: kvm: not loaded");
	assert_check(&p->here, "peer", HOST_FAIL, "load it");
}

static void versions_without_a_common_protocol_are_told(void **state)
{
	struct pair *p = *state;

	p->there.facts.stream_oldest = 3;
	p->there.facts.stream_newest = 4;
	compare(p, GIB(1));
	assert_check(&p->here, "peer version", HOST_FAIL, "versions 3 to 4");
	p->there.facts.stream_oldest = 2;
	compare(p, GIB(1));
	assert_check(&p->here, "peer version", HOST_OK, "0.1.0");
}

static void a_cpu_that_lacks_something_is_told_with_ferry_cpu(void **state)
{
	struct pair *p = *state;

	p->there.facts.cpu.words[0] = 0;
	compare(p, GIB(1));
	assert_check(&p->here, "peer cpu", HOST_FAIL, "sse3");
	assert_check(&p->here, "peer cpu", HOST_FAIL, "--cpu baseline=FILE");
	/* One that has more is no obstacle. */
	p->there.facts.cpu.words[0] = 3;
	compare(p, GIB(1));
	assert_check(&p->here, "peer cpu", HOST_OK, "all");
	strcpy(p->there.facts.cpu.vendor, "AuthenticAMD");
	compare(p, GIB(1));
	assert_check(&p->here, "peer cpu", HOST_FAIL, "AuthenticAMD");
	fill(&p->there.facts);
	p->here.facts.cpu.arch_capabilities = 2;
	compare(p, GIB(1));
	assert_check(&p->here, "peer cpu", HOST_FAIL, "ARCH_CAPABILITIES");
	p->there.facts.has_cpu = false;
	compare(p, GIB(1));
	assert_check(&p->here, "peer cpu", HOST_WARN, "cannot be compared: hostB");
}

static void memory_that_is_not_available_there_is_told(void **state)
{
	struct pair *p = *state;

	compare(p, GIB(4));
	assert_check(&p->here, "peer memory", HOST_OK, "4096 MiB");
	compare(p, GIB(5));
	assert_check(&p->here, "peer memory", HOST_FAIL, "a guest has 5120 MiB");
}

static void clocks_are_held_to_what_a_destination_holds_them(void **state)
{
	static const struct {
		uint64_t us;
		enum host_state state;
		const char *part;
	} cases[] = {
		{ NOW_US - 900000, HOST_OK, "no more than a second" },
		{ NOW_US - 5000000, HOST_WARN, "5.000 s behind" },
		{ NOW_US + 7000000, HOST_WARN, "5.000 s ahead of" },
		{ NOW_US + 63000000, HOST_FAIL, "61.000 s ahead of" },
		{ 0, HOST_FAIL, "behind" },
		{ UINT64_MAX, HOST_FAIL, "ahead of" },
	};
	struct pair *p = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		p->there.facts.clock_us = cases[i].us;
		compare(p, GIB(1));
		assert_check(&p->here, "peer clock", cases[i].state, cases[i].part);
	}
}

static void a_nic_is_matched_with_the_one_that_has_all_of_it(void **state)
{
	struct pair *p = *state;
	struct host_nic *nics = p->there.facts.nics;

	nics[1] = nics[2] = plain_nic;
	p->there.facts.n_nics = 3;
	nics[0].pairs = 1;
	nics[1].offered = VIRTIO_BIT(VIRTIO_NET_F_MAC);
	strcpy(nics[1].node, "/dev/vhost-vdpa-1");
	strcpy(nics[2].node, "/dev/vhost-vdpa-2");
	compare(p, GIB(1));
	assert_check(&p->here, "peer NICs", HOST_OK, "/dev/vhost-vdpa-2 there");
	p->there.facts.n_nics = 2;
	compare(p, GIB(1));
	assert_check(&p->here, "peer NICs", HOST_WARN, "could not move to /dev/vhost-vdpa-1 there: CTRL_VQ");
	p->there.facts.n_nics = 1;
	compare(p, GIB(1));
	assert_check(&p->here, "peer NICs", HOST_FAIL, "has 2 queue pairs, /dev/vhost-vdpa-0 there has 1");
	p->there.facts.n_nics = 0;
	compare(p, GIB(1));
	assert_check(&p->here, "peer NICs", HOST_FAIL, "no vDPA NIC that is free");
	p->here.facts.n_nics = 0;
	compare(p, GIB(1));
	assert_null(host_report_find(&p->here, "peer NICs"));
}

static void shorter_rings_and_another_mtu_stop_a_move(void **state)
{
	struct pair *p = *state;

	p->there.facts.nics[0].ring = 128;
	p->there.facts.nics[0].mtu = 9000;
	compare(p, GIB(1));
	assert_check(&p->here, "peer NICs", HOST_FAIL, "rings of 256 entries");
	assert_check(&p->here, "peer NICs", HOST_FAIL, "an MTU of 1500");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(hosts_of_a_kind_have_nothing_against_a_move),
		TEST(what_fails_there_fails_here_in_its_words),
		TEST(versions_without_a_common_protocol_are_told),
		TEST(a_cpu_that_lacks_something_is_told_with_ferry_cpu),
		TEST(memory_that_is_not_available_there_is_told),
		TEST(clocks_are_held_to_what_a_destination_holds_them),
		TEST(a_nic_is_matched_with_the_one_that_has_all_of_it),
		TEST(shorter_rings_and_another_mtu_stop_a_move),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
