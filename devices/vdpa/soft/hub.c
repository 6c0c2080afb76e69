/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hub without a process of its own, as the port of the vDPA NIC in software: a folder in which every port
 * is a datagram socket, and each packet goes to all others. For tests: no privileges are needed.
 */
#define _GNU_SOURCE
#include "devices/vdpa/soft/hub.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/socket_file.h"

#define HUB_MAX_PEERS 32u
#define HUB_NAME      "port-" /* begins the names of sockets */
#define HUB_NAME_MAX  32u
#define HUB_MTU       1500u

/* A socket has its name before it can be reached, but not for so long. */
#define HUB_NEW_NS UINT64_C(1000000000)

struct hub_peer {
	struct sockaddr_un address;
	dev_t dev;
	ino_t ino;
	uint64_t refused_ns; /* when it refused a packet for the first time; 0: never */
};

struct soft_hub {
	/* @port.link is readable when ports came or went. */
	struct soft_port port;
	bool changed; /* the folder was, since it was read */
	struct sockaddr_un self;
	struct socket_file file; /* the socket of @self */
	char folder[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	unsigned int n_peers;
	struct hub_peer peers[HUB_MAX_PEERS];

	struct mmsghdr out[SOFT_BATCH];
	/* The packets that have been read lie in @held, from @next on. */
	struct mmsghdr in[SOFT_BATCH];
	struct iovec in_iov[SOFT_BATCH];
	unsigned int next;
	uint8_t held[SOFT_BATCH][SOFT_PACKET_MAX];
};

/* Nothing stands between guests, so each may send packets that any of them takes; the others drop them. */
#define HUB_OFFLOADS                                                                                         \
	(VIRTIO_BIT(VIRTIO_NET_F_CSUM) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM) |                               \
	 VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO6) |                         \
	 VIRTIO_BIT(VIRTIO_NET_F_GUEST_ECN) | VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO4) |                           \
	 VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO6) | VIRTIO_BIT(VIRTIO_NET_F_HOST_ECN))

/* Sets @peer to the entry @name of the folder. Returns whether that is a port, and not our own. */
static bool hub_is_peer(const struct soft_hub *hub, const char *name, struct hub_peer *peer)
{
	struct sockaddr_un *address = &peer->address;
	struct stat st;
	int len;

	if (strncmp(name, HUB_NAME, strlen(HUB_NAME)) != 0)
		return false;
	*peer = (struct hub_peer){ .address.sun_family = AF_UNIX };
	len = snprintf(address->sun_path, sizeof(address->sun_path), "%s/%s", hub->folder, name);
	if (len <= 0 || (size_t)len >= sizeof(address->sun_path) ||
	    strcmp(address->sun_path, hub->self.sun_path) == 0 || lstat(address->sun_path, &st) < 0)
		return false;
	peer->dev = st.st_dev;
	peer->ino = st.st_ino;
	return S_ISSOCK(st.st_mode);
}

/* Finds the other ports. If the folder cannot be read, the known ones stay and the folder is read again
 * later. */
static void hub_look(struct soft_hub *hub)
{
	DIR *dir = opendir(hub->folder);
	struct dirent *entry;

	hub->changed = !dir;
	if (!dir)
		return;
	hub->n_peers = 0;
	while (hub->n_peers < HUB_MAX_PEERS && (entry = readdir(dir)))
		hub->n_peers += hub_is_peer(hub, entry->d_name, &hub->peers[hub->n_peers]);
	closedir(dir);
}

/* The port is up, whoever comes and goes. */
static enum soft_port_state hub_state(struct soft_port *port)
{
	struct soft_hub *hub = container_of(port, struct soft_hub, port);
	char events[1024];

	while (read(port->link.fd, events, sizeof(events)) > 0)
		hub->changed = true;
	if (hub->changed)
		hub_look(hub);
	return SOFT_PORT_UP;
}

/* Deletes a socket that nobody has, because its owner was killed. A port that has just come looks the same
 * for a moment, so it is given some time. */
