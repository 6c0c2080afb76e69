/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The keys of --net as one table: each row reads its value, and what keys mean together is checked at the
 * end. */
#include "vmm/config_net.h"

#include <errno.h>
#include <sys/un.h>

#include "vmm/config_text.h"

/* Bytes for the name of a NIC's own socket in a hub's folder, whose path has a bound. */
#define CONFIG_HUB_ROOM 32u

/* Characters of a descriptor's name, as systemd bounds them. */
#define CONFIG_MAX_FD_NAME 255u

static int config_net_vdpa(struct net_config *net, const char *value, struct error *err)
{
	net->vdpa = value;
	return 0;
}

static int config_net_soft(struct net_config *net, const char *value, struct error *err)
{
	net->soft = true;
	return 0;
}

static int config_net_ifname(const char *name, struct error *err)
{
	if (config_ifname_valid(name))
		return 0;
	error_add(err,
		  "--net: \"%s\" is not the name of an interface: that has 1 to %u characters, no space, "
		  "\"/\" or \":\"",
		  name, CONFIG_MAX_IFNAME);
	return -EINVAL;
}

static int config_net_percent(const char *name, struct error *err)
{
	error_add(err,
		  "--net: \"%s\" is not the name of an interface: a \"%%\" can be in that of a new TAP, as "
		  "in tap=tap%%d, for a number that is free",
		  name);
	return -EINVAL;
}

/* Counts the descriptors of "fd:N:N...". */
static int config_net_tap_fds(struct net_config *net, const char *value, struct error *err)
{
	for (const char *p = value; p; p = strchr(p + 1, ':'))
		net->n_tap_fds += *p == ':';
	if (net->n_tap_fds <= CONFIG_MAX_QUEUES)
		return 0;
	error_add(err, "--net: tap=%s: 1 to %u descriptors are possible", value, CONFIG_MAX_QUEUES);
	return -EINVAL;
}

static int config_net_tap(struct net_config *net, const char *value, struct error *err)
{
	net->tap = value;
	if (descriptor_is(value))
		return config_net_tap_fds(net, value, err);
	if (strchr(value, '%') && !config_ifname_is_pattern(value))
		return config_net_percent(value, err);
	return config_net_ifname(value, err);
}

static int config_net_bridge(struct net_config *net, const char *value, struct error *err)
{
	net->bridge = value;
	return strchr(value, '%') ? config_net_percent(value, err) : config_net_ifname(value, err);
}

static int config_net_hub(struct net_config *net, const char *value, struct error *err)
{
	struct sockaddr_un sun;

	net->hub = value;
	if (strlen(value) > sizeof(sun.sun_path) - CONFIG_HUB_ROOM) {
		error_add(err, "--net: hub=\"%s\": a hub's path has at most %zu characters", value,
			  sizeof(sun.sun_path) - CONFIG_HUB_ROOM);
		return -EINVAL;
	}
	return 0;
}

static int config_net_mac(struct net_config *net, const char *value, struct error *err)
{
	if (config_parse_mac(value, net->mac) < 0) {
		error_add(err, "--net: mac=\"%s\": a NIC's address is needed, such as 52:54:00:12:34:56",
			  value);
		return -EINVAL;
	}
	net->mac_set = true;
	return 0;
}

static int config_net_queues(struct net_config *net, const char *value, struct error *err)
{
	uint64_t n;

	if (config_parse_size(value, &n) < 0 || n < 1 || n > CONFIG_MAX_QUEUES) {
		error_add(err, "--net: queues=\"%s\": 1 to %u are possible", value, CONFIG_MAX_QUEUES);
		return -EINVAL;
	}
	net->n_queues = (unsigned int)n;
	return 0;
}

static int config_net_ring(struct net_config *net, const char *value, struct error *err)
{
	uint64_t n;

	if (config_parse_size(value, &n) < 0 || !is_power_of_2(n) || n < CONFIG_MIN_RING ||
	    n > CONFIG_MAX_RING) {
		error_add(err, "--net: ring=\"%s\": powers of 2 from %u to %u are possible", value,
			  CONFIG_MIN_RING, CONFIG_MAX_RING);
		return -EINVAL;
	}
	net->ring_size = (uint16_t)n;
	return 0;
}

/* Returns 1 for "on", 0 for "off", or -EINVAL. */
static int config_net_switch(const char *key, const char *value, struct error *err)
{
	static const char *const words[] = { "off", "on" };
	int on = config_parse_word(value, words, ARRAY_SIZE(words));

	if (on < 0)
		error_add(err, "--net: %s=%s: on or off are possible", key, value);
	return on;
}

