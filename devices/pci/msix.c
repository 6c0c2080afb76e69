/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MSI-X: the table and the pending bits as the guest sees them, each vector an irqfd. */
#include "devices/pci/msix.h"

#include <assert.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <stdlib.h>

#include "vmm/loop.h"

#define MSIX_ENTRY_BYTES   16u
#define MSIX_ENTRY_DWORDS  4u
#define MSIX_MAX_VECTORS   256u
#define MSIX_ENTRY_CONTROL 3u /* dword of it */

_Static_assert(MSIX_ENTRY_BYTES == PCI_MSIX_ENTRY_SIZE, "as the specification has it");
_Static_assert(4 * MSIX_ENTRY_CONTROL == PCI_MSIX_ENTRY_VECTOR_CTRL, "as the specification has it");

static bool msix_vector_open(const struct pci_function *fn, const struct pci_msix_vector *v)
{
	uint16_t control = get_le16(&fn->config[fn->msix_cap + PCI_MSIX_FLAGS]);

	return (control & PCI_MSIX_FLAGS_ENABLE) && !(control & PCI_MSIX_FLAGS_MASKALL) &&
	       !(v->control & PCI_MSIX_ENTRY_CTRL_MASKBIT);
}

/* A message that KVM does not take is the guest's mistake: the vector stays silent. */
static void msix_vector_refused(struct pci_function *fn, struct pci_msix_vector *v, int ret)
{
	log_limited(
		&fn->log_limit, LOG_WARN,
		"PCI slot %u: no interrupts from MSI-X vector %u: KVM refuses address 0x%llx, data 0x%x: %s",
		fn->slot, (unsigned int)(v - fn->vectors), (unsigned long long)v->addr, v->data,
		strerror(-ret));
	if (v->irq.attached)
		irq_mask(&v->irq);
}

/* Opens or closes the way to KVM as the table says, after KVM has been given the message. */
static void msix_vector_connect(struct pci_function *fn, struct pci_msix_vector *v)
{
	int ret;

	if (!msix_vector_open(fn, v)) {
		if (v->irq.attached)
			irq_mask(&v->irq);
	} else if (!v->irq.attached) {
		ret = irq_unmask(&v->irq);
		if (ret < 0)
			msix_vector_refused(fn, v, ret);
	}
}

static bool msix_vector_changed(const struct pci_function *fn, const struct pci_msix_vector *v)
{
	return msix_vector_open(fn, v) && (v->irq.msi_addr != v->addr || v->irq.msi_data != v->data);
}

static void msix_vector_update(struct pci_function *fn, struct pci_msix_vector *v)
{
	struct irq_msi msi = { &v->irq, v->addr, v->data };
	int ret = msix_vector_changed(fn, v) ? irq_set_msis(&fn->vm->irqs, &msi, 1) : 0;

	if (ret < 0)
		msix_vector_refused(fn, v, ret);
	else
		msix_vector_connect(fn, v);
}

/* Gives KVM all messages at once, for each change of its table takes long. Where it refuses them, one by one
 * finds the culprit. */
static void msix_update(struct pci_function *fn)
{
	struct irq_msi msis[MSIX_MAX_VECTORS];
	unsigned int n = 0;

	for (unsigned int i = 0; i < fn->n_vectors; i++) {
		struct pci_msix_vector *v = &fn->vectors[i];

		if (msix_vector_changed(fn, v))
			msis[n++] = (struct irq_msi){ &v->irq, v->addr, v->data };
	}
	if (n > 0 && irq_set_msis(&fn->vm->irqs, msis, n) < 0)
		log_limited(&fn->log_limit, LOG_DEBUG, "PCI slot %u: %u MSI-X messages one by one", fn->slot,
			    n);
	for (unsigned int i = 0; i < fn->n_vectors; i++)
		msix_vector_update(fn, &fn->vectors[i]);
}

