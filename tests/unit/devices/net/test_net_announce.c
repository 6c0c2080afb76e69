/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The announcements of a guest that has arrived, without a thread: the test is the timer, and the device. */
#include "tests/unit/devices/net/net_fixture.h"

#include <sys/timerfd.h>

#include "devices/net/announce.h"

#define SIZE    64u
#define IOVA    UINT64_C(0x700000000)
#define OWN_MAC "\x52\x54\0\0\0\1"
#define N_VIDS  4096u

struct rig {
	struct loop loop;
	struct net_path path;
	struct net_queue queue;
	struct net_space space;
	struct cvq_store store;
	struct net_announce announce;
	struct fake_device device;
	uint8_t *ring;
	/* How often a frame came, by its address's last byte and its VLAN; 0: no tag. */
	uint8_t seen[256][N_VIDS];
	unsigned int n_seen;
	unsigned int n_rounds; /* that end_round() has ended */
};

static void on_time(struct loop_timer *timer)
{
}

static int set_up(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	assert_int_equal(loop_init(&r->loop), 0);
	net_space_init(&r->space);
	net_space_set_mac(&r->space, (const uint8_t *)OWN_MAC);
	r->path = (struct net_path){ .features = BIT(VIRTIO_NET_F_MAC), .header_len = 12, .open = true };
	r->path.window = (struct net_window){ .hva = aligned_alloc(PAGE_SIZE, PAGE_SIZE), .iova = IOVA };
	r->queue = (struct net_queue){ .path = &r->path, .guest_index = 1, .device_kick = -1 };
	r->ring = aligned_alloc(PAGE_SIZE, svq_bytes(SIZE));
	memset(r->ring, 0, svq_bytes(SIZE));
	assert_int_equal(svq_init(&r->queue.svq, r->ring, 0, SIZE, false), 0);
	fake_device_init(&r->device, r->ring + r->queue.svq.desc_iova, r->ring + r->queue.svq.avail_iova,
			 r->ring + r->queue.svq.used_iova, SIZE, false);
	r->announce = (struct net_announce){ .queue = &r->queue, .space = &r->space, .store = &r->store };
	assert_int_equal(loop_timer_open(&r->announce.timer, &r->loop, on_time), 0);
	*state = r;
	return 0;
}

static int take_down(void **state)
{
	struct rig *r = *state;

	loop_timer_close(&r->announce.timer);
	loop_exit(&r->loop);
	svq_exit(&r->queue.svq);
	fake_device_exit(&r->device);
	net_space_exit(&r->space);
	free(r->path.window.hva);
	free(r->ring);
	free(r);
	return 0;
}

static void add_vlan(struct rig *r, unsigned int vid)
{
	r->store.vlans[vid / 64] |= UINT64_C(1) << vid % 64;
}

static void add_mac(struct rig *r, const char *mac)
{
	memcpy(r->store.macs[r->store.n_unicast++], mac, 6);
	r->store.mac_table_set = true;
}

/* Milliseconds until the timer fires, 0: it is not armed. */
static unsigned int due_ms(struct rig *r)
{
	struct itimerspec at;

	assert_int_equal(timerfd_gettime(r->announce.timer.src.fd, &at), 0);
	return (unsigned int)(at.it_value.tv_sec * 1000 + (at.it_value.tv_nsec + 999999) / 1000000);
}

static void see(struct rig *r, const uint8_t *frame)
{
	bool tagged = frame[12] == 0x81 && frame[13] == 0;
	const uint8_t *rarp = frame + (tagged ? 16 : 12);
	unsigned int vid = tagged ? (unsigned int)(frame[14] << 8 | frame[15]) : 0;

	assert_true(vid < N_VIDS && (!tagged || vid > 0));
	assert_memory_equal(frame, "\xff\xff\xff\xff\xff\xff", 6);
	assert_memory_equal(rarp, "\x80\x35\0\1\x08\0\6\4\0\3", 10);
	assert_memory_equal(rarp + 10, frame + 6, 6);
	assert_memory_equal(rarp + 20, frame + 6, 6);
	r->seen[frame[11]][vid]++;
	r->n_seen++;
}

