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

struct tls_rlimit {
	int resource;
	rlim_t max;
};

static const struct tls_rlimit tls_rlimits[] = { { RLIMIT_CORE, 0 }, { RLIMIT_FSIZE, 0 } };
static const struct tls_rlimit tls_stranger_rlimits[] = { { RLIMIT_NPROC, 0 },
							  { RLIMIT_NOFILE, TLS_DESCRIPTORS } };

static int tls_limit(const struct tls_rlimit *limits, unsigned int n, struct error *err)
{
	for (unsigned int i = 0; i < n; i++) {
		const struct rlimit limit = { limits[i].max, limits[i].max };

		if (setrlimit(limits[i].resource, &limit) < 0) {
			error_add(err, "ferry-tls cannot limit itself: %s", strerror(errno));
			return -errno;
		}
	}
	return 0;
}

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
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };
	int ret = tls_limit(tls_rlimits, ARRAY_SIZE(tls_rlimits), err);

	if (ret < 0)
		return ret;
	tls_leave_root();
	if (syscall(SYS_capset, &header, none) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) {
		ret = -errno;
		error_add(err, "ferry-tls cannot give up its rights: %s", strerror(-ret));
	}
	return ret;
}

int tls_confine_for_stranger(struct error *err)
{
	return tls_limit(tls_stranger_rlimits, ARRAY_SIZE(tls_stranger_rlimits), err);
}
