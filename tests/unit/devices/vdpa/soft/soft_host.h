/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A host for the vDPA NIC in software: a network namespace of the test's own, with interfaces in it, and what
 * the host's operator does to them. */
#ifndef FERRY_TESTS_UNIT_DEVICES_VDPA_SOFT_SOFT_HOST_H
#define FERRY_TESTS_UNIT_DEVICES_VDPA_SOFT_SOFT_HOST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "devices/vdpa/soft/link.h"
#include "tests/fake/soft.h"

/* Enters a namespace that is empty but for "lo". Returns false if there is none to be had, or no TAP. */
bool host_enter(void);

/* Makes a bridge; false: the kernel has none. */
bool host_add_bridge(const char *name);
/* Makes a TAP interface that stays, as "ip tuntap add" with these flags (IFF_*), and deletes it. */
void host_add_tap(const char *name, unsigned int flags);
void host_delete_tap(const char *name, unsigned int flags);
/* Opens a queue of a TAP interface, which is made if there is none of the name: its descriptor. */
int host_open_tap(const char *name, unsigned int flags);

struct soft_link host_link(const char *name);
bool host_has(const char *name);

/* Change an interface as an operator does. @set is one of link.h's functions; @master NULL means no bridge;
 * @namespace is a descriptor. */
void host_set(const char *name, int (*set)(int fd, unsigned int index));
void host_set_address(const char *name, uint64_t address);
void host_set_mtu(const char *name, uint32_t mtu);
void host_set_master(const char *name, const char *master);
void host_delete(const char *name);
void host_move(const char *name, int namespace);
/* Returns false where the interface is up and the kernel, one before 6.2, renames only interfaces that are
 * down. */
bool host_rename(const char *name, const char *new_name);

/* Opens a device on @tap, as the option --net says; NULL: it was refused, for the reason in @err. The others
 * fail the test where it is refused, or is not for the reason @why. */
struct vdpa *host_open(const char *tap, const char *bridge, unsigned int n_queues, struct error *err);
struct vdpa *host_must_open(const char *tap, const char *bridge, unsigned int n_queues);
void host_must_refuse(const char *tap, const char *bridge, unsigned int n_queues, const char *why);
/* A le16 of a device's configuration. */
uint16_t host_config16(struct vdpa *vdpa, uint32_t offset);

/* Keeps what is logged between the two calls; its text lies in a place that the next one takes. */
struct host_log {
	int saved, file;
};

struct host_log host_log_begin(void);
const char *host_log_end(const struct host_log *log);
unsigned int host_log_lines(const char *text);

#endif
