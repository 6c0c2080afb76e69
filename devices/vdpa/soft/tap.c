/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A TAP interface of the host as the port of the NIC in software: see the header. */
#include "devices/vdpa/soft/tap.h"
#include "devices/vdpa/soft/join.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/ioctl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "devices/vdpa/soft/packet.h"
#include "devices/vdpa/soft/tap_queue.h"
#include "vmm/shortage.h"

/* Debian 12's uapi headers lack these. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

#define TAP_MIN_MTU 68

/* An interface whose name changes while it is looked for is looked for ten times: nobody renames more often
 * without meaning to. */
#define TAP_TRIES 10u

/* At most 64 messages about interfaces are taken at once, so that they do not hold up packets. Others make
 * the socket readable again. */
#define TAP_MESSAGES 64u

struct soft_tap {
	struct soft_port port;
	char name[IFNAMSIZ];   /* as it was seen last */
	char opened[IFNAMSIZ]; /* as it was when it was opened */
	bool attached[SOFT_MAX_PAIRS];
	bool made;          /* Ferry made it, so it goes with Ferry */
	bool taken;         /* the interface is this process's alone */
	unsigned int index; /* 0: it is in another network namespace */
	uint32_t mtu;       /* as it was seen last */
	int header_before;  /* header length of its last user */
	struct soft_join join;
	struct log_limit log_limit;
};

/* The offloads that a guest can take, and the kernel's flags for them. */
static const struct tap_offload {
	unsigned int feature, flag;
} tap_offloads[] = {
	{ VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM }, { VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4 },
	{ VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6 }, { VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN },
	{ VIRTIO_NET_F_GUEST_UFO, TUN_F_UFO },   { VIRTIO_NET_F_GUEST_USO4, TUN_F_USO4 },
	{ VIRTIO_NET_F_GUEST_USO6, TUN_F_USO6 },
};

#define TAP_USO (VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO4) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO6))

/* The kernel does these offloads for a TAP without being asked. */
#define TAP_HOST_OFFLOADS                                                                                    \
	(VIRTIO_BIT(VIRTIO_NET_F_CSUM) | VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO4) |                                \
	 VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO6) | VIRTIO_BIT(VIRTIO_NET_F_HOST_ECN) |                            \
	 VIRTIO_BIT(VIRTIO_NET_F_HOST_UFO))

/* Returns 0 or -errno. The system call is made without ioctl(), whose request is an int in musl and an
 * unsigned long in glibc. */
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
	/*
	 * The kernel does segments of UDP in both versions of IP or in none. A guest that takes one of the
	 * two is given none, which is legal. The kernel refuses segments without checksums, and ECN without
	 * segments.
	 */
	if ((flags & (TUN_F_USO4 | TUN_F_USO6)) != (TUN_F_USO4 | TUN_F_USO6))
		flags &= ~(unsigned long)(TUN_F_USO4 | TUN_F_USO6);
	return tap_ioctl(tap->port.sources[0].event.fd, TUNSETOFFLOAD, (void *)flags);
}

static int tap_set_offloads(struct soft_port *port, uint64_t offloads)
{
	return tap_set_offload(container_of(port, struct soft_tap, port), offloads);
}

static int tap_attach(struct soft_tap *tap, unsigned int i, bool attach)
{
	struct ifreq ifr = { .ifr_flags = attach ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };
	int ret = 0;

	if (tap->attached[i] != attach)
		ret = tap_ioctl(tap->port.sources[i].event.fd, TUNSETQUEUE, &ifr);
	if (ret == 0)
		tap->attached[i] = attach;
	return ret;
}

static int tap_set_pairs(struct soft_port *port, unsigned int n_pairs)
{
	struct soft_tap *tap = container_of(port, struct soft_tap, port);
	bool before[SOFT_MAX_PAIRS];
	int ret = 0;

	memcpy(before, tap->attached, sizeof(before));
	for (unsigned int i = 1; i < port->n_sources && ret == 0; i++)
		ret = tap_attach(tap, i, i < n_pairs);
	for (unsigned int i = 1; i < port->n_sources && ret < 0; i++) {
		if (tap_attach(tap, i, before[i]) < 0)
			log_limited(
				&tap->log_limit, LOG_WARN,
				"%s: cannot attach queue %u again: it has no packets until the guest sets "
				"its queues anew",
				tap->name, i);
	}
	return ret;
}

