/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The vDPA NIC in software on a port that refuses, fails and goes: what the guest is told, and what brings
 * packets back. */
#define _GNU_SOURCE
#include "devices/vdpa/soft/hub.h"
#include "tests/unit/devices/vdpa/soft/soft_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* The hub's operations, with these answers in their place while they are not 0. */
static struct {
	const struct soft_port_ops *real;
	_Atomic int receive, send, offloads, pairs;
	_Atomic enum soft_port_state state;
	_Atomic unsigned int n_receive, n_state;
} port;

static int fake_receive(struct soft_port *p, unsigned int source, const struct iovec *iov, unsigned int n)
{
	port.n_receive++;
	return port.receive ? port.receive : port.real->receive(p, source, iov, n);
}

static int fake_send(struct soft_port *p, unsigned int pair, struct soft_out *packets, unsigned int n)
{
	return port.send ? port.send : port.real->send(p, pair, packets, n);
}

static int fake_set_offloads(struct soft_port *p, uint64_t offloads)
{
	return port.offloads;
}

static int fake_set_pairs(struct soft_port *p, unsigned int n_pairs)
{
	return port.pairs;
}

static enum soft_port_state fake_state(struct soft_port *p)
{
	port.n_state++;
	port.real->state(p);
	return port.state;
}

static void fake_close(struct soft_port *p)
{
	port.real->close(p);
}

static const struct soft_port_ops fake_ops = {
	.receive = fake_receive,
	.send = fake_send,
	.set_offloads = fake_set_offloads,
	.set_pairs = fake_set_pairs,
	.state = fake_state,
	.close = fake_close,
};

static int setup_port(void **state)
{
	int ret = setup(state);

	port.real = soft_rig_device(*state)->port->ops;
	port.receive = port.send = port.offloads = port.pairs = 0;
	port.n_receive = port.n_state = 0;
	port.state = SOFT_PORT_UP;
	soft_rig_device(*state)->port->ops = &fake_ops;
	return ret;
}

static uint16_t link_status(struct soft_rig *r)
{
	struct error err = { 0 };
	uint8_t status[2];

	soft_settle(r);
	assert_int_equal(r->vdpa->ops->get_config(r->vdpa, 6, status, 2, &err), 0);
	return get_le16(status);
}

/* Waits for it, however long the device lets its port alone. */
static bool comes_back(struct soft_rig *r)
{
	struct pollfd pfd = { .fd = r->call[0], .events = POLLIN };
	uint8_t in[128];

	return poll(&pfd, 1, FAKE_PATIENCE_MS) == 1 && soft_rig_received(r, 0, NULL, in, sizeof(in)) >= 0;
}

static void test_a_port_that_keeps_failing_does_not_keep_the_thread_busy(void **state)
{
	static const int errors[] = { -EINVAL, -EIO, -ENOMEM, -ENETDOWN, -ENODEV };
	struct soft_rig *r = *state;
	uint8_t frame[128];
	uint32_t len = ipv4_frame(frame, 17, vector_ports);

	soft_rig_start(r, NO_EV);
	post_all(r, 32);
	for (unsigned int i = 0; i < ARRAY_SIZE(errors); i++) {
		uint64_t began = now_ns(), ms;

		port.receive = errors[i];
		port.n_receive = 0;
		soft_net_send(&r->net, NULL, frame, len);
		/* The loop goes round three times in each. */
		for (unsigned int k = 0; k < 200; k++)
			soft_settle(r);
		ms = (now_ns() - began) / 1000000 + 1;
		assert_in_range(port.n_receive, 1, 64 * (2 + ms / 20));
		assert_int_equal(link_status(r), VIRTIO_NET_S_LINK_UP);
		/* The packet is still there; nobody kicks. */
		soft_rig_calls(r, 0);
		port.receive = 0;
		assert_true(comes_back(r));
	}
}