static void hub_refused(struct hub_peer *peer)
{
	const char *path = peer->address.sun_path;
	uint64_t now = now_ns();
	struct stat st;

	if (peer->refused_ns == 0)
		peer->refused_ns = now;
	if (now - peer->refused_ns > HUB_NEW_NS && lstat(path, &st) == 0 && st.st_dev == peer->dev &&
	    st.st_ino == peer->ino)
		unlink(path);
}

/* A peer that does not read loses packets, as on any network. */
static void hub_send_to(struct soft_hub *hub, struct hub_peer *peer, unsigned int n)
{
	unsigned int done = 0;

	for (unsigned int i = 0; i < n; i++)
		hub->out[i].msg_hdr.msg_name = &peer->address;
	while (done < n) {
		int sent = sendmmsg(hub->port.sources[0].event.fd, hub->out + done, n - done,
				    MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0 && errno == ECONNREFUSED) {
			hub_refused(peer);
			return;
		}
		done += sent > 0 ? (unsigned int)sent : 1;
	}
	peer->refused_ns = 0;
}

static int hub_send(struct soft_port *port, unsigned int pair, struct soft_out *packets, unsigned int n)
{
	struct soft_hub *hub = container_of(port, struct soft_hub, port);

	if (hub->changed)
		hub_look(hub);
	for (unsigned int i = 0; i < n; i++) {
		hub->out[i].msg_hdr.msg_iov = (struct iovec *)packets[i].iov;
		hub->out[i].msg_hdr.msg_iovlen = packets[i].n_iov;
		packets[i].sent = true;
	}
	for (unsigned int i = 0; i < hub->n_peers; i++)
		hub_send_to(hub, &hub->peers[i], n);
	return 0;
}

/* Reads as many packets as there are and fit. Returns their number, or -errno. */
static int hub_fetch(struct soft_hub *hub)
{
	struct soft_source *source = &hub->port.sources[0];
	int n = recvmmsg(source->event.fd, hub->in, SOFT_BATCH, MSG_DONTWAIT | MSG_TRUNC, NULL);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	hub->next = 0;
	source->n_held = (unsigned int)n;
	source->taken_all = n < (int)SOFT_BATCH;
	return n;
}

static int hub_receive(struct soft_port *port, unsigned int source, const struct iovec *iov, unsigned int n)
{
	struct soft_hub *hub = container_of(port, struct soft_hub, port);
	int ret = port->sources[0].n_held ? 1 : hub_fetch(hub);
	uint32_t len, done = 0;
	const uint8_t *packet;

	if (ret <= 0)
		return ret;
	port->sources[0].n_held--;
	packet = hub->held[hub->next];
	len = hub->in[hub->next++].msg_len;
	/* A datagram can be empty, or longer than any packet. The answer 1 is too short for a packet, so it
	 * is dropped. */
	if (len == 0 || len > SOFT_PACKET_MAX)
		return 1;
	for (unsigned int i = 0; i < n && done < len; i++) {
		uint32_t part = (uint32_t)min_u64(iov[i].iov_len, len - done);

		memcpy(iov[i].iov_base, packet + done, part);
		done += part;
	}
	return (int)done;
}

static int hub_set_offloads(struct soft_port *port, uint64_t offloads)
{
	return 0;
}

static int hub_set_pairs(struct soft_port *port, unsigned int n_pairs)
{
	return 0;
}

static void hub_undo(struct guard_undo *undo)
{
	socket_file_remove(&container_of(undo, struct soft_hub, port.undo)->file);
}

static void hub_close(struct soft_port *port)
{
	struct soft_hub *hub = container_of(port, struct soft_hub, port);

	guard_del(&port->undo);
	socket_file_remove(&hub->file);
	if (port->sources[0].event.fd >= 0)
		close(port->sources[0].event.fd);
	if (port->link.fd >= 0)
		close(port->link.fd);
	free(hub);
}

static const struct soft_port_ops hub_ops = {
	.receive = hub_receive,
	.send = hub_send,
	.set_offloads = hub_set_offloads,
	.set_pairs = hub_set_pairs,
	.state = hub_state,
	.close = hub_close,
};

