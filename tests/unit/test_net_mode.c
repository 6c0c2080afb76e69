/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Passthrough on the vDPA device in software, which can do everything, and on one that cannot be suspended:
 * over to shadow rings and back under traffic, what is refused, and what the guest must not notice. */
#include "tests/unit/soft_pair.h"

#include <pthread.h>
#include <stdatomic.h>

#define GUEST_MAC "\x52\x54\0\0\0\1"
#define OTHER_MAC "\x52\x54\0\0\0\x42"

static int read_passing(struct net *net, void *arg)
{
	return net->passing;
}

static bool passing(struct net_guest *g)
{
	settle(g);
	return net_call(g->net, read_passing, NULL);
}

/* In time: tries are some tenths of a second apart. */
static void assert_returns(struct net_guest *g)
{
	for (unsigned int i = 0; !passing(g); i++) {
		assert_true(i < 300);
		poll(NULL, 0, 10);
	}
}

static void start(struct net_guest *g)
{
	assert_int_equal(net_guest_start(g, ALL), DRIVER_OK);
	net_guest_post(g, 0, 16, 2048);
	assert_true(passing(g));
}

static void assert_works(struct pair *p, struct net_guest *g, const char *mac)
{
	for (uint8_t i = 0; i < 40; i++) {
		assert_true(gets(p, g, mac, i));
		assert_sends(p, g, i);
		settle(g);
		assert_int_equal(net_guest_reap(g, 0), 1);
		net_guest_post(g, 0, 1, 2048);
	}
}

static int interrupt_of(struct net_guest *g, unsigned int queue)
{
	return g->net->virtio.pci.vectors[queue + 1].irq.fd;
}

