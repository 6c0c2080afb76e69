/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a NIC on a device would be, told before there is one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "devices/net/features.h"
#include "devices/net/survey.h"
#include "tests/fake/vdpa.h"

static int describe(const struct fake_vdpa_spec *spec, enum net_mode mode, struct host_nic *nic,
		    const char **why, struct error *err)
{
	const struct net_config config = { .vdpa = spec->name, .mode = mode };
	struct fake_vdpa *f = fake_vdpa_new(spec);
	int ret = net_survey_describe(nic, why, &f->vdpa, &config, err);

	/* A look starts no device. */
	assert_int_equal(f->status, 0);
	f->vdpa.ops->close(&f->vdpa);
	fake_vdpa_free(f);
	return ret;
}

static void a_device_is_told_with_what_a_guest_gets_of_it(void **state)
{
	static const uint8_t mac[] = { 0x52, 0x54, 0, 0, 0, 1 };
	struct error err = { 0 };
	struct host_nic nic;
	const char *why;

	assert_int_equal(describe(&fake_vdpa_default, NET_SHADOW, &nic, &why, &err), 0);
	assert_memory_equal(nic.mac, mac, 6);
	assert_int_equal(nic.mtu, 1500);
	assert_int_equal(nic.pairs, 2);
	assert_int_equal(nic.ring, 64);
	assert_true(nic.ctrl);
	assert_false(nic.passthrough);
	assert_string_equal(why, "as asked for");
	assert_true(nic.features == fake_vdpa_default.features);
	assert_true(nic.offered & VIRTIO_BIT(VIRTIO_NET_F_CTRL_VLAN));
	/* Ferry announces by itself, on every device; and keeps the platform's access to itself. */
	assert_true(nic.offered & VIRTIO_BIT(VIRTIO_NET_F_GUEST_ANNOUNCE));
	assert_false(nic.offered & VIRTIO_BIT(VIRTIO_F_ACCESS_PLATFORM));
}

static void a_plain_device_is_told_with_one_pair_and_without_suspend(void **state)
{
	struct error err = { 0 };
	struct host_nic nic;
	const char *why;

	assert_int_equal(describe(&fake_vdpa_plain, NET_AUTO, &nic, &why, &err), 0);
	assert_int_equal(nic.pairs, 1);
	assert_false(nic.ctrl || nic.passthrough || nic.can_suspend);
	assert_non_null(strstr(why, "cannot be suspended"));
	assert_int_equal(describe(&fake_vdpa_plain, NET_PASSTHROUGH, &nic, &why, &err), 0);
	assert_true(nic.passthrough);
	assert_null(why);
}

static void passthrough_that_is_not_to_be_had_is_refused_with_the_reason(void **state)
{
	struct fake_vdpa *f = fake_vdpa_new(&fake_vdpa_default);
	const struct net_config config = { .vdpa = "/dev/fake", .mode = NET_PASSTHROUGH };
	struct error err = { 0 };
	struct host_nic nic;
	const char *why;

	f->vdpa.ctrl_apart = false;
	assert_int_equal(net_survey_describe(&nic, &why, &f->vdpa, &config, &err), -ENOTSUP);
	assert_non_null(strstr(err.text, "no passthrough: one address space"));
	f->vdpa.ops->close(&f->vdpa);
	fake_vdpa_free(f);
}

static void a_device_that_is_no_nic_for_ferry_is_refused(void **state)
{
	struct fake_vdpa_spec spec = fake_vdpa_default;
	struct error err = { 0 };
	struct host_nic nic;
	const char *why;

	spec.features &= ~VIRTIO_BIT(VIRTIO_F_VERSION_1);
	assert_int_equal(describe(&spec, NET_AUTO, &nic, &why, &err), -ENOTSUP);
	assert_non_null(strstr(err.text, "legacy"));
}

static void an_address_that_no_interface_can_have_is_none(void **state)
{
	struct fake_vdpa_spec spec = fake_vdpa_default;
	static const uint8_t none[6];
	struct error err = { 0 };
	struct host_nic nic;
	const char *why;

	spec.mac[0] = 0x01;
	assert_int_equal(describe(&spec, NET_AUTO, &nic, &why, &err), 0);
	assert_memory_equal(nic.mac, none, 6);
}

static void features_are_named_and_others_numbered(void **state)
{
	char text[64];

	net_features_names(0, text, sizeof(text));
	assert_string_equal(text, "");
	net_features_names(VIRTIO_BIT(VIRTIO_NET_F_MAC) | VIRTIO_BIT(VIRTIO_F_RING_PACKED), text,
			   sizeof(text));
	assert_string_equal(text, "MAC, RING_PACKED");
	net_features_names(VIRTIO_BIT(VIRTIO_NET_F_MAC) | VIRTIO_BIT(45), text, sizeof(text));
	assert_string_equal(text, "MAC, 0x200000000000");
	net_features_names(UINT64_MAX, text, sizeof(text));
	assert_int_equal(strlen(text), sizeof(text) - 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_device_is_told_with_what_a_guest_gets_of_it),
		cmocka_unit_test(a_plain_device_is_told_with_one_pair_and_without_suspend),
		cmocka_unit_test(passthrough_that_is_not_to_be_had_is_refused_with_the_reason),
		cmocka_unit_test(a_device_that_is_no_nic_for_ferry_is_refused),
		cmocka_unit_test(an_address_that_no_interface_can_have_is_none),
		cmocka_unit_test(features_are_named_and_others_numbered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
