/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Features of the NIC: which a guest is offered on a device, what each needs, and their names. Plain
 * functions, any thread. */
#ifndef FERRY_DEVICES_NET_FEATURES_H
#define FERRY_DEVICES_NET_FEATURES_H

#include "devices/vdpa/vdpa.h"
#include "vmm/config.h"

/* @features without those whose requirements are missing ("Feature bit requirements"). */
uint64_t net_features_consistent(uint64_t features);

/* Features that a guest is offered on a device that has @n_pairs, but for those of ring formats: all of them
 * can be carried. */
uint64_t net_features_offer(const struct vdpa *vdpa, unsigned int n_pairs);

/*
 * Ring formats that a guest is offered, where @sizes are the largest of its @n queues: packed rings and
 * ones in order, unless @config does not want them, or they are so long that what is in flight could not be
 * carried. Where not even that of split rings could, @sizes become smaller. @nic is the NIC's name, for
 * messages.
 */
uint64_t net_features_rings(const char *nic, struct vdpa *vdpa, const struct net_config *config,
			    uint16_t *sizes, unsigned int n);

/* Writes the names of @features, with ", " between two; bits without one as a number. What does not fit is
 * left out. */
void net_features_names(uint64_t features, char *text, size_t size);

/* -ENOTSUP, naming each feature of @want that is not in @have. @guest: what the guest has to do with it;
 * @device: the name of what lacks it. */
int __must_check net_features_check(const char *nic, const char *guest, uint64_t want, uint64_t have,
				    const char *device, struct error *err);

#endif
