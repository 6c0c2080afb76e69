/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Confinement that the kernel offers, found out without using any. */
#define _GNU_SOURCE
#include "vmm/host/host_sandbox.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* linux/landlock.h is newer than some headers, and its flag is a part of the kernel's interface. */
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#endif
#define HOST_LANDLOCK_VERSION 1u

void host_sandbox_judge_landlock(struct host_report *r, int abi)
{
	if (abi > 0)
		host_report_add(r, HOST_OK, "landlock", "", "there is Landlock, its interface's version %d",
				abi);
	else if (abi == -EOPNOTSUPP)
		host_report_add(r, HOST_WARN, "landlock",
				"add landlock to the lsm= of the kernel's command "
				"line",
				"the kernel has Landlock, switched off at boot");
	else
		host_report_add(r, HOST_WARN, "landlock", "use Linux 5.13 or later, with Landlock",
				"there is no Landlock: %s", strerror(-abi));
}

static void host_sandbox_check_seccomp(struct host_report *r, const struct host_look *look)
{
	char actions[256];

	if (host_read(actions, sizeof(actions), "%s/sys/kernel/seccomp/actions_avail", look->proc) == 0 &&
	    host_has_word(actions, "kill_process"))
		host_report_add(r, HOST_OK, "seccomp", "", "system calls can be filtered");
	else
		host_report_add(r, HOST_WARN, "seccomp", "use a kernel with CONFIG_SECCOMP_FILTER",
				"system calls cannot be filtered: ferry-tls refuses to hear strangers");
}

/* A number that the file holds; @other where there is no such file. */
static long host_sandbox_number(const struct host_look *look, const char *file, long other)
{
	char value[32];

	return host_read(value, sizeof(value), "%s/sys/%s", look->proc, file) < 0 ? other
										  : strtol(value, NULL, 10);
}

static void host_sandbox_check_namespaces(struct host_report *r, const struct host_look *look)
{
	static const struct {
		const char *file;
		long bad, absent;
		const char *why, *advice;
	} limits[] = {
		{ "user/max_user_namespaces", 0, 0, "user.max_user_namespaces is 0, or not there",
		  "set the sysctl user.max_user_namespaces" },
		{ "kernel/unprivileged_userns_clone", 0, 1, "only root may make them",
		  "set the sysctl kernel.unprivileged_userns_clone to 1, or run Ferry as root" },
		{ "kernel/apparmor_restrict_unprivileged_userns", 1, 0,
		  "AppArmor keeps others than root from them",
		  "give Ferry a profile that has userns, or run it as root" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(limits); i++) {
		if (host_sandbox_number(look, limits[i].file, limits[i].absent) == limits[i].bad) {
			host_report_add(r, HOST_INFO, "user-namespaces", limits[i].advice,
					"a process without rights can have no user namespace: %s",
					limits[i].why);
			return;
		}
	}
	host_report_add(r, HOST_OK, "user-namespaces", "", "there are user namespaces, for every user");
}

static void host_sandbox_check_tls(struct host_report *r, const struct host_look *look)
{
	char protocols[256];

	if (host_read(protocols, sizeof(protocols), "%s/sys/net/ipv4/tcp_available_ulp", look->proc) == 0 &&
	    host_has_word(protocols, "tls"))
		host_report_add(r, HOST_OK, "kernel-tls", "", "the kernel can encrypt a migration over TLS");
	else
		host_report_add(r, HOST_INFO, "kernel-tls", "\"modprobe tls\"",
				"the kernel's TLS is not loaded: without it ferry-tls encrypts, which takes "
				"more of a CPU");
}

void host_sandbox_check(struct host_report *r, const struct host_look *look)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, HOST_LANDLOCK_VERSION);

	host_sandbox_judge_landlock(r, abi < 0 ? -errno : (int)abi);
	host_sandbox_check_seccomp(r, look);
	host_sandbox_check_namespaces(r, look);
	host_sandbox_check_tls(r, look);
}
