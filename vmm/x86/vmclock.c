/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VMClock: see the header. */
#include "vmm/x86/vmclock.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/random.h>

#include "vmm/config_device.h"
#include "vmm/x86/layout.h"

/* The beginning of struct vmclock_abi, up to where a reader needs it; the rest of the page is zero, which
 * says that nothing is known of the clock. Little-endian. */
struct vmclock_page {
	uint32_t magic;
	uint32_t size;
	uint16_t version;
	uint8_t counter_id;
	uint8_t time_type;
	uint32_t seq_count; /* odd while it is written */
	uint64_t disruption_marker;
	uint64_t flags;
} __attribute__((packed));
_Static_assert(sizeof(struct vmclock_page) == 32, "vmclock-abi.h");
_Static_assert(offsetof(struct vmclock_page, seq_count) == 12, "vmclock-abi.h");
_Static_assert(offsetof(struct vmclock_page, disruption_marker) == 16, "vmclock-abi.h");

#define VMCLOCK_MAGIC           0x4b4c4356u /* "VCLK" */
#define VMCLOCK_VERSION         1u
#define VMCLOCK_COUNTER_INVALID 0xffu

/* What a new guest begins with: of random numbers it does not matter where the host has none yet. */
static uint64_t vmclock_first_marker(void)
{
	uint64_t marker;

	return getrandom(&marker, sizeof(marker), GRND_NONBLOCK) == sizeof(marker) ? marker : now_ns();
}

int vmclock_power_on(struct memory *m, struct error *err)
{
	const struct vmclock_page page = {
		.magic = VMCLOCK_MAGIC,
		.size = PAGE_SIZE,
		.version = VMCLOCK_VERSION,
		.counter_id = VMCLOCK_COUNTER_INVALID,
		.disruption_marker = vmclock_first_marker(),
	};

	if (memory_write(m, LAYOUT_VMCLOCK, &page, sizeof(page)) == 0)
		return 0;
	error_add(err, "the guest has no memory where VMClock's page is to be");
	return -EFAULT;
}

static void vmclock_describe(struct device *device, struct state_writer *w)
{
	state_put_u64(w, "address", LAYOUT_VMCLOCK);
}

static int vmclock_accept(struct device *device, struct state_node *node)
{
	uint64_t address;

	if (state_get_u64(node, "address", 0, UINT64_MAX, &address) < 0 || state_finish(node) < 0)
		return -EINVAL;
	if (address != LAYOUT_VMCLOCK) {
		error_add(node->err, "%s: the guest has its page at 0x%" PRIx64 ", here it is at 0x%x",
			  device->name, address, LAYOUT_VMCLOCK);
		return -ENOTSUP;
	}
	return 0;
}

/*
 * The numbers have come with the guest's memory. A guest that has changed them fools nobody but itself.
 *
 * Pairs with the barriers of vmclock-abi.h's readers: they look again where the count is odd, or another one
 * afterwards. vCPUs are stopped, so each of them sees the page as a whole.
 */
static void vmclock_resume(struct device *device, enum device_resume as)
{
	struct vmclock *v = container_of(device, struct vmclock, device);
	struct vmclock_page page;

	if (as == DEVICE_STAYED || memory_read(v->memory, LAYOUT_VMCLOCK, &page, sizeof(page)) < 0)
		return;
	page.disruption_marker++;
	page.seq_count = (page.seq_count | 1) + 1;
	/* The page was there a moment ago, and guest memory does not shrink. */
	if (memory_write(v->memory, LAYOUT_VMCLOCK, &page, sizeof(page)) < 0)
		return;
}

static const struct device_ops vmclock_device_ops = {
	.describe = vmclock_describe,
	.accept = vmclock_accept,
	.resume = vmclock_resume,
};

void vmclock_init(struct vmclock *v, struct memory *m)
{
	*v = (struct vmclock){ .device = { .ops = &vmclock_device_ops,
					   .name = config_device_name(CONFIG_DEVICE_VMCLOCK) },
			       .memory = m };
}
