/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Passthrough on the vDPA device in software, which can do everything: over to shadow rings and back under
 * traffic, what is refused, and what the guest must not notice. */
#include "tests/unit/devices/vdpa/soft/soft_pair.h"

#include <pthread.h>
#include <stdatomic.h>

#include "devices/pci/msix.h"

#define GUEST_MAC "\x52\x54\0\0\0\1"
#define OTHER_MAC "\x52\x54\0\0\0\x42"

static void start(struct net_guest *g)
{
	assert_int_equal(net_guest_start(g, ALL), DRIVER_OK);
	net_guest_post(g, 0, 16, 2048);
	assert_true(passing(g));
}

static void assert_works(struct pair *p, struct net_guest *g, const char *mac)
{
	for (uint8_t i = 0; i < 40; i++) {
		assert_true(reaches(p, g, mac, i));
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

static void packets_pass_by_and_commands_are_served(void **state)
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
	assert_false(reaches(p, &p->a, GUEST_MAC, 1));
	assert_works(p, &p->a, OTHER_MAC);
	net_guest_reset(&p->a);
	start(&p->a);
	assert_works(p, &p->a, GUEST_MAC);
}

/* What Ferry does not see it does not count. */
static void what_passes_by_is_not_counted(void **state)
{
	struct pair *p = *state;
	struct device *dev = &p->a.net->device;
	char told[16384];
	struct error err = { 0 };
	unsigned int from = 0;
	struct facts f;

	start(&p->a);
	assert_works(p, &p->a, GUEST_MAC);
	facts_begin(&f, told, sizeof(told));
	assert_int_equal(dev->ops->tell(dev, &f, &from, end_of(1000), &err), 0);
	facts_end(&f);
	assert_non_null(strstr(told, "\"mode\":\"passthrough\",\"linkUp\""));
	assert_non_null(strstr(told, "{\"name\":\"rx0\",\"entries\":"));
	assert_null(strstr(told, "\"buffers\""));
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

		if (net_device_ops.track(&s->g->net->device, &still_ns, &err) < 0) {
			print_error("%s\n", err.text);
			abort();
		}
		net_device_ops.untrack(&s->g->net->device);
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
		assert_int_equal(poll(&irq, 1, FAKE_PATIENCE_MS), 1);
		net_guest_interrupts(g, 0);
	}
	net_guest_post(g, 0, 1, 2048);
	return get_le16(in + 14);
}

/* Nothing is lost, nothing comes twice or out of order, and the guest is told of everything. */
static void no_packet_is_lost_by_a_switch_under_traffic(void **state)
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
static void a_given_up_migration_gives_the_rings_back_at_once(void **state)
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
		net_device_ops.resume(device_of(&p->a), DEVICE_STAYED);
		assert_false(passing(&p->a));
		track(&p->a, false);
		assert_true(passing(&p->a));
		assert_works(p, &p->a, GUEST_MAC);
		assert_false(reaches(p, &p->a, OTHER_MAC, 1));
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

static void a_guest_in_passthrough_moves(void **state)
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
	/* The network is a socket with room for few: frames that nobody reads are in the others' way. */
	while (soft_net_receive(&p->net, NULL, in, sizeof(in), 0) >= 0)
		;
	net_guest_post(&p->b, 0, 16, 2048);
	assert_works(p, &p->b, OTHER_MAC);
	assert_false(reaches(p, &p->b, GUEST_MAC, 1));
	assert_int_equal(command(&p->b, VIRTIO_NET_CTRL_VLAN, 1, "\x64\0", 2), VIRTIO_NET_OK);
	track(&p->b, true);
	assert_works(p, &p->b, OTHER_MAC);
}

static int read_announcing(struct net *net, void *arg)
{
	return net->space.announcing;
}

/* Its rings are the device's long before the last announcement, for which it is asked again. */
static void a_guest_that_announces_itself_is_back_in_passthrough_sooner(void **state)
{
	struct pair *p = *state;
	uint64_t start_ns, passed_ns;

	start(&p->a);
	warm(&p->f);
	stop_and_load(&p->f);
	commit(&p->f);
	start_ns = now_ns();
	assert_int_equal(net_call(p->b.net, read_announcing, NULL), 1);
	assert_int_equal(command(&p->b, VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0),
			 VIRTIO_NET_OK);
	assert_returns(&p->b);
	passed_ns = now_ns();
	assert_int_equal(net_call(p->b.net, read_announcing, NULL), 0);
	while (net_call(p->b.net, read_announcing, NULL) == 0)
		assert_true(now_ns() - start_ns < UINT64_C(10000000000));
	/* However slow this machine is: the sixth round is 0.8 s behind the fifth. */
	assert_true(now_ns() - passed_ns > UINT64_C(200000000));
	assert_true(passing(&p->b));
	assert_int_equal(command(&p->b, VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0),
			 VIRTIO_NET_OK);
	assert_works(p, &p->b, GUEST_MAC);
}

