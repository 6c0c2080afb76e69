/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A network of nobody else: see the header. */
#include "tests/fuzz/port.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MAX_PORTS   2u
#define MAX_PACKETS 8u
#define MAX_LEN     4096u

struct fuzz_port {
	struct soft_port port;
	unsigned int n_packets;
	struct {
		uint32_t len;
		uint8_t data[MAX_LEN];
	} packets[MAX_PACKETS];
};

static struct fuzz_port *ports[MAX_PORTS];
static uint64_t sum;

static const struct fuzz_port_way {
	int receive, send, set;
	enum soft_port_state state;
} ways[FUZZ_PORT_WAYS] = {
	{ 0, 0, 0, SOFT_PORT_UP },
	{ -EINVAL, 0, 0, SOFT_PORT_UP },
	{ 0, -EINVAL, 0, SOFT_PORT_UP },
	{ 0, -ENETDOWN, 0, SOFT_PORT_DOWN },
	{ 0, 0, -EINVAL, SOFT_PORT_UP },
	{ -ENODEV, -ENODEV, 0, SOFT_PORT_UP },
	{ -ENODEV, -ENODEV, -ENODEV, SOFT_PORT_GONE },
	{ -EIO, -EIO, -EIO, SOFT_PORT_DOWN },
};
/* Set between the steps, read by the devices' threads. */
static _Atomic unsigned int way;

static int port_receive(struct soft_port *port, unsigned int source, const struct iovec *iov, unsigned int n)
{
	struct fuzz_port *p = container_of(port, struct fuzz_port, port);
	size_t room = 0, at = 0;
	uint64_t count;
	uint32_t len;

	for (unsigned int i = 0; i < n; i++)
		room += iov[i].iov_len;
	assert(source == 0 && room >= MAX_LEN);
	if (ways[way].receive)
		return ways[way].receive;
	if (p->n_packets == 0)
		return 0;
	len = p->packets[0].len;
	for (unsigned int i = 0; i < n && at < len; i++) {
		size_t part = min_u64(iov[i].iov_len, len - at);

		memcpy(iov[i].iov_base, p->packets[0].data + at, part);
		at += part;
	}
	p->n_packets--;
	memmove(&p->packets[0], &p->packets[1], p->n_packets * sizeof(p->packets[0]));
	if (p->n_packets == 0)
		assert(read(port->sources[0].event.fd, &count, sizeof(count)) == sizeof(count));
	return (int)len;
}

static int port_send(struct soft_port *port, unsigned int pair, struct soft_out *packets, unsigned int n)
{
	assert(n > 0 && n <= port->batch);
	for (unsigned int p = 0; p < n; p++) {
		for (unsigned int i = 0; i < packets[p].n_iov; i++) {
			const struct iovec *iov = &packets[p].iov[i];

			for (size_t k = 0; k < iov->iov_len; k++)
				sum += ((const uint8_t *)iov->iov_base)[k];
		}
		packets[p].sent = ways[way].send == 0;
	}
	return ways[way].send;
}

static int port_set_offloads(struct soft_port *port, uint64_t offloads)
{
	return ways[way].set;
}

static int port_set_pairs(struct soft_port *port, unsigned int n_pairs)
{
	return ways[way].set;
}

static enum soft_port_state port_state(struct soft_port *port)
{
	return ways[way].state;
}

static void port_close(struct soft_port *port)
{
	struct fuzz_port *p = container_of(port, struct fuzz_port, port);

	for (unsigned int i = 0; i < MAX_PORTS; i++) {
		if (ports[i] == p)
			ports[i] = NULL;
	}
	close(port->sources[0].event.fd);
	free(p);
}

static const struct soft_port_ops port_ops = {
	.receive = port_receive,
	.send = port_send,
	.set_offloads = port_set_offloads,
	.set_pairs = port_set_pairs,
	.state = port_state,
	.close = port_close,
};

int soft_hub_open(struct soft_port **port, const struct net_config *config, struct error *err)
{
	struct fuzz_port *p = calloc(1, sizeof(*p));
	unsigned int i = 0;

	assert(p);
	p->port = (struct soft_port){
		.ops = &port_ops,
		.name = "fuzz",
		.n_sources = 1,
		.batch = SOFT_BATCH,
		.link.fd = -1,
		.raised.fd = -1,
		.features = VIRTIO_BIT(VIRTIO_NET_F_CSUM) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM) |
			    VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4) | VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO4),
		.mtu = 1500,
	};
	p->port.sources[0].event.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert(p->port.sources[0].event.fd >= 0);
	while (i < MAX_PORTS && ports[i])
		i++;
	assert(i < MAX_PORTS);
	ports[i] = p;
	*port = &p->port;
	return 0;
}

void fuzz_port_send(const void *packet, uint32_t len)
{
	const uint64_t one = 1;

	for (unsigned int i = 0; i < MAX_PORTS; i++) {
		struct fuzz_port *p = ports[i];

		if (!p || p->n_packets == MAX_PACKETS)
			continue;
		p->packets[p->n_packets].len = len;
		memcpy(p->packets[p->n_packets].data, packet, len);
		if (p->n_packets++ == 0)
			assert(write(p->port.sources[0].event.fd, &one, sizeof(one)) == sizeof(one));
	}
}

void fuzz_port_fail(unsigned int how)
{
	way = how;
}

uint64_t fuzz_port_sum(void)
{
	return sum;
}