void pci_msix_config_written(struct pci_function *fn, uint8_t reg)
{
	if (fn->msix_cap != 0 && (reg & ~3u) == fn->msix_cap)
		msix_update(fn);
}

void pci_msix_reset(struct pci_function *fn)
{
	for (unsigned int i = 0; i < fn->n_vectors; i++) {
		struct pci_msix_vector *v = &fn->vectors[i];

		v->addr = v->data = 0;
		v->control = PCI_MSIX_ENTRY_CTRL_MASKBIT;
		msix_vector_connect(fn, v);
		/* What came while it was masked. */
		loop_take(v->irq.fd);
	}
}

/* The signals of a masked vector wait in its eventfd. */
static bool msix_vector_pending(const struct pci_function *fn, const struct pci_msix_vector *v)
{
	struct pollfd fd = { .fd = v->irq.fd, .events = POLLIN };

	return !msix_vector_open(fn, v) && poll(&fd, 1, 0) == 1;
}

static uint32_t msix_entry_get(const struct pci_msix_vector *v, unsigned int dword)
{
	const uint32_t entry[MSIX_ENTRY_DWORDS] = { (uint32_t)v->addr, (uint32_t)(v->addr >> 32), v->data,
						    v->control };

	return entry[dword];
}

static void msix_entry_set(struct pci_msix_vector *v, unsigned int dword, uint32_t value)
{
	uint32_t entry[MSIX_ENTRY_DWORDS];

	for (unsigned int i = 0; i < MSIX_ENTRY_DWORDS; i++)
		entry[i] = i == dword ? value : msix_entry_get(v, i);
	v->addr = (uint64_t)entry[1] << 32 | entry[0];
	v->data = entry[2];
	v->control = entry[MSIX_ENTRY_CONTROL] & PCI_MSIX_ENTRY_CTRL_MASKBIT;
}

/* The entry that an access meets. PCI allows aligned dwords and qwords, none of which crosses an entry. */
static struct pci_msix_vector *msix_entry_at(struct pci_function *fn, uint64_t offset, unsigned int len)
{
	if ((len == 4 || len == 8) && offset % len == 0)
		return offset / MSIX_ENTRY_BYTES < fn->n_vectors ? &fn->vectors[offset / MSIX_ENTRY_BYTES]
								 : NULL;
	log_limited(&fn->log_limit, LOG_WARN,
		    "PCI slot %u: the guest accesses %u bytes at 0x%llx of the MSI-X table, which takes "
		    "aligned ones of 4 or 8: ignored",
		    fn->slot, len, (unsigned long long)offset);
	return NULL;
}

static unsigned int msix_dword(uint64_t offset)
{
	return (unsigned int)(offset % MSIX_ENTRY_BYTES) / 4;
}

void pci_msix_table_read(struct pci_function *fn, uint64_t offset, void *data, unsigned int len)
{
	struct pci_msix_vector *v = msix_entry_at(fn, offset, len);
	uint8_t *out = data;

	if (!v)
		return;
	pthread_mutex_lock(&fn->lock);
	for (unsigned int i = 0; i < len / 4; i++)
		put_le32(out + 4 * i, msix_entry_get(v, msix_dword(offset) + i));
	pthread_mutex_unlock(&fn->lock);
}

void pci_msix_table_write(struct pci_function *fn, uint64_t offset, const void *data, unsigned int len)
{
	struct pci_msix_vector *v = msix_entry_at(fn, offset, len);
	const uint8_t *in = data;

	if (!v)
		return;
	pthread_mutex_lock(&fn->lock);
	for (unsigned int i = 0; i < len / 4; i++)
		msix_entry_set(v, msix_dword(offset) + i, get_le32(in + 4 * i));
	msix_vector_update(fn, v);
	pthread_mutex_unlock(&fn->lock);
}

static uint8_t msix_pba_byte(const struct pci_function *fn, uint64_t byte)
{
	uint8_t bits = 0;

	for (unsigned int i = 0; i < 8; i++) {
		if (byte < fn->n_vectors && 8 * byte + i < fn->n_vectors &&
		    msix_vector_pending(fn, &fn->vectors[8 * byte + i]))
			bits |= (uint8_t)(1u << i);
	}
	return bits;
}