static void test_one_bad_packet_is_dropped_and_counted(void **state)
{
	struct soft_rig *r = *state;
	uint8_t frame[128];
	uint32_t len = ipv4_frame(frame, 17, vector_ports);
	uint64_t dropped;

	soft_rig_start(r, NO_EV);
	post_all(r, 32);
	port.receive = -EINVAL;
	soft_net_send(&r->net, NULL, frame, len);
	while (soft_rig_counter(r, 0, SOFT_DROPS) == 0)
		;
	port.receive = 0;
	assert_true(comes_back(r));
	dropped = soft_rig_counter(r, 0, SOFT_DROPS);
	assert_int_equal(arrives(r, frame, len, NULL), 0);
	assert_int_equal(soft_rig_counter(r, 0, SOFT_DROPS), dropped);
	port.send = -EINVAL;
	soft_rig_send(r, 0, NULL, frame, len);
	assert_int_equal(soft_rig_counter(r, 1, SOFT_DROPS), 1);
	assert_int_equal(soft_rig_counter(r, 1, SOFT_PACKETS), 0);
	port.send = 0;
	soft_rig_send(r, 0, NULL, frame, len);
	assert_int_equal(soft_rig_counter(r, 1, SOFT_PACKETS), 1);
	assert_int_equal(link_status(r), VIRTIO_NET_S_LINK_UP);
}

static void test_a_send_that_fails_shows_that_the_link_is_down(void **state)
{
	struct soft_rig *r = *state;
	uint8_t frame[128];
	uint32_t len = ipv4_frame(frame, 17, vector_ports);

	soft_rig_start(r, NO_EV);
	post_all(r, 8);
	port.send = -ENETDOWN;
	port.state = SOFT_PORT_DOWN;
	soft_rig_send(r, 0, NULL, frame, len);
	assert_int_equal(link_status(r), 0);
	assert_int_equal(soft_rig_reap(r, 0), 1);
	/* Not the end of anything. */
	port.send = 0;
	port.state = SOFT_PORT_UP;
	assert_int_equal(arrives(r, frame, len, NULL), 0);
	soft_rig_send(r, 0, NULL, frame, len);
	assert_int_equal(soft_rig_counter(r, 1, SOFT_PACKETS), 1);
}

static void test_a_port_that_is_gone_is_left_alone(void **state)
{
	struct soft_rig *r = *state;
	uint8_t frame[128];
	uint32_t len = ipv4_frame(frame, 17, vector_ports);

	soft_rig_start(r, NO_EV);
	post_all(r, 8);
	port.receive = port.send = port.offloads = port.pairs = -ENODEV;
	port.state = SOFT_PORT_GONE;
	soft_net_send(&r->net, NULL, frame, len);
	assert_int_equal(link_status(r), 0);
	port.n_receive = port.n_state = 0;
	for (unsigned int i = 0; i < 8; i++) {
		soft_rig_send(r, 0, NULL, frame, len);
		soft_rig_post(r, 0, 1, 2048);
		soft_settle(r);
	}
	assert_int_equal(soft_rig_reap(r, 0), 8);
	/* The guest may set anything: there are no packets. */
	assert_int_equal(command(r, MQ, 0, "\2\0", 2), VIRTIO_NET_OK);
	assert_int_equal(command(r, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, "\0\0\0\0\0\0\0\0", 8), VIRTIO_NET_OK);
	soft_rig_reset(r);
	soft_rig_start(r, NO_EV);
	assert_int_equal(link_status(r), 0);
	assert_int_equal(port.n_receive, 0);
	assert_int_equal(port.n_state, 0);
}

/* Answers */

