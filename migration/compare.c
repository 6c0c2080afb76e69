/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A HELLO against the VM that is to take the guest: the clocks, the devices, the CPUs. */
#include "migration/compare.h"

#include <errno.h>

#include "migration/clock.h"

/* Compares one device of the source with ours of the same name. Returns 1 where there are
 * reasons against it. */
static int compare_device(struct vm *vm, struct state_node *node, uint64_t *seen)
{
	struct state_node config;
	struct device *dev;
	unsigned int index;
	const char *name;

	if (state_get_string(node, "name", DESTINATION_NAME_MAX, &name) < 0 ||
	    state_child(&config, node, "config") < 0 || state_finish(node) < 0)
		return -EINVAL;
	dev = destination_find_device(vm, name, &index);
	if (!dev) {
		error_add(node->err, "%s: the source has such a device, this VM does not", name);
		return 1;
	}
	if (*seen >> index & 1) {
		error_add(node->err, "%s: the source describes this device twice", name);
		return -EINVAL;
	}
	*seen |= (uint64_t)1 << index;
	/* A device that has nothing to compare must have been told nothing: what it does not know may be
	 * needed. */
	if ((dev->ops->accept && dev->ops->accept(dev, &config) < 0) || state_finish(&config) < 0)
		return 1;
	return 0;
}

/* Goes on after a refusal, so that the source learns every reason; not after a fault in the tree. */
static int compare_devices(struct vm *vm, struct state_node *devices)
{
	uint64_t seen = 0;
	unsigned int index = 0;
	bool refused = false;
	uint32_t count;

	if (state_get_u32(devices, "count", 0, DESTINATION_MAX_DEVICES, &count) < 0)
		return -EINVAL;
	for (uint32_t i = 0; i < count; i++) {
		struct state_node node;
		int ret = state_child_indexed(&node, devices, "device", i);

		if (ret == 0)
			ret = compare_device(vm, &node, &seen);
		if (ret < 0)
			return ret;
		refused |= ret > 0;
	}
	for (struct device *dev = vm->devices; dev; dev = dev->next, index++) {
		if (seen >> index & 1)
			continue;
		error_add(devices->err, "%s: this VM has such a device, the source does not", dev->name);
		refused = true;
	}
	if (state_finish(devices) < 0)
		return -EINVAL;
	return refused ? -ENOTSUP : 0;
}

/* The guest's clock is set by this host's: it jumps by what that one is ahead, and does not go back. */
static int compare_clock(struct destination *d, struct state_node *root)
{
	char text[CLOCK_TEXT_MAX];
	struct clock_skew skew;
	uint64_t clock;
	int ret;

	if (!state_has(root, "clock"))
		return 0;
	ret = state_get_u64(root, "clock", 1, INT64_MAX, &clock);
	if (ret < 0)
		return ret;
	skew = clock_compare(clock, d->accepted, d->arrived);
	if (skew.ns > d->clock_skew_ns) {
		error_add(root->err,
			  "the source's clock is %s this host's, and the guest's would %s by that: "
			  "set them right (NTP), or give ferry receive --clock-skew",
			  clock_text(text, skew), skew.ahead ? "stay ahead" : "jump");
		return 1;
	}
	if (skew.ns > CLOCK_NOTICED_NS)
		log_warn("the source's clock is %s this host's: the guest's will %s by that",
			 clock_text(text, skew), skew.ahead ? "stay ahead" : "jump");
	return 0;
}

int compare_hello(struct destination *d, struct vm *vm, struct error *err)
{
	bool refused = err->text[0];
	struct state_node root, node;
	int ret = state_open(&root, d->hello, d->hello_len, err);

	if (ret == 0)
		ret = destination_read_check(d, &root);
	if (ret == 0)
		ret = compare_clock(d, &root);
	refused |= ret > 0;
	if (ret >= 0)
		ret = state_child(&node, &root, "devices");
	if (ret < 0)
		return ret;
	/* Devices come before the CPUs, of which there can be more to say than a refusal holds. */
	refused |= compare_devices(vm, &node) < 0;
	ret = state_child(&node, &root, "vm");
	if (ret == 0)
		refused |= vm_accept(vm, &node) < 0 || state_finish(&node) < 0;
	if (ret == 0)
		ret = state_finish(&root);
	return ret == 0 && refused ? -ENOTSUP : ret;
}