/* The device sends all that is in its ring; how many. Ferry sees that at the next tick of its own. */
static unsigned int send_all(struct rig *r)
{
	struct fake_element e;
	struct svq_used used;
	unsigned int n = 0;

	for (; fake_device_take(&r->device, &e) == 1; n++) {
		assert_int_equal(e.n_read, 1);
		assert_int_equal(e.read_len, 12 + 60);
		see(r, r->path.window.hva + (e.segs[0].addr - IOVA) + 12);
		fake_device_complete(&r->device, e.head, 0);
	}
	fake_device_publish(&r->device);
	while (svq_get_used(&r->queue.svq, &used) == 1) {
		assert_int_equal(used.token >> 32, NET_OWNER_ANNOUNCE);
		net_announce_used(&r->queue, &used);
	}
	return n;
}

/* Plays the timer until the next round is over, which is where it begins to wait for the one after; how many
 * batches there were. */
static unsigned int end_round(struct rig *r)
{
	unsigned int n = 1;

	r->n_rounds++;
	send_all(r);
	for (; r->announce.n_left > NET_ANNOUNCE_ROUNDS - r->n_rounds; n++) {
		net_announce_tick(&r->announce);
		assert_true(send_all(r) <= NET_ANNOUNCE_BATCH);
	}
	return n;
}

static void rounds_come_with_growing_gaps_over_seconds(void **state)
{
	struct rig *r = *state;
	unsigned int gap = 0, all = 0, n = 0;

	net_announce_start(&r->announce);
	for (; due_ms(r) > 0; n++) {
		assert_int_equal(send_all(r), 1);
		/* A slow machine has less left of it. */
		assert_true(due_ms(r) > gap);
		gap = due_ms(r);
		all += gap;
		loop_timer_stop(&r->announce.timer);
		net_announce_tick(&r->announce);
	}
	assert_int_equal(send_all(r), 1);
	assert_int_equal(n + 1, NET_ANNOUNCE_ROUNDS);
	assert_in_range(all, 2500, 3150);
	assert_int_equal(r->seen[1][0], NET_ANNOUNCE_ROUNDS);
	assert_false(net_announce_busy(&r->announce));
}

/* As soon as a guest says all of it itself; and no round is lost. */
static void the_last_rounds_are_left_to_a_guest_that_announces_itself(void **state)
{
	struct rig *r = *state;
	unsigned int n = 0, n_asked = 0;

	net_announce_start(&r->announce);
	for (; n < NET_ANNOUNCE_OWN_ROUNDS - 1; n++) {
		assert_int_equal(send_all(r), 1);
		assert_false(net_announce_leave(&r->announce));
		assert_false(net_announce_tick(&r->announce));
	}
	add_vlan(r, 7);
	assert_false(net_announce_leave(&r->announce));
	memset(r->store.vlans, 0, sizeof(r->store.vlans));
	/* Which means no VLAN. */
	add_vlan(r, 0);
	assert_true(net_announce_leave(&r->announce));
	assert_true(net_announce_busy(&r->announce));
	assert_int_equal(send_all(r), 1);
	assert_false(net_announce_busy(&r->announce));
	for (; due_ms(r) > 0; n_asked++) {
		loop_timer_stop(&r->announce.timer);
		/* Not while it is paused. */
		r->path.open = false;
		assert_false(net_announce_tick(&r->announce));
		loop_timer_stop(&r->announce.timer);
		r->path.open = true;
		assert_true(net_announce_tick(&r->announce));
		assert_int_equal(send_all(r), 0);
	}
	assert_int_equal(NET_ANNOUNCE_OWN_ROUNDS + n_asked, NET_ANNOUNCE_ROUNDS);
}

