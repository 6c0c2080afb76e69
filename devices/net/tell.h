/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a NIC is and does now, for those who ask over the control socket: in words, and in numbers. */
#ifndef FERRY_DEVICES_NET_TELL_H
#define FERRY_DEVICES_NET_TELL_H

#include "vmm/device.h"

/* See struct device_ops. */
int __must_check net_tell(struct device *dev, struct facts *f, unsigned int *from, uint64_t until_ns,
			  struct error *err);
int __must_check net_measure(struct device *dev, struct metrics *m, unsigned int *from, uint64_t until_ns,
			     struct error *err);

#endif
