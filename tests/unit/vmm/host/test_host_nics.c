/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vDPA devices in sysfs, and what is said of each. */
#include "tests/unit/vmm/host/host_fixture.h"

#include <errno.h>
#include <stdio.h>

#include "vmm/host/host_nics.h"

/* A vDPA device of a PCI function's, as the kernel shows it: a folder, and links to it and to its drivers.
 * @node: NULL for none. */
static void add_device(struct host_rig *rig, const char *name, const char *parent, const char *bus,
		       const char *node)
{
	char path[128], to[128];

	snprintf(path, sizeof(path), "sys/devices/%s/%s/uevent", parent, name);
	host_write(rig, path, "");
	snprintf(path, sizeof(path), "sys/devices/%s/%s/driver", parent, name);
	if (bus) {
		snprintf(to, sizeof(to), "../../../bus/vdpa/drivers/%s", bus);
		host_link(rig, path, to);
	}
	snprintf(path, sizeof(path), "sys/devices/%s/%s/%s/dev", parent, name, node);
	if (node)
		host_write(rig, path, "511:0\n");
	snprintf(path, sizeof(path), "sys/bus/vdpa/devices/%s", name);
	snprintf(to, sizeof(to), "../../../devices/%s/%s", parent, name);
	host_link(rig, path, to);
}

static void look(struct host_rig *rig)
{
	rig->report.n_checks = rig->report.n_fails = rig->report.facts.n_nics = 0;
	host_nics_check(&rig->report, &rig->look);
}

static void a_host_without_vdpa_is_told_how_to_make_a_device(void **state)
{
	struct host_rig *rig = *state;

	look(rig);
	assert_check(&rig->report, "vdpa", HOST_INFO, "not loaded");
	assert_check(&rig->report, "iommu", HOST_INFO, "intel_iommu=on");
	host_write(rig, "sys/bus/vdpa/devices/.keep", "");
	host_write(rig, "sys/kernel/iommu_groups/0/type", "DMA\n");
	look(rig);
	assert_check(&rig->report, "vdpa", HOST_INFO, "vdpa dev add");
	assert_check(&rig->report, "iommu", HOST_OK, "1 groups");
	assert_int_equal(rig->report.n_fails, 0);
}

static void a_node_is_told_with_its_parent_address_queues_and_mode(void **state)
{
	struct host_rig *rig = *state;

	add_device(rig, "v0", "0000:00:04.0", "vhost_vdpa", "vhost-vdpa-0");
	host_link(rig, "sys/devices/0000:00:04.0/driver", "../../bus/pci/drivers/vp-vdpa");
	host_answers.facts.features = 0x30;
	host_answers.facts.offered = 0x10;
	host_answers.facts.ctrl = true;
	host_answers.why = "one address space";
	look(rig);
	assert_check(&rig->report, "vhost-vdpa-0", HOST_OK,
		     "v0 of vp-vdpa 0000:00:04.0, MAC address 52:54:00:01:02:03, MTU 1500");
	assert_check(&rig->report, "vhost-vdpa-0 features", HOST_INFO, "offered 0x10; the device has beside");
	assert_check(&rig->report, "vhost-vdpa-0 queues", HOST_INFO,
		     "1 queue pair and a control queue, rings of up to 256");
	assert_check(&rig->report, "vhost-vdpa-0 queues", HOST_INFO, "cannot be suspended");
	assert_check(&rig->report, "vhost-vdpa-0 mode", HOST_INFO,
		     "shadow rings: Ferry serves the guest's, for one address space");
	assert_check(&rig->report, "vdpa", HOST_OK, "1 vDPA device, bound");
	assert_int_equal(rig->report.facts.n_nics, 1);
	assert_string_equal(rig->report.facts.nics[0].driver, "vp-vdpa");
	assert_non_null(strstr(rig->report.facts.nics[0].node, "/dev/vhost-vdpa-0"));
}

static void passthrough_is_told_too(void **state)
{
	struct host_rig *rig = *state;

	add_device(rig, "v0", "vdpasim_net", "vhost_vdpa", "vhost-vdpa-0");
	host_answers.facts.passthrough = host_answers.facts.can_suspend = true;
	memset(host_answers.facts.mac, 0, sizeof(host_answers.facts.mac));
	look(rig);
	/* A parent without a driver is known by its own name. */
	assert_check(&rig->report, "vhost-vdpa-0", HOST_OK, "v0 of vdpasim_net, no MAC address");
	assert_check(&rig->report, "vhost-vdpa-0 mode", HOST_OK, "passthrough");
	assert_check(&rig->report, "vhost-vdpa-0 queues", HOST_INFO, "can be suspended and resumed");
}

static void a_programs_device_is_known_by_its_class(void **state)
{
	struct host_rig *rig = *state;

	add_device(rig, "v0", "virtual/vduse/nic1", "vhost_vdpa", "vhost-vdpa-0");
	host_link(rig, "sys/devices/virtual/vduse/nic1/subsystem", "../../../../class/vduse");
	look(rig);
	assert_check(&rig->report, "vhost-vdpa-0", HOST_OK, "v0 of vduse nic1");
}