static int tap_receive(struct soft_port *port, unsigned int source, const struct iovec *iov,
		       unsigned int n_iov)
{
	int fd = port->sources[source].event.fd;
	/* A single piece is cheaper without a list. */
	ssize_t n = n_iov == 1 ? read(fd, iov->iov_base, iov->iov_len) : readv(fd, iov, (int)n_iov);

	if (n >= 0)
		return (int)n;
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	return errno == EBADFD ? -ENODEV : -errno;
}

static int tap_send_one(int fd, struct soft_out *packet)
{
	packet->sent = writev(fd, packet->iov, (int)packet->n_iov) >= 0;
	if (packet->sent)
		return 0;
	if (errno == EBADFD)
		return -ENODEV;
	return errno == EIO ? -ENETDOWN : -errno;
}

static int tap_send(struct soft_port *port, unsigned int pair, struct soft_out *packets, unsigned int n)
{
	int ret = 0;

	for (unsigned int i = 0; i < n; i++) {
		int one = tap_send_one(port->sources[pair].event.fd, &packets[i]);

		if (one < 0)
			ret = one;
	}
	return ret;
}

/* Changes that the host makes to the interface */

/* Whether messages about the interface have come, or some are lost. Their content may be old, so it is not
 * looked at. */
static bool tap_take_messages(struct soft_tap *tap)
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg info;
	} message;
	bool about = false;

	for (unsigned int i = 0; i < TAP_MESSAGES; i++) {
		ssize_t n = recv(tap->port.link.fd, &message, sizeof(message), MSG_DONTWAIT);

		if (n < 0 && errno != ENOBUFS && errno != EINTR)
			break;
		about |= n < (ssize_t)sizeof(message) || message.info.ifi_index == (int)tap->index;
	}
	return about;
}

/* Looks at the interface's name and MTU as they are now. The requests do not wait for the kernel's lock on
 * all interfaces. */
static void tap_see(struct soft_tap *tap)
{
	struct ifreq ifr = { .ifr_ifindex = (int)tap->index };
	int fd = tap->port.link.fd;

	if (tap->index == 0)
		return;
	if (tap_ioctl(fd, SIOCGIFNAME, &ifr) == -ENODEV) {
		tap->index = 0;
		log_limited(
			&tap->log_limit, LOG_WARN,
			"%s has been moved to another network namespace: the guest's packets go there, as "
			"soon as it is up there",
			tap->name);
		return;
	}
	if (strncmp(ifr.ifr_name, tap->name, sizeof(tap->name)) != 0) {
		log_limited(&tap->log_limit, LOG_INFO, "%s is called %.*s now", tap->name,
			    (int)sizeof(ifr.ifr_name), ifr.ifr_name);
		snprintf(tap->name, sizeof(tap->name), "%.*s", (int)sizeof(ifr.ifr_name) - 1, ifr.ifr_name);
	}
	if (tap_ioctl(fd, SIOCGIFMTU, &ifr) < 0 || (uint32_t)ifr.ifr_mtu == tap->mtu)
		return;
	tap->mtu = (uint32_t)ifr.ifr_mtu;
	log_limited(&tap->log_limit, LOG_WARN,
		    "%s: its MTU is %u now; the guest goes on with %u, which it was told when Ferry started",
		    tap->name, tap->mtu, tap->port.mtu);
}

/* The descriptor tells whether the interface is up or gone, whatever its name is and wherever it has been
 * moved. */
static enum soft_port_state tap_state(struct soft_port *port)
{
	struct soft_tap *tap = container_of(port, struct soft_tap, port);
	struct pollfd pfd = { .fd = port->sources[0].event.fd, .events = POLLOUT };
	bool about = tap_take_messages(tap);

	while (poll(&pfd, 1, 0) < 0 && errno == EINTR)
		;
	if (pfd.revents & POLLERR) {
		log_limited(
			&tap->log_limit, LOG_WARN,
			"%s has been deleted: the guest's link is down until Ferry is started again, or the "
			"guest moved; an interface that is made with the same name is not taken",
			tap->name);
		return SOFT_PORT_GONE;
	}
	if (about)
		tap_see(tap);
	return pfd.revents & POLLOUT ? SOFT_PORT_UP : SOFT_PORT_DOWN;
}

/* Opening and closing it */

/*
 * Whether @link may be the interface behind the descriptor: another network namespace can have one of the
 * same name, but hardly of the same address. The kernel looks where the descriptor was opened, and says
 * nothing of an interface that has been moved from there.
 */
