/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A host in a network namespace of its own: see the header. */
#define _GNU_SOURCE
#include "tests/unit/devices/vdpa/soft/soft_host.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

bool host_enter(void)
{
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0 && (unshare(CLONE_NEWNET) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0);
}

bool host_add_bridge(const char *name)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret = ioctl(fd, SIOCBRADDBR, name);

	close(fd);
	return ret == 0;
}

struct soft_link host_link(const char *name)
{
	struct soft_link link;
	int fd = soft_link_socket(), ret = soft_link_find(fd, name, &link);

	close(fd);
	if (ret < 0)
		fail_msg("%s: %s", name, strerror(-ret));
	return link;
}

bool host_has(const char *name)
{
	return if_nametoindex(name) > 0;
}

int host_open_tap(const char *name, unsigned int flags)
{
	struct ifreq ifr = { .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | flags) };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	strcpy(ifr.ifr_name, name);
	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, TUNSETIFF, &ifr), 0);
	return fd;
}

void host_add_tap(const char *name, unsigned int flags)
{
	int fd = host_open_tap(name, flags);

	assert_int_equal(ioctl(fd, TUNSETPERSIST, 1), 0);
	close(fd);
}

void host_delete_tap(const char *name, unsigned int flags)
{
	int fd = host_open_tap(name, flags);

	assert_int_equal(ioctl(fd, TUNSETPERSIST, 0), 0);
	close(fd);
}

void host_set(const char *name, int (*set)(int fd, unsigned int index))
{
	int fd = soft_link_socket();

	assert_int_equal(set(fd, host_link(name).index), 0);
	close(fd);
}

void host_set_address(const char *name, uint64_t address)
{
	int fd = soft_link_socket();

	assert_int_equal(soft_link_set_address(fd, host_link(name).index, address), 0);
	close(fd);
}

void host_set_mtu(const char *name, uint32_t mtu)
{
	int fd = soft_link_socket();

	assert_int_equal(soft_link_set_mtu(fd, host_link(name).index, mtu), 0);
	close(fd);
}

void host_set_master(const char *name, const char *master)
{
	int fd = soft_link_socket();

	assert_int_equal(
		soft_link_set_master(fd, host_link(name).index, master ? host_link(master).index : 0), 0);
	close(fd);
}

bool host_rename(const char *name, const char *new_name)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret;
	struct ifreq ifr = { 0 };

	strcpy(ifr.ifr_name, name);
	strcpy(ifr.ifr_newname, new_name);
	ret = ioctl(fd, SIOCSIFNAME, &ifr);
	assert_true(ret == 0 || errno == EBUSY);
	close(fd);
	return ret == 0;
}

/* Makes a request about one interface that has no function in link.h, with one number. */
static void host_change(const char *name, uint16_t type, uint16_t attribute, uint32_t value)
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg info;
		struct rtattr attribute;
		uint32_t value;
	} r = { { sizeof(r), type, NLM_F_REQUEST | NLM_F_ACK, 0, 0 },
		{ .ifi_index = (int)host_link(name).index },
		{ RTA_LENGTH(sizeof(value)), attribute },
		value };
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
	} answer;
	int fd = soft_link_socket();

	assert_int_equal(send(fd, &r, sizeof(r), 0), sizeof(r));
	assert_true(recv(fd, &answer, sizeof(answer), 0) >= (ssize_t)sizeof(answer));
	assert_int_equal(answer.error.error, 0);
	close(fd);
}

void host_delete(const char *name)
{
	host_change(name, RTM_DELLINK, IFLA_MTU, 0);
}

void host_move(const char *name, int namespace)
{
	host_change(name, RTM_SETLINK, IFLA_NET_NS_FD, (uint32_t) namespace);
}

struct vdpa *host_open(const char *tap, const char *bridge, unsigned int n_queues, struct error *err)
{
	const struct net_config config = { .soft = true,
					   .tap = tap,
					   .bridge = bridge,
					   .mac_set = true,
					   .mac = SOFT_RIG_MAC,
					   .n_queues = n_queues,
					   .ring_size = CONFIG_DEFAULT_RING };
	struct vdpa *vdpa = NULL;

	*err = (struct error){ 0 };
	if (soft_vdpa_open(&vdpa, &config, err) < 0)
		return NULL;
	return vdpa;
}

struct vdpa *host_must_open(const char *tap, const char *bridge, unsigned int n_queues)
{
	struct error err;
	struct vdpa *vdpa = host_open(tap, bridge, n_queues, &err);

	if (!vdpa)
		fail_msg("%s", err.text);
	return vdpa;
}

void host_must_refuse(const char *tap, const char *bridge, unsigned int n_queues, const char *why)
{
	struct error err;

	assert_null(host_open(tap, bridge, n_queues, &err));
	if (!strstr(err.text, why))
		fail_msg("\"%s\" does not say \"%s\"", err.text, why);
}

uint16_t host_config16(struct vdpa *vdpa, uint32_t offset)
{
	struct error err = { 0 };
	uint8_t value[2];

	assert_int_equal(vdpa->ops->get_config(vdpa, offset, value, sizeof(value), &err), 0);
	return get_le16(value);
}

struct host_log host_log_begin(void)
{
	struct host_log log = { dup(STDERR_FILENO), memfd_create("log", MFD_CLOEXEC) };

	assert_true(log.saved >= 0 && log.file >= 0);
	assert_true(dup2(log.file, STDERR_FILENO) >= 0);
	return log;
}

const char *host_log_end(const struct host_log *log)
{
	static char text[1 << 16];
	ssize_t n;

	assert_true(dup2(log->saved, STDERR_FILENO) >= 0);
	n = pread(log->file, text, sizeof(text) - 1, 0);
	assert_true(n >= 0);
	text[n] = '\0';
	close(log->saved);
	close(log->file);
	return text;
}

unsigned int host_log_lines(const char *text)
{
	unsigned int n = 0;

	for (const char *p = text; (p = strchr(p, '\n')); p++)
		n++;
	return n;
}
