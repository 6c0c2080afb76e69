// SPDX-License-Identifier: GPL-2.0-or-later
// Makes an unbound virtio-net PCI function accept MQ once: acceptmq 0000:00:10.0.
//
// QEMU's NIC reports three queues until a driver has accepted VIRTIO_NET_F_MQ, and vp_vdpa asks it only once,
// when it makes its vDPA device; it keeps the larger number over a reset.

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BIT(n) (1ull << (n))

// struct virtio_pci_common_cfg, as far as it is used here.
struct common_cfg {
	uint32_t device_feature_select, device_feature, guest_feature_select, guest_feature;
	uint16_t msix_config, num_queues;
	uint8_t device_status, config_generation;
};

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

// Finds the vendor capability of the common configuration: its BAR and the offset in it.
static int find_common(const char *slot, int *bar, uint32_t *offset)
{
	uint8_t config[256];
	char path[128];
	int fd, cap;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", slot);
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

int main(int argc, char **argv)
{
	static const uint64_t wanted = BIT(5) | BIT(16) | BIT(17) | BIT(22) | BIT(32) | BIT(33);
	volatile struct common_cfg *common;
	uint64_t accepted = 0;
	uint32_t offset;
	char path[128];
	int bar, fd;
	char *map;

	if (argc != 2 || find_common(argv[1], &bar, &offset)) {
		fprintf(stderr, "acceptmq: give the slot of a virtio PCI function\n");
		return 2;
	}
	write_file(argv[1], "enable", "1");
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource%d", argv[1], bar);
	fd = open(path, O_RDWR);
	map = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		perror(path);
		return 1;
	}
	common = (void *)(map + offset);
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
	munmap(map, 16384);
	write_file(argv[1], "enable", "0");
	return 0;
}