static void a_device_that_refuses_to_switch_goes_on(void **state)
{
	struct pair *p = *state;
	struct vdpa *vdpa = p->a.net->backend.vdpa;

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

/* Where a suspended device takes no other rings: from the beginning, with all that the guest has set. With
 * the guest's own rings there are none to take back what came before the guest's offloads were known. */
static void a_device_that_takes_no_other_rings_starts_anew(void **state)
{
	struct pair *p = *state;

	start(&p->a);
	assert_int_equal(command(&p->a, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\0", 1),
			 VIRTIO_NET_OK);
	assert_int_equal(command(&p->a, VIRTIO_NET_CTRL_MAC, 1, OTHER_MAC, 6), VIRTIO_NET_OK);
	assert_int_equal(command(&p->a, VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
				 "\0\0\0\0\0\0\0", 8),
			 VIRTIO_NET_OK);
	soft_vdpa_misbehave(p->a.net->backend.vdpa, &(struct soft_faults){ .refuse_move = true });
	for (unsigned int i = 0; i < 3; i++) {
		track(&p->a, true);
		assert_false(passing(&p->a));
		assert_works(p, &p->a, OTHER_MAC);
		assert_false(reaches(p, &p->a, GUEST_MAC, 1));
		track(&p->a, false);
		assert_true(passing(&p->a));
		assert_works(p, &p->a, OTHER_MAC);
		assert_false(reaches(p, &p->a, GUEST_MAC, 1));
	}
}

/* As vp_vdpa: only a driver that begins anew gets passthrough again. */
static void a_device_that_begins_at_0_only_stays_on_shadow_rings(void **state)
{
	struct pair *p = *state;

	start(&p->a);
	assert_works(p, &p->a, GUEST_MAC);
	soft_vdpa_misbehave(p->a.net->backend.vdpa, &(struct soft_faults){ .base_0 = true });
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
static void interrupts_follow_the_vectors_of_the_guest(void **state)
{
	struct pair *p = *state;
	struct pci_msix_vector *vectors = p->a.net->virtio.pci.vectors;

	start(&p->a);
	fake_vm_take(p->a.host, &vectors[1].irq);
	mask(&p->a, 1, 1);
	assert_true(reaches(p, &p->a, GUEST_MAC, 1));
	assert_true(pending(&p->a, 1));
	assert_int_equal(fake_vm_take(p->a.host, &vectors[1].irq), 0);
	mask(&p->a, 1, 0);
	assert_false(pending(&p->a, 1));
	assert_int_equal(fake_vm_take(p->a.host, &vectors[1].irq), 1);

	set_vector(&p->a, 0, 4);
	fake_vm_take(p->a.host, &vectors[4].irq);
	assert_true(reaches(p, &p->a, GUEST_MAC, 2));
	assert_int_equal(fake_vm_take(p->a.host, &vectors[4].irq), 1);
	assert_int_equal(fake_vm_take(p->a.host, &vectors[1].irq), 0);

	/* Drivers that look at the ISR. */
	set_vector(&p->a, 0, VIRTIO_MSI_NO_VECTOR);
	p->a.net->virtio.isr = 0;
	assert_true(reaches(p, &p->a, GUEST_MAC, 3));
	assert_int_equal(p->a.net->virtio.isr, VIRTIO_PCI_ISR_QUEUE);
	assert_int_equal(fake_vm_take(p->a.host, &vectors[4].irq), 0);
	set_vector(&p->a, 0, 1);
	assert_works(p, &p->a, GUEST_MAC);
}

/* A guest that names Ferry's own memory gets nothing from it. */
static void the_window_is_out_of_the_reach_of_the_guest(void **state)
{
	struct pair *p = *state;
	struct net_window *w = &p->a.net->path.window;
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
static void a_ring_in_reset_keeps_all_on_shadow_rings(void **state)
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
static void rings_that_do_not_fit_are_shadowed(void **state)
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
	assert_false(p->b.net->pins & NET_PIN_DEVICE);
	net_guest_post(&p->b, 0, 16, 2048);
	assert_works(p, &p->b, GUEST_MAC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(packets_pass_by_and_commands_are_served, build, demolish),
		cmocka_unit_test_setup_teardown(no_packet_is_lost_by_a_switch_under_traffic, build, demolish),
		cmocka_unit_test_setup_teardown(a_given_up_migration_gives_the_rings_back_at_once, build,
						demolish),
		cmocka_unit_test_setup_teardown(what_passes_by_is_not_counted, build, demolish),
		cmocka_unit_test_setup_teardown(a_guest_in_passthrough_moves, build, demolish),
		cmocka_unit_test_setup_teardown(a_guest_that_announces_itself_is_back_in_passthrough_sooner,
						build, demolish),
		cmocka_unit_test_setup_teardown(a_device_that_refuses_to_switch_goes_on, build, demolish),
		cmocka_unit_test_setup_teardown(a_device_that_takes_no_other_rings_starts_anew, build,
						demolish),
		cmocka_unit_test_setup_teardown(a_device_that_begins_at_0_only_stays_on_shadow_rings, build,
						demolish),
		cmocka_unit_test_setup_teardown(interrupts_follow_the_vectors_of_the_guest, build, demolish),
		cmocka_unit_test_setup_teardown(the_window_is_out_of_the_reach_of_the_guest, build, demolish),
		cmocka_unit_test_setup_teardown(a_ring_in_reset_keeps_all_on_shadow_rings, build, demolish),
		cmocka_unit_test_setup_teardown(rings_that_do_not_fit_are_shadowed, build, demolish),
	};

	fixture_config.split_only = true;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
