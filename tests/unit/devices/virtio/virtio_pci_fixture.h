/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device with virtio over PCI, which counts what is asked of it, in a VM without KVM; and what the tests do
 * as its driver again and again. */
#ifndef FERRY_TESTS_UNIT_DEVICES_VIRTIO_VIRTIO_PCI_FIXTURE_H
#define FERRY_TESTS_UNIT_DEVICES_VIRTIO_VIRTIO_PCI_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <linux/pci_regs.h>
#include <linux/virtio_ids.h>

#include "devices/pci/msix.h"
#include "devices/virtio/pci.h"
#include "devices/virtio/pci_state.h"
#include "tests/fake/vm.h"

#define SLOT       1u
#define N_QUEUES   5u
#define CONFIG_LEN 24u
#define OFFERED                                                                                              \
	(VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_ACCESS_PLATFORM) |                             \
	 VIRTIO_BIT(VIRTIO_F_RING_PACKED) | VIRTIO_BIT(VIRTIO_F_RING_RESET) | 0xf0u)
#define BAD_FEATURE 0x10u /* offered, but never in a set that holds together */
#define ACCEPTED    (VIRTIO_BIT(VIRTIO_F_VERSION_1) | 0x60u)

/* The sizes of the queues: the fourth does not exist. */
extern const uint16_t max_sizes[N_QUEUES];

struct fixture {
	struct fake_vm *f;
	struct pci_bus bus;
	struct virtio_pci v;
	/* What the driver has found: addresses, lengths. */
	uint64_t common, notify, isr, config;
	uint32_t notify_len, notify_multiplier, config_len;
	/* What was asked of the device model. */
	unsigned int n_driver_ok, n_reset;
	unsigned int n_queue_reset, n_queue_enable, queue; /* the one that it was last */
	uint8_t status_at_driver_ok;
	int driver_ok;                 /* what it answers */
	uint8_t registers[CONFIG_LEN]; /* device configuration */
};

/* A VM with one such device, whose structures the driver has found; destroy() checks that nothing is left. */
struct fixture *build(unsigned int n_queues, const uint16_t *sizes, uint64_t offered);
void destroy(struct fixture *x);
/* The same for cmocka: N_QUEUES queues of max_sizes, OFFERED. */
int setup(void **state);
int teardown(void **state);

/* Puts another such device on the bus: as virtio_pci_init(). */
int add_device(struct fixture *x, struct virtio_pci *v, unsigned int n_queues, const uint16_t *sizes,
	       uint64_t offered, struct error *err);

/* Reads a register of configuration space. */
uint32_t config_u32(struct fixture *x, unsigned int reg);

/* Finds the structure of @type, which must lie within the BAR: its address, its length, and where its
 * capability is in configuration space. 0 if there is none. */
uint64_t find_structure(struct fixture *x, uint8_t type, uint32_t *len, unsigned int *cap);

/* Reads and writes @len bytes of the common configuration. */
uint32_t rd(struct fixture *x, unsigned int reg, unsigned int len);
void wr(struct fixture *x, unsigned int reg, unsigned int len, uint32_t value);
void write_addr(struct fixture *x, unsigned int reg, uint64_t addr);

uint32_t status(struct fixture *x);
void set_status(struct fixture *x, uint32_t value);
void accept_features(struct fixture *x, uint64_t features);

/* A driver's steps: a reset and on to FEATURES_OK; a queue of @size at addresses of its own, with vector
 * @index + 1; MSI-X with every vector unmasked; and all of it, with three queues and ACCEPTED, to DRIVER_OK.
 */
void to_features_ok(struct fixture *x, uint64_t features);
void set_up_queue(struct fixture *x, unsigned int index, uint16_t size);
void enable_queue(struct fixture *x, unsigned int index);
void start_msix(struct fixture *x);
void start(struct fixture *x);

/* Returns how many interrupts of @vector have come since the last call. */
uint64_t taken(struct fixture *x, unsigned int vector);

#endif
