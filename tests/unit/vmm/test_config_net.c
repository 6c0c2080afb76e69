/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The value of --net: what a NIC becomes of it, and what a refusal says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "vmm/config_net.h"

static int parse(struct net_config *net, enum net_origin origin, const char *text, struct error *err)
{
	static char line[512]; /* strings of the NIC that was read last */

	*err = (struct error){ 0 };
	snprintf(line, sizeof(line), "%s", text);
	return config_net_parse(net, origin, line, err);
}

static void every_key_sets_what_it_names(void **state)
{
	struct net_config net;
	struct error err;

	assert_int_equal(
		parse(&net, NET_BOOTS,
		      "mode=passthrough,soft,tap=tap%d,bridge=br0,queues=4,ring=32K,mac=52:54:00:aB:Cd:01",
		      &err),
		0);
	assert_true(net.soft);
	assert_int_equal(net.mode, NET_PASSTHROUGH);
	assert_string_equal(net.tap, "tap%d");
	assert_string_equal(net.bridge, "br0");
	assert_int_equal(net.n_queues, 4);
	assert_int_equal(net.ring_size, 32768);
	assert_true(net.mac_set);
	assert_memory_equal(net.mac, "\x52\x54\x00\xaB\xcD\x01", MAC_LEN);
	assert_int_equal(parse(&net, NET_ARRIVES, "hub=/h,soft,shared-switch=on,mode=shadow", &err), 0);
	assert_string_equal(net.hub, "/h");
	assert_true(net.shared_switch);
	assert_int_equal(net.mode, NET_SHADOW);
	assert_int_equal(parse(&net, NET_BOOTS, "vdpa=/a,poll=off", &err), 0);
	assert_int_equal(net.poll_us, 0);
	assert_int_equal(parse(&net, NET_BOOTS, "vdpa=/a,poll=10000", &err), 0);
	assert_int_equal(net.poll_us, 10000);
	assert_int_equal(parse(&net, NET_ARRIVES, "soft,hub=/h,poll=auto", &err), 0);
	assert_true(net.poll_us == LOOK_AUTO);
}

static void what_is_not_said_is_as_the_guest_needs_it(void **state)
{
	struct net_config net;
	struct error err;

	assert_int_equal(parse(&net, NET_BOOTS, "soft,hub=/h", &err), 0);
	assert_int_equal(net.mode, NET_AUTO);
	assert_int_equal(net.poll_us, 0);
	assert_int_equal(net.n_queues, 1);
	assert_int_equal(net.ring_size, CONFIG_DEFAULT_RING);
	assert_false(net.mac_set || net.shared_switch);
	assert_true(net.split_only && net.any_order);
	assert_int_equal(parse(&net, NET_ARRIVES, "vdpa=/a", &err), 0);
	assert_false(net.split_only || net.any_order || net.packed_wanted || net.in_order_wanted);
	assert_int_equal(parse(&net, NET_ARRIVES, "vdpa=/a,packed=off,in-order=off,shared-switch=off", &err),
			 0);
	assert_true(net.split_only && net.any_order);
	assert_false(net.packed_wanted || net.in_order_wanted || net.shared_switch);
	assert_int_equal(parse(&net, NET_BOOTS, "vdpa=/a,packed=on,in-order=on", &err), 0);
	assert_false(net.split_only || net.any_order);
	assert_true(net.packed_wanted && net.in_order_wanted);
}

