/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A PCI bus: configuration space and BARs at fixed places. */
#include "devices/pci/pci.h"

#include <assert.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <stdio.h>

#include "vmm/x86/layout.h"

/* PCI_CONFIG_ADDRESS: bit 31 enables; bus and function are 0, and so are the reserved bits 24 to 30 (some
 * AMD chips keep registers from 256 on behind them, and Linux may try). */
#define PCI_ADDRESS_MATCH  0xffff0700u
#define PCI_ADDRESS_ENABLE 0x80000000u

#define PCI_CAPABILITIES 0x40u /* capabilities take config space from here on */

/*
 * The host bridge: Linux takes mechanism #1 for real if slot 0 holds a bridge of this class. The ID is the
 * one of QEMU's generic host bridge, which guests know as a bridge that needs no driver and no quirk.
 */
static const struct pci_ids host_bridge_ids = {
	.vendor = 0x1b36,
	.device = 0x0008,
	.class_code = 0x060000,
};

/* What a guest can change in every function. The interrupt line is a note of its own. */
static const struct {
	uint8_t offset;
	uint16_t bits;
} pci_writable[] = {
	{ PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | PCI_COMMAND_SERR |
			       PCI_COMMAND_INTX_DISABLE },
	{ PCI_CACHE_LINE_SIZE, 0xffff }, /* with the latency timer */
	{ PCI_INTERRUPT_LINE, 0x00ff },
};

_Static_assert(PCI_LATENCY_TIMER == PCI_CACHE_LINE_SIZE + 1, "one row for both");

/* Configuration space */

/* One access through the window: bar, offset and length are the guest's; read once, under the lock. */
static void pci_window_access(struct pci_device *dev, bool write)
{
	uint8_t *cap = &dev->config[dev->window], *data = cap + sizeof(struct virtio_pci_cap);
	uint8_t bar, bytes[4];
	uint32_t offset, len;

	pthread_mutex_lock(&dev->lock);
	bar = cap[offsetof(struct virtio_pci_cap, bar)];
	offset = get_le32(cap + offsetof(struct virtio_pci_cap, offset));
	len = get_le32(cap + offsetof(struct virtio_pci_cap, length));
	memcpy(bytes, data, sizeof(bytes));
	pthread_mutex_unlock(&dev->lock);

	if (bar >= PCI_N_BARS || (len != 1 && len != 2 && len != 4) || offset % len != 0 ||
	    offset >= dev->bar_len[bar])
		return;
	if (write) {
		bus_write(&dev->vm->mmio, dev->bar_base[bar] + offset, bytes, len);
		return;
	}
	bus_read(&dev->vm->mmio, dev->bar_base[bar] + offset, bytes, len);
	pthread_mutex_lock(&dev->lock);
	memcpy(data, bytes, len);
	pthread_mutex_unlock(&dev->lock);
}

static bool pci_is_window(const struct pci_device *dev, uint8_t reg)
{
	return dev->window != 0 && (reg & ~3u) == dev->window + sizeof(struct virtio_pci_cap);
}

/* Says so when the guest looks for a BAR where it is not. All ones is a question for the size. */
static void pci_check_bars(struct pci_device *dev)
{
	if (!(get_le16(&dev->config[PCI_COMMAND]) & PCI_COMMAND_MEMORY))
		return;
	for (unsigned int i = 0; i < PCI_N_BARS; i++) {
		uint32_t addr = get_le32(&dev->config[PCI_BASE_ADDRESS_0 + 4 * i]);

		if (dev->bar_len[i] == 0 || addr == dev->bar_base[i] || addr == (uint32_t)-dev->bar_len[i])
			continue;
		log_limited(&dev->log_limit, LOG_WARN,
			    "PCI slot %u: the guest moved BAR %u to 0x%x, it stays at 0x%llx", dev->slot, i,
			    addr, (unsigned long long)dev->bar_base[i]);
	}
}

/* @reg + @len is within a dword. */
static void pci_config_read(struct pci_device *dev, uint8_t reg, void *data, unsigned int len)
{
	if (pci_is_window(dev, reg))
		pci_window_access(dev, false);
	pthread_mutex_lock(&dev->lock);
	memcpy(data, &dev->config[reg], len);
	pthread_mutex_unlock(&dev->lock);
}

static bool pci_is_master(const struct pci_device *dev)
{
	return get_le16(&dev->config[PCI_COMMAND]) & PCI_COMMAND_MASTER;
}

