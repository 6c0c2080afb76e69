/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A host that a test makes of folders, and devices that answer what the test wants. */
#ifndef FERRY_TESTS_UNIT_VMM_HOST_HOST_FIXTURE_H
#define FERRY_TESTS_UNIT_VMM_HOST_HOST_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vmm/host/host_look.h"

struct host_rig {
	char dir[32], proc[40], sys[40], dev[40];
	struct host_wish wish;
	struct host_look look;
	struct host_report report;
};

/* What the probe answers. */
struct host_answers {
	int machine, trial, nic; /* 0 or -errno */
	struct host_nic facts;
	const char *why;
	unsigned int n_opened;
};
extern struct host_answers host_answers;
extern const struct host_probe host_fake_probe;

int host_setup(void **state);
int host_teardown(void **state);

/* Write a file, or make a link, at a path of the rig's below @root ("proc", "sys", "dev"), with the folders
 * that it needs. */
void host_write(struct host_rig *rig, const char *path, const char *text);
void host_link(struct host_rig *rig, const char *path, const char *to);

/* Asserts that there is such a check, in this state, and that it, or its advice, has @part. */
void assert_check(const struct host_report *r, const char *name, enum host_state state, const char *part);

#endif
