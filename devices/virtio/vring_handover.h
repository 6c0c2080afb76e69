/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A split ring that changes hands between a vring and a device that serves the guest's ring itself. The
 * ring's owner thread calls, while the other side does not serve the ring unless it is said.
 */
#ifndef FERRY_DEVICES_VIRTIO_VRING_HANDOVER_H
#define FERRY_DEVICES_VIRTIO_VRING_HANDOVER_H

#include "devices/virtio/vring_core.h"

/*
 * Goes on where another device has left the ring with nothing in flight: at @base, the index in the available
 * ring of the next chain. The ring itself says how many were used.
 */
void vring_start_at(struct vring *vr, uint16_t base);

/* Returns the base at which a device has to begin, nothing being in flight here. */
uint16_t vring_base(const struct vring *vr);

/*
 * Makes what is in flight count as not taken, so that nothing is in flight. This is possible where it lies in
 * the available ring in its order, right behind what was used: ask vring_can_rewind() first.
 */
bool vring_can_rewind(const struct vring *vr);
void vring_rewind(struct vring *vr);

/*
 * While a device serves the ring, nothing being in flight here: the used index that it shows, and whether it
 * has used chains in the order in which they were made available, as far as the ring still shows.
 */
uint16_t vring_guest_used(const struct vring *vr);
bool vring_used_in_order(struct vring *vr);

#endif
