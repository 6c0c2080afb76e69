// SPDX-License-Identifier: GPL-2.0-or-later
// The structures of a virtio PCI function (virtio 1.4, 4.1.4), mapped past its driver.
#ifndef FERRY_TESTS_LAB_VIRTIO_CAP_H
#define FERRY_TESTS_LAB_VIRTIO_CAP_H

#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "helper.h"

static inline uint8_t *virtio_cap_map_bar(const char *directory, unsigned int bar)
{
	char path[128];
	struct stat st;
	void *map;
	int fd;

	snprintf(path, sizeof(path), "%s/resource%u", directory, bar);
	fd = open(path, O_RDWR);
	if (fd < 0 || fstat(fd, &st))
		die(path);
	map = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		die(path);
	close(fd);
	return map;
}

// The structure @cfg_type of the function that has this folder in sysfs, until the end, and its capability;
// NULL if there is none.
static inline volatile void *virtio_cap_map(const char *directory, uint8_t cfg_type,
					    struct virtio_pci_notify_cap *cap)
{
	uint8_t space[256 + sizeof(*cap)] = { 0 };
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/config", directory);
	fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, space, 256) != 256)
		return NULL;
	close(fd);
	for (uint8_t at = space[PCI_CAPABILITY_LIST]; at >= 0x40 && at <= 240; at = space[at + 1]) {
		memcpy(cap, space + at, sizeof(*cap));
		if (cap->cap.cap_vndr == PCI_CAP_ID_VNDR && cap->cap.cfg_type == cfg_type)
			return virtio_cap_map_bar(directory, cap->cap.bar) + cap->cap.offset;
	}
	return NULL;
}

#endif