void pci_msix_pba_read(struct pci_function *fn, uint64_t offset, void *data, unsigned int len)
{
	uint8_t *out = data;

	pthread_mutex_lock(&fn->lock);
	for (unsigned int i = 0; i < len; i++)
		out[i] = msix_pba_byte(fn, offset + i);
	pthread_mutex_unlock(&fn->lock);
}

void pci_msix_notify(struct pci_function *fn, unsigned int n)
{
	if (n < fn->n_vectors)
		loop_signal(fn->vectors[n].irq.fd);
}

int pci_msix_fd(const struct pci_function *fn, unsigned int n)
{
	return n < fn->n_vectors ? fn->vectors[n].irq.fd : -1;
}

uint32_t pci_msix_table_bytes(unsigned int n)
{
	return n * MSIX_ENTRY_BYTES;
}

uint32_t pci_msix_pba_bytes(unsigned int n)
{
	return (uint32_t)align_up(n, 64) / 8;
}

static void msix_free_vectors(struct pci_function *fn, unsigned int first)
{
	for (unsigned int i = first; i < fn->n_vectors; i++)
		irq_exit(&fn->vectors[i].irq);
	fn->n_vectors = first;
}

void pci_msix_exit(struct pci_function *fn)
{
	msix_free_vectors(fn, 0);
	free(fn->vectors);
	fn->vectors = NULL;
}

int pci_msix_init(struct pci_function *fn, unsigned int n, unsigned int bar, uint32_t table_offset,
		  uint32_t pba_offset, struct error *err)
{
	uint8_t cap[PCI_CAP_MSIX_SIZEOF] = { PCI_CAP_ID_MSIX };
	int ret;

	assert(n > 0 && n <= MSIX_MAX_VECTORS && bar < PCI_N_BARS && !(table_offset & 7) &&
	       !(pba_offset & 7));
	fn->vectors = calloc(n, sizeof(*fn->vectors));
	if (!fn->vectors) {
		error_add(err, "out of memory for %u interrupt vectors", n);
		return -ENOMEM;
	}
	put_le16(cap + PCI_MSIX_FLAGS, (uint16_t)(n - 1));
	put_le32(cap + PCI_MSIX_TABLE, table_offset | bar);
	put_le32(cap + PCI_MSIX_PBA, pba_offset | bar);
	fn->msix_cap = pci_function_add_capability(fn, cap, sizeof(cap));
	put_le16(&fn->writable[fn->msix_cap + PCI_MSIX_FLAGS],
		 PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);

	for (unsigned int i = 0; i < n; i++) {
		fn->vectors[i].control = PCI_MSIX_ENTRY_CTRL_MASKBIT;
		ret = irq_init(&fn->vectors[i].irq, &fn->vm->irqs);
		if (ret < 0) {
			error_add(err,
				  "cannot make interrupt vector %u of %u for the device in PCI slot %u: %s",
				  i, n, fn->slot, strerror(-ret));
			goto free_vectors;
		}
		fn->n_vectors = i + 1;
	}
	return 0;

free_vectors:
	pci_msix_exit(fn);
	return ret;
}

void pci_msix_limit(struct pci_function *fn, unsigned int n)
{
	uint8_t *flags = &fn->config[fn->msix_cap + PCI_MSIX_FLAGS];

	assert(n > 0 && n <= fn->n_vectors);
	msix_free_vectors(fn, n);
	put_le16(flags, (uint16_t)((get_le16(flags) & ~(unsigned int)PCI_MSIX_FLAGS_QSIZE) | (n - 1)));
}

