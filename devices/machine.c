/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The devices of a VM. */
#include "devices/machine.h"

#include "devices/blk/blk.h"
#include "devices/net/net.h"
#include "devices/rng/rng.h"
#include "devices/serial/serial.h"
#include "devices/vdpa/soft/soft.h"
#include "devices/vdpa/vhost.h"
#include "vmm/guard.h"

/* Of a disk: its file, a loop, the guest's kick and interrupts. */
#define MACHINE_DISK_DESCRIPTORS 12u

/* Of an entropy device: a loop, its timer, the guest's kick and interrupts. */
#define MACHINE_RNG_DESCRIPTORS 6u

/* Time for the disks' storage to complete what it has, at the end: nobody needs its answer any more. */
#define MACHINE_STORAGE_MS 2000

int machine_open(struct machine *m, struct error *err)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < m->config->n_nets; i++) {
		const struct net_config *net = &m->config->nets[i];

		if (m->backends[i])
			continue;
		ret = net->soft ? soft_vdpa_open(&m->backends[i], net, err)
				: vhost_open(&m->backends[i], net->vdpa, err);
		if (ret == 0 && m->backends[i]->undo)
			guard_add(m->guard, m->backends[i]->undo);
	}
	return ret;
}

int machine_check(const struct machine *m, struct error *err)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < m->config->n_disks; i++)
		ret = blk_check(m->config->disks[i].path, m->config->disks[i].read_only, err);
	return ret;
}

unsigned int machine_descriptors(const struct machine *m)
{
	unsigned int n = m->config->n_disks * MACHINE_DISK_DESCRIPTORS + MACHINE_RNG_DESCRIPTORS;

	for (unsigned int i = 0; i < m->config->n_nets; i++)
		n += net_descriptors(m->backends[i]);
	return n;
}

static int machine_add_nets(struct machine *m, struct vm *vm, struct error *err)
{
	int ret = 0;

	for (; ret == 0 && m->n_nets < m->config->n_nets; m->n_nets += ret == 0) {
		struct vdpa *backend = m->backends[m->n_nets];

		m->backends[m->n_nets] = NULL;
		ret = net_create(&m->nets[m->n_nets], vm, &m->pci, backend, m->n_nets,
				 &m->config->nets[m->n_nets], err);
	}
	return ret;
}

static int machine_add_disks(struct machine *m, struct vm *vm, struct error *err)
{
	int ret = 0;

	for (; ret == 0 && m->n_disks < m->config->n_disks; m->n_disks += ret == 0) {
		const struct disk_config *disk = &m->config->disks[m->n_disks];
		const struct blk_setup setup = { .path = disk->path,
						 .read_only = disk->read_only,
						 .arriving = m->config->receives,
						 .index = m->n_disks };

		ret = blk_create(&m->disks[m->n_disks], vm, &m->pci, &setup, err);
	}
	return ret;
}

static int machine_add_rtc(struct machine *m, struct vm *vm, struct error *err)
{
	int ret = rtc_init(&m->rtc, &vm->pio, err);

	if (ret < 0)
		return ret;
	m->has_rtc = true;
	vm_add_device(vm, &m->rtc.device);
	return 0;
}

static int machine_add_more(struct machine *m, struct vm *vm, unsigned int devices, struct error *err)
{
	int ret = 0;

	if (config_has_device(devices, CONFIG_DEVICE_RNG))
		ret = rng_create(&m->rng, vm, &m->pci, err);
	if (ret == 0 && config_has_device(devices, CONFIG_DEVICE_RTC))
		ret = machine_add_rtc(m, vm, err);
	if (ret == 0 && config_has_device(devices, CONFIG_DEVICE_VMCLOCK)) {
		vmclock_init(&m->vmclock, &vm->memory);
		vm_add_device(vm, &m->vmclock.device);
	}
	return ret;
}

int machine_build(struct machine *m, struct vm *vm, unsigned int devices, struct error *err)
{
	int ret = serial_create(&m->serial, vm, m->config, err);

	if (ret < 0)
		return ret;
	serial_guard(m->serial, m->guard);
	ret = pci_bus_init(&m->pci, vm, err);
	if (ret < 0)
		return ret;
	m->has_pci = true;
	ret = machine_add_nets(m, vm, err);
	if (ret == 0)
		ret = machine_add_disks(m, vm, err);
	return ret == 0 ? machine_add_more(m, vm, devices, err) : ret;
}

int machine_map(struct machine *m, struct error *err)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < m->n_nets; i++) {
		if (i > 0)
			ret = net_wait_mapped(m->nets[i - 1], err);
		if (ret == 0)
			net_map_begin(m->nets[i]);
	}
	return ret;
}

int machine_wait_mapped(struct machine *m, struct error *err)
{
	return m->n_nets > 0 ? net_wait_mapped(m->nets[m->n_nets - 1], err) : 0;
}

static void machine_destroy_more(struct machine *m)
{
	if (m->rng)
		rng_destroy(m->rng);
	m->rng = NULL;
	if (m->has_rtc)
		rtc_exit(&m->rtc);
	m->has_rtc = false;
}

static bool machine_destroy_disks(struct machine *m)
{
	uint64_t storage_ns = end_of(MACHINE_STORAGE_MS);

	while (m->n_disks > 0)
		m->stuck |= !blk_destroy(m->disks[--m->n_disks], storage_ns);
	return !m->stuck;
}

bool machine_dismantle(struct machine *m)
{
	machine_destroy_more(m);
	/* The kernel uses what a disk that is not freed has: see machine_destroy(). */
	if (!machine_destroy_disks(m))
		return false;
	while (m->n_nets > 0) {
		m->n_nets--;
		m->backends[m->n_nets] = net_dismantle(m->nets[m->n_nets]);
	}
	if (m->serial)
		serial_destroy(m->serial);
	m->serial = NULL;
	if (m->has_pci)
		pci_bus_exit(&m->pci);
	m->has_pci = false;
	return true;
}

bool machine_destroy(struct machine *m)
{
	bool freed;

	machine_destroy_more(m);
	freed = machine_destroy_disks(m);
	while (m->n_nets > 0)
		net_destroy(m->nets[--m->n_nets]);
	for (unsigned int i = 0; i < m->config->n_nets; i++) {
		if (m->backends[i])
			m->backends[i]->ops->close(m->backends[i]);
	}
	if (m->serial)
		serial_destroy(m->serial);
	/* The kernel takes down what it is still working on itself, with the process. */
	if (m->has_pci && freed)
		pci_bus_exit(&m->pci);
	return freed;
}
