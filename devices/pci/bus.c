/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A PCI bus: the ports, what stands in the slots, and where the next BAR goes. */
#include "devices/pci/bus.h"

#include <assert.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdio.h>

#include "devices/pci/msix.h"
#include "devices/pci/state.h"
#include "vmm/x86/layout.h"

/* The address register: bit 31 enables. There is bus 0 and function 0 alone, and the reserved bits 24 to 30
 * must be 0: some AMD chips have registers from 256 on behind them, and Linux may try. */
#define PCI_ADDRESS_MATCH  0xffff0700u
#define PCI_ADDRESS_ENABLE 0x80000000u

/*
 * The host bridge: Linux takes mechanism #1 for real if slot 0 holds a bridge of this class. The ID is the
 * one of QEMU's generic host bridge, which guests know as a bridge that needs no driver and no quirk.
 */
static const struct pci_ids host_bridge_ids = {
	.vendor = 0x1b36,
	.device = 0x0008,
	.class_code = 0x060000,
};

/* Configuration space */

/* @reg + @len is within a dword. */
static void pci_config_read(struct pci_function *fn, uint8_t reg, void *data, unsigned int len)
{
	if (pci_function_in_window(fn, reg))
		pci_function_read_window(fn);
	pthread_mutex_lock(&fn->lock);
	pci_function_read(fn, reg, data, len);
	pthread_mutex_unlock(&fn->lock);
}

static void pci_config_write(struct pci_function *fn, uint8_t reg, const uint8_t *data, unsigned int len)
{
	bool was_master, lost;

	pthread_mutex_lock(&fn->lock);
	was_master = pci_function_is_master(fn);
	pci_function_write(fn, reg, data, len);
	pci_msix_config_written(fn, reg);
	lost = was_master && !pci_function_is_master(fn);
	pthread_mutex_unlock(&fn->lock);
	if (lost && fn->master_lost)
		fn->master_lost(fn);
	if (pci_function_in_window(fn, reg))
		pci_function_write_window(fn);
}

/* The function and its register that the data port at @offset stands for, NULL if nothing answers. */
static struct pci_function *pci_target(struct pci_bus *bus, uint64_t offset, uint8_t *reg)
{
	uint32_t address;

	pthread_mutex_lock(&bus->lock);
	address = bus->address;
	pthread_mutex_unlock(&bus->lock);
	*reg = (uint8_t)((address & 0xfc) | (offset & 3));
	if ((address & PCI_ADDRESS_MATCH) != PCI_ADDRESS_ENABLE)
		return NULL;
	return bus->functions[address >> 11 & (PCI_MAX_SLOTS - 1)];
}

/*
 * Eight ports: 0 to 3 the address register, for dwords only, 4 to 7 the data. An access of the bus never
 * leaves them, so one of the data never leaves its dword. The byte at 1 is the board's reset control
 * register: bit 2 resets, the others choose how; it reads as zero.
 */
#define PCI_PORT_RESET (LAYOUT_PCI_RESET - LAYOUT_PCI_ADDR_PORT)
#define PCI_RESET_CPU  0x04u

static void pci_port_read(void *opaque, uint64_t offset, void *data, unsigned int len)
{
	struct pci_bus *bus = opaque;
	struct pci_function *fn;
	uint8_t reg;

	if (offset == 0 && len == 4) {
		pthread_mutex_lock(&bus->lock);
		put_le32(data, bus->address);
		pthread_mutex_unlock(&bus->lock);
	}
	if (offset == PCI_PORT_RESET && len == 1)
		*(uint8_t *)data = 0;
	if (offset < 4)
		return;
	fn = pci_target(bus, offset, &reg);
	if (fn)
		pci_config_read(fn, reg, data, len);
}

static void pci_port_write(void *opaque, uint64_t offset, const void *data, unsigned int len)
{
	struct pci_bus *bus = opaque;
	struct pci_function *fn;
	uint8_t reg;

	if (offset == 0 && len == 4) {
		pthread_mutex_lock(&bus->lock);
		bus->address = get_le32(data);
		pthread_mutex_unlock(&bus->lock);
	}
	if (offset == PCI_PORT_RESET && len == 1 && (*(const uint8_t *)data & PCI_RESET_CPU))
		gate_reset(&bus->vm->gate);
	if (offset < 4)
		return;
	fn = pci_target(bus, offset, &reg);
	if (fn)
		pci_config_write(fn, reg, data, len);
}