static void what_is_wrong_is_refused_with_what_would_be_right(void **state)
{
	static const struct {
		enum net_origin origin;
		const char *text, *why;
	} t[] = {
		{ NET_BOOTS, "vdpa", "\"vdpa\" needs a value" },
		{ NET_BOOTS, "vdpa=", "\"vdpa\" needs a value" },
		{ NET_BOOTS, "tep=x",
		  "\"tep=x\" is not known; possible are: vdpa, soft, tap, bridge, hub, "
		  "mac, queues, ring, packed, in-order, shared-switch, mode, poll" },
		{ NET_BOOTS, "tap=x", "vdpa=PATH, or soft,tap=NAME, is needed" },
		{ NET_BOOTS, "soft,vdpa=/a", "vdpa=PATH, or soft,tap=NAME, is needed" },
		{ NET_BOOTS, "soft", "tap=NAME or hub=FOLDER is needed" },
		{ NET_BOOTS, "soft=1,tap=x", "\"soft\" takes no value" },
		{ NET_BOOTS, "soft,tap=x,hub=/h", "tap=NAME or hub=FOLDER is needed" },
		{ NET_BOOTS, "soft,hub=/h,bridge=b", "bridge=NAME is for tap=NAME" },
		{ NET_BOOTS, "soft,tap=abcdefghijklmnop", "not the name of an interface" },
		{ NET_BOOTS, "soft,tap=", "\"tap\" needs a value" },
		{ NET_BOOTS, "soft,tap=a/b", "not the name of an interface" },
		{ NET_BOOTS, "soft,tap=a:b", "not the name of an interface" },
		{ NET_BOOTS, "soft,tap=fd:5:6,queues=3", "a descriptor for each of 2 queues, not of 3" },
		{ NET_BOOTS, "soft,tap=fd:1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17",
		  "1 to 16 descriptors are possible" },
		{ NET_BOOTS, "soft,tap=a\tb", "not the name of an interface" },
		{ NET_BOOTS, "soft,tap=a\177", "not the name of an interface" },
		{ NET_BOOTS, "soft,tap=.", "not the name of an interface" },
		{ NET_BOOTS, "soft,tap=..", "not the name of an interface" },
		{ NET_BOOTS, "soft,tap=t0,bridge=a/b", "\"a/b\" is not the name of an interface" },
		{ NET_BOOTS, "soft,tap=tap%", "as in tap=tap%d" },
		{ NET_BOOTS, "soft,tap=tap%s", "as in tap=tap%d" },
		{ NET_BOOTS, "soft,tap=t%dp%d", "as in tap=tap%d" },
		{ NET_BOOTS, "soft,tap=t0,bridge=br%d", "\"br%d\" is not the name of an interface" },
		{ NET_BOOTS, "soft,tap=x,mac=52:54:00:00:00", "a NIC's address is needed" },
		{ NET_BOOTS, "soft,tap=x,mac=53:54:00:00:00:01", "a NIC's address is needed" },
		{ NET_BOOTS, "soft,tap=x,mac=00:00:00:00:00:00", "a NIC's address is needed" },
		{ NET_BOOTS, "soft,tap=x,queues=0", "1 to 16 are possible" },
		{ NET_BOOTS, "soft,tap=x,queues=17", "1 to 16 are possible" },
		{ NET_BOOTS, "soft,tap=x,ring=32", "powers of 2 from 64 to 32768 are possible" },
		{ NET_BOOTS, "soft,tap=x,ring=65536", "powers of 2 from 64 to 32768 are possible" },
		{ NET_BOOTS, "soft,tap=x,ring=1000", "powers of 2 from 64 to 32768 are possible" },
		{ NET_BOOTS, "vdpa=/a,ring=64", "go with soft, not with vdpa" },
		{ NET_BOOTS, "vdpa=/a,mac=52:54:00:00:00:01", "go with soft, not with vdpa" },
		{ NET_BOOTS, "vdpa=/a,mtu=1", "\"mtu=1\" is not known" },
		{ NET_BOOTS, "vdpa=/a,", "\"\" is not known" },
		{ NET_BOOTS, ",vdpa=/a", "\"\" is not known" },
		{ NET_BOOTS, "vdpa=/a,vdpa=/b", "\"vdpa\" is given twice" },
		{ NET_BOOTS, "vdpa=/a,packed=yes", "packed=yes: on or off" },
		{ NET_BOOTS, "vdpa=/a,in-order=1", "in-order=1: on or off" },
		{ NET_ARRIVES, "vdpa=/a,shared-switch=no", "shared-switch=no: on or off" },
		{ NET_BOOTS, "vdpa=/a,mode=on", "mode=on: auto, shadow or passthrough" },
		{ NET_BOOTS, "vdpa=/a,poll=0", "poll=0: auto, off or 1 to 10000 microseconds" },
		{ NET_BOOTS, "vdpa=/a,poll=10001", "poll=10001: auto, off or 1 to 10000" },
		{ NET_BOOTS, "vdpa=/a,poll=on", "poll=on: auto, off or 1 to 10000" },
		{ NET_BOOTS, "vdpa=/a,poll=4294967295", "auto, off or 1 to 10000" },
		{ NET_BOOTS, "vdpa=/a,mode", "\"mode\" needs a value" },
		{ NET_BOOTS, "vdpa=/a,packed=on,mode=passthrough", "packed rings are for shadow rings" },
		{ NET_BOOTS, "vdpa=/a,shared-switch=on", "shared-switch=on is for \"ferry receive\"" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		struct net_config net;
		struct error err;

		assert_int_equal(parse(&net, t[i].origin, t[i].text, &err), -EINVAL);
		if (!strstr(err.text, t[i].why))
			fail_msg("\"%s\": \"%s\" does not say \"%s\"", t[i].text, err.text, t[i].why);
	}
}

static void a_tap_of_descriptors_has_a_queue_of_each(void **state)
{
	struct descriptors d = { 0 };
	struct net_config net;
	struct error err;

	assert_int_equal(dup2(STDIN_FILENO, 100), 100);
	assert_int_equal(parse(&net, NET_BOOTS, "queues=2,soft,tap=fd:100:101", &err), 0);
	assert_int_equal(net.n_queues, 2);
	assert_int_equal(config_net_claim(&net, &d, &err), -EINVAL);
	assert_non_null(strstr(err.text, "--net tap: descriptor 10"));
	close(100);
	for (int fd = 100; fd <= 101; fd++) {
		int made = open("/dev/zero", O_RDWR);

		assert_int_equal(dup2(made, fd), fd);
		close(made);
	}
	d = (struct descriptors){ 0 };
	assert_int_equal(parse(&net, NET_BOOTS, "soft,tap=fd:100:101", &err), 0);
	assert_int_equal(net.n_queues, 2);
	assert_int_equal(config_net_claim(&net, &d, &err), 0);
	assert_int_equal(net.tap_fds[0], 100);
	assert_int_equal(net.tap_fds[1], 101);
	/* A device by its node has none to find. */
	assert_int_equal(parse(&net, NET_BOOTS, "vdpa=/a", &err), 0);
	assert_int_equal(config_net_claim(&net, &d, &err), 0);
	assert_int_equal(parse(&net, NET_BOOTS, "vdpa=fd:101", &err), 0);
	assert_int_equal(config_net_claim(&net, &d, &err), -EINVAL);
	assert_non_null(strstr(err.text, "--net vdpa: descriptor 101 is given twice"));
	assert_int_equal(parse(&net, NET_BOOTS, "soft,tap=fd:100:", &err), 0);
	d = (struct descriptors){ 0 };
	assert_int_equal(config_net_claim(&net, &d, &err), -EINVAL);
	close(100);
	close(101);
}

static void two_nics_of_one_device_are_told(void **state)
{
	const struct net_config a = { .vdpa = "/a" }, b = { .vdpa = "/b" },
				t0 = { .soft = true, .tap = "t0" },
				pattern = { .soft = true, .tap = "tap%d" },
				hub = { .soft = true, .hub = "/a" };

	assert_true(config_net_same_device(&a, &a));
	assert_true(config_net_same_device(&t0, &t0));
	assert_false(config_net_same_device(&a, &b));
	assert_false(config_net_same_device(&a, &t0));
	/* The kernel makes two of it, and a hub is for many. */
	assert_false(config_net_same_device(&pattern, &pattern));
	assert_false(config_net_same_device(&hub, &hub));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key_sets_what_it_names),
		cmocka_unit_test(what_is_not_said_is_as_the_guest_needs_it),
		cmocka_unit_test(what_is_wrong_is_refused_with_what_would_be_right),
		cmocka_unit_test(a_tap_of_descriptors_has_a_queue_of_each),
		cmocka_unit_test(two_nics_of_one_device_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