static void every_address_is_announced_on_every_vlan_in_each_round(void **state)
{
	static const unsigned int vids[] = { 0, 1, 63, 64, 100, 4094 };
	struct rig *r = *state;

	for (unsigned int i = 1; i < ARRAY_SIZE(vids); i++)
		add_vlan(r, vids[i]);
	for (char last = 2; last < 40; last++)
		add_mac(r, (const char[]){ 0x52, 0x54, 0, 0, 0, last });
	net_announce_start(&r->announce);
	for (unsigned int n = 1; n <= NET_ANNOUNCE_ROUNDS; n++) {
		end_round(r);
		for (unsigned int mac = 1; mac < 40; mac++) {
			for (unsigned int i = 0; i < ARRAY_SIZE(vids); i++)
				assert_int_equal(r->seen[mac][vids[i]], n);
		}
		assert_int_equal(r->n_seen, n * 39 * ARRAY_SIZE(vids));
	}
	assert_false(net_announce_busy(&r->announce));
}

/* Linux's driver adds VLAN 0 to the filter, which means no VLAN; a table is not checked for what is in it. */
static void what_no_frame_can_come_from_is_left_out(void **state)
{
	struct rig *r = *state;

	add_vlan(r, 0);
	add_vlan(r, 4095);
	add_mac(r, "\0\0\0\0\0\0");
	add_mac(r, "\x01\0\x5e\0\0\x9");
	add_mac(r, "\x52\x54\0\0\0\7");
	net_announce_start(&r->announce);
	end_round(r);
	assert_int_equal(r->n_seen, 2);
	assert_int_equal(r->seen[1][0], 1);
	assert_int_equal(r->seen[7][0], 1);
}

static void a_guest_with_an_address_of_its_own_choice_is_announced_by_its_table(void **state)
{
	struct rig *r = *state;

	r->path.features = 0;
	net_announce_start(&r->announce);
	assert_int_equal(r->announce.n_left, 0);
	assert_int_equal(send_all(r), 0);
	add_mac(r, "\x52\x54\0\0\0\7");
	net_announce_start(&r->announce);
	end_round(r);
	assert_int_equal(r->n_seen, 1);
	assert_int_equal(r->seen[7][0], 1);
}

static void thousands_of_vlans_go_out_in_batches(void **state)
{
	struct rig *r = *state;
	unsigned int n;

	memset(r->store.vlans, 0xff, sizeof(r->store.vlans));
	for (char last = 2; last < 12; last++)
		add_mac(r, (const char[]){ 0x52, 0x54, 0, 0, 0, last });
	net_announce_start(&r->announce);
	assert_in_range(due_ms(r), 1, NET_ANNOUNCE_STEP_MS);
	n = end_round(r);
	assert_int_equal(r->n_seen, 11 * 4095);
	assert_true(n >= 11 * 4095 / NET_ANNOUNCE_BATCH);
	for (unsigned int vid = 0; vid < 4095; vid++)
		assert_int_equal(r->seen[11][vid], 1);
}

/* The guest has three quarters of the ring for its own, whatever the device does. */
static void a_device_that_sends_nothing_has_a_bounded_number(void **state)
{
	struct rig *r = *state;

	for (unsigned int vid = 1; vid < 200; vid++)
		add_vlan(r, vid);
	net_announce_start(&r->announce);
	for (unsigned int i = 0; i < 1000; i++)
		net_announce_tick(&r->announce);
	assert_int_equal(r->queue.svq.n_in_flight, SIZE / 4);
	assert_true(due_ms(r) > 0);
	/* Nothing is lost by that. */
	end_round(r);
	assert_int_equal(r->n_seen, 200);
}

static void a_device_that_is_slow_has_frames_of_one_round(void **state)
{
	struct rig *r = *state;

	net_announce_start(&r->announce);
	for (unsigned int i = 0; i < 100; i++)
		net_announce_tick(&r->announce);
	assert_int_equal(r->queue.svq.n_in_flight, 1);
	assert_int_equal(r->announce.n_left, NET_ANNOUNCE_ROUNDS - 1);
}