static int config_net_packed(struct net_config *net, const char *value, struct error *err)
{
	int on = config_net_switch("packed", value, err);

	net->packed_wanted = on > 0;
	net->split_only = on == 0;
	return on < 0 ? on : 0;
}

static int config_net_in_order(struct net_config *net, const char *value, struct error *err)
{
	int on = config_net_switch("in-order", value, err);

	net->in_order_wanted = on > 0;
	net->any_order = on == 0;
	return on < 0 ? on : 0;
}

static int config_net_shared_switch(struct net_config *net, const char *value, struct error *err)
{
	int on = config_net_switch("shared-switch", value, err);

	net->shared_switch = on > 0;
	return on < 0 ? on : 0;
}

static int config_net_mode(struct net_config *net, const char *value, struct error *err)
{
	static const char *const words[] = {
		[NET_AUTO] = "auto", [NET_SHADOW] = "shadow", [NET_PASSTHROUGH] = "passthrough"
	};
	int mode = config_parse_word(value, words, ARRAY_SIZE(words));

	if (mode < 0) {
		error_add(err, "--net: mode=%s: auto, shadow or passthrough are possible", value);
		return mode;
	}
	net->mode = (enum net_mode)mode;
	return 0;
}

static int config_net_poll(struct net_config *net, const char *value, struct error *err)
{
	static const char *const words[] = { "off", "auto" };
	int word = config_parse_word(value, words, ARRAY_SIZE(words));
	uint64_t us = LOOK_AUTO;

	if (word == 0)
		us = 0;
	else if (word < 0 && (config_parse_size(value, &us) < 0 || us < 1 || us > LOOK_MAX_US)) {
		error_add(err, "--net: poll=%s: auto, off or 1 to %u microseconds are possible", value,
			  LOOK_MAX_US);
		return -EINVAL;
	}
	net->poll_us = (uint32_t)us;
	return 0;
}

/* A key may be special: it stands alone without a value, or is of a NIC in software, or of a guest that
 * arrives. */
enum { KEY_WORD = 1u << 0, KEY_SOFT = 1u << 1, KEY_ARRIVES = 1u << 2 };

static const struct config_net_key {
	const char *name;
	unsigned int flags;
	int (*parse)(struct net_config *net, const char *value, struct error *err);
} config_net_keys[] = {
	{ "vdpa", 0, config_net_vdpa },
	{ "soft", KEY_WORD, config_net_soft },
	{ "tap", KEY_SOFT, config_net_tap },
	{ "bridge", KEY_SOFT, config_net_bridge },
	{ "hub", KEY_SOFT, config_net_hub },
	{ "mac", KEY_SOFT, config_net_mac },
	{ "queues", KEY_SOFT, config_net_queues },
	{ "ring", KEY_SOFT, config_net_ring },
	{ "packed", 0, config_net_packed },
	{ "in-order", 0, config_net_in_order },
	{ "shared-switch", KEY_ARRIVES, config_net_shared_switch },
	{ "mode", 0, config_net_mode },
	{ "poll", 0, config_net_poll },
};
_Static_assert(ARRAY_SIZE(config_net_keys) <= 32, "one bit each");

static const struct config_net_key *config_net_find(const char *name, size_t len)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(config_net_keys); i++) {
		if (strlen(config_net_keys[i].name) == len && memcmp(config_net_keys[i].name, name, len) == 0)
			return &config_net_keys[i];
	}
	return NULL;
}

static int config_net_unknown(const char *item, struct error *err)
{
	char names[128] = "";

	for (unsigned int i = 0; i < ARRAY_SIZE(config_net_keys); i++) {
		strcat(names, i ? ", " : "");
		strcat(names, config_net_keys[i].name);
	}
	error_add(err, "--net: \"%s\" is not known; possible are: %s", item, names);
	return -EINVAL;
}

/* Takes one of the items between commas. @seen has a bit for each key that has come. */
static int config_net_take(struct net_config *net, enum net_origin origin, const char *item, uint32_t *seen,
			   struct error *err)
{
	size_t len = strcspn(item, "=");
	const struct config_net_key *key = config_net_find(item, len);
	uint32_t bit;

