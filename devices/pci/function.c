/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A PCI function: what its configuration space shows, and what a guest can change in it. */
#include "devices/pci/function.h"

#include <assert.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

/* The header of type 0 ends here, and capabilities begin. */
#define PCI_CAPABILITIES 0x40u

/* The bits that a guest can change in every function. The interrupt line is for the guest's own notes. */
static const struct {
	uint8_t offset;
	uint16_t bits;
} pci_writable[] = {
	{ PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | PCI_COMMAND_SERR |
			       PCI_COMMAND_INTX_DISABLE },
	{ PCI_CACHE_LINE_SIZE, 0xffff }, /* with the latency timer */
	{ PCI_INTERRUPT_LINE, 0x00ff },
};

_Static_assert(PCI_LATENCY_TIMER == PCI_CACHE_LINE_SIZE + 1, "one row of pci_writable has both");

void pci_function_init(struct pci_function *fn, struct vm *vm, unsigned int slot, const struct pci_ids *ids)
{
	*fn = (struct pci_function){ .vm = vm, .slot = slot, .cap_end = PCI_CAPABILITIES };
	fn->cap_last = PCI_CAPABILITY_LIST;
	pthread_mutex_init(&fn->lock, NULL);
	put_le16(&fn->config[PCI_VENDOR_ID], ids->vendor);
	put_le16(&fn->config[PCI_DEVICE_ID], ids->device);
	put_le32(&fn->config[PCI_CLASS_REVISION], ids->class_code << 8 | ids->revision);
	put_le16(&fn->config[PCI_SUBSYSTEM_VENDOR_ID], ids->subsystem_vendor);
	put_le16(&fn->config[PCI_SUBSYSTEM_ID], ids->subsystem);
	for (unsigned int i = 0; i < ARRAY_SIZE(pci_writable); i++)
		put_le16(&fn->writable[pci_writable[i].offset], pci_writable[i].bits);
}

void pci_function_exit(struct pci_function *fn)
{
	pthread_mutex_destroy(&fn->lock);
}

static void pci_put_bar(struct pci_function *fn, unsigned int bar)
{
	put_le32(&fn->config[PCI_BASE_ADDRESS_0 + 4 * bar], (uint32_t)fn->bar_base[bar]);
	/* Firmware would have enabled what it has placed, and there is none. */
	fn->config[PCI_COMMAND] |= PCI_COMMAND_MEMORY;
}

void pci_function_show_bar(struct pci_function *fn, unsigned int bar, uint64_t base, uint64_t len)
{
	fn->bar_base[bar] = base;
	fn->bar_len[bar] = len;
	put_le32(&fn->writable[PCI_BASE_ADDRESS_0 + 4 * bar], (uint32_t)-len);
	pci_put_bar(fn, bar);
}

uint8_t pci_function_add_capability(struct pci_function *fn, const void *cap, uint8_t len)
{
	uint8_t offset = fn->cap_end;

	assert(len >= PCI_CAP_SIZEOF - 2 && offset + align_up(len, 4) <= PCI_CONFIG_SIZE - 4);
	memcpy(&fn->config[offset], cap, len);
	fn->config[offset + PCI_CAP_LIST_NEXT] = 0;
	fn->config[fn->cap_last] = offset;
	fn->cap_last = (uint8_t)(offset + PCI_CAP_LIST_NEXT);
	fn->cap_end = (uint8_t)(offset + align_up(len, 4));
	fn->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	return offset;
}

/* The window */

void pci_function_add_window(struct pci_function *fn, uint8_t cap)
{
	uint8_t *writable = &fn->writable[cap];

	fn->window = cap;
	writable[offsetof(struct virtio_pci_cap, bar)] = 0xff;
	memset(writable + offsetof(struct virtio_pci_cap, offset), 0xff, 8);
	memset(writable + sizeof(struct virtio_pci_cap), 0xff, 4);
}

bool pci_function_in_window(const struct pci_function *fn, uint8_t reg)
{
	return fn->window != 0 && (reg & ~3u) == fn->window + sizeof(struct virtio_pci_cap);
}

/* The guest can change bar, offset and length at any time: they are read once, under the lock. */
static void pci_use_window(struct pci_function *fn, bool write)
{
	uint8_t *cap = &fn->config[fn->window], *data = cap + sizeof(struct virtio_pci_cap);
	uint8_t bar, bytes[4];
	uint32_t offset, len;

	pthread_mutex_lock(&fn->lock);
	bar = cap[offsetof(struct virtio_pci_cap, bar)];
	offset = get_le32(cap + offsetof(struct virtio_pci_cap, offset));
	len = get_le32(cap + offsetof(struct virtio_pci_cap, length));
	memcpy(bytes, data, sizeof(bytes));
	pthread_mutex_unlock(&fn->lock);

	if (bar >= PCI_N_BARS || (len != 1 && len != 2 && len != 4) || offset % len != 0 ||
	    offset >= fn->bar_len[bar])
		return;
	if (write) {
		bus_write(&fn->vm->mmio, fn->bar_base[bar] + offset, bytes, len);
		return;
	}
	bus_read(&fn->vm->mmio, fn->bar_base[bar] + offset, bytes, len);
	pthread_mutex_lock(&fn->lock);
	memcpy(data, bytes, len);
	pthread_mutex_unlock(&fn->lock);
}

void pci_function_read_window(struct pci_function *fn)
{
	pci_use_window(fn, false);
}

void pci_function_write_window(struct pci_function *fn)
{
	pci_use_window(fn, true);
}

/* Accesses */

/* Says so when the guest looks for a BAR where it is not. All ones is a question for the BAR's size. */
static void pci_check_bars(struct pci_function *fn)
{
	if (!(get_le16(&fn->config[PCI_COMMAND]) & PCI_COMMAND_MEMORY))
		return;
	for (unsigned int i = 0; i < PCI_N_BARS; i++) {
		uint32_t addr = get_le32(&fn->config[PCI_BASE_ADDRESS_0 + 4 * i]);

		if (fn->bar_len[i] == 0 || addr == fn->bar_base[i] || addr == (uint32_t)-fn->bar_len[i])
			continue;
		log_limited(&fn->log_limit, LOG_WARN,
			    "PCI slot %u: the guest moved BAR %u to 0x%x, it stays at 0x%llx", fn->slot, i,
			    addr, (unsigned long long)fn->bar_base[i]);
	}
}

void pci_function_read(const struct pci_function *fn, uint8_t reg, void *data, unsigned int len)
{
	memcpy(data, &fn->config[reg], len);
}

void pci_function_write(struct pci_function *fn, uint8_t reg, const uint8_t *data, unsigned int len)
{
	for (unsigned int i = 0; i < len; i++)
		fn->config[reg + i] = (uint8_t)((fn->config[reg + i] & ~fn->writable[reg + i]) |
						(data[i] & fn->writable[reg + i]));
	if (reg <= PCI_COMMAND + 1 || (reg >= PCI_BASE_ADDRESS_0 && reg < PCI_CARDBUS_CIS))
		pci_check_bars(fn);
}

void pci_function_reset(struct pci_function *fn)
{
	for (unsigned int i = 0; i < PCI_CONFIG_SIZE; i++)
		fn->config[i] &= (uint8_t)~fn->writable[i];
	for (unsigned int i = 0; i < PCI_N_BARS; i++) {
		if (fn->bar_len[i] != 0)
			pci_put_bar(fn, i);
	}
}

bool pci_function_is_master(const struct pci_function *fn)
{
	return get_le16(&fn->config[PCI_COMMAND]) & PCI_COMMAND_MASTER;
}
