/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network interfaces of the host through rtnetlink: see the header. */
#include "devices/vdpa/soft/link.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINK_ADDRESS_LEN 6u

/*
 * The kernel makes the messages of a dump no longer than this. The message about one interface fits too,
 * without its list of virtual functions, which is not asked for.
 */
#define LINK_MESSAGE_MAX 32768u

struct link_request {
	struct nlmsghdr header;
	struct ifinfomsg info;
	uint8_t attributes[64];
};

_Static_assert(sizeof(struct link_request) == 16 + 16 + 64, "attributes follow the header at once");

int soft_link_socket(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	return fd < 0 ? -errno : fd;
}

static struct link_request link_request(uint16_t type, uint16_t flags, unsigned int index)
{
	return (struct link_request){
		.header = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
			    .nlmsg_type = type,
			    .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags) },
		.info = { .ifi_family = AF_UNSPEC, .ifi_index = (int)index },
	};
}

/* Appends an attribute. @len is at most that of an interface's name, which fits with others. */
static void link_put(struct link_request *r, uint16_t type, const void *data, size_t len)
{
	struct rtattr *attr = (struct rtattr *)((uint8_t *)r + r->header.nlmsg_len);

	attr->rta_type = type;
	attr->rta_len = (uint16_t)RTA_LENGTH(len);
	memcpy(RTA_DATA(attr), data, len);
	r->header.nlmsg_len += RTA_SPACE(len);
}

/* Hands one message of an answer to @reader. Returns 0: more follow, 1: it was the last, or -errno. */
static int link_read(const struct nlmsghdr *message, int (*reader)(const struct nlmsghdr *, void *),
		     void *arg)
{
	const struct nlmsgerr *error = NLMSG_DATA(message);

	if (message->nlmsg_type == NLMSG_DONE)
		return 1;
	if (message->nlmsg_type != NLMSG_ERROR)
		return reader ? reader(message, arg) : 0;
	if (message->nlmsg_len < NLMSG_LENGTH(sizeof(*error)))
		return -EPROTO;
	return error->error < 0 ? error->error : 1;
}

static int link_ask(int fd, const struct link_request *r, int (*reader)(const struct nlmsghdr *, void *),
		    void *arg)
{
	uint8_t *answer = malloc(LINK_MESSAGE_MAX);
	int ret = answer ? 0 : -ENOMEM;

	if (ret == 0 && send(fd, r, r->header.nlmsg_len, 0) < 0)
		ret = -errno;
	while (ret == 0) {
		ssize_t n = recv(fd, answer, LINK_MESSAGE_MAX, 0);
		unsigned int left = n > 0 ? (unsigned int)n : 0;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			ret = n < 0 ? -errno : -EPROTO;
		for (const struct nlmsghdr *m = (const void *)answer; ret == 0 && NLMSG_OK(m, left);
		     m = NLMSG_NEXT(m, left))
			ret = link_read(m, reader, arg);
	}
	free(answer);
	return ret < 0 ? ret : 0;
}

/* Attributes */

static uint32_t attr_u32(const struct rtattr *attr)
{
	uint32_t value = 0;

	if (RTA_PAYLOAD(attr) >= sizeof(value))
		memcpy(&value, RTA_DATA(attr), sizeof(value));
	return value;
}

static void attr_text(const struct rtattr *attr, char *text, size_t size)
{
	size_t len = strnlen(RTA_DATA(attr), RTA_PAYLOAD(attr));

	memset(text, 0, size);
	memcpy(text, RTA_DATA(attr), len < size ? len : size - 1);
}

static void link_parse_tun(struct soft_link *link, const struct rtattr *attr)
{
	unsigned int len = (unsigned int)RTA_PAYLOAD(attr);

	for (const struct rtattr *a = RTA_DATA(attr); RTA_OK(a, len); a = RTA_NEXT(a, len)) {
		if (a->rta_type == IFLA_TUN_NUM_QUEUES || a->rta_type == IFLA_TUN_NUM_DISABLED_QUEUES)
			link->tap_queues += attr_u32(a);
		else if (a->rta_type == IFLA_TUN_PI && RTA_PAYLOAD(a) > 0)
			link->tap_pi = *(const uint8_t *)RTA_DATA(a);
	}
}

/* The kernel puts the kind before its data. */
static void link_parse_kind(struct soft_link *link, const struct rtattr *attr)
{
	unsigned int len = (unsigned int)RTA_PAYLOAD(attr);

	for (const struct rtattr *a = RTA_DATA(attr); RTA_OK(a, len); a = RTA_NEXT(a, len)) {
		if (a->rta_type == IFLA_INFO_KIND)
			attr_text(a, link->kind, sizeof(link->kind));
		else if (a->rta_type == IFLA_INFO_DATA && strcmp(link->kind, "tun") == 0)
			link_parse_tun(link, a);
	}
}