static void frames_wait_for_room_in_the_ring(void **state)
{
	const struct virtio_seg seg = { 0x1000, 100 };
	struct rig *r = *state;
	struct fake_element e;
	struct svq_used used;

	for (unsigned int i = 0; i < SIZE; i++)
		assert_int_equal(svq_add(&r->queue.svq, &seg, 1, 0, net_token(NET_OWNER_GUEST, i)), 0);
	assert_false(svq_publish(&r->queue.svq) && r->path.live);
	net_announce_start(&r->announce);
	assert_int_equal(r->queue.announced, 0);
	assert_int_equal(r->announce.n_left, NET_ANNOUNCE_ROUNDS);
	for (unsigned int i = 0; i < SIZE; i++) {
		assert_int_equal(fake_device_take(&r->device, &e), 1);
		fake_device_complete(&r->device, e.head, 0);
	}
	fake_device_publish(&r->device);
	while (svq_get_used(&r->queue.svq, &used) == 1)
		assert_int_equal(used.token >> 32, NET_OWNER_GUEST);
	net_announce_tick(&r->announce);
	assert_int_equal(send_all(r), 1);
}

static void announcements_end_with_their_time(void **state)
{
	struct rig *r = *state;

	memset(r->store.vlans, 0xff, sizeof(r->store.vlans));
	net_announce_start(&r->announce);
	r->announce.end_ns = now_ns();
	send_all(r);
	net_announce_tick(&r->announce);
	assert_int_equal(send_all(r), 0);
	assert_false(net_announce_busy(&r->announce));
}

static void nothing_goes_out_after_a_stop(void **state)
{
	struct rig *r = *state;

	net_announce_start(&r->announce);
	assert_int_equal(send_all(r), 1);
	net_announce_stop(&r->announce);
	assert_int_equal(due_ms(r), 0);
	/* A timer that had fired already. */
	net_announce_tick(&r->announce);
	assert_int_equal(send_all(r), 0);
	assert_int_equal(due_ms(r), 0);
}

static void nothing_goes_out_while_the_nic_is_paused(void **state)
{
	struct rig *r = *state;

	net_announce_start(&r->announce);
	send_all(r);
	r->path.open = false;
	for (unsigned int i = 0; i < 10; i++)
		net_announce_tick(&r->announce);
	assert_int_equal(send_all(r), 0);
	/* The migration was given up. */
	r->path.open = true;
	net_announce_tick(&r->announce);
	assert_int_equal(send_all(r), 1);
}

/* A guest that changes its filters between two batches. */
static void filters_are_read_as_they_are(void **state)
{
	struct rig *r = *state;

	for (char last = 2; last < 40; last++)
		add_mac(r, (const char[]){ 0x52, 0x54, 0, 0, 0, last });
	net_announce_start(&r->announce);
	r->store.n_unicast = 3;
	add_vlan(r, 5);
	end_round(r);
	assert_int_equal(r->n_seen, NET_ANNOUNCE_BATCH);
	end_round(r);
	assert_int_equal(r->n_seen, NET_ANNOUNCE_BATCH + 4 * 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, take_down)
	const struct CMUnitTest tests[] = {
		TEST(rounds_come_with_growing_gaps_over_seconds),
		TEST(the_last_rounds_are_left_to_a_guest_that_announces_itself),
		TEST(every_address_is_announced_on_every_vlan_in_each_round),
		TEST(what_no_frame_can_come_from_is_left_out),
		TEST(a_guest_with_an_address_of_its_own_choice_is_announced_by_its_table),
		TEST(thousands_of_vlans_go_out_in_batches),
		TEST(a_device_that_sends_nothing_has_a_bounded_number),
		TEST(a_device_that_is_slow_has_frames_of_one_round),
		TEST(frames_wait_for_room_in_the_ring),
		TEST(announcements_end_with_their_time),
		TEST(nothing_goes_out_after_a_stop),
		TEST(nothing_goes_out_while_the_nic_is_paused),
		TEST(filters_are_read_as_they_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
