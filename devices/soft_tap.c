/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A TAP interface of the host as the port of the vDPA NIC in software, one of its queues for each pair. */
#include "devices/soft_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/ioctl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than Debian 12's uapi headers. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

#define TAP_MIN_MTU 68

struct soft_tap {
	struct soft_port port;
	char name[IFNAMSIZ];
	bool attached[SOFT_MAX_PAIRS];
};

/* What a guest takes, and how the kernel calls it. */
static const struct tap_offload {
	unsigned int feature, flag;
} tap_offloads[] = {
	{ VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM }, { VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4 },
	{ VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6 }, { VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN },
	{ VIRTIO_NET_F_GUEST_UFO, TUN_F_UFO },   { VIRTIO_NET_F_GUEST_USO4, TUN_F_USO4 },
	{ VIRTIO_NET_F_GUEST_USO6, TUN_F_USO6 },
};

#define TAP_USO (VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO4) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO6))

/* The kernel does these for a TAP without being asked. */
#define TAP_HOST_OFFLOADS                                                                                    \
	(VIRTIO_BIT(VIRTIO_NET_F_CSUM) | VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO4) |                                \
	 VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO6) | VIRTIO_BIT(VIRTIO_NET_F_HOST_ECN) |                            \
	 VIRTIO_BIT(VIRTIO_NET_F_HOST_UFO))

/* 0 or -errno. Not by ioctl(): its request is an int in musl, and an unsigned long in glibc. */
static int tap_ioctl(int fd, unsigned long request, void *arg)
{
	return syscall(SYS_ioctl, fd, request, arg) < 0 ? -errno : 0;
}

static int tap_set_offload(const struct soft_tap *tap, uint64_t offloads)
{
	unsigned long flags = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(tap_offloads); i++) {
		if (virtio_has(offloads, tap_offloads[i].feature))
			flags |= tap_offloads[i].flag;
	}
	/* The kernel knows segments only together with checksums, and UDP's of both versions together. */
	if (!(flags & TUN_F_CSUM))
		flags = 0;
	if ((flags & (TUN_F_USO4 | TUN_F_USO6)) != (TUN_F_USO4 | TUN_F_USO6))
		flags &= ~(unsigned long)(TUN_F_USO4 | TUN_F_USO6);
	return tap_ioctl(tap->port.sources[0].event.fd, TUNSETOFFLOAD, (void *)flags);
}

static void tap_set_offloads(struct soft_port *port, uint64_t offloads)
{
	struct soft_tap *tap = container_of(port, struct soft_tap, port);
	int ret = tap_set_offload(tap, offloads);

	if (ret < 0)
		log_warn("%s: cannot set the offloads 0x%llx: %s", tap->name, (unsigned long long)offloads,
			 strerror(-ret));
}

static void tap_set_pairs(struct soft_port *port, unsigned int n_pairs)
{
	struct soft_tap *tap = container_of(port, struct soft_tap, port);

	for (unsigned int i = 1; i < port->n_sources; i++) {
		struct ifreq ifr = { .ifr_flags = i < n_pairs ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

		if (tap->attached[i] == (i < n_pairs))
			continue;
		if (tap_ioctl(port->sources[i].event.fd, TUNSETQUEUE, &ifr) == 0)
			tap->attached[i] = i < n_pairs;
	}
}

static int tap_receive(struct soft_port *port, unsigned int source, void *buf, uint32_t size)
{
	ssize_t n = read(port->sources[source].event.fd, buf, size);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	return (int)n;
}

static int tap_send(struct soft_port *port, unsigned int pair, const struct iovec *iov, unsigned int n)
{
	return writev(port->sources[pair].event.fd, iov, (int)n) < 0 ? -errno : 0;
}

/* What the messages say is not looked at: they come for every interface, and some may be lost. */
static bool tap_is_up(struct soft_port *port)
{
	struct ifreq ifr = { 0 };
	char message[4096];
	ssize_t n;

	do {
		n = recv(port->link.fd, message, sizeof(message), MSG_DONTWAIT);
	} while (n > 0 || (n < 0 && errno == ENOBUFS));
	strcpy(ifr.ifr_name, container_of(port, struct soft_tap, port)->name);
	return tap_ioctl(port->link.fd, SIOCGIFFLAGS, &ifr) == 0 && (ifr.ifr_flags & IFF_UP);
}

static void tap_close(struct soft_port *port)
{
	if (port->link.fd >= 0)
		close(port->link.fd);
	for (unsigned int i = 0; i < port->n_sources; i++)
		close(port->sources[i].event.fd);
	free(container_of(port, struct soft_tap, port));
}

static const struct soft_port_ops tap_ops = {
	.receive = tap_receive,
	.send = tap_send,
	.set_offloads = tap_set_offloads,
	.set_pairs = tap_set_pairs,
	.is_up = tap_is_up,
	.close = tap_close,
};

static int tap_error(const struct net_config *config, int ret, struct error *err)
{
	const char *mode = config->n_queues > 1 ? " multi_queue" : "";

	if (ret == -EPERM || ret == -EACCES)
		return error_add(
			err, ret,
			"cannot open the TAP interface %s: not permitted: make it for your user with "
			"\"ip tuntap add %s mode tap%s user USER\"",
			config->tap, config->tap, mode);
	if (ret == -EINVAL)
		return error_add(err, ret,
				 "cannot open %s: it is not a TAP interface%s: make one with \"ip tuntap add "
				 "%s mode tap%s\"",
				 config->tap,
				 config->n_queues > 1 ? " of several queues" : ", or one of several queues",
				 config->tap, mode);
	if (ret == -EBUSY)
		return error_add(err, ret, "cannot open the TAP interface %s: another process has it",
				 config->tap);
	return error_add(err, ret, "cannot open the TAP interface %s: %s", config->tap, strerror(-ret));
}

static int tap_open_queue(struct soft_tap *tap, const struct net_config *config, struct error *err)
{
	unsigned int flags =
		IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (config->n_queues > 1 ? IFF_MULTI_QUEUE : 0);
	struct ifreq ifr = { .ifr_flags = (short)flags };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK), header = SOFT_PORT_HEADER, ret;

	if (fd < 0)
		return error_add(err, -errno, "cannot open /dev/net/tun: %s%s", strerror(errno),
				 errno == ENOENT || errno == ENODEV ? " (\"modprobe tun\")" : "");
	strcpy(ifr.ifr_name, tap->name);
	ret = tap_ioctl(fd, TUNSETIFF, &ifr);
	if (ret == 0)
		ret = tap_ioctl(fd, TUNSETVNETHDRSZ, &header);
	if (ret < 0) {
		close(fd);
		return tap_error(config, ret, err);
	}
	tap->attached[tap->port.n_sources] = true;
	tap->port.sources[tap->port.n_sources++].event.fd = fd;
	return 0;
}

