/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A PCI function's state: read as a whole and compared with the function that is here, then taken over. */
#include "devices/pci/state.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <stdio.h>

#include "devices/pci/msix.h"

static void pci_bar_name(char name[8], unsigned int bar)
{
	snprintf(name, 8, "bar%u", bar);
}

void pci_put_place(const struct pci_function *fn, struct state_writer *w)
{
	char name[8];

	state_put_u32(w, "slot", fn->slot);
	state_put_u32(w, "id", get_le32(&fn->config[PCI_VENDOR_ID]));
	for (unsigned int i = 0; i < PCI_N_BARS; i++) {
		pci_bar_name(name, i);
		if (fn->bar_len[i] != 0)
			state_put_u64(w, name, fn->bar_base[i]);
	}
}

int pci_check_place(const struct pci_function *fn, struct state_node *node)
{
	uint32_t id = get_le32(&fn->config[PCI_VENDOR_ID]), v;
	int ret = state_get_u32(node, "slot", fn->slot, fn->slot, &v);

	if (ret == 0)
		ret = state_get_u32(node, "id", id, id, &v);
	for (unsigned int i = 0; i < PCI_N_BARS && ret == 0; i++) {
		uint64_t base;
		char name[8];

		pci_bar_name(name, i);
		if (fn->bar_len[i] != 0)
			ret = state_get_u64(node, name, fn->bar_base[i], fn->bar_base[i], &base);
	}
	return ret;
}

void pci_save(struct pci_function *fn, struct state_writer *w)
{
	state_begin(w, "pci");
	pci_put_place(fn, w);
	pthread_mutex_lock(&fn->lock);
	state_put_blob(w, "config", fn->config, PCI_CONFIG_SIZE);
	pthread_mutex_unlock(&fn->lock);
	if (fn->n_vectors > 0)
		pci_msix_save(fn, w);
	state_end(w);
}

static int pci_check_config(const struct pci_function *fn, const uint8_t *config, struct error *err)
{
	for (unsigned int i = 0; i < PCI_CONFIG_SIZE; i++) {
		uint8_t fixed = (uint8_t)~fn->writable[i];

		if ((config[i] ^ fn->config[i]) & fixed) {
			error_add(err,
				  "the device in PCI slot %u is not the same: configuration space at 0x%x is "
				  "0x%02x, here 0x%02x",
				  fn->slot, i, config[i], fn->config[i]);
			return -EINVAL;
		}
	}
	return 0;
}

int pci_get(const struct pci_function *fn, struct state_node *parent, struct pci_loaded *loaded)
{
	struct state_node node;
	uint32_t len;
	int ret = state_child(&node, parent, "pci");

	*loaded = (struct pci_loaded){ 0 };

	if (ret == 0)
		ret = pci_check_place(fn, &node);
	if (ret == 0)
		ret = state_get_blob(&node, "config", PCI_CONFIG_SIZE, PCI_CONFIG_SIZE, &loaded->config,
				     &len);
	if (ret == 0)
		ret = pci_check_config(fn, loaded->config, node.err);
	if (ret == 0 && fn->n_vectors > 0)
		ret = pci_msix_get(fn, &node, &loaded->table, &loaded->pending);
	return ret == 0 ? state_finish(&node) : ret;
}

void pci_reset(struct pci_function *fn)
{
	pthread_mutex_lock(&fn->lock);
	pci_function_reset(fn);
	pci_msix_reset(fn);
	pthread_mutex_unlock(&fn->lock);
}

void pci_set(struct pci_function *fn, const struct pci_loaded *loaded)
{
	pthread_mutex_lock(&fn->lock);
	memcpy(fn->config, loaded->config, PCI_CONFIG_SIZE);
	if (fn->n_vectors > 0)
		pci_msix_set(fn, loaded->table, loaded->pending);
	pthread_mutex_unlock(&fn->lock);
}
