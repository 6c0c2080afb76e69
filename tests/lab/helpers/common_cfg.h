// SPDX-License-Identifier: GPL-2.0-or-later
// The common configuration structure of a virtio PCI function (virtio 1.4, 4.1.4.3), mapped past its driver.
#ifndef FERRY_TESTS_LAB_COMMON_CFG_H
#define FERRY_TESTS_LAB_COMMON_CFG_H

#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <sys/mman.h>
#include <unistd.h>

#include "helper.h"

// The BAR that it is in, and the offset there.
static inline int common_cfg_find(const char *directory, int *bar, uint32_t *offset)
{
	uint8_t config[256];
	char path[128];
	int fd, cap;

	snprintf(path, sizeof(path), "%s/config", directory);
	fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, config, sizeof(config)) != sizeof(config))
		return -1;
	close(fd);
	for (cap = config[PCI_CAPABILITY_LIST]; cap >= 0x40 && cap <= 240; cap = config[cap + 1]) {
		if (config[cap] == PCI_CAP_ID_VNDR && config[cap + 3] == VIRTIO_PCI_CAP_COMMON_CFG) {
			*bar = config[cap + 4];
			memcpy(offset, &config[cap + 8], sizeof(*offset));
			return 0;
		}
	}
	return -1;
}

// Of the function that has this folder in sysfs; NULL if that is no virtio PCI function. Mapped until the
// end.
static inline volatile struct virtio_pci_common_cfg *common_cfg_map(const char *directory)
{
	uint32_t offset;
	char path[128];
	int bar, fd;
	char *map;

	if (common_cfg_find(directory, &bar, &offset))
		return NULL;
	snprintf(path, sizeof(path), "%s/resource%d", directory, bar);
	fd = open(path, O_RDWR);
	map = mmap(NULL, offset + 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		die(path);
	close(fd);
	return (void *)(map + offset);
}

#endif