/* In its bridge and up, as far as that is not so already. */
static int tap_connect(struct soft_tap *tap, const struct net_config *config, int sock, struct error *err)
{
	struct ifreq ifr = { 0 };
	int ret = 0;

	if (config->bridge) {
		strcpy(ifr.ifr_name, config->bridge);
		ifr.ifr_ifindex = (int)if_nametoindex(tap->name);
		ret = tap_ioctl(sock, SIOCBRADDIF, &ifr);
	}
	if (ret < 0 && ret != -EBUSY)
		return error_add(
			err, ret,
			"cannot make %s a port of the bridge %s: %s (\"ip link set %s master %s\" by root, "
			"then without bridge=)",
			tap->name, config->bridge,
			ret == -ENODEV ? "there is no such bridge" : strerror(-ret), tap->name,
			config->bridge);
	memset(&ifr, 0, sizeof(ifr));
	strcpy(ifr.ifr_name, tap->name);
	ret = tap_ioctl(sock, SIOCGIFFLAGS, &ifr);
	if (ret == 0 && !(ifr.ifr_flags & IFF_UP)) {
		ifr.ifr_flags |= IFF_UP;
		ret = tap_ioctl(sock, SIOCSIFFLAGS, &ifr);
	}
	if (ret < 0)
		return error_add(err, ret, "cannot bring %s up: %s (\"ip link set %s up\")", tap->name,
				 strerror(-ret), tap->name);
	ret = tap_ioctl(sock, SIOCGIFMTU, &ifr);
	if (ret < 0 || ifr.ifr_mtu < TAP_MIN_MTU || ifr.ifr_mtu > UINT16_MAX)
		return error_add(err, -EINVAL, "%s has no MTU that a guest can be told", tap->name);
	tap->port.mtu = (uint16_t)ifr.ifr_mtu;
	return 0;
}

/* Says when interfaces change. */
static int tap_watch_link(struct soft_tap *tap, struct error *err)
{
	const struct sockaddr_nl addr = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	tap->port.link.fd = fd;
	if (fd < 0 || bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
		return error_add(err, -errno, "cannot watch the state of %s: %s", tap->name, strerror(errno));
	return 0;
}

/* Kernels before 6.2 lack segments of UDP. */
static void tap_find_features(struct soft_tap *tap)
{
	uint64_t features = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(tap_offloads); i++)
		features |= VIRTIO_BIT(tap_offloads[i].feature);
	if (tap_set_offload(tap, features) == 0)
		features |= VIRTIO_BIT(VIRTIO_NET_F_HOST_USO);
	else
		features &= ~TAP_USO;
	tap->port.features = features | TAP_HOST_OFFLOADS;
}

int soft_tap_open(struct soft_port **port, const struct net_config *config, struct error *err)
{
	struct soft_tap *tap = calloc(1, sizeof(*tap));
	int sock, ret = 0;

	if (!tap)
		return error_add(err, -ENOMEM, "no memory for %s", config->tap);
	tap->port.ops = &tap_ops;
	tap->port.mtu_advice =
		"give the TAP interface, or with bridge= its bridge, that MTU: \"ip link set NAME mtu ...\"";
	tap->port.link.fd = -1;
	/* Their lengths were checked with the rest of the option. */
	snprintf(tap->name, sizeof(tap->name), "%s", config->tap);
	for (unsigned int i = 0; i < config->n_queues && ret == 0; i++)
		ret = tap_open_queue(tap, config, err);
	sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (ret == 0 && sock < 0)
		ret = error_add(err, -errno, "cannot create a socket: %s", strerror(errno));
	if (ret == 0)
		ret = tap_connect(tap, config, sock, err);
	if (ret == 0)
		ret = tap_watch_link(tap, err);
	if (sock >= 0)
		close(sock);
	if (ret < 0) {
		tap_close(&tap->port);
		return ret;
	}
	tap_find_features(tap);
	*port = &tap->port;
	return 0;
}
