/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The value of --cpus. Plain functions, any thread. */
#ifndef FERRY_VMM_CONFIG_CPUS_H
#define FERRY_VMM_CONFIG_CPUS_H

#include <stdint.h>

#include "vmm/util.h"

struct error;

#define CONFIG_MAX_CPUS 64u
/* Numbers of a host's CPUs: as many as the C library's sets have. */
#define CONFIG_MAX_HOST_CPUS 1024u

struct cpus_config {
	unsigned int n;
	/* Whether @pins says on which CPU of the host each vCPU runs. */
	bool pinned;
	uint16_t pins[CONFIG_MAX_CPUS];
};

/* Reads "N[,pin=CPU[-CPU][+CPU...]]", with as many CPUs of the host as vCPUs, in their order. -EINVAL, with
 * the reason and what would be right. */
int __must_check config_cpus_parse(struct cpus_config *config, char *text, struct error *err);

#endif
