// SPDX-License-Identifier: GPL-2.0-or-later
// Prints where eth0's driver has its rings: a line "queue N size S driver GPA device GPA" for each queue in
// use.
//
// By the registers of the virtio-net PCI function, which the driver leaves alone once it is up (needs
// "iomem=relaxed").

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// struct virtio_pci_common_cfg.
struct common_cfg {
	uint32_t device_feature_select, device_feature, guest_feature_select, guest_feature;
	uint16_t msix_config, num_queues;
	uint8_t device_status, config_generation;
	uint16_t queue_select, queue_size, queue_msix_vector, queue_enable, queue_notify_off;
	uint32_t queue_desc_lo, queue_desc_hi, queue_avail_lo, queue_avail_hi, queue_used_lo, queue_used_hi;
};

// The BAR and the offset in it of the common configuration structure.
static int find_common(const char *directory, int *bar, uint32_t *offset)
{
	uint8_t config[256];
	char path[128];
	int fd, cap;

	snprintf(path, sizeof(path), "%s/config", directory);
	fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, config, sizeof(config)) != sizeof(config))
		return -1;
	close(fd);
	for (cap = config[0x34]; cap >= 0x40 && cap <= 240; cap = config[cap + 1]) {
		if (config[cap] == 9 && config[cap + 3] == 1) {
			*bar = config[cap + 4];
			memcpy(offset, &config[cap + 8], sizeof(*offset));
			return 0;
		}
	}
	return -1;
}

int main(void)
{
	// eth0's device is the virtio device; the PCI function is its parent.
	static const char directory[] = "/sys/class/net/eth0/device/..";
	volatile struct common_cfg *common;
	uint32_t offset;
	char path[128];
	int bar, fd;
	char *map;

	if (find_common(directory, &bar, &offset)) {
		fprintf(stderr, "rings: eth0 is no virtio PCI function\n");
		return 1;
	}
	snprintf(path, sizeof(path), "%s/resource%d", directory, bar);
	fd = open(path, O_RDWR);
	map = mmap(NULL, offset + 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		perror(path);
		return 1;
	}
	common = (void *)(map + offset);
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
