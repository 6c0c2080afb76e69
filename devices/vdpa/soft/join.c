/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Makes a TAP interface a port of a bridge, and undoes that: see the header. */
#include "devices/vdpa/soft/join.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "vmm/mac.h"
#include "vmm/shortage.h"

/* The arguments of MAC_FORMAT for an address that is a number. */
#define MAC_BYTE(a, i) ((unsigned int)((a) >> 8 * (5 - (i))) & 0xff)
#define MAC_BYTES(a)                                                                                         \
	MAC_BYTE(a, 0), MAC_BYTE(a, 1), MAC_BYTE(a, 2), MAC_BYTE(a, 3), MAC_BYTE(a, 4), MAC_BYTE(a, 5)

/* The addresses in this range are for anyone to take, and are higher than all that makers give to their
 * hardware. */
#define JOIN_LOWEST_ADDRESS  UINT64_C(0xfe0000000000)
#define JOIN_HIGHEST_ADDRESS UINT64_C(0xfeffffffffff)

/*
 * A bridge that nobody has given an address has the lowest address of its ports, and the host has it too. So
 * the new port gets an address above the lowest that is there. If no address is above, or there is no other
 * port, soft_join() says what the bridge's has become.
 */
static int join_choose_address(int fd, const struct soft_link *tap, const struct soft_link *bridge,
			       struct error *err)
{
	uint64_t lowest = 0, random, first = JOIN_LOWEST_ADDRESS;
	int ret = soft_link_lowest_port(fd, bridge->index, &lowest);

	if (ret < 0 && ret != -ENOENT) {
		error_add(err, "cannot look at the ports of %s: %s", bridge->name, strerror(-ret));
		return ret;
	}
	if (getrandom(&random, sizeof(random), 0) != sizeof(random)) {
		error_add(err, "%s: no random bytes for an address", tap->name);
		return -EIO;
	}
	if (ret == 0 && lowest >= first && lowest < JOIN_HIGHEST_ADDRESS)
		first = lowest + 1;
	ret = soft_link_set_address(fd, tap->index, first + random % (JOIN_HIGHEST_ADDRESS - first + 1));
	if (ret < 0) {
		error_add(err, "cannot set the address of %s: %s", tap->name, strerror(-ret));
		return ret;
	}
	return 0;
}

/* A bridge has the lowest MTU of its ports, so the new port gets the bridge's. */
static int join_take_mtu(struct soft_join *join, int fd, const struct soft_link *tap,
			 const struct soft_link *bridge, struct error *err)
{
	int ret;

	if (tap->mtu == bridge->mtu)
		return 0;
	ret = soft_link_set_mtu(fd, tap->index, bridge->mtu);
	if (ret < 0) {
		error_add(err,
			  "cannot give %s the MTU of the bridge %s: %s (\"ip link set %s mtu %" PRIu32
			  " master %s\" by root, then without bridge=)",
			  tap->name, bridge->name, strerror(-ret), tap->name, bridge->mtu, bridge->name);
		return ret;
	}
	join->mtu_before = tap->mtu;
	join->mtu = bridge->mtu;
	return 0;
}

/* Logs changes of the bridge that could not be avoided. */
static void join_compare(int fd, const struct soft_link *tap, const struct soft_link *before)
{
	struct soft_link after;

	if (soft_link_get(fd, before->index, &after) < 0)
		return;
	/* A bridge that has lost all its ports has no address, so a new one changes nothing. */
	if (before->address && after.address != before->address)
		log_warn("the MAC address of the bridge %s, and so of this host on it, is now " MAC_FORMAT
			 ", that of its new port %s, and was " MAC_FORMAT
			 ": a bridge without an address of its own has the lowest of its ports' "
			 "(\"ip link set %s address " MAC_FORMAT "\" keeps it)",
			 after.name, MAC_BYTES(after.address), tap->name, MAC_BYTES(before->address),
			 after.name, MAC_BYTES(before->address));
	if (after.mtu != before->mtu)
		log_warn("the MTU of the bridge %s is now %" PRIu32 ", and was %" PRIu32
			 ", since %s is its port (\"ip link set %s mtu %" PRIu32 "\" keeps it)",
			 after.name, after.mtu, before->mtu, tap->name, after.name, before->mtu);
}

