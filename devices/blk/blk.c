/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Building the disk, and its end. */
#include "devices/blk/blk.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>

#include "devices/blk/disk.h"
#include "devices/blk/driver.h"
#include "devices/blk/migrate.h"
#include "vmm/shortage.h"
#include "vmm/vm.h"

_Static_assert(BLK_CONFIG_LEN <= VIRTIO_PCI_MAX_CONFIG, "the transport has room for the configuration");

#define BLK_PCI_CLASS 0x018000u /* mass storage, other */
/* Threads that wait for nothing come to their end within this time. */
#define BLK_END_MS 100

static struct blk *blk_alloc(struct vm *vm, const struct blk_setup *setup)
{
	struct blk *blk = calloc(1, sizeof(*blk));

	if (!blk)
		return NULL;
	snprintf(blk->name, sizeof(blk->name), "disk%u", setup->index);
	blk->file.fd = -1;
	blk->device = (struct device){ .ops = &blk_device_ops, .name = blk->name };
	blk->ring.io.file = &blk->file;
	blk->ring.io.memory = &vm->memory;
	blk->ring.io.thread = &blk->thread;
	blk->ring.io.config = blk->config;
	if (blk_thread_init(&blk->thread, blk->name, setup->path) < 0)
		goto free_blk;
	if (blk_thread_init(&blk->sync_thread, blk->name, setup->path) < 0)
		goto exit_thread;
	blk->thread.paused = setup->arriving;
	blk_driver_init(blk);
	blk_migrate_init(blk);
	return blk;

exit_thread:
	blk_thread_exit(&blk->thread);
free_blk:
	free(blk);
	return NULL;
}

static void blk_free(struct blk *blk)
{
	blk_file_close(&blk->file);
	blk_thread_exit(&blk->sync_thread);
	blk_thread_exit(&blk->thread);
	free(blk);
}

int blk_check(const char *path, bool read_only, struct error *err)
{
	struct blk_file file;
	int ret = blk_file_open(&file, path, read_only, err);

	if (ret == 0)
		blk_file_close(&file);
	return ret;
}

static int blk_start_threads(struct blk *blk, struct error *err)
{
	char name[16];
	int ret = blk_thread_start(&blk->thread, blk->name);

	snprintf(name, sizeof(name), "%.9s-sync", blk->name);
	if (ret == 0) {
		ret = blk_thread_start(&blk->sync_thread, name);
		if (ret < 0)
			blk_thread_end(&blk->thread, UINT64_MAX);
	}
	if (ret < 0) {
		error_add(err, "cannot start the threads of %s: %s%s", blk->name, strerror(-ret),
			  shortage_advice(ret));
		return ret;
	}
	return 0;
}

int blk_create(struct blk **out, struct vm *vm, struct pci_bus *bus, const struct blk_setup *setup,
	       struct error *err)
{
	const uint16_t ring_size = BLK_RING_SIZE;
	struct blk *blk = blk_alloc(vm, setup);
	int ret;

	if (!blk) {
		error_add(err, "out of memory for the disk %s", setup->path);
		return -ENOMEM;
	}
	ret = blk_file_open(&blk->file, setup->path, setup->read_only, err);
	if (ret == 0 && !setup->arriving)
		ret = blk_file_lock(&blk->file, err);
	if (ret < 0)
		goto free_blk;
	blk->offered = blk_config_features(&blk->file);
	blk_config_build(&blk->file, blk->offered, blk->config);
	ret = virtio_pci_init(&blk->virtio, bus,
			      &(struct virtio_pci_setup){ .ops = &blk_virtio_ops,
							  .device_type = VIRTIO_ID_BLOCK,
							  .class_code = BLK_PCI_CLASS,
							  .config_len = BLK_CONFIG_LEN,
							  .offered = blk->offered,
							  .n_queues = 1,
							  .max_sizes = &ring_size },
			      err);
	if (ret < 0)
		goto free_blk;
	blk_ring_init(&blk->ring, &blk->virtio);
	ret = blk_start_threads(blk, err);
	if (ret < 0)
		goto exit_virtio;
	vm_add_device(vm, &blk->device);
	*out = blk;
	return 0;

exit_virtio:
	virtio_pci_exit(&blk->virtio);
free_blk:
	blk_free(blk);
	return ret;
}

bool blk_destroy(struct blk *blk, uint64_t until_ns)
{
	until_ns = max_u64(until_ns, end_of(BLK_END_MS));
	if (!blk_thread_end(&blk->thread, until_ns) || !blk_thread_end(&blk->sync_thread, until_ns)) {
		log_warn("%s: the storage of %s does not answer, and keeps a thread until it does", blk->name,
			 blk->file.path);
		return false;
	}
	blk_ring_detach(&blk->ring);
	virtio_pci_exit(&blk->virtio);
	blk_free(blk);
	return true;
}
