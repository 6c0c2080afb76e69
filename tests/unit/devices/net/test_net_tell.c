/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a NIC tells of itself, in words and numbers, while it works and while it does not. */
#include "tests/unit/devices/net/net_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

/* What was told last, as an object. */
static char told[20480];
static char measured[14336];

static int tell_part(struct net_guest *g, unsigned int *from, uint64_t until_ns, struct error *err)
{
	struct device *dev = device_of(g);
	struct facts f;
	int ret;

	facts_begin(&f, told, sizeof(told));
	ret = dev->ops->tell(dev, &f, from, until_ns, err);
	if (ret < 0)
		return ret;
	facts_end(&f);
	assert_false(f.cut);
	return 0;
}

static void tell(struct net_guest *g)
{
	struct json *json = malloc(sizeof(*json));
	struct error err = { 0 };
	unsigned int from = 0;

	net_guest_settle(g);
	assert_int_equal(tell_part(g, &from, end_of(1000), &err), 0);
	assert_int_equal(from, 0);
	assert_true(json_parse(json, told, strlen(told)));
	free(json);
}

static void assert_told(const char *words)
{
	if (!strstr(told, words))
		fail_msg("%s is not in %s", words, told);
}

static void measure(struct net_guest *g, unsigned int *from)
{
	struct device *dev = device_of(g);
	struct error err = { 0 };
	struct metrics m;

	net_guest_settle(g);
	metrics_begin(&m, "web1", measured, sizeof(measured));
	assert_int_equal(dev->ops->measure(dev, &m, from, end_of(1000), &err), 0);
}

static void assert_measured(const char *line)
{
	if (!strstr(measured, line))
		fail_msg("%s is not in %s", line, measured);
}

static void a_nic_tells_how_it_is(void **state)
{
	struct fixture *f = *state;

	tell(f->a);
	assert_told("{\"vdpa\":\"");
	assert_told("\"mode\":\"off\"");
	assert_told("\"linkUp\":true,\"mac\":\"52:54:00:00:00:01\",\"mtu\":1500,\"queuePairs\":2,");
	assert_null(strstr(told, "\"features\""));
	assert_null(strstr(told, "\"queues\""));
	start_a(f, ALL & ~BIT(VIRTIO_NET_F_CTRL_VLAN));
	tell(f->a);
	assert_told("\"mode\":\"shadow\",\"why\":\"");
	assert_told("\"features\":[\"CSUM\",");
	/* Each has a name. */
	assert_null(strstr(told, "\"0x"));
	assert_told("\"notAccepted\":[\"CTRL_VLAN\"");
	assert_told("\"guestRings\":\"packed\",\"deviceRings\":\"split\"");
	assert_told("{\"name\":\"rx0\",\"entries\":64,\"deviceEntries\":64,\"buffers\":0,");
	assert_told("{\"name\":\"tx1\",");
	/* Its commands are counted as such. */
	assert_told("{\"name\":\"ctrl\",\"entries\":64,\"deviceEntries\":64}");
	fake_vdpa_set_config_status(f->va, 0);
	tell(f->a);
	assert_told("\"linkUp\":false");
}

static void a_nic_tells_how_long_it_looks_for_packets(void **state)
{
	static const struct {
		uint32_t us;
		const char *told;
	} t[] = { { LOOK_AUTO, "\"poll\":\"auto\"" }, { 70, "\"poll\":\"70\"" }, { 0, "\"poll\":\"off\"" } };
	struct fixture *f = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		fixture_config.poll_us = t[i].us;
		build_a(f, &fake_vdpa_default);
		tell(f->a);
		assert_told(t[i].told);
	}
}

static void a_nic_that_has_stopped_tells_why(void **state)
{
	struct fixture *f = *state;

	start_a(f, ALL);
	fake_vdpa_needs_reset(f->va);
	tell(f->a);
	assert_told("\"mode\":\"stopped\",\"why\":\"the device needs a reset\"");
}