static int join_find_bridge(int fd, const char *name, struct soft_link *bridge, struct error *err)
{
	int ret = soft_link_find(fd, name, bridge);

	if (ret == -ENODEV) {
		error_add(err, "there is no bridge %s: make one with \"ip link add %s type bridge\"", name,
			  name);
		return ret;
	}
	if (ret < 0) {
		error_add(err, "cannot look at the bridge %s: %s", name, strerror(-ret));
		return ret;
	}
	if (strcmp(bridge->kind, "bridge") != 0) {
		error_add(err,
			  "%s is not a bridge of Linux%s%s: give bridge= the name of one, or make the "
			  "TAP interface a port by hand, then without bridge=",
			  name, bridge->kind[0] ? ", it is of type " : "", bridge->kind);
		return -EINVAL;
	}
	return 0;
}

/* Refuses a TAP that is a port of another bridge, and names that. */
static int join_check_master(int fd, const struct soft_link *tap, const struct soft_link *bridge,
			     struct error *err)
{
	struct soft_link master;
	int ret = soft_link_get(fd, tap->master, &master);

	if (ret < 0) {
		error_add(err, "%s is a port of another bridge than %s, which cannot be looked at: %s",
			  tap->name, bridge->name, strerror(-ret));
		return ret;
	}
	error_add(err,
		  "%s is a port of %s, not of %s: give bridge=%s, or move it with "
		  "\"ip link set %s master %s\"",
		  tap->name, master.name, bridge->name, master.name, tap->name, bridge->name);
	return -EBUSY;
}

static int join_bridge(struct soft_join *join, int fd, const struct soft_link *tap, bool made,
		       const char *name, struct error *err)
{
	struct soft_link bridge;
	int ret = join_find_bridge(fd, name, &bridge, err);

	if (ret < 0 || tap->master == bridge.index)
		return ret;
	if (tap->master)
		return join_check_master(fd, tap, &bridge, err);
	if (made)
		ret = join_choose_address(fd, tap, &bridge, err);
	if (ret == 0)
		ret = join_take_mtu(join, fd, tap, &bridge, err);
	if (ret < 0)
		return ret;
	ret = soft_link_set_master(fd, tap->index, bridge.index);
	if (ret < 0) {
		error_add(err,
			  "cannot make %s a port of the bridge %s: %s (\"ip link set %s master %s\" by "
			  "root, then without bridge=)",
			  tap->name, bridge.name, strerror(-ret), tap->name, bridge.name);
		return ret;
	}
	join->bridge = bridge.index;
	join_compare(fd, tap, &bridge);
	return 0;
}

int soft_join(struct soft_join *join, const struct soft_link *tap, bool made, const char *bridge,
	      struct error *err)
{
	int fd = soft_link_socket(), ret = 0;

	*join = (struct soft_join){ .index = tap->index };
	if (fd < 0) {
		error_add(err, "cannot look at %s: %s%s", tap->name, strerror(-fd), shortage_advice(fd));
		return fd;
	}
	if (bridge)
		ret = join_bridge(join, fd, tap, made, bridge, err);
	if (ret == 0 && !tap->up) {
		ret = soft_link_raise(fd, tap->index);
		join->raised = ret == 0;
		if (ret < 0)
			error_add(err, "cannot bring %s up: %s (\"ip link set %s up\" by root)", tap->name,
				  strerror(-ret), tap->name);
	}
	close(fd);
	return ret;
}

void soft_leave(const struct soft_join *join)
{
	struct soft_link tap = { .name = "the TAP" };
	int fd = soft_link_socket(), ret = fd;

	if (ret >= 0)
		ret = soft_link_get(fd, join->index, &tap);
	if (ret >= 0 && join->bridge && tap.master == join->bridge)
		ret = soft_link_set_master(fd, join->index, 0);
	if (ret >= 0 && join->mtu && tap.mtu == join->mtu)
		ret = soft_link_set_mtu(fd, join->index, join->mtu_before);
	if (ret >= 0 && join->raised && tap.up)
		ret = soft_link_lower(fd, join->index);
	if (ret < 0 && ret != -ENODEV)
		log_warn("cannot leave %s as it was found: %s: see whether it is up, or a port of a bridge",
			 tap.name, strerror(-ret));
	if (fd >= 0)
		close(fd);
}