static void test_offloads_that_are_refused_stay_as_they_were(void **state)
{
	struct soft_rig *r = *state;
	struct virtio_net_hdr_v1 hdr = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					 .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
					 .gso_size = 20 };
	uint8_t frame[128], in[128];
	uint32_t len = ipv4_frame(frame, 6, vector_ports);

	soft_rig_start(r, ALL);
	post_all(r, 8);
	port.offloads = -EINVAL;
	assert_int_equal(command(r, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, "\0\0\0\0\0\0\0\0", 8),
			 VIRTIO_NET_ERR);
	soft_net_send(&r->net, &hdr, frame, len);
	soft_settle(r);
	assert_int_equal(soft_rig_received(r, 0, NULL, in, sizeof(in)), len);
	port.offloads = 0;
	assert_int_equal(command(r, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, "\0\0\0\0\0\0\0\0", 8), VIRTIO_NET_OK);
	soft_net_send(&r->net, &hdr, frame, len);
	soft_settle(r);
	assert_int_equal(soft_rig_received(r, 0, NULL, in, sizeof(in)), -1);
}

static void test_pairs_that_are_refused_stay_as_they_were(void **state)
{
	struct soft_rig *r = *state;
	uint8_t frame[128], rss[8 + 2 * 4 + 3] = { 0 }, hash[13] = { 0 };
	uint32_t len = ipv4_frame(frame, 17, vector_ports);
	struct soft_steering before;

	soft_rig_start(r, NO_EV);
	post_all(r, 16);
	/* Everything to pair 1. */
	put_le16(rss + 4, 3);
	put_le16(rss + 6, 1);
	for (unsigned int i = 0; i < 4; i++)
		put_le16(rss + 8 + 2 * i, 1);
	put_le16(rss + 16, 2);
	assert_int_equal(command(r, MQ, 1, rss, sizeof(rss)), VIRTIO_NET_OK);
	assert_int_equal(arrives(r, frame, len, NULL), 1);
	before = soft_rig_device(r)->steering;
	port.pairs = -ENOMEM;
	put_le32(rss, 1);
	put_le16(rss + 6, 3);
	assert_int_equal(command(r, MQ, 1, rss, sizeof(rss)), VIRTIO_NET_ERR);
	assert_int_equal(command(r, MQ, 0, "\4\0", 2), VIRTIO_NET_ERR);
	assert_memory_equal(&soft_rig_device(r)->steering, &before, sizeof(before));
	assert_int_equal(arrives(r, frame, len, NULL), 1);
	/* A hash alone does not need the port. */
	assert_int_equal(command(r, MQ, 2, hash, sizeof(hash)), VIRTIO_NET_OK);
	port.pairs = 0;
	assert_int_equal(command(r, MQ, 0, "\4\0", 2), VIRTIO_NET_OK);
}

static void test_a_start_that_the_port_refuses_fails(void **state)
{
	struct soft_rig *r = *state;
	struct error err = { 0 };

	soft_rig_start(r, NO_EV);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(r->vdpa->ops->set_status(r->vdpa, 0, &err), 0);
		port.offloads = i == 0 ? -EINVAL : 0;
		port.pairs = i == 0 ? 0 : -EINVAL;
		assert_int_equal(r->vdpa->ops->set_status(r->vdpa, 3, &err), 0);
		assert_int_equal(r->vdpa->ops->set_features(r->vdpa, r->features, &err), 0);
		assert_int_equal(r->vdpa->ops->set_status(r->vdpa, 11, &err), 0);
		assert_int_equal(r->vdpa->ops->set_status(r->vdpa, 15, &err), -EINVAL);
		assert_non_null(strstr(err.text, "does not take what the driver has accepted"));
		assert_false(soft_rig_device(r)->started);
	}
	port.pairs = 0;
}