static void a_nic_tells_what_its_guest_has_set(void **state)
{
	struct fixture *f = *state;

	start_a(f, ALL);
	assert_command(f->a, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\1", 1);
	assert_command(f->a, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, "\7\0", 2);
	assert_int_equal(net_guest_command(f->a, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, "\0\20", 2),
			 VIRTIO_NET_ERR);
	f->va->faults.refuse_class = VIRTIO_NET_CTRL_MAC;
	assert_int_equal(
		net_guest_command(f->a, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, "\2\0\0\0\0\7", 6),
		VIRTIO_NET_ERR);
	tell(f->a);
	/* The device begins with an address, which is recorded, too. */
	assert_told("\"control\":{\"promiscuous\":[\"on\"],\"macAddress\":[\"52:54:00:00:00:01\"],"
		    "\"vlans\":[\"7\"]}");
	assert_told("\"commands\":{\"done\":2,\"refused\":1,\"refusedByDevice\":1}");
	net_guest_reset(f->a);
	tell(f->a);
	assert_told("\"control\":{}");
}

static void what_goes_through_shadow_rings_is_counted(void **state)
{
	struct fixture *f = *state;
	unsigned int from = 0;

	start_a(f, ALL);
	exchange(f->a, f->va, 0, 1);
	exchange(f->a, f->va, 0, 2);
	tell(f->a);
	assert_told("{\"name\":\"rx0\",\"entries\":64,\"deviceEntries\":64,\"buffers\":2,\"bytes\":");
	assert_told("{\"name\":\"tx0\",\"entries\":64,\"deviceEntries\":64,\"buffers\":2,\"bytes\":");
	assert_true(f->a->net->queues[0].counts.bytes > 2 * f->a->net->path.header_len);
	assert_true(f->a->net->queues[1].counts.bytes > 2 * f->a->net->path.header_len);
	assert_true(f->a->net->queues[1].counts.kicks > 0 && f->a->net->queues[1].counts.device_kicks > 0);
	assert_true(f->a->net->queues[0].counts.interrupts > 0 &&
		    f->a->net->queues[0].counts.device_calls > 0);
	measure(f->a, &from);
	assert_int_equal(from, 0);
	assert_measured("# HELP ferry_nic_link_up Whether the NIC's link is up.\n"
			"# TYPE ferry_nic_link_up gauge\n"
			"ferry_nic_link_up{vm=\"web1\",nic=\"net0\"} 1\n");
	assert_measured("ferry_nic_mode{vm=\"web1\",nic=\"net0\",mode=\"shadow\"} 1\n");
	assert_measured("# TYPE ferry_nic_buffers_total counter\n"
			"ferry_nic_buffers_total{vm=\"web1\",nic=\"net0\",queue=\"rx0\"} 2\n"
			"ferry_nic_buffers_total{vm=\"web1\",nic=\"net0\",queue=\"tx0\"} 2\n");
	assert_measured("ferry_nic_control_commands_total{vm=\"web1\",nic=\"net0\",outcome=\"refused\"} 0\n");
}

/* Whoever asks names the part: nothing is behind the last queue, however far. */
static void parts_end_with_the_last_queue(void **state)
{
	static const unsigned int far[] = { 5, 6, 255, UINT32_MAX };
	struct fixture *f = *state;
	struct error err = { 0 };
	unsigned int from = 3;

	start_a(f, ALL);
	assert_int_equal(tell_part(f->a, &from, end_of(1000), &err), 0);
	assert_int_equal(from, 0);
	assert_int_equal(strncmp(told, "{\"queues\":[{\"name\":\"tx1\"", 24), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(far); i++) {
		from = far[i];
		assert_int_equal(tell_part(f->a, &from, end_of(1000), &err), 0);
		assert_int_equal(from, 0);
		assert_string_equal(told, "{}");
		from = far[i];
		measure(f->a, &from);
		assert_int_equal(from, 0);
		assert_string_equal(measured, "");
	}
}

/* Keeps the NIC's thread until the eventfd is signalled, as a device may. */
static int stand_still(void *arg)
{
	uint64_t count;

	return read(*(int *)arg, &count, sizeof(count)) == sizeof(count) ? 0 : -EIO;
}

static void a_nic_that_stands_still_keeps_nobody(void **state)
{
	struct fixture *f = *state;
	struct loop_call call;
	int fd = eventfd(0, EFD_CLOEXEC);

	start_a(f, ALL);
	loop_post(&f->a->net->loop, &call, stand_still, &fd);
	/* More often than it keeps what was asked. */
	for (unsigned int i = 0; i < 8; i++) {
		struct error err = { 0 };
		unsigned int from = 0;

		assert_int_equal(tell_part(f->a, &from, end_of(5), &err), -ETIMEDOUT);
		assert_non_null(strstr(err.text, "net0: its thread does not answer"));
	}
	loop_signal(fd);
	assert_int_equal(loop_wait(&f->a->net->loop, &call), 0);
	tell(f->a);
	assert_told("\"mode\":\"shadow\"");
	assert_null(f->a->net->left);
	close(fd);
}

/* Nobody waits for it any more, and the NIC goes: the sanitizer sees what would be left. */
static void a_question_that_was_left_goes_with_the_nic(void **state)
{
	struct fixture *f = *state;
	struct error err = { 0 };
	struct loop_call call;
	unsigned int from = 0;
	int fd = eventfd(0, EFD_CLOEXEC);

	loop_post(&f->a->net->loop, &call, stand_still, &fd);
	assert_int_equal(tell_part(f->a, &from, end_of(5), &err), -ETIMEDOUT);
	loop_signal(fd);
	assert_int_equal(loop_wait(&f->a->net->loop, &call), 0);
	close(fd);
}

/* On the NIC's thread: a guest that has set all that it can, and counters that are about to wrap. */
static int fill_to_the_brim(void *arg)
{
	struct net *net = arg;
	struct cvq_store *store = &net->ctrl.store;

	for (unsigned int i = 0; i < CVQ_N_RX_MODES; i++)
		store->values[VIRTIO_NET_CTRL_RX][i].set = true;
	store->mac_table_set = true;
	store->n_unicast = store->n_multicast = CVQ_MAX_MACS / 2;
	memset(store->vlans, 0x55, sizeof(store->vlans));
	for (unsigned int i = 0; i < CVQ_MAX_QUEUES; i++) {
		store->coal_queue[i].set = true;
		memset(store->coal_queue[i].bytes, 0xff, sizeof(store->coal_queue[i].bytes));
	}
	for (unsigned int i = 0; i <= CVQ_MAX_CONTEXTS; i++) {
		uint8_t *p = i > 0 ? store->contexts[i - 1].data : store->mq[1].data;

		/* Every kind of hash, a table of 512 times queue 127, and a key of 255 bytes. */
		memset(p, 0xff, 4);
		put_le16(p + 4, 511);
		put_le16(p + 6, 127);
		for (unsigned int k = 0; k < 513; k++)
			put_le16(p + 8 + 2 * k, 127);
		p[8 + 2 * 513] = 255;
		if (i > 0)
			store->contexts[i - 1].len = 8 + 2 * 513 + 1 + 255;
	}
	store->mq[1].sequence = 1;
	store->mq[1].len = 8 + 2 * 513 + 1 + 255;
	net->ctrl.stats.types = UINT64_MAX;
	memset(net->ctrl.stats.shown, 0x7f, sizeof(net->ctrl.stats.shown));
	for (unsigned int i = 0; i < 4; i++)
		memset(&net->queues[i].counts, 0xff, sizeof(net->queues[i].counts));
	return 0;
}

/* With as many queues as one part has, though this device has fewer. */
static void a_full_nic_fits_one_reply(void **state)
{
	const size_t queues_of_a_part = 16, reply = 20480 - 256;
	struct fixture *f = *state;
	struct json *json = malloc(sizeof(*json));
	const char *queues, *next;

	start_a(f, ALL);
	assert_int_equal(loop_call(&f->a->net->loop, fill_to_the_brim, f->a->net), 0);
	tell(f->a);
	queues = strstr(told, "{\"name\":\"rx0\"");
	next = strstr(told, ",{\"name\":\"tx0\"");
	assert_non_null(queues);
	assert_non_null(next);
	/* "entries" can have three digits more. */
	assert_in_range(strlen(told) + queues_of_a_part * (size_t)(next - queues + 16), 1, reply);
	assert_true(json_parse(json, told, strlen(told)));
	assert_in_range((size_t)json->n + queues_of_a_part * 19, 1, JSON_MAX_TOKENS);
	assert_non_null(strstr(told, "\"rssContexts\":[\"1: hashed: IPv4 "));
	free(json);
}

/* The same of numbers, of a VM with the longest name that one can have: four queues of the ten of a part. */
static void numbers_that_wrap_fit_one_reply(void **state)
{
	char name[65] = "";
	struct fixture *f = *state;
	struct device *dev = device_of(f->a);
	struct error err = { 0 };
	struct metrics m;
	unsigned int from = 0;

	memset(name, 'n', sizeof(name) - 1);
	start_a(f, ALL);
	assert_int_equal(loop_call(&f->a->net->loop, fill_to_the_brim, f->a->net), 0);
	metrics_begin(&m, name, measured, sizeof(measured));
	assert_int_equal(dev->ops->measure(dev, &m, &from, end_of(1000), &err), 0);
	assert_measured("queue=\"tx1\"} 18446744073709551615\n");
	assert_in_range(strlen(measured) + 6 * 6 * 150, 1, sizeof(measured) - 1);
}

struct asker {
	struct net_guest *g;
	_Atomic bool stop;
	_Atomic unsigned int n;
};

static void *ask_again(void *arg)
{
	struct asker *asker = arg;

	while (!asker->stop) {
		struct error err = { 0 };
		unsigned int from = 0;

		if (tell_part(asker->g, &from, end_of(1000), &err) < 0)
			abort();
		asker->n++;
	}
	return NULL;
}

/* As exchange(), which counts on a thread that nobody else asks: so each step is looked for until it is done.
 */
static void exchange_at_last(struct fixture *f, uint8_t mark)
{
	uint8_t out[200], in[1600];
	unsigned int n = 0;
	int len;

	memset(out, mark, sizeof(out));
	assert_true(fake_vdpa_receive(f->va, 0, out, sizeof(out)));
	while ((len = net_guest_received(f->a, 0, in, sizeof(in))) < 0 && n++ < 1000)
		net_guest_settle(f->a);
	assert_int_equal(len, sizeof(out));
	assert_memory_equal(in, out, sizeof(out));
	assert_true(net_guest_send(f->a, 0, out, sizeof(out)));
	assert_int_equal(sent(f->va, 0, in, sizeof(in)), sizeof(out));
	assert_memory_equal(in, out, sizeof(out));
	while (net_guest_reap(f->a, 0) == 0) {
		assert_true(n++ < 1000);
		net_guest_settle(f->a);
	}
}

static void who_asks_disturbs_no_packet(void **state)
{
	struct fixture *f = *state;
	struct asker asker = { .g = f->a };
	pthread_t thread;

	start_a(f, ALL);
	assert_int_equal(pthread_create(&thread, NULL, ask_again, &asker), 0);
	for (uint8_t i = 0; i < 8; i++) {
		exchange_at_last(f, i);
		assert_command(f->a, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, "\7\0", 2);
		track(f->a, i % 2 == 0);
	}
	/* The thread may have begun late; it ends by itself if it gets no answer. */
	while (asker.n == 0)
		exchange_at_last(f, 8);
	asker.stop = true;
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void a_migration_is_the_reason_for_shadow_rings(void **state)
{
	struct fixture *f = *state;

	start_a(f, ALL);
	f->a->net->pins = 0;
	track(f->a, true);
	tell(f->a);
	assert_told("\"why\":\"a migration has to know which memory is written\"");
	track(f->a, false);
	f->a->net->pins = NET_PIN_DEVICE;
}

#define TELL_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TELL_TEST(a_nic_tells_how_it_is),
		TELL_TEST(a_nic_tells_how_long_it_looks_for_packets),
		TELL_TEST(a_nic_that_has_stopped_tells_why),
		TELL_TEST(a_nic_tells_what_its_guest_has_set),
		TELL_TEST(what_goes_through_shadow_rings_is_counted),
		TELL_TEST(parts_end_with_the_last_queue),
		TELL_TEST(a_nic_that_stands_still_keeps_nobody),
		TELL_TEST(a_question_that_was_left_goes_with_the_nic),
		TELL_TEST(a_full_nic_fits_one_reply),
		TELL_TEST(numbers_that_wrap_fit_one_reply),
		TELL_TEST(who_asks_disturbs_no_packet),
		TELL_TEST(a_migration_is_the_reason_for_shadow_rings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
