/* SPDX-License-Identifier: GPL-2.0-or-later */
/* No capabilities, no privileges, no files, no children. */
#define _GNU_SOURCE
#include "vmm/tls/confine.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TLS_NOBODY 65534u

/* poll() takes no more descriptors than a process may have: the two that the pump watches. */
#define TLS_DESCRIPTORS 2u

static const struct {
	int resource;
	rlim_t max;
} tls_rlimits[] = {
	{ RLIMIT_CORE, 0 },
	{ RLIMIT_FSIZE, 0 },
	{ RLIMIT_NPROC, 0 },
	{ RLIMIT_NOFILE, TLS_DESCRIPTORS },
};

/* Becomes nobody. In a user namespace there may be none: then the capabilities alone go. */
static void tls_leave_root(void)
{
	if (geteuid() != 0 || setgroups(0, NULL) < 0)
		return;
	if (setresgid(TLS_NOBODY, TLS_NOBODY, TLS_NOBODY) == 0 &&
	    setresuid(TLS_NOBODY, TLS_NOBODY, TLS_NOBODY) < 0)
		return;
}

int tls_confine(struct error *err)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < ARRAY_SIZE(tls_rlimits); i++) {
		const struct rlimit limit = { tls_rlimits[i].max, tls_rlimits[i].max };

		if (setrlimit(tls_rlimits[i].resource, &limit) < 0)
			ret = -errno;
	}
	tls_leave_root();
	if (ret == 0 &&
	    (syscall(SYS_capset, &header, none) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	     prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0))
		ret = -errno;
	if (ret < 0)
		error_add(err, "ferry-tls cannot give up its rights: %s", strerror(-ret));
	return ret;
}
