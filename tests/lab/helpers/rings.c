// SPDX-License-Identifier: GPL-2.0-or-later
// Prints where eth0's driver has its rings: a line "queue N size S driver GPA device GPA" for each queue in
// use.
//
// By the registers of the virtio-net PCI function, which the driver leaves alone once it is up (needs
// "iomem=relaxed").

#define _GNU_SOURCE
#include "virtio_cap.h"

int main(void)
{
	struct virtio_pci_notify_cap cap;
	// eth0's device is the virtio device; the PCI function is its parent.
	volatile struct virtio_pci_common_cfg *common =
		virtio_cap_map("/sys/class/net/eth0/device/..", VIRTIO_PCI_CAP_COMMON_CFG, &cap);

	if (!common) {
		fprintf(stderr, "rings: eth0 is no virtio PCI function\n");
		return 1;
	}
	for (unsigned int i = 0; i < common->num_queues; i++) {
		common->queue_select = i;
		if (!common->queue_enable)
			continue;
		printf("queue %u size %u driver %llu device %llu\n", i, common->queue_size,
		       (unsigned long long)common->queue_avail_hi << 32 | common->queue_avail_lo,
		       (unsigned long long)common->queue_used_hi << 32 | common->queue_used_lo);
	}
	return 0;
}