/* Notes which file our socket is, because another process may have the name later: processes of other PID
 * namespaces may have our number. */
static void hub_know_file(struct soft_hub *hub)
{
	struct stat st;

	if (lstat(hub->self.sun_path, &st) < 0)
		return;
	hub->file = (struct socket_file){ .dir_fd = AT_FDCWD, .dev = st.st_dev, .ino = st.st_ino };
	strcpy(hub->file.name, hub->self.sun_path);
}

/* Binds to a name that nobody has, because bind() refuses one that is taken. */
static int hub_bind(struct soft_hub *hub, int fd)
{
	struct sockaddr_un *self = &hub->self;

	for (unsigned int i = 0; i < 1000; i++) {
		snprintf(self->sun_path, sizeof(self->sun_path), "%.*s/" HUB_NAME "%d-%u",
			 (int)(sizeof(self->sun_path) - HUB_NAME_MAX), hub->folder, (int)getpid(), i);
		if (bind(fd, (struct sockaddr *)self, sizeof(*self)) == 0) {
			hub_know_file(hub);
			return 0;
		}
		if (errno != EADDRINUSE)
			break;
	}
	self->sun_path[0] = '\0';
	return -errno;
}

static int hub_join(struct soft_hub *hub, const struct net_config *config, struct error *err)
{
	int size = 1 << 20, fd, ret;

	strcpy(hub->folder, config->hub);
	if (mkdir(hub->folder, 0700) < 0 && errno != EEXIST) {
		error_add(err, "cannot make the hub's folder %s: %s", hub->folder, strerror(errno));
		return -errno;
	}
	hub->port.link.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (hub->port.link.fd < 0 ||
	    inotify_add_watch(hub->port.link.fd, hub->folder, IN_CREATE | IN_DELETE) < 0) {
		error_add(err, "cannot watch the hub's folder %s: %s%s", hub->folder, strerror(errno),
			  errno == EMFILE ? " (raise \"ulimit -n\", or fs.inotify.max_user_instances)" : "");
		return -errno;
	}
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	hub->port.sources[0].event.fd = fd;
	if (fd < 0) {
		error_add(err, "cannot create a socket: %s", strerror(errno));
		return -errno;
	}
	/* The kernel may grant a smaller buffer: then long packets are lost, and no others. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) < 0)
		log_debug("%s: cannot have larger buffers: %s", hub->folder, strerror(errno));
	ret = hub_bind(hub, fd);
	if (ret < 0) {
		error_add(err, "cannot join the hub %s: %s", hub->folder, strerror(-ret));
		return ret;
	}
	hub->port.undo.fn = hub_undo;
	hub_look(hub);
	return 0;
}

int soft_hub_open(struct soft_port **port, const struct net_config *config, struct error *err)
{
	struct soft_hub *hub = calloc(1, sizeof(*hub));
	int ret;

	if (!hub) {
		error_add(err, "out of memory for the hub %s", config->hub);
		return -ENOMEM;
	}
	hub->port = (struct soft_port){
		.ops = &hub_ops,
		.n_sources = 1,
		.batch = SOFT_BATCH,
		.features = HUB_OFFLOADS,
		.mtu = HUB_MTU,
		.mtu_advice = "a hub has no other: the NIC here has to be one of tap= or vdpa=",
	};
	hub->port.sources[0].event.fd = hub->port.link.fd = hub->port.raised.fd = -1;
	hub->port.name = hub->folder;
	hub->self.sun_family = AF_UNIX;
	for (unsigned int i = 0; i < SOFT_BATCH; i++) {
		hub->out[i].msg_hdr.msg_namelen = sizeof(struct sockaddr_un);
		hub->in_iov[i] = (struct iovec){ hub->held[i], SOFT_PACKET_MAX };
		hub->in[i].msg_hdr.msg_iov = &hub->in_iov[i];
		hub->in[i].msg_hdr.msg_iovlen = 1;
	}
	ret = hub_join(hub, config, err);
	if (ret < 0) {
		hub_close(&hub->port);
		return ret;
	}
	*port = &hub->port;
	return 0;
}