static bool tap_may_be(const struct soft_tap *tap, const struct soft_link *link)
{
	struct ifreq ifr = { 0 };

	return strcmp(link->kind, "tun") == 0 &&
	       (tap_ioctl(tap->port.sources[0].event.fd, SIOCGIFHWADDR, &ifr) < 0 ||
		soft_mac_key((const uint8_t *)ifr.ifr_hwaddr.sa_data) == link->address);
}

/* Finds the interface behind the descriptor. It may get another name at any time, so the name is compared
 * before and after. */
static int tap_identify(const struct soft_tap *tap, struct soft_link *link)
{
	int fd = soft_link_socket(), ret = fd < 0 ? fd : -EAGAIN;

	*link = (struct soft_link){ 0 };
	for (unsigned int i = 0; i < TAP_TRIES && ret == -EAGAIN; i++) {
		struct ifreq before = { 0 }, after = { 0 };

		ret = tap_ioctl(tap->port.sources[0].event.fd, TUNGETIFF, &before);
		if (ret == 0)
			ret = soft_link_find(fd, before.ifr_name, link);
		if (ret == 0)
			ret = tap_ioctl(tap->port.sources[0].event.fd, TUNGETIFF, &after);
		if (ret == -ENODEV ||
		    (ret == 0 && (strcmp(before.ifr_name, after.ifr_name) != 0 || !tap_may_be(tap, link))))
			ret = -EAGAIN;
	}
	if (fd >= 0)
		close(fd);
	return ret;
}

/* Restores an interface that was there before Ferry. */
static void tap_restore(struct soft_tap *tap)
{
	int fd = tap->port.sources[0].event.fd;
	struct soft_link link;

	if (tap_ioctl(fd, TUNSETOFFLOAD, NULL) < 0 || tap_ioctl(fd, TUNSETVNETHDRSZ, &tap->header_before) < 0)
		log_debug("%s: cannot take its offloads back: %s", tap->name, strerror(errno));
	if (tap->join.index && tap_identify(tap, &link) == 0 && link.index == tap->join.index)
		soft_leave(&tap->join);
}

static void tap_undo(struct guard_undo *undo)
{
	struct soft_tap *tap = container_of(undo, struct soft_tap, port.undo);

	/* An interface that Ferry made goes with its descriptor. */
	if (!tap->made)
		tap_restore(tap);
}

static void tap_close(struct soft_port *port)
{
	struct soft_tap *tap = container_of(port, struct soft_tap, port);

	if (tap->taken && !tap->made)
		tap_restore(tap);
	guard_del(&port->undo);
	if (port->link.fd >= 0)
		close(port->link.fd);
	if (port->raised.fd >= 0)
		close(port->raised.fd);
	for (unsigned int i = 0; i < port->n_sources; i++)
		close(port->sources[i].event.fd);
	free(tap);
}

static const struct soft_port_ops tap_ops = {
	.receive = tap_receive,
	.send = tap_send,
	.set_offloads = tap_set_offloads,
	.set_pairs = tap_set_pairs,
	.state = tap_state,
	.close = tap_close,
};

static const char *tap_open_help(int error)
{
	static const struct {
		int error;
		const char *help;
	} rows[] = {
		{ ENOENT, " (\"modprobe tun\")" },
		{ ENODEV, " (\"modprobe tun\")" },
		{ EACCES, " (its mode is for your user to read and write it, as root may)" },
		{ EPERM, " (the sandbox or container that Ferry runs in must allow the device)" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].error == error)
			return rows[i].help;
	}
	return shortage_advice(-error);
}

static int tap_error(const struct net_config *config, int ret, struct error *err)
{
	const char *mode = config->n_queues > 1 ? " multi_queue" : "";

	if (ret == -EPERM || ret == -EACCES) {
		error_add(err,
			  "cannot open the TAP interface %s: not permitted: make it for your user with "
			  "\"ip tuntap add %s mode tap%s user USER\"",
			  config->tap, config->tap, mode);
		return ret;
	}
	if (ret == -EINVAL) {
		error_add(err,
			  "cannot open %s: it is not a TAP interface%s: make one with \"ip tuntap add "
			  "%s mode tap%s\"",
			  config->tap,
			  config->n_queues > 1 ? " of several queues" : ", or one of several queues",
			  config->tap, mode);
		return ret;
	}
	if (ret == -EBUSY) {
		error_add(err, "cannot open the TAP interface %s: another process has it", config->tap);
		return ret;
	}
	error_add(err, "cannot open the TAP interface %s: %s", config->tap, strerror(-ret));
	return ret;
}