static void test_a_reply_that_does_not_fit_is_an_error(void **state)
{
	struct soft_rig *r = *state;
	struct fake_driver *q = &r->queues[8];
	struct virtio_seg segs[2] = { { 0xe00000, 6 }, { 0xf00000, 8 } };
	uint8_t ack = 0xff, data[6] = { COAL, 3 };
	uint16_t head;
	uint32_t len;

	soft_rig_start(r, NO_EV);
	assert_int_equal(memory_write(&r->mem, 0xe00000, data, sizeof(data)), 0);
	for (unsigned int i = 0; i < 2; i++) {
		segs[1].len = 8 + i;
		assert_true(fake_driver_add(q, segs, 1, 1) >= 0);
		fake_driver_publish(q);
		soft_rig_kick(r, 8);
		soft_settle(r);
		assert_int_equal(fake_driver_get_used(q, &head, &len), 1);
		assert_int_equal(memory_read(&r->mem, 0xf00000, &ack, 1), 0);
		assert_int_equal(ack, i == 0 ? VIRTIO_NET_ERR : VIRTIO_NET_OK);
		assert_int_equal(len, i == 0 ? 1 : 9);
	}
}

/* The hub */

static void test_a_hub_deletes_sockets_that_nobody_has(void **state)
{
	struct soft_rig *r = *state;
	struct sockaddr_un dead = { .sun_family = AF_UNIX }, file = { .sun_family = AF_UNIX };
	struct stat st;
	uint8_t frame[128], in[128];
	uint32_t len = ipv4_frame(frame, 17, vector_ports);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	soft_rig_start(r, NO_EV);
	snprintf(dead.sun_path, sizeof(dead.sun_path), "%.64s/port-dead", r->net.folder);
	snprintf(file.sun_path, sizeof(file.sun_path), "%.64s/port-file", r->net.folder);
	assert_int_equal(bind(fd, (struct sockaddr *)&dead, sizeof(dead)), 0);
	close(fd);
	fd = open(file.sun_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	/* For a while the socket is taken for one of a port that has just come. */
	do {
		soft_rig_send(r, 0, NULL, frame, len);
		assert_int_equal(soft_net_receive(&r->net, NULL, in, sizeof(in), 2000), len);
		soft_settle(r);
		soft_rig_reap(r, 0);
	} while (lstat(dead.sun_path, &st) == 0);
	assert_int_equal(lstat(file.sun_path, &st), 0);
	unlink(file.sun_path);
}

static void test_a_hub_leaves_a_socket_that_has_its_name_by_now(void **state)
{
	char folder[] = "/tmp/ferry-hub-XXXXXX";
	struct net_config config = { .hub = folder, .n_queues = 1 };
	struct sockaddr_un own = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(own);
	struct soft_port *hub = NULL;
	struct error err = { 0 };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_non_null(mkdtemp(folder));
	for (unsigned int taken = 0; taken < 2; taken++) {
		len = sizeof(own);
		assert_int_equal(soft_hub_open(&hub, &config, &err), 0);
		assert_int_equal(getsockname(hub->sources[0].event.fd, (struct sockaddr *)&own, &len), 0);
		if (taken) {
			assert_int_equal(unlink(own.sun_path), 0);
			assert_int_equal(bind(fd, (struct sockaddr *)&own, sizeof(own)), 0);
		}
		hub->undo.fn(&hub->undo);
		hub->ops->close(hub);
		assert_int_equal(access(own.sun_path, F_OK), taken ? 0 : -1);
	}
	unlink(own.sun_path);
	close(fd);
	rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_port_that_keeps_failing_does_not_keep_the_thread_busy,
						setup_port, teardown),
		cmocka_unit_test_setup_teardown(test_one_bad_packet_is_dropped_and_counted, setup_port,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_send_that_fails_shows_that_the_link_is_down,
						setup_port, teardown),
		cmocka_unit_test_setup_teardown(test_a_port_that_is_gone_is_left_alone, setup_port, teardown),
		cmocka_unit_test_setup_teardown(test_offloads_that_are_refused_stay_as_they_were, setup_port,
						teardown),
		cmocka_unit_test_setup_teardown(test_pairs_that_are_refused_stay_as_they_were, setup_port,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_start_that_the_port_refuses_fails, setup_port,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_reply_that_does_not_fit_is_an_error, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_hub_deletes_sockets_that_nobody_has, setup, teardown),
		cmocka_unit_test(test_a_hub_leaves_a_socket_that_has_its_name_by_now),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
