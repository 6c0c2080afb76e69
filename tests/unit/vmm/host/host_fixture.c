/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Folders in the place of a host's. */
#define _GNU_SOURCE
#include "tests/unit/vmm/host/host_fixture.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct host_answers host_answers;

static int answer_machine(struct cpuid_offer *cpu, struct error *err)
{
	*cpu = (struct cpuid_offer){ .vendor = "AuthenticAMD", .address_bits = 48, .words = { 1 } };
	if (host_answers.machine < 0)
		error_add(err, "no KVM for this test");
	return host_answers.machine;
}

static int answer_trial(struct error *err)
{
	if (host_answers.trial < 0)
		error_add(err, "no instructions for this test");
	return host_answers.trial;
}

static int answer_nic(const struct net_config *config, struct host_nic *nic, const char **why,
		      struct error *err)
{
	host_answers.n_opened++;
	*nic = host_answers.facts;
	*why = host_answers.why;
	if (host_answers.nic < 0)
		error_add(err, "cannot open %s", config->vdpa);
	return host_answers.nic;
}

static void answer_names(uint64_t features, char *text, size_t size)
{
	snprintf(text, size, features ? "0x%llx" : "", (unsigned long long)features);
}

const struct host_probe host_fake_probe = { answer_machine, answer_trial, answer_nic, answer_names };

int host_setup(void **state)
{
	struct host_rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	strcpy(rig->dir, "/tmp/ferry-host.XXXXXX");
	assert_non_null(mkdtemp(rig->dir));
	snprintf(rig->proc, sizeof(rig->proc), "%s/proc", rig->dir);
	snprintf(rig->sys, sizeof(rig->sys), "%s/sys", rig->dir);
	snprintf(rig->dev, sizeof(rig->dev), "%s/dev", rig->dir);
	rig->wish = (struct host_wish){ .mem = MIB(512), .runtime_dir = rig->dir };
	rig->look = (struct host_look){ rig->proc, rig->sys, rig->dev, &rig->wish, &host_fake_probe };
	host_answers = (struct host_answers){ .facts = { .pairs = 1,
							 .ring = 256,
							 .groups = 1,
							 .spaces = 1,
							 .mtu = 1500,
							 .mac = { 0x52, 0x54, 0, 1, 2, 3 } } };
	*state = rig;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

int host_teardown(void **state)
{
	struct host_rig *rig = *state;

	nftw(rig->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(rig);
	return 0;
}

/* Makes the folders that @path needs. */
static void make_folders(struct host_rig *rig, const char *path, char full[256])
{
	assert_in_range(snprintf(full, 256, "%s/%s", rig->dir, path), 1, 255);
	for (char *slash = full + strlen(rig->dir); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		assert_true(mkdir(full, 0700) == 0 || errno == EEXIST);
		*slash = '/';
	}
}

void host_write(struct host_rig *rig, const char *path, const char *text)
{
	char full[256];
	FILE *f;

	make_folders(rig, path, full);
	f = fopen(full, "w");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

void host_link(struct host_rig *rig, const char *path, const char *to)
{
	char full[256];

	make_folders(rig, path, full);
	assert_int_equal(symlink(to, full), 0);
}

void assert_check(const struct host_report *r, const char *name, enum host_state state, const char *part)
{
	const struct host_check *check = host_report_find(r, name);

	if (!check)
		fail_msg("no check \"%s\"", name);
	else if (check->state != state || (!strstr(check->found, part) && !strstr(check->advice, part)))
		fail_msg("%s: %s (%s): %s", name, host_state_names[check->state], check->found,
			 check->advice);
}