/* Whether an interface of several queues is open somewhere. The kernel refuses to open one of a single queue
 * twice. */
static bool tap_in_use(const char *name)
{
	struct soft_link link = { 0 };
	int fd = soft_link_socket();
	bool in_use = fd >= 0 && soft_link_find(fd, name, &link) == 0 && link.tap_queues > 0;

	if (fd >= 0)
		close(fd);
	return in_use;
}

/* Makes @fd a queue of the interface, or of a new one if there is none of the name, which the kernel
 * completes. */
static int tap_attach_new(struct soft_tap *tap, int fd, unsigned int n_queues)
{
	unsigned int flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (n_queues > 1 ? IFF_MULTI_QUEUE : 0);
	struct ifreq ifr = { .ifr_flags = (short)(flags | IFF_TUN_EXCL) };
	int ret = -EBUSY;

	strcpy(ifr.ifr_name, tap->name);
	if (tap->port.n_sources == 0)
		ret = tap_ioctl(fd, TUNSETIFF, &ifr);
	else if (tap_ioctl(tap->port.sources[0].event.fd, TUNGETIFF, &ifr) < 0)
		return -errno;
	tap->made |= ret == 0;
	ifr.ifr_flags = (short)flags;
	if (ret == -EBUSY && (tap->port.n_sources > 0 || !tap_in_use(tap->name)))
		ret = tap_ioctl(fd, TUNSETIFF, &ifr);
	if (ret == 0)
		strcpy(tap->name, ifr.ifr_name);
	return ret;
}

/* Takes a queue that somebody else has opened. */
static int tap_take_queue(struct soft_tap *tap, const struct net_config *config, struct error *err)
{
	unsigned int i = tap->port.n_sources;
	struct soft_tap_queue queue;
	int ret;

	tap->port.sources[tap->port.n_sources++].event.fd = config->tap_fds[i];
	ret = soft_tap_queue_look(&queue, config, i, err);
	if (ret < 0)
		return ret;
	tap->attached[i] = queue.attached;
	if ((i > 0 && strcmp(tap->name, queue.name) != 0) || tap_attach(tap, i, true) < 0) {
		error_add(err, "tap=%s: descriptor %d cannot be a queue of %s", config->tap,
			  config->tap_fds[i], tap->name);
		return -EINVAL;
	}
	strcpy(tap->name, queue.name);
	return 0;
}

static int tap_open_queue(struct soft_tap *tap, const struct net_config *config, struct error *err)
{
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK), ret;

	if (fd < 0) {
		error_add(err, "cannot open /dev/net/tun for queue %u of %u of %s: %s%s", tap->port.n_sources,
			  config->n_queues, config->tap, strerror(errno), tap_open_help(errno));
		return -errno;
	}
	ret = tap_attach_new(tap, fd, config->n_queues);
	if (ret < 0) {
		close(fd);
		return tap_error(config, ret, err);
	}
	tap->attached[tap->port.n_sources] = true;
	tap->port.sources[tap->port.n_sources++].event.fd = fd;
	return 0;
}

/*
 * Takes the interface for this process alone. A TAP of several queues lets other processes have some of them,
 * which would get packets that are the guest's; and an interface that is not Ferry's alone must not be
 * changed.
 */
static int tap_take(struct soft_tap *tap, const struct soft_link *link, struct error *err)
{
	int fd = tap->port.sources[0].event.fd, header = SOFT_PORT_HEADER, ret;

	if (link->tap_queues > 0 && link->tap_queues != tap->port.n_sources) {
		error_add(err, "cannot have the TAP interface %s alone: %s", link->name,
			  link->tap_queues > tap->port.n_sources
				  ? "another process, or another NIC, has queues of it"
				  : "it was given another name meanwhile (start again)");
		return -EBUSY;
	}
	if (link->tap_pi) {
		error_add(err,
			  "%s has packets with a header that Ferry does not read: open it with IFF_NO_PI",
			  link->name);
		return -EINVAL;
	}
	ret = tap_ioctl(fd, TUNGETVNETHDRSZ, &tap->header_before);
	if (ret == 0)
		ret = tap_ioctl(fd, TUNSETVNETHDRSZ, &header);
	if (ret < 0) {
		error_add(err, "cannot set the header of packets of %s: %s", link->name, strerror(-ret));
		return ret;
	}
	tap->taken = true;
	return 0;
}

