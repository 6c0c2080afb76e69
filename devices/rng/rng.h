/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The entropy device (virtio 1.2, section 5.4): a guest's driver gets random bytes of the host's kernel. */
#ifndef FERRY_DEVICES_RNG_RNG_H
#define FERRY_DEVICES_RNG_RNG_H

#include "devices/pci/bus.h"

struct rng;

/* Adds a device to @bus and, as "rng", to @vm's devices. At run time it has a thread of its own. 0 or -errno,
 * with the reason. */
int __must_check rng_create(struct rng **rng, struct vm *vm, struct pci_bus *bus, struct error *err);
/* Once vCPUs have ended, or before they run. */
void rng_destroy(struct rng *rng);

#endif
