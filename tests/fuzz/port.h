/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A network of nobody else, in the place of devices/vdpa/soft/hub.c: what is sent is looked at, what is
 * received comes from the fuzzer. */
#ifndef FERRY_TESTS_FUZZ_PORT_H
#define FERRY_TESTS_FUZZ_PORT_H

#include "devices/vdpa/soft/hub.h"

/* A packet, header first, for the device that was opened last or for all. */
void fuzz_port_send(const void *packet, uint32_t len);

/* Sets how the port's operations answer from now on, one of FUZZ_PORT_WAYS; 0: as they should. */
#define FUZZ_PORT_WAYS 8u
void fuzz_port_fail(unsigned int way);

/* Sums up what the devices have sent, so that every byte is read. */
uint64_t fuzz_port_sum(void);

#endif