/* Makes the interface a port of its bridge and brings it up, as far as that is not so already. */
static int tap_connect(struct soft_tap *tap, const struct net_config *config, struct error *err)
{
	const char *elsewhere = config->n_tap_fds ? "it is in another network namespace than Ferry"
						  : "its name changes all the time";
	struct soft_link link;
	int ret = tap_identify(tap, &link);

	if (ret < 0) {
		error_add(err, "cannot look at the TAP interface %s: %s%s", tap->name,
			  ret == -EAGAIN ? elsewhere : strerror(-ret),
			  ret == -EAGAIN ? "" : shortage_advice(ret));
		return ret;
	}
	ret = tap_take(tap, &link, err);
	if (ret == 0)
		ret = soft_join(&tap->join, &link, tap->made, config->bridge, err);
	if (ret == 0 && tap_identify(tap, &link) < 0) {
		error_add(err, "%s has gone away while it was opened", link.name);
		ret = -ENODEV;
	}
	if (ret < 0)
		return ret;
	if (link.mtu < TAP_MIN_MTU || link.mtu > UINT16_MAX) {
		error_add(err, "%s has no MTU that a guest can be told", link.name);
		return -EINVAL;
	}
	tap->index = link.index;
	tap->mtu = link.mtu;
	tap->port.mtu = (uint16_t)link.mtu;
	strcpy(tap->name, link.name);
	strcpy(tap->opened, link.name);
	return 0;
}

/*
 * Opens the descriptors that say when interfaces change, and when this one is up again, wherever it is then.
 */
static int tap_watch_link(struct soft_tap *tap, struct error *err)
{
	const struct sockaddr_nl addr = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	tap->port.link.fd = fd;
	if (fd >= 0 && bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0)
		tap->port.raised.fd = fcntl(tap->port.sources[0].event.fd, F_DUPFD_CLOEXEC, 0);
	if (tap->port.raised.fd < 0) {
		error_add(err, "cannot watch the state of %s: %s%s", tap->name, strerror(errno),
			  shortage_advice(-errno));
		return -errno;
	}
	return 0;
}

/* Finds the offloads that the kernel does. Kernels before 6.2 lack segments of UDP, and say so by -EINVAL. */
static int tap_find_features(struct soft_tap *tap, struct error *err)
{
	uint64_t features = 0, more = VIRTIO_BIT(VIRTIO_NET_F_HOST_USO);
	int ret;

	for (unsigned int i = 0; i < ARRAY_SIZE(tap_offloads); i++)
		features |= VIRTIO_BIT(tap_offloads[i].feature);
	ret = tap_set_offload(tap, features);
	if (ret == -EINVAL) {
		features &= ~TAP_USO;
		more = 0;
		ret = tap_set_offload(tap, features);
	}
	if (ret < 0) {
		error_add(err, "cannot set the offloads of %s: %s", tap->name, strerror(-ret));
		return ret;
	}
	tap->port.features = features | more | TAP_HOST_OFFLOADS;
	return 0;
}

int soft_tap_open(struct soft_port **port, const struct net_config *config, struct error *err)
{
	struct soft_tap *tap = calloc(1, sizeof(*tap));
	int ret = 0;

	if (!tap) {
		error_add(err, "out of memory for %s", config->tap);
		return -ENOMEM;
	}
	tap->port.ops = &tap_ops;
	/* A TAP has no call for several packets, so none is to wait for another. */
	tap->port.batch = 1;
	tap->port.name = tap->opened;
	tap->port.mtu_advice =
		"give the TAP interface, or with bridge= its bridge, that MTU: \"ip link set NAME mtu ...\"";
	tap->port.link.fd = tap->port.raised.fd = -1;
	tap->port.undo.fn = tap_undo;
	/* The name's length was checked with the rest of the option. */
	snprintf(tap->name, sizeof(tap->name), "%s", config->tap);
	for (unsigned int i = 0; i < config->n_queues && ret == 0; i++)
		ret = config->n_tap_fds ? tap_take_queue(tap, config, err) : tap_open_queue(tap, config, err);
	/* The watch begins before the interface is looked at, so that no change is missed. */
	if (ret == 0)
		ret = tap_watch_link(tap, err);
	if (ret == 0)
		ret = tap_connect(tap, config, err);
	if (ret == 0)
		ret = tap_find_features(tap, err);
	if (ret < 0) {
		tap_close(&tap->port);
		return ret;
	}
	*port = &tap->port;
	return 0;
}