static void pci_config_write(struct pci_device *dev, uint8_t reg, const uint8_t *data, unsigned int len)
{
	bool was_master, lost;

	pthread_mutex_lock(&dev->lock);
	was_master = pci_is_master(dev);
	for (unsigned int i = 0; i < len; i++)
		dev->config[reg + i] = (uint8_t)((dev->config[reg + i] & ~dev->writable[reg + i]) |
						 (data[i] & dev->writable[reg + i]));
	/* The dword of the capability that the MSI-X control word is in. */
	if (dev->msix_cap != 0 && (reg & ~3u) == dev->msix_cap)
		pci_msix_update(dev);
	if (reg <= PCI_COMMAND + 1 || (reg >= PCI_BASE_ADDRESS_0 && reg < PCI_CARDBUS_CIS))
		pci_check_bars(dev);
	lost = was_master && !pci_is_master(dev);
	pthread_mutex_unlock(&dev->lock);
	if (lost && dev->master_lost)
		dev->master_lost(dev);
	if (pci_is_window(dev, reg))
		pci_window_access(dev, true);
}

/* The function and its register that the data port at @offset stands for, NULL if nothing answers. */
static struct pci_device *pci_target(struct pci_bus *bus, uint64_t offset, uint8_t *reg)
{
	uint32_t address;

	pthread_mutex_lock(&bus->lock);
	address = bus->address;
	pthread_mutex_unlock(&bus->lock);
	*reg = (uint8_t)((address & 0xfc) | (offset & 3));
	if ((address & PCI_ADDRESS_MATCH) != PCI_ADDRESS_ENABLE)
		return NULL;
	return bus->devices[address >> 11 & (PCI_MAX_DEVICES - 1)];
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
	struct pci_device *dev;
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
	dev = pci_target(bus, offset, &reg);
	if (dev)
		pci_config_read(dev, reg, data, len);
}

static void pci_port_write(void *opaque, uint64_t offset, const void *data, unsigned int len)
{
	struct pci_bus *bus = opaque;
	struct pci_device *dev;
	uint8_t reg;

	if (offset == 0 && len == 4) {
		pthread_mutex_lock(&bus->lock);
		bus->address = get_le32(data);
		pthread_mutex_unlock(&bus->lock);
	}
	if (offset == PCI_PORT_RESET && len == 1 && (*(const uint8_t *)data & PCI_RESET_CPU))
		vm_end(bus->vm, VM_EXIT_RESET);
	if (offset < 4)
		return;
	dev = pci_target(bus, offset, &reg);
	if (dev)
		pci_config_write(dev, reg, data, len);
}

static const struct bus_ops pci_port_ops = { .read = pci_port_read, .write = pci_port_write };

/* Building */

int pci_add(struct pci_bus *bus, struct pci_device *dev, const struct pci_ids *ids, struct error *err)
{
	unsigned int slot = 0;

	while (slot < PCI_MAX_DEVICES && bus->devices[slot])
		slot++;
	if (slot == PCI_MAX_DEVICES)
		return error_add(err, -ENOSPC, "the PCI bus is full: %u devices at most",
				 PCI_MAX_DEVICES - 1);

	*dev = (struct pci_device){ .vm = bus->vm, .slot = slot, .cap_end = PCI_CAPABILITIES };
	dev->cap_last = PCI_CAPABILITY_LIST;
	pthread_mutex_init(&dev->lock, NULL);
	put_le16(&dev->config[PCI_VENDOR_ID], ids->vendor);
	put_le16(&dev->config[PCI_DEVICE_ID], ids->device);
	put_le32(&dev->config[PCI_CLASS_REVISION], ids->class_code << 8 | ids->revision);
	put_le16(&dev->config[PCI_SUBSYSTEM_VENDOR_ID], ids->subsystem_vendor);
	put_le16(&dev->config[PCI_SUBSYSTEM_ID], ids->subsystem);
	for (unsigned int i = 0; i < ARRAY_SIZE(pci_writable); i++)
		put_le16(&dev->writable[pci_writable[i].offset], pci_writable[i].bits);
	bus->devices[slot] = dev;
	return 0;
}

void pci_remove(struct pci_device *dev)
{
	pci_msix_exit(dev);
	pthread_mutex_destroy(&dev->lock);
}

