/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two guests on one network: see the header. */
#include "tests/unit/devices/vdpa/soft/soft_pair.h"

int build(void **state)
{
	struct pair *p = calloc(1, sizeof(*p));

	soft_net_init(&p->net);
	net_guest_init_on(&p->a, soft_net_device(&p->net, 2, CONFIG_DEFAULT_RING), &fixture_config);
	net_guest_init_on(&p->b, soft_net_device(&p->net, 2, CONFIG_DEFAULT_RING), &fixture_config);
	p->a.size = p->b.size = 64;
	p->f.a = &p->a;
	p->f.b = &p->b;
	*state = p;
	return 0;
}

int demolish(void **state)
{
	struct pair *p = *state;

	net_guest_exit(&p->a);
	net_guest_exit(&p->b);
	soft_net_exit(&p->net);
	free(p);
	return 0;
}

void settle(struct net_guest *g)
{
	struct error err = { 0 };
	uint8_t status;

	for (unsigned int i = 0; i < 6; i++) {
		int ret = g->net->backend.vdpa->ops->get_status(g->net->backend.vdpa, &status, &err);

		(void)ret;
		net_guest_settle(g);
	}
}

void make(uint8_t *frame, const char *to, uint8_t mark)
{
	memset(frame, mark, 100);
	memcpy(frame, to, 6);
	memcpy(frame + 6, "\x52\x54\0\0\0\x77", 6);
	memcpy(frame + 12, "\x88\xb5", 2);
}

bool reaches(struct pair *p, struct net_guest *g, const char *to, uint8_t mark)
{
	uint8_t frame[100], in[1600];
	int len;

	make(frame, to, mark);
	/* The device has the buffers that the guest has posted, before the frame comes. */
	settle(g);
	soft_net_send(&p->net, NULL, frame, sizeof(frame));
	settle(g);
	len = net_guest_received(g, 0, in, sizeof(in));
	assert_true(len == -1 || (len == sizeof(frame) && memcmp(in, frame, sizeof(frame)) == 0));
	return len > 0;
}

void assert_sends(struct pair *p, struct net_guest *g, uint8_t mark)
{
	uint8_t frame[100], in[1600];
	int len;

	make(frame, "\x52\x54\0\0\0\x77", mark);
	assert_true(net_guest_send(g, 0, frame, sizeof(frame)));
	do {
		len = soft_net_receive(&p->net, NULL, in, sizeof(in), 2000);
	} while (is_announcement(in, len));
	assert_int_equal(len, sizeof(frame));
	assert_memory_equal(in, frame, sizeof(frame));
}

int command(struct net_guest *g, uint8_t class, uint8_t cmd, const void *data, uint32_t len)
{
	return net_guest_command(g, class, cmd, data, len);
}

static int read_passing(struct net *net, void *arg)
{
	return net->phase == NET_PHASE_PASS;
}

bool passing(struct net_guest *g)
{
	settle(g);
	return net_call(g->net, read_passing, NULL);
}

void assert_returns(struct net_guest *g)
{
	for (unsigned int i = 0; !passing(g); i++) {
		/* Announcements come first, for seconds. */
		assert_true(i < 1500);
		poll(NULL, 0, 10);
	}
}

void assert_not_tracked(struct net_guest *g, const char *reason)
{
	struct error err = { 0 };
	uint64_t still_ns = 0;

	assert_true(net_device_ops.track(device_of(g), &still_ns, &err) < 0);
	if (!strstr(err.text, reason))
		print_error("'%s' is not in: %s\n", reason, err.text);
	assert_non_null(strstr(err.text, reason));
	assert_int_equal(still_ns, 0);
	assert_true(passing(g));
}
