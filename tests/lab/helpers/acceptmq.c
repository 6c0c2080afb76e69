// SPDX-License-Identifier: GPL-2.0-or-later
// Makes an unbound virtio-net PCI function accept MQ once: acceptmq 0000:00:10.0.
//
// QEMU's NIC reports three queues until a driver has accepted VIRTIO_NET_F_MQ, and vp_vdpa asks it only once,
// when it makes its vDPA device; it keeps the larger number over a reset.

#define _GNU_SOURCE
#include "virtio_cap.h"

#define BIT(n) (1ull << (n))

static void write_file(const char *slot, const char *name, const char *text)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", slot, name);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		perror(path);
	close(fd);
}

int main(int argc, char **argv)
{
	static const uint64_t wanted = BIT(5) | BIT(16) | BIT(17) | BIT(22) | BIT(32) | BIT(33);
	volatile struct virtio_pci_common_cfg *common = NULL;
	struct virtio_pci_notify_cap cap;
	uint64_t accepted = 0;
	char directory[64];

	if (argc == 2) {
		snprintf(directory, sizeof(directory), "/sys/bus/pci/devices/%s", argv[1]);
		common = virtio_cap_map(directory, VIRTIO_PCI_CAP_COMMON_CFG, &cap);
	}
	if (!common) {
		fprintf(stderr, "acceptmq: give the slot of a virtio PCI function\n");
		return 2;
	}
	write_file(argv[1], "enable", "1");
	common->device_status = 0;
	while (common->device_status)
		;
	common->device_status = 1 | 2;
	for (uint32_t half = 0; half < 2; half++) {
		uint32_t features;

		common->device_feature_select = half;
		features = common->device_feature & (uint32_t)(wanted >> (32 * half));
		common->guest_feature_select = half;
		common->guest_feature = features;
		accepted |= (uint64_t)features << (32 * half);
	}
	common->device_status = 1 | 2 | 8;
	printf("%s accepted %#llx, %u queues\n", argv[1], (unsigned long long)accepted, common->num_queues);
	write_file(argv[1], "enable", "0");
	return 0;
}