static void a_node_in_use_is_no_fault_unless_it_is_asked_for(void **state)
{
	struct host_rig *rig = *state;

	add_device(rig, "v0", "0000:00:04.0", "vhost_vdpa", "vhost-vdpa-0");
	host_answers.nic = -EBUSY;
	look(rig);
	assert_check(&rig->report, "vhost-vdpa-0", HOST_INFO, "such as a running guest's");
	assert_int_equal(rig->report.n_fails + rig->report.facts.n_nics, 0);
	rig->wish.n_nets = 1;
	rig->wish.nets[0].vdpa = "/dev/vhost-vdpa-0";
	look(rig);
	assert_check(&rig->report, "vhost-vdpa-0", HOST_FAIL, "name another node");
	assert_int_equal(rig->report.n_fails, 1);
}

static void a_node_that_may_not_be_opened_is_warned_of_and_fails_if_it_is_asked_for(void **state)
{
	struct host_rig *rig = *state;

	add_device(rig, "v0", "0000:00:04.0", "vhost_vdpa", "vhost-vdpa-0");
	host_answers.nic = -EACCES;
	look(rig);
	assert_check(&rig->report, "vhost-vdpa-0", HOST_WARN, "cannot open");
	rig->wish.n_nets = 1;
	rig->wish.nets[0].vdpa = "/dev/vhost-vdpa-0";
	look(rig);
	assert_check(&rig->report, "vhost-vdpa-0", HOST_FAIL, "cannot open");
}

static void nodes_that_are_asked_for_are_all_that_is_opened(void **state)
{
	struct host_rig *rig = *state;

	add_device(rig, "v0", "0000:00:04.0", "vhost_vdpa", "vhost-vdpa-0");
	add_device(rig, "v1", "0000:00:05.0", "vhost_vdpa", "vhost-vdpa-1");
	rig->wish.n_nets = 1;
	rig->wish.nets[0].vdpa = "/elsewhere/vhost-vdpa-1";
	look(rig);
	assert_int_equal(host_answers.n_opened, 1);
	assert_check(&rig->report, "vhost-vdpa-1", HOST_OK, "v1 of 0000:00:05.0");
	assert_string_equal(rig->report.facts.nics[0].node, "/elsewhere/vhost-vdpa-1");
}

static void a_device_without_a_node_is_told_with_its_driver(void **state)
{
	struct host_rig *rig = *state;

	add_device(rig, "v0", "0000:00:04.0", "vhost_vdpa", "vhost-vdpa-0");
	add_device(rig, "v1", "0000:00:05.0", "virtio_vdpa", NULL);
	look(rig);
	assert_check(&rig->report, "vdpa", HOST_WARN, "first of them v1, bound to virtio_vdpa");
	assert_int_equal(host_answers.n_opened, 1);
}

static void of_many_nodes_the_first_are_opened_in_the_order_of_their_numbers(void **state)
{
	struct host_rig *rig = *state;

	for (unsigned int i = 0; i < 12; i++) {
		char name[16], parent[32], node[32];

		snprintf(name, sizeof(name), "v%u", i);
		snprintf(parent, sizeof(parent), "0000:00:%02x.0", 16 + i);
		snprintf(node, sizeof(node), "vhost-vdpa-%u", 11 - i);
		add_device(rig, name, parent, "vhost_vdpa", node);
	}
	look(rig);
	assert_int_equal(host_answers.n_opened, HOST_MAX_NICS);
	assert_check(&rig->report, "vdpa", HOST_OK, "--net vdpa=PATH");
	assert_string_equal(rig->report.checks[0].name, "vhost-vdpa-0");
	assert_non_null(host_report_find(&rig->report, "vhost-vdpa-7"));
	assert_null(host_report_find(&rig->report, "vhost-vdpa-10"));
}

static void names_that_are_no_plain_text_are_left_out(void **state)
{
	struct host_rig *rig = *state;

	add_device(rig, "v\033[2J", "0000:00:04.0", "vhost_vdpa", "vhost-vdpa-0");
	add_device(rig, "v1", "0000:00:05.0", "bad\033name", "vhost-vdpa-\n1");
	look(rig);
	assert_int_equal(host_answers.n_opened, 0);
	assert_check(&rig->report, "vdpa", HOST_WARN, "v1, bound to bad?name");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, host_setup, host_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_host_without_vdpa_is_told_how_to_make_a_device),
		TEST(a_node_is_told_with_its_parent_address_queues_and_mode),
		TEST(passthrough_is_told_too),
		TEST(a_programs_device_is_known_by_its_class),
		TEST(a_node_in_use_is_no_fault_unless_it_is_asked_for),
		TEST(a_node_that_may_not_be_opened_is_warned_of_and_fails_if_it_is_asked_for),
		TEST(nodes_that_are_asked_for_are_all_that_is_opened),
		TEST(a_device_without_a_node_is_told_with_its_driver),
		TEST(of_many_nodes_the_first_are_opened_in_the_order_of_their_numbers),
		TEST(names_that_are_no_plain_text_are_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