static const struct bus_ops pci_port_ops = { .read = pci_port_read, .write = pci_port_write };

/* Building */

int pci_bus_add(struct pci_bus *bus, struct pci_function *fn, const struct pci_ids *ids, struct error *err)
{
	unsigned int slot = 0;

	while (slot < PCI_MAX_SLOTS && bus->functions[slot])
		slot++;
	if (slot == PCI_MAX_SLOTS) {
		error_add(err, "the PCI bus is full: %u devices at most", PCI_MAX_SLOTS - 1);
		return -ENOSPC;
	}

	pci_function_init(fn, bus->vm, slot, ids);
	bus->functions[slot] = fn;
	return 0;
}

void pci_bus_remove(struct pci_function *fn)
{
	pci_msix_exit(fn);
	pci_function_exit(fn);
}

int pci_bus_add_bar(struct pci_bus *bus, struct pci_function *fn, unsigned int bar, uint64_t len,
		    const struct bus_ops *ops, void *opaque, struct error *err)
{
	uint64_t base = align_up(bus->mmio_next, len);
	int ret;

	assert(bar < PCI_N_BARS && is_power_of_2(len) && len >= PAGE_SIZE && len <= GIB(1));
	if (base + len > LAYOUT_PCI_MMIO_END) {
		error_add(err, "no address space is left for the device in PCI slot %u", fn->slot);
		return -ENOSPC;
	}
	ret = bus_add(&bus->vm->mmio, base, len, ops, opaque);
	if (ret < 0) {
		error_add(err, "cannot place the device in PCI slot %u at 0x%llx: %s", fn->slot,
			  (unsigned long long)base, strerror(-ret));
		return ret;
	}
	bus->mmio_next = base + len;
	pci_function_show_bar(fn, bar, base, len);
	return 0;
}

/* State */

static void pci_bus_describe(struct device *device, struct state_writer *w)
{
	struct pci_bus *bus = container_of(device, struct pci_bus, device);

	for (unsigned int i = 0; i < PCI_MAX_SLOTS; i++) {
		if (!bus->functions[i])
			continue;
		state_begin_indexed(w, "slot", i);
		pci_put_place(bus->functions[i], w);
		state_end(w);
	}
}

static int pci_slot_accept(struct pci_function *fn, unsigned int index, struct state_node *node)
{
	struct state_node slot;
	int ret = state_child_indexed(&slot, node, "slot", index);

	if (ret == 0)
		ret = pci_check_place(fn, &slot);
	return ret == 0 ? state_finish(&slot) : ret;
}

static int pci_bus_accept(struct device *device, struct state_node *node)
{
	struct pci_bus *bus = container_of(device, struct pci_bus, device);
	int ret = 0;

	for (unsigned int i = 0; i < PCI_MAX_SLOTS; i++) {
		char name[16];
		bool there;

		snprintf(name, sizeof(name), "slot@%x", i);
		there = state_has_child(node, name);
		if (there != (bus->functions[i] != NULL)) {
			error_add(node->err, "PCI slot %u has a device %s, and none %s", i,
				  there ? "at the source" : "here", there ? "here" : "at the source");
			ret = -ENOTSUP;
		} else if (there && pci_slot_accept(bus->functions[i], i, node) < 0) {
			ret = -EINVAL;
		}
	}
	return ret == 0 ? state_finish(node) : ret;
}

/* Sends the routes of interrupts ahead: each time that KVM's table changes, KVM waits for all that use it,
 * which would be some milliseconds of a guest that stands still. Drivers set their routes up once, so only
 * the first are sent. */