void pci_msix_save_table(struct pci_function *fn, struct state_writer *w)
{
	uint8_t table[MSIX_MAX_VECTORS * MSIX_ENTRY_BYTES];
	uint32_t len = pci_msix_table_bytes(fn->n_vectors);

	for (uint32_t i = 0; i < len; i += 8)
		pci_msix_table_read(fn, i, table + i, 8);
	state_put_blob(w, "msix-table", table, len);
}

void pci_msix_save(struct pci_function *fn, struct state_writer *w)
{
	uint8_t pending[MSIX_MAX_VECTORS / 8];
	uint32_t len = pci_msix_pba_bytes(fn->n_vectors);

	pci_msix_save_table(fn, w);
	pci_msix_pba_read(fn, 0, pending, len);
	state_put_blob(w, "msix-pending", pending, len);
}

int pci_msix_get_table(const struct pci_function *fn, struct state_node *node, const uint8_t **table)
{
	uint32_t len = pci_msix_table_bytes(fn->n_vectors);
	int ret = state_get_blob(node, "msix-table", len, len, table, &len);

	for (unsigned int i = 0; i < fn->n_vectors && ret == 0; i++) {
		uint32_t control = get_le32(*table + MSIX_ENTRY_BYTES * i + PCI_MSIX_ENTRY_VECTOR_CTRL);

		if (control & ~(uint32_t)PCI_MSIX_ENTRY_CTRL_MASKBIT) {
			error_add(node->err, "MSI-X vector %u of PCI slot %u has control 0x%x", i, fn->slot,
				  control);
			ret = -EINVAL;
		}
	}
	return ret;
}

/* KVM refuses a bad table again when the guest's state comes with it, and that is when it is logged. */
void pci_msix_set_ahead(struct pci_function *fn, const uint8_t *table)
{
	struct irq_msi msis[MSIX_MAX_VECTORS];
	unsigned int n = 0;

	pthread_mutex_lock(&fn->lock);
	for (unsigned int i = 0; i < fn->n_vectors; i++) {
		const uint8_t *entry = table + MSIX_ENTRY_BYTES * i;

		if (!(get_le32(entry + PCI_MSIX_ENTRY_VECTOR_CTRL) & PCI_MSIX_ENTRY_CTRL_MASKBIT))
			msis[n++] = (struct irq_msi){ &fn->vectors[i].irq, get_le64(entry),
						      get_le32(entry + PCI_MSIX_ENTRY_DATA) };
	}
	if (n > 0 && irq_set_msis(&fn->vm->irqs, msis, n) < 0)
		log_limited(&fn->log_limit, LOG_DEBUG, "PCI slot %u: %u MSI-X messages not ahead", fn->slot,
			    n);
	pthread_mutex_unlock(&fn->lock);
}

int pci_msix_get(const struct pci_function *fn, struct state_node *node, const uint8_t **table,
		 const uint8_t **pending)
{
	uint32_t pending_len = pci_msix_pba_bytes(fn->n_vectors);
	uint32_t len;
	int ret = pci_msix_get_table(fn, node, table);

	if (ret == 0)
		ret = state_get_blob(node, "msix-pending", pending_len, pending_len, pending, &len);
	for (unsigned int i = fn->n_vectors; i < 8 * pending_len && ret == 0; i++) {
		if ((*pending)[i / 8] >> i % 8 & 1) {
			error_add(node->err, "MSI-X vector %u of PCI slot %u is pending, there are %u", i,
				  fn->slot, fn->n_vectors);
			ret = -EINVAL;
		}
	}
	return ret;
}

void pci_msix_set(struct pci_function *fn, const uint8_t *table, const uint8_t *pending)
{
	for (unsigned int i = 0; i < fn->n_vectors; i++) {
		const uint8_t *entry = table + MSIX_ENTRY_BYTES * i;

		for (unsigned int d = 0; d < MSIX_ENTRY_DWORDS; d++)
			msix_entry_set(&fn->vectors[i], d, get_le32(entry + 4 * d));
		if (pending[i / 8] >> i % 8 & 1)
			pci_msix_notify(fn, i);
	}
	msix_update(fn);
}