int pci_add_bar(struct pci_bus *bus, struct pci_device *dev, unsigned int bar, uint64_t len,
		const struct bus_ops *ops, void *opaque, struct error *err)
{
	uint64_t base = align_up(bus->mmio_next, len);
	int ret;

	assert(bar < PCI_N_BARS && is_power_of_2(len) && len >= PAGE_SIZE && len <= GIB(1));
	if (base + len > LAYOUT_PCI_MMIO_END)
		return error_add(err, -ENOSPC, "no address space is left for the device in PCI slot %u",
				 dev->slot);
	ret = bus_add(&bus->vm->mmio, base, len, ops, opaque);
	if (ret < 0)
		return error_add(err, ret, "cannot place the device in PCI slot %u at 0x%llx: %s", dev->slot,
				 (unsigned long long)base, strerror(-ret));
	bus->mmio_next = base + len;
	dev->bar_base[bar] = base;
	dev->bar_len[bar] = len;
	put_le32(&dev->config[PCI_BASE_ADDRESS_0 + 4 * bar], (uint32_t)base);
	put_le32(&dev->writable[PCI_BASE_ADDRESS_0 + 4 * bar], (uint32_t)-len);
	/* As firmware would leave it. */
	dev->config[PCI_COMMAND] |= PCI_COMMAND_MEMORY;
	return 0;
}

uint8_t pci_add_capability(struct pci_device *dev, const void *cap, uint8_t len)
{
	uint8_t offset = dev->cap_end;

	assert(len >= PCI_CAP_SIZEOF - 2 && offset + align_up(len, 4) <= PCI_CONFIG_SIZE - 4);
	memcpy(&dev->config[offset], cap, len);
	dev->config[offset + PCI_CAP_LIST_NEXT] = 0;
	dev->config[dev->cap_last] = offset;
	dev->cap_last = (uint8_t)(offset + PCI_CAP_LIST_NEXT);
	dev->cap_end = (uint8_t)(offset + align_up(len, 4));
	dev->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	return offset;
}

void pci_add_window(struct pci_device *dev, uint8_t cap)
{
	uint8_t *writable = &dev->writable[cap];

	dev->window = cap;
	writable[offsetof(struct virtio_pci_cap, bar)] = 0xff;
	memset(writable + offsetof(struct virtio_pci_cap, offset), 0xff, 8);
	memset(writable + sizeof(struct virtio_pci_cap), 0xff, 4);
}

/* State */

static void pci_bar_name(char name[8], unsigned int bar)
{
	snprintf(name, 8, "bar%u", bar);
}

/* What the function is, and where: part of the description as well as of the state. */
static void pci_put_place(const struct pci_device *dev, struct state_writer *w)
{
	char name[8];

	state_put_u32(w, "slot", dev->slot);
	state_put_u32(w, "id", get_le32(&dev->config[PCI_VENDOR_ID]));
	for (unsigned int i = 0; i < PCI_N_BARS; i++) {
		pci_bar_name(name, i);
		if (dev->bar_len[i] != 0)
			state_put_u64(w, name, dev->bar_base[i]);
	}
}

static int pci_check_place(const struct pci_device *dev, struct state_node *node)
{
	uint32_t id = get_le32(&dev->config[PCI_VENDOR_ID]), v;
	int ret = state_get_u32(node, "slot", dev->slot, dev->slot, &v);

	if (ret == 0)
		ret = state_get_u32(node, "id", id, id, &v);
	for (unsigned int i = 0; i < PCI_N_BARS && ret == 0; i++) {
		uint64_t base;
		char name[8];

		pci_bar_name(name, i);
		if (dev->bar_len[i] != 0)
			ret = state_get_u64(node, name, dev->bar_base[i], dev->bar_base[i], &base);
	}
	return ret;
}

void pci_save(struct pci_device *dev, struct state_writer *w)
{
	state_begin(w, "pci");
	pci_put_place(dev, w);
	pthread_mutex_lock(&dev->lock);
	state_put_blob(w, "config", dev->config, PCI_CONFIG_SIZE);
	pthread_mutex_unlock(&dev->lock);
	if (dev->n_vectors > 0)
		pci_msix_save(dev, w);
	state_end(w);
}

static int pci_check_config(const struct pci_device *dev, const uint8_t *config, struct error *err)
{
	for (unsigned int i = 0; i < PCI_CONFIG_SIZE; i++) {
		uint8_t fixed = (uint8_t)~dev->writable[i];

		if ((config[i] ^ dev->config[i]) & fixed)
			return error_add(
				err, -EINVAL,
				"the device in PCI slot %u is not the same: configuration space at 0x%x is "
				"0x%02x, here 0x%02x",
				dev->slot, i, config[i], dev->config[i]);
	}
	return 0;
}

int pci_get(const struct pci_device *dev, struct state_node *parent, struct pci_loaded *loaded)
{
	struct state_node node;
	uint32_t len;
	int ret = state_child(&node, parent, "pci");

	*loaded = (struct pci_loaded){ 0 };

	if (ret == 0)
		ret = pci_check_place(dev, &node);
	if (ret == 0)
		ret = state_get_blob(&node, "config", PCI_CONFIG_SIZE, PCI_CONFIG_SIZE, &loaded->config,
				     &len);
	if (ret == 0)
		ret = pci_check_config(dev, loaded->config, node.err);
	if (ret == 0 && dev->n_vectors > 0)
		ret = pci_msix_get(dev, &node, &loaded->table, &loaded->pending);
	return ret == 0 ? state_finish(&node) : ret;
}