	if (!key)
		return config_net_unknown(item, err);
	bit = (uint32_t)1 << (key - config_net_keys);
	if (key->flags & KEY_WORD && item[len] == '=') {
		error_add(err, "--net: \"%s\" takes no value", key->name);
		return -EINVAL;
	}
	if (!(key->flags & KEY_WORD) && (item[len] != '=' || !item[len + 1])) {
		error_add(err, "--net: \"%s\" needs a value, as in %s=...", key->name, key->name);
		return -EINVAL;
	}
	if (*seen & bit) {
		error_add(err, "--net: \"%s\" is given twice", key->name);
		return -EINVAL;
	}
	if (key->flags & KEY_ARRIVES && origin != NET_ARRIVES) {
		error_add(err, "--net: %s is for \"ferry receive\": it is about a guest that comes", item);
		return -EINVAL;
	}
	*seen |= bit;
	return key->parse(net, item + len + 1, err);
}

/* Checks that keys which are all right alone are so together. */
static int config_net_check(const struct net_config *net, uint32_t seen, struct error *err)
{
	if (!net->vdpa == !net->soft) {
		error_add(err, "--net: vdpa=PATH, or soft,tap=NAME, is needed");
		return -EINVAL;
	}
	if (net->mode == NET_PASSTHROUGH && net->packed_wanted) {
		error_add(err, "--net: packed=on with mode=passthrough: packed rings are for shadow rings");
		return -EINVAL;
	}
	for (unsigned int i = 0; net->vdpa && i < ARRAY_SIZE(config_net_keys); i++) {
		if (seen >> i & 1 && config_net_keys[i].flags & KEY_SOFT) {
			error_add(err, "--net: tap, bridge, hub, mac, queues and ring go with "
				       "soft, not with vdpa");
			return -EINVAL;
		}
	}
	if (net->soft && !net->tap == !net->hub) {
		error_add(err, "--net soft: tap=NAME or hub=FOLDER is needed");
		return -EINVAL;
	}
	if (net->n_tap_fds && net->n_queues != net->n_tap_fds) {
		error_add(err, "--net soft: tap=%s has a descriptor for each of %u queues, not of %u",
			  net->tap, net->n_tap_fds, net->n_queues);
		return -EINVAL;
	}
	if (net->bridge && !net->tap) {
		error_add(err, "--net soft: bridge=NAME is for tap=NAME");
		return -EINVAL;
	}
	return 0;
}

int config_net_parse(struct net_config *net, enum net_origin origin, char *text, struct error *err)
{
	uint32_t seen = 0;
	int ret = 0;

	*net = (struct net_config){ .split_only = origin == NET_BOOTS, .any_order = origin == NET_BOOTS };
	for (char *item = text, *next; ret == 0 && item; item = next) {
		next = strchr(item, ',');
		if (next)
			*next++ = '\0';
		ret = config_net_take(net, origin, item, &seen, err);
	}
	if (ret < 0)
		return ret;
	if (net->soft && net->n_queues == 0)
		net->n_queues = net->n_tap_fds ? net->n_tap_fds : 1;
	if (net->soft && net->ring_size == 0)
		net->ring_size = CONFIG_DEFAULT_RING;
	return config_net_check(net, seen, err);
}

int config_net_claim(struct net_config *net, struct descriptors *d, struct error *err)
{
	int ret = descriptors_claim_text(d, "--net vdpa", &net->vdpa, DESCRIPTOR_READ_WRITE, err);
	const char *p = net->n_tap_fds ? strchr(net->tap, ':') : NULL;

	for (unsigned int i = 0; ret == 0 && p && i < net->n_tap_fds; i++) {
		char name[CONFIG_MAX_FD_NAME + 1];
		size_t len = strcspn(++p, ":");

		if (len > CONFIG_MAX_FD_NAME) {
			error_add(err, "--net tap: a descriptor's name has at most %u characters",
				  CONFIG_MAX_FD_NAME);
			return -EINVAL;
		}
		memcpy(name, p, len);
		name[len] = '\0';
		net->tap_fds[i] = descriptors_claim(d, "--net tap", name, DESCRIPTOR_READ_WRITE, err);
		ret = net->tap_fds[i] < 0 ? -EINVAL : 0;
		p += len;
	}
	return ret;
}

static bool config_same(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

bool config_net_same_device(const struct net_config *a, const struct net_config *b)
{
	return config_same(a->vdpa, b->vdpa) ||
	       (config_same(a->tap, b->tap) && !config_ifname_is_pattern(a->tap));
}