static int pci_bus_warm_save(struct device *device, struct state_writer *w, bool first)
{
	struct pci_bus *bus = container_of(device, struct pci_bus, device);

	for (unsigned int i = 0; first && i < PCI_MAX_SLOTS; i++) {
		if (!bus->functions[i] || bus->functions[i]->n_vectors == 0)
			continue;
		state_begin_indexed(w, "slot", i);
		pci_msix_save_table(bus->functions[i], w);
		state_end(w);
	}
	return first;
}

static int pci_bus_warm_load(struct device *device, struct state_node *node)
{
	struct pci_bus *bus = container_of(device, struct pci_bus, device);
	const uint8_t *tables[PCI_MAX_SLOTS] = { NULL };
	int ret = 0;

	for (unsigned int i = 0; i < PCI_MAX_SLOTS && ret == 0; i++) {
		struct state_node slot;

		if (!bus->functions[i] || bus->functions[i]->n_vectors == 0)
			continue;
		ret = state_child_indexed(&slot, node, "slot", i);
		if (ret == 0)
			ret = pci_msix_get_table(bus->functions[i], &slot, &tables[i]);
		if (ret == 0)
			ret = state_finish(&slot);
	}
	if (ret == 0)
		ret = state_finish(node);
	for (unsigned int i = 0; i < PCI_MAX_SLOTS && ret == 0; i++) {
		if (tables[i])
			pci_msix_set_ahead(bus->functions[i], tables[i]);
	}
	return ret;
}

static void pci_bus_save(struct device *device, struct state_writer *w)
{
	struct pci_bus *bus = container_of(device, struct pci_bus, device);

	pthread_mutex_lock(&bus->lock);
	state_put_u32(w, "address", bus->address);
	pthread_mutex_unlock(&bus->lock);
	pci_save(&bus->host_bridge, w);
}

static int pci_bus_load(struct device *device, struct state_node *node)
{
	struct pci_bus *bus = container_of(device, struct pci_bus, device);
	struct pci_loaded bridge;
	uint32_t address;
	int ret = state_get_u32(node, "address", 0, UINT32_MAX, &address);

	if (ret == 0)
		ret = pci_get(&bus->host_bridge, node, &bridge);
	if (ret == 0)
		ret = state_finish(node);
	if (ret != 0)
		return ret;
	pci_set(&bus->host_bridge, &bridge);
	pthread_mutex_lock(&bus->lock);
	bus->address = address;
	pthread_mutex_unlock(&bus->lock);
	return 0;
}

static int pci_bus_reset(struct device *device, uint64_t until_ns)
{
	struct pci_bus *bus = container_of(device, struct pci_bus, device);

	pci_reset(&bus->host_bridge);
	pthread_mutex_lock(&bus->lock);
	bus->address = 0;
	pthread_mutex_unlock(&bus->lock);
	return 0;
}

static const struct device_ops pci_bus_ops = {
	.describe = pci_bus_describe,
	.accept = pci_bus_accept,
	.warm_save = pci_bus_warm_save,
	.warm_load = pci_bus_warm_load,
	.save = pci_bus_save,
	.load = pci_bus_load,
	.reset = pci_bus_reset,
};

int pci_bus_init(struct pci_bus *bus, struct vm *vm, struct error *err)
{
	int ret;

	*bus = (struct pci_bus){ .vm = vm, .mmio_next = LAYOUT_PCI_MMIO };
	bus->device = (struct device){ .ops = &pci_bus_ops, .name = "pci" };
	ret = bus_add(&vm->pio, LAYOUT_PCI_ADDR_PORT, 8, &pci_port_ops, bus);
	if (ret < 0) {
		error_add(err, "cannot add the PCI bus at port 0x%x: %s", LAYOUT_PCI_ADDR_PORT,
			  strerror(-ret));
		return ret;
	}
	ret = pci_bus_add(bus, &bus->host_bridge, &host_bridge_ids, err);
	if (ret < 0)
		return ret;
	pthread_mutex_init(&bus->lock, NULL);
	vm_add_device(vm, &bus->device);
	return 0;
}

void pci_bus_exit(struct pci_bus *bus)
{
	pci_bus_remove(&bus->host_bridge);
	pthread_mutex_destroy(&bus->lock);
}