static void test_traffic_and_commands(void **state)
{
	struct pair *p = *state;

	start(&p->a);
	/* There is nothing that Ferry could serve. */
	assert_int_equal(p->a.net->queues[0].svq.size, 0);
	assert_false(p->a.net->queues[1].attached);
	assert_works(p, &p->a, GUEST_MAC);
	assert_int_equal(command(&p->a, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\0", 1),
			 VIRTIO_NET_OK);
	assert_int_equal(command(&p->a, VIRTIO_NET_CTRL_MAC, 1, OTHER_MAC, 6), VIRTIO_NET_OK);
	assert_false(gets(p, &p->a, GUEST_MAC, 1));
	assert_works(p, &p->a, OTHER_MAC);
	net_guest_reset(&p->a);
	start(&p->a);
	assert_works(p, &p->a, GUEST_MAC);
}

struct switcher {
	struct net_guest *g;
	_Atomic bool stop;
	unsigned int n; /* times that the rings were the device's again */
};

static void *switcher_run(void *arg)
{
	struct switcher *s = arg;

	while (!s->stop) {
		struct error err = { 0 };
		uint64_t still_ns = 0;

		if (net_device_ops.track(&s->g->net->device, true, &still_ns, &err) < 0) {
			print_error("%s\n", err.text);
			abort();
		}
		net_device_ops.track(&s->g->net->device, false, NULL, NULL);
		s->n += still_ns > 0;
	}
	return NULL;
}

/* The next frame that arrives, after an interrupt if it is not there yet: its number. */
static unsigned int receive_number(struct net_guest *g)
{
	struct pollfd irq = { .fd = interrupt_of(g, 0), .events = POLLIN };
	uint64_t end_ns = end_of(60000);
	uint8_t in[1600];

	while (net_guest_received(g, 0, in, sizeof(in)) < 0) {
		/* A switch interrupts, whether or not there is anything. */
		assert_true(now_ns() < end_ns);
		if (fake_driver_enable_interrupts(&g->queues[0]))
			continue;
		assert_int_equal(poll(&irq, 1, 5000), 1);
		net_guest_interrupts(g, 0);
	}
	net_guest_post(g, 0, 1, 2048);
	return get_le16(in + 14);
}

/* Nothing is lost, nothing comes twice or out of order, and the guest is told of everything. */
static void test_switches_under_traffic(void **state)
{
	struct pair *p = *state;
	struct switcher s = { .g = &p->a };
	unsigned int n_reaped = 0, n = 600, n_received = 0, n_sent = 0;
	uint8_t frame[100], in[1600];
	pthread_t thread;

	start(&p->a);
	net_guest_post(&p->a, 0, 48, 2048);
	assert_int_equal(pthread_create(&thread, NULL, switcher_run, &s), 0);
	for (unsigned int i = 0; i < n; i++) {
		make(frame, GUEST_MAC, 0x55);
		put_le16(frame + 14, (uint16_t)i);
		soft_net_send(&p->net, NULL, frame, sizeof(frame));
		while (!net_guest_send(&p->a, 0, frame, sizeof(frame)))
			n_reaped += net_guest_reap(&p->a, 0);
		/* A few at a time are under way. */
		for (; n_received + 8 <= i; n_received++)
			assert_int_equal(receive_number(&p->a), n_received);
		for (; n_sent + 8 <= i; n_sent++) {
			assert_int_equal(soft_net_receive(&p->net, NULL, in, sizeof(in), 5000),
					 sizeof(frame));
			assert_int_equal(get_le16(in + 14), n_sent);
		}
		n_reaped += net_guest_reap(&p->a, 0);
	}
	for (; n_received < n; n_received++)
		assert_int_equal(receive_number(&p->a), n_received);
	for (; n_sent < n; n_sent++) {
		assert_int_equal(soft_net_receive(&p->net, NULL, in, sizeof(in), 5000), sizeof(frame));
		assert_int_equal(get_le16(in + 14), n_sent);
	}
	s.stop = true;
	pthread_join(thread, NULL);
	assert_true(s.n > 2);
	settle(&p->a);
	n_reaped += net_guest_reap(&p->a, 0);
	assert_int_equal(n_reaped, n);
	assert_int_equal(soft_net_receive(&p->net, NULL, in, sizeof(in), 50), -1);
	assert_int_equal(net_guest_received(&p->a, 0, in, sizeof(in)), -1);
	assert_int_equal(net_guest_status(&p->a), DRIVER_OK);
	assert_returns(&p->a);
	assert_works(p, &p->a, GUEST_MAC);
}

/* Given up at the latest moment: the device has the rings at once, and a second try gets through. */
static void test_given_up(void **state)
{
	struct pair *p = *state;

	start(&p->a);
	assert_int_equal(command(&p->a, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\0", 1),
			 VIRTIO_NET_OK);
	for (unsigned int i = 0; i < 3; i++) {
		track(&p->a, true);
		assert_false(passing(&p->a));
		assert_works(p, &p->a, GUEST_MAC);
		net_device_ops.pause(device_of(&p->a));
		free(write_tree(&p->a, net_device_ops.save).fdt);
		net_device_ops.resume(device_of(&p->a), false);
		assert_false(passing(&p->a));
		track(&p->a, false);
		assert_true(passing(&p->a));
		assert_works(p, &p->a, GUEST_MAC);
		assert_false(gets(p, &p->a, OTHER_MAC, 1));
	}
	/* The driver begins anew meanwhile. */
	track(&p->a, true);
	assert_int_equal(net_guest_start(&p->a, ALL), DRIVER_OK);
	net_guest_post(&p->a, 0, 16, 2048);
	assert_false(passing(&p->a));
	track(&p->a, false);
	assert_true(passing(&p->a));
	assert_works(p, &p->a, GUEST_MAC);
}

static void test_migrates(void **state)
{
	struct pair *p = *state;
	uint8_t frame[100], in[1600];

	start(&p->a);
	assert_int_equal(command(&p->a, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\0", 1),
			 VIRTIO_NET_OK);
	assert_int_equal(command(&p->a, VIRTIO_NET_CTRL_MAC, 1, OTHER_MAC, 6), VIRTIO_NET_OK);
	assert_int_equal(command(&p->a, VIRTIO_NET_CTRL_VLAN, 0, "\x64\0", 2), VIRTIO_NET_OK);
	assert_int_equal(command(&p->a, VIRTIO_NET_CTRL_MQ, 0, "\x02\0", 2), VIRTIO_NET_OK);
	assert_works(p, &p->a, OTHER_MAC);
	warm(&p->f);
	assert_false(passing(&p->b));
	stop_and_load(&p->f);
	/* As long as a packet is at the destination that has come before the guest. */
	make(frame, OTHER_MAC, 1);
	soft_net_send(&p->net, NULL, frame, sizeof(frame));
	commit(&p->f);
	assert_returns(&p->b);
	while (net_guest_received(&p->b, 0, in, sizeof(in)) >= 0)
		;
	net_guest_post(&p->b, 0, 16, 2048);
	assert_works(p, &p->b, OTHER_MAC);
	assert_false(gets(p, &p->b, GUEST_MAC, 1));
	assert_int_equal(command(&p->b, VIRTIO_NET_CTRL_VLAN, 1, "\x64\0", 2), VIRTIO_NET_OK);
	track(&p->b, true);
	assert_works(p, &p->b, OTHER_MAC);
}

static void assert_not_tracked(struct net_guest *g, const char *reason)
{
	struct error err = { 0 };
	uint64_t still_ns = 0;

	assert_true(net_device_ops.track(device_of(g), true, &still_ns, &err) < 0);
	if (!strstr(err.text, reason))
		print_error("'%s' is not in: %s\n", reason, err.text);
	assert_non_null(strstr(err.text, reason));
	assert_int_equal(still_ns, 0);
	assert_true(passing(g));
}

static void test_refusals(void **state)
{
	struct pair *p = *state;
	struct vdpa *vdpa = p->a.net->vdpa;

	start(&p->a);
	soft_vdpa_misbehave(vdpa, &(struct soft_faults){ .refuse_suspend = true });
	assert_not_tracked(&p->a, "does not suspend");
	assert_works(p, &p->a, GUEST_MAC);
	soft_vdpa_misbehave(vdpa, &(struct soft_faults){ .keep_one = true });
	assert_not_tracked(&p->a, "has taken 1 buffers of queue 0 that it has not used");
	assert_works(p, &p->a, GUEST_MAC);
	soft_vdpa_misbehave(vdpa, &(struct soft_faults){ 0 });
	track(&p->a, true);
	assert_works(p, &p->a, GUEST_MAC);
	/* Not now, then: later. */
	soft_vdpa_misbehave(vdpa, &(struct soft_faults){ .refuse_suspend = true });
	track(&p->a, false);
	assert_false(passing(&p->a));
	assert_works(p, &p->a, GUEST_MAC);
	soft_vdpa_misbehave(vdpa, &(struct soft_faults){ 0 });
	assert_returns(&p->a);
	assert_works(p, &p->a, GUEST_MAC);
}

/* Where a suspended device takes no other rings: from the beginning, with all that the guest has set. */
static void test_by_reset(void **state)
{
	struct pair *p = *state;

	start(&p->a);
	assert_int_equal(command(&p->a, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\0", 1),
			 VIRTIO_NET_OK);
	assert_int_equal(command(&p->a, VIRTIO_NET_CTRL_MAC, 1, OTHER_MAC, 6), VIRTIO_NET_OK);
	soft_vdpa_misbehave(p->a.net->vdpa, &(struct soft_faults){ .refuse_move = true });
	for (unsigned int i = 0; i < 3; i++) {
		track(&p->a, true);
		assert_false(passing(&p->a));
		assert_works(p, &p->a, OTHER_MAC);
		assert_false(gets(p, &p->a, GUEST_MAC, 1));
		track(&p->a, false);
		assert_true(passing(&p->a));
		assert_works(p, &p->a, OTHER_MAC);
		assert_false(gets(p, &p->a, GUEST_MAC, 1));
	}
}

/* As vp_vdpa: only a driver that begins anew gets passthrough again. */
static void test_begins_at_0_only(void **state)
{
	struct pair *p = *state;

	start(&p->a);
	assert_works(p, &p->a, GUEST_MAC);
	soft_vdpa_misbehave(p->a.net->vdpa, &(struct soft_faults){ .base_0 = true });
	for (unsigned int i = 0; i < 2; i++) {
		track(&p->a, true);
		assert_works(p, &p->a, GUEST_MAC);
		track(&p->a, false);
		assert_works(p, &p->a, GUEST_MAC);
		assert_false(passing(&p->a));
	}
	start(&p->a);
	assert_works(p, &p->a, GUEST_MAC);
}

static void mask(struct net_guest *g, unsigned int vector, uint32_t masked)
{
	pci_msix_table_write(&g->net->virtio.pci, 16 * vector + 12, &masked, 4);
}

static bool pending(struct net_guest *g, unsigned int vector)
{
	uint8_t bits[8];

	pci_msix_pba_read(&g->net->virtio.pci, 0, bits, sizeof(bits));
	return bits[vector / 8] >> vector % 8 & 1;
}

static void set_vector(struct net_guest *g, unsigned int queue, uint16_t vector)
{
	net_guest_write(g, g->common + VIRTIO_PCI_COMMON_Q_SELECT, queue, 2);
	net_guest_write(g, g->common + VIRTIO_PCI_COMMON_Q_MSIX, vector, 2);
}

/* The device's interrupts obey the guest's table of vectors. */
static void test_vectors(void **state)
{
	struct pair *p = *state;
	struct pci_msix_vector *vectors = p->a.net->virtio.pci.vectors;

	start(&p->a);
	fake_vm_take(p->a.host, &vectors[1].irq);
	mask(&p->a, 1, 1);
	assert_true(gets(p, &p->a, GUEST_MAC, 1));
	assert_true(pending(&p->a, 1));
	assert_int_equal(fake_vm_take(p->a.host, &vectors[1].irq), 0);
	mask(&p->a, 1, 0);
	assert_false(pending(&p->a, 1));
	assert_int_equal(fake_vm_take(p->a.host, &vectors[1].irq), 1);

	set_vector(&p->a, 0, 4);
	fake_vm_take(p->a.host, &vectors[4].irq);
	assert_true(gets(p, &p->a, GUEST_MAC, 2));
	assert_int_equal(fake_vm_take(p->a.host, &vectors[4].irq), 1);
	assert_int_equal(fake_vm_take(p->a.host, &vectors[1].irq), 0);

	/* Drivers that look at the ISR. */
	set_vector(&p->a, 0, VIRTIO_MSI_NO_VECTOR);
	p->a.net->virtio.isr = 0;
	assert_true(gets(p, &p->a, GUEST_MAC, 3));
	assert_int_equal(p->a.net->virtio.isr, VIRTIO_PCI_ISR_QUEUE);
	assert_int_equal(fake_vm_take(p->a.host, &vectors[4].irq), 0);
	set_vector(&p->a, 0, 1);
	assert_works(p, &p->a, GUEST_MAC);
}

/* A guest that names Ferry's own memory gets nothing from it. */
static void test_window_is_out_of_reach(void **state)
{
	struct pair *p = *state;
	struct net_window *w = &p->a.net->window;
	const uint64_t addrs[] = { w->iova, w->iova + w->data_len };

	assert_true(w->data_len > 0 && w->data_len < w->len);
	for (unsigned int i = 0; i < 2 * ARRAY_SIZE(addrs); i++) {
		struct virtio_seg seg = { addrs[i % 2], 100 };
		uint8_t in[1600];

		start(&p->a);
		/* The second time after they have been in reach, for shadow rings. */
		if (i >= 2) {
			track(&p->a, true);
			track(&p->a, false);
			assert_true(passing(&p->a));
		}
		assert_true(fake_driver_add(&p->a.queues[1], &seg, 1, 0) >= 0);
		fake_driver_publish(&p->a.queues[1]);
		net_guest_kick(&p->a, 1);
		settle(&p->a);
		assert_int_equal(net_guest_status(&p->a), BROKEN);
		assert_int_equal(soft_net_receive(&p->net, NULL, in, sizeof(in), 50), -1);
		/* A migration takes such a NIC as it is. */
		track(&p->a, true);
		track(&p->a, false);
	}
	net_guest_reset(&p->a);
	start(&p->a);
	assert_works(p, &p->a, GUEST_MAC);
}

/* Of a ring in reset there is nothing that a device could have: until it is enabled again, all are Ferry's.
 */
static void test_ring_reset(void **state)
{
	struct pair *p = *state;

	start(&p->a);
	for (unsigned int queue = 0; queue < 2; queue++) {
		net_guest_reset_queue(&p->a, queue);
		assert_false(passing(&p->a));
		net_guest_enable_queue(&p->a, queue);
		if (queue == 0)
			net_guest_post(&p->a, 0, 32, 2048);
		assert_works(p, &p->a, GUEST_MAC);
		assert_returns(&p->a);
		assert_works(p, &p->a, GUEST_MAC);
	}
}

/* A guest whose rings this device cannot serve is welcome, and has shadow rings. */
static void test_rings_that_do_not_fit(void **state)
{
	struct pair *p = *state;
	struct net_config shadow = { .mode = NET_SHADOW, .split_only = true };
	struct vdpa *vdpa = soft_net_device(&p->net, 2, CONFIG_DEFAULT_RING);

	net_guest_exit(&p->a);
	net_guest_exit(&p->b);
	net_guest_init_on(&p->a, soft_net_device(&p->net, 2, CONFIG_DEFAULT_RING), &shadow);
	vdpa->features &= ~BIT(VIRTIO_RING_F_EVENT_IDX);
	net_guest_init_on(&p->b, vdpa, &fixture_config);
	assert_false(virtio_has(net_guest_offered(&p->b), VIRTIO_RING_F_EVENT_IDX));
	p->a.size = 64;

	assert_int_equal(net_guest_start(&p->a, ALL), DRIVER_OK);
	assert_true(virtio_has(p->a.features, VIRTIO_RING_F_EVENT_IDX));
	net_guest_post(&p->a, 0, 16, 2048);
	assert_works(p, &p->a, GUEST_MAC);
	migrate(&p->f);
	poll(NULL, 0, 300);
	assert_false(passing(&p->b));
	assert_true(p->b.net->may_pass);
	net_guest_post(&p->b, 0, 16, 2048);
	assert_works(p, &p->b, GUEST_MAC);
}

/* A device as those of VDUSE are: no control queue, cannot be suspended, forgets its mappings. */

static const struct fake_vdpa_spec plain = {
	.name = "/dev/plain",
	.features = BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_MTU) | BIT(VIRTIO_NET_F_STATUS) |
		    BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_ACCESS_PLATFORM) | BIT(VIRTIO_RING_F_EVENT_IDX),
	.n_pairs = 1,
	.ring_size = 64,
	.ctrl_ring_size = 64,
	.mtu = 1500,
	.mac = { 0x52, 0x54, 0, 0, 0, 1 },
};

static int build_plain(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fixture_config = (struct net_config){ .mode = NET_PASSTHROUGH, .split_only = true };
	build_a(f, &plain);
	*state = f;
	return 0;
}

static int demolish_plain(void **state)
{
	fixture_config = (struct net_config){ .split_only = true };
	return teardown(state);
}

static void start_plain(struct fixture *f)
{
	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	net_guest_post(f->a, 0, 10, 1600);
	assert_true(passing(f->a));
}

static void test_plain_to_and_fro(void **state)
{
	struct fixture *f = *state;
	uint8_t data[100] = { 0 }, in[1600];
	struct fake_element e;

	start_plain(f);
	exchange(f->a, f->va, 0, 1);
	for (unsigned int round = 0; round < 3; round++) {
		/* Two packets, one of which the device has taken and not used: the order is kept. */
		for (uint8_t i = 0; i < 2; i++) {
			data[0] = i;
			assert_true(net_guest_send(f->a, 0, data, sizeof(data)));
		}
		assert_true(fake_vdpa_take(f->va, 1, &e));
		track(f->a, true);
		assert_false(passing(f->a));
		for (uint8_t i = 0; i < 2; i++) {
			assert_int_equal(fake_vdpa_sent(f->va, 0, in, sizeof(in)), sizeof(data));
			assert_int_equal(in[0], i);
		}
		net_guest_settle(f->a);
		assert_int_equal(net_guest_reap(f->a, 0), 2);
		exchange(f->a, f->va, 0, 2);
		track(f->a, false);
		assert_true(passing(f->a));
		exchange(f->a, f->va, 0, 3);
		net_guest_post(f->a, 0, 2, 1600);
	}
}

/* What a device has out of order stays with it, on shadow rings, until it has given it back. */
static void test_plain_waits_for_order(void **state)
{
	struct fixture *f = *state;
	struct fake_element first, second;
	uint8_t data[100] = { 0 };
	unsigned int n_resets;

	start_plain(f);
	track(f->a, true);
	for (unsigned int i = 0; i < 2; i++)
		assert_true(net_guest_send(f->a, 0, data, sizeof(data)));
	assert_true(fake_vdpa_take(f->va, 1, &first) && fake_vdpa_take(f->va, 1, &second));
	fake_vdpa_use(f->va, 1, second.head, 0);
	fake_vdpa_publish(f->va, 1);
	net_guest_settle(f->a);
	assert_int_equal(net_guest_reap(f->a, 0), 1);
	n_resets = f->va->n_resets;
	track(f->a, false);
	assert_false(passing(f->a));
	exchange(f->a, f->va, 0, 1);
	poll(NULL, 0, 300);
	assert_false(passing(f->a));
	fake_vdpa_use(f->va, 1, first.head, 0);
	fake_vdpa_publish(f->va, 1);
	assert_returns(f->a);
	assert_int_equal(f->va->n_resets, n_resets + 1);
	assert_int_equal(net_guest_reap(f->a, 0), 1);
	exchange(f->a, f->va, 0, 2);
}

/* What the guest, or Ferry, has written into the doorbell of queue 1 since the last call; -1: nothing. */
static int rung(struct fake_vdpa *v)
{
	uint16_t value, none = 0xffff;

	assert_int_equal(pread(v->doorbells, &value, 2, PAGE_SIZE), 2);
	assert_int_equal(pwrite(v->doorbells, &none, 2, PAGE_SIZE), 2);
	return value == none ? -1 : value;
}

/* A guest's kick goes straight to a device with doorbells, as long as the rings are the device's. */
static void test_doorbells(void **state)
{
	struct fake_vdpa_spec spec = plain;
	struct fixture *f = *state;

	spec.doorbells = true;
	build_a(f, &spec);
	start_plain(f);
	rung(f->va);
	for (unsigned int i = 0; i < 2; i++) {
		net_guest_kick(f->a, 1);
		assert_int_equal(rung(f->va), 1);
		exchange(f->a, f->va, 0, 1);
		track(f->a, true);
		rung(f->va);
		net_guest_kick(f->a, 1);
		assert_int_equal(rung(f->va), -1);
		exchange(f->a, f->va, 0, 2);
		track(f->a, false);
		/* For what was made available meanwhile. */
		assert_int_equal(rung(f->va), 1);
	}
	net_guest_reset(f->a);
	net_guest_kick(f->a, 1);
	assert_int_equal(rung(f->va), -1);
}

/* What such a device has, when it has not kept the order, nobody knows: the guest stays, and goes on. */
static void test_plain_out_of_order(void **state)
{
	struct fixture *f = *state;
	struct fake_element first, second;
	uint8_t data[100] = { 0 }, in[1600];
	unsigned int n_resets;
	uint16_t head;
	uint32_t len;

	start_plain(f);
	n_resets = f->va->n_resets;
	for (unsigned int i = 0; i < 2; i++)
		assert_true(net_guest_send(f->a, 0, data, sizeof(data)));
	assert_true(fake_vdpa_take(f->va, 1, &first) && fake_vdpa_take(f->va, 1, &second));
	fake_vdpa_use(f->va, 1, second.head, 0);
	fake_vdpa_publish(f->va, 1);
	assert_not_tracked(f->a, "buffers of queue 1 in order");
	fake_vdpa_use(f->va, 1, first.head, 0);
	fake_vdpa_publish(f->va, 1);
	assert_int_equal(net_guest_reap(f->a, 0), 2);
	exchange(f->a, f->va, 0, 3);
	assert_int_equal(f->va->n_resets, n_resets);

	/* A full ring no longer shows what was used of it; but a buffer that is in it twice. */
	start_plain(f);
	net_guest_post(f->a, 0, 54, 1600);
	assert_true(fake_vdpa_take(f->va, 0, &first) && fake_vdpa_take(f->va, 0, &second));
	fake_vdpa_use(f->va, 0, second.head, 12);
	fake_vdpa_publish(f->va, 0);
	assert_int_equal(fake_driver_get_used(&f->a->queues[0], &head, &len), 1);
	assert_int_equal(net_guest_post(f->a, 0, 1, 1600), 1);
	assert_not_tracked(f->a, "buffers of queue 0 in order");
	fake_vdpa_use(f->va, 0, first.head, 12);
	fake_vdpa_publish(f->va, 0);
	assert_int_equal(net_guest_received(f->a, 0, in, sizeof(in)), 0);
}

static void create(struct vdpa *vdpa, enum net_mode mode, bool packed, bool may_pass, const char *reason)
{
	struct net_config config = { .mode = mode,
				     .split_only = !packed,
				     .packed_text = packed ? "on" : NULL };
	struct fake_vm *host = fake_vm_new();
	struct error err = { 0 };
	struct pci_bus bus;
	struct net *net;
	int ret;

	assert_int_equal(memory_init(&host->vm.memory, NET_GUEST_MEM, &err), 0);
	assert_int_equal(pci_bus_init(&bus, &host->vm, &err), 0);
	ret = net_create(&net, &host->vm, &bus, vdpa, 0, &config, &err);
	if (reason) {
		assert_int_equal(ret, -ENOTSUP);
		assert_non_null(strstr(err.text, reason));
	} else {
		assert_int_equal(ret, 0);
		assert_int_equal(net->may_pass, may_pass);
		net_destroy(net);
	}
	pci_bus_exit(&bus);
	memory_exit(&host->vm.memory);
	free(host);
}

static void test_choice(void **state)
{
	static const struct {
		const struct fake_vdpa_spec *spec;
		enum net_mode mode;
		bool packed, may_pass;
		const char *reason;
	} rows[] = {
		{ &fake_vdpa_default, NET_AUTO, false, false, NULL },
		{ &fake_vdpa_default, NET_PASSTHROUGH, false, false,
		  "one address space for data and control queues" },
		{ &plain, NET_AUTO, false, false, NULL },
		{ &plain, NET_PASSTHROUGH, false, true, NULL },
		{ &plain, NET_PASSTHROUGH, true, false, "packed rings" },
		{ NULL, NET_AUTO, false, true, NULL },
		{ NULL, NET_AUTO, true, false, NULL },
		{ NULL, NET_SHADOW, false, false, NULL },
		{ NULL, NET_PASSTHROUGH, false, true, NULL },
	};
	struct soft_net net;

	soft_net_init(&net);
	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fake_vdpa *fake = rows[i].spec ? fake_vdpa_new(rows[i].spec) : NULL;

		create(fake ? &fake->vdpa : soft_net_device(&net, 1, CONFIG_DEFAULT_RING), rows[i].mode,
		       rows[i].packed, rows[i].may_pass, rows[i].reason);
		if (fake)
			fake_vdpa_free(fake);
	}
	soft_net_exit(&net);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_traffic_and_commands, build, demolish),
		cmocka_unit_test_setup_teardown(test_switches_under_traffic, build, demolish),
		cmocka_unit_test_setup_teardown(test_given_up, build, demolish),
		cmocka_unit_test_setup_teardown(test_migrates, build, demolish),
		cmocka_unit_test_setup_teardown(test_refusals, build, demolish),
		cmocka_unit_test_setup_teardown(test_by_reset, build, demolish),
		cmocka_unit_test_setup_teardown(test_begins_at_0_only, build, demolish),
		cmocka_unit_test_setup_teardown(test_vectors, build, demolish),
		cmocka_unit_test_setup_teardown(test_window_is_out_of_reach, build, demolish),
		cmocka_unit_test_setup_teardown(test_ring_reset, build, demolish),
		cmocka_unit_test_setup_teardown(test_rings_that_do_not_fit, build, demolish),
		cmocka_unit_test_setup_teardown(test_plain_to_and_fro, build_plain, demolish_plain),
		cmocka_unit_test_setup_teardown(test_plain_waits_for_order, build_plain, demolish_plain),
		cmocka_unit_test_setup_teardown(test_doorbells, build_plain, demolish_plain),
		cmocka_unit_test_setup_teardown(test_plain_out_of_order, build_plain, demolish_plain),
		cmocka_unit_test(test_choice),
	};

	fixture_config.split_only = true;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