void pci_set(struct pci_device *dev, const struct pci_loaded *loaded)
{
	pthread_mutex_lock(&dev->lock);
	memcpy(dev->config, loaded->config, PCI_CONFIG_SIZE);
	if (dev->n_vectors > 0)
		pci_msix_set(dev, loaded->table, loaded->pending);
	pthread_mutex_unlock(&dev->lock);
}

static void pci_bus_describe(struct device *device, struct state_writer *w)
{
	struct pci_bus *bus = container_of(device, struct pci_bus, device);

	for (unsigned int i = 0; i < PCI_MAX_DEVICES; i++) {
		if (!bus->devices[i])
			continue;
		state_begin_indexed(w, "slot", i);
		pci_put_place(bus->devices[i], w);
		state_end(w);
	}
}

static int pci_bus_accept(struct device *device, struct state_node *node)
{
	struct pci_bus *bus = container_of(device, struct pci_bus, device);
	int ret = 0;

	for (unsigned int i = 0; i < PCI_MAX_DEVICES && ret == 0; i++) {
		struct state_node slot;

		if (!bus->devices[i])
			continue;
		ret = state_child_indexed(&slot, node, "slot", i);
		if (ret == 0)
			ret = pci_check_place(bus->devices[i], &slot);
		if (ret == 0)
			ret = state_finish(&slot);
	}
	return ret == 0 ? state_finish(node) : ret;
}

/* Routes of interrupts: KVM waits for all that use its table each time that it changes, some milliseconds of
 * a guest that stands still. Drivers set theirs up once, so only the first is sent. */
static int pci_bus_warm_save(struct device *device, struct state_writer *w, bool first)
{
	struct pci_bus *bus = container_of(device, struct pci_bus, device);

	for (unsigned int i = 0; first && i < PCI_MAX_DEVICES; i++) {
		if (!bus->devices[i] || bus->devices[i]->n_vectors == 0)
			continue;
		state_begin_indexed(w, "slot", i);
		pci_msix_save_table(bus->devices[i], w);
		state_end(w);
	}
	return first;
}

static int pci_bus_warm_load(struct device *device, struct state_node *node)
{
	struct pci_bus *bus = container_of(device, struct pci_bus, device);
	const uint8_t *tables[PCI_MAX_DEVICES] = { NULL };
	int ret = 0;

	for (unsigned int i = 0; i < PCI_MAX_DEVICES && ret == 0; i++) {
		struct state_node slot;

		if (!bus->devices[i] || bus->devices[i]->n_vectors == 0)
			continue;
		ret = state_child_indexed(&slot, node, "slot", i);
		if (ret == 0)
			ret = pci_msix_get_table(bus->devices[i], &slot, &tables[i]);
		if (ret == 0)
			ret = state_finish(&slot);
	}
	if (ret == 0)
		ret = state_finish(node);
	for (unsigned int i = 0; i < PCI_MAX_DEVICES && ret == 0; i++) {
		if (tables[i])
			pci_msix_set_ahead(bus->devices[i], tables[i]);
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

static const struct device_ops pci_bus_ops = {
	.describe = pci_bus_describe,
	.accept = pci_bus_accept,
	.warm_save = pci_bus_warm_save,
	.warm_load = pci_bus_warm_load,
	.save = pci_bus_save,
	.load = pci_bus_load,
};

int pci_bus_init(struct pci_bus *bus, struct vm *vm, struct error *err)
{
	int ret;

	*bus = (struct pci_bus){ .vm = vm, .mmio_next = LAYOUT_PCI_MMIO };
	bus->device = (struct device){ .ops = &pci_bus_ops, .name = "pci" };
	ret = bus_add(&vm->pio, LAYOUT_PCI_ADDR_PORT, 8, &pci_port_ops, bus);
	if (ret < 0)
		return error_add(err, ret, "cannot add the PCI bus at port 0x%x: %s", LAYOUT_PCI_ADDR_PORT,
				 strerror(-ret));
	ret = pci_add(bus, &bus->host_bridge, &host_bridge_ids, err);
	if (ret < 0)
		return ret;
	pthread_mutex_init(&bus->lock, NULL);
	vm_add_device(vm, &bus->device);
	return 0;
}

void pci_bus_exit(struct pci_bus *bus)
{
	pci_remove(&bus->host_bridge);
	pthread_mutex_destroy(&bus->lock);
}
