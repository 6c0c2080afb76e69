/* SPDX-License-Identifier: GPL-2.0-or-later */
/* No capabilities, no privileges, no files, no children. */
#define _GNU_SOURCE
#include "vmm/tls/confine.h"

#include <errno.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
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

/* System calls for a handshake, for the kernel's TLS, for a pump, and for the allocator between them; in the
 * last two lines harmless ones that the end of a process needs, with the sanitizers of tests. */
static const uint32_t tls_calls[] = {
	SYS_recvfrom,    SYS_sendto,       SYS_recvmsg,        SYS_sendmsg,    SYS_poll,   SYS_shutdown,
	SYS_setsockopt,  SYS_close,        SYS_dup2,           SYS_prctl,      SYS_write,  SYS_clock_gettime,
	SYS_getrandom,   SYS_brk,          SYS_mmap,           SYS_munmap,     SYS_mremap, SYS_madvise,
	SYS_futex,       SYS_rt_sigreturn, SYS_exit,           SYS_exit_group, SYS_getpid, SYS_gettid,
	SYS_sigaltstack, SYS_sched_yield,  SYS_rt_sigprocmask, SYS_nanosleep,
};

#define TLS_N_CALLS ARRAY_SIZE(tls_calls)

/* Refuses all other system calls from here on, with EPERM: a library's attempt at one is not worth a life. */
static int tls_filter_calls(struct error *err)
{
	struct sock_filter code[TLS_N_CALLS + 6] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	};
	const struct sock_fprog program = { .len = ARRAY_SIZE(code), .filter = code };

	for (unsigned int i = 0; i < TLS_N_CALLS; i++)
		code[4 + i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, tls_calls[i],
							   (uint8_t)(TLS_N_CALLS - i), 0);
	code[4 + TLS_N_CALLS] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	code[5 + TLS_N_CALLS] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0)
		return 0;
	error_add(err, "ferry-tls cannot limit its system calls: %s", strerror(errno));
	return -errno;
}

int tls_confine_for_stranger(struct error *err)
{
	int ret = tls_limit(tls_stranger_rlimits, ARRAY_SIZE(tls_stranger_rlimits), err);

	return ret < 0 ? ret : tls_filter_calls(err);
}