static void link_parse_address(struct soft_link *link, const struct rtattr *attr)
{
	const uint8_t *p = RTA_DATA(attr);

	for (unsigned int i = 0; RTA_PAYLOAD(attr) == LINK_ADDRESS_LEN && i < LINK_ADDRESS_LEN; i++)
		link->address = link->address << 8 | p[i];
}

static int link_parse(const struct nlmsghdr *message, struct soft_link *link)
{
	const struct ifinfomsg *info = NLMSG_DATA(message);
	unsigned int len = (unsigned int)IFLA_PAYLOAD(message);

	if (message->nlmsg_type != RTM_NEWLINK || message->nlmsg_len < NLMSG_LENGTH(sizeof(*info)))
		return -EPROTO;
	*link = (struct soft_link){ .index = (unsigned int)info->ifi_index, .up = info->ifi_flags & IFF_UP };
	for (const struct rtattr *a = IFLA_RTA(info); RTA_OK(a, len); a = RTA_NEXT(a, len)) {
		if (a->rta_type == IFLA_IFNAME)
			attr_text(a, link->name, sizeof(link->name));
		else if (a->rta_type == IFLA_MTU)
			link->mtu = attr_u32(a);
		else if (a->rta_type == IFLA_MASTER)
			link->master = attr_u32(a);
		else if (a->rta_type == IFLA_ADDRESS)
			link_parse_address(link, a);
		else if (a->rta_type == IFLA_LINKINFO)
			link_parse_kind(link, a);
	}
	return 0;
}

/* Questions */

/* An answer of one message ends with it. */
static int link_read_one(const struct nlmsghdr *message, void *arg)
{
	int ret = link_parse(message, arg);

	return ret < 0 ? ret : 1;
}

int soft_link_find(int fd, const char *name, struct soft_link *link)
{
	struct link_request r = link_request(RTM_GETLINK, 0, 0);

	link_put(&r, IFLA_IFNAME, name, strnlen(name, IFNAMSIZ - 1) + 1);
	return link_ask(fd, &r, link_read_one, link);
}

int soft_link_get(int fd, unsigned int index, struct soft_link *link)
{
	struct link_request r = link_request(RTM_GETLINK, 0, index);

	return link_ask(fd, &r, link_read_one, link);
}

struct link_lowest {
	unsigned int bridge;
	bool found;
	uint64_t address;
};

static int link_read_port(const struct nlmsghdr *message, void *arg)
{
	struct link_lowest *lowest = arg;
	struct soft_link link;
	int ret = link_parse(message, &link);

	if (ret < 0 || link.master != lowest->bridge)
		return ret;
	if (!lowest->found || link.address < lowest->address)
		lowest->address = link.address;
	lowest->found = true;
	return 0;
}

int soft_link_lowest_port(int fd, unsigned int bridge, uint64_t *address)
{
	struct link_request r = link_request(RTM_GETLINK, NLM_F_DUMP, 0);
	struct link_lowest lowest = { .bridge = bridge };
	int ret = link_ask(fd, &r, link_read_port, &lowest);

	if (ret == 0 && !lowest.found)
		ret = -ENOENT;
	*address = lowest.address;
	return ret;
}

/* Changes */

static int link_set(int fd, unsigned int index, uint16_t type, const void *data, size_t len)
{
	struct link_request r = link_request(RTM_SETLINK, NLM_F_ACK, index);

	link_put(&r, type, data, len);
	return link_ask(fd, &r, NULL, NULL);
}

int soft_link_set_address(int fd, unsigned int index, uint64_t address)
{
	uint8_t bytes[LINK_ADDRESS_LEN];

	for (unsigned int i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(address >> 8 * (sizeof(bytes) - 1 - i));
	return link_set(fd, index, IFLA_ADDRESS, bytes, sizeof(bytes));
}

int soft_link_set_mtu(int fd, unsigned int index, uint32_t mtu)
{
	return link_set(fd, index, IFLA_MTU, &mtu, sizeof(mtu));
}

int soft_link_set_master(int fd, unsigned int index, unsigned int master)
{
	return link_set(fd, index, IFLA_MASTER, &master, sizeof(master));
}

static int link_set_flags(int fd, unsigned int index, unsigned int flags)
{
	struct link_request r = link_request(RTM_SETLINK, NLM_F_ACK, index);

	r.info.ifi_flags = flags;
	r.info.ifi_change = IFF_UP;
	return link_ask(fd, &r, NULL, NULL);
}

int soft_link_raise(int fd, unsigned int index)
{
	return link_set_flags(fd, index, IFF_UP);
}

int soft_link_lower(int fd, unsigned int index)
{
	return link_set_flags(fd, index, 0);
}
