/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine whose KVM is as the environment's FAKE_KVM names it: takes the place of open() and ioctl() in the
 * program that it is linked into.
 */
#define _GNU_SOURCE
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A row names the failure of opening /dev/kvm, or of its @request. With @error 0 another file is opened in
 * its place. */
static const struct fake_kvm {
	const char *name;
	unsigned long request;
	int error;
} fake_kvms[] = {
	{ "absent", 0, ENOENT },
	{ "without-hardware", 0, ENODEV },
	{ "denied", 0, EACCES },
	{ "forbidden", 0, EPERM },
	{ "another-device", 0, 0 },
	{ "without-capabilities", KVM_CHECK_EXTENSION, EINVAL },
	{ "busy", KVM_CREATE_VM, EBUSY },
	{ "without-vcpus", KVM_CREATE_VCPU, EINVAL },
	{ "without-a-run", KVM_RUN, EINVAL },
};

static const struct fake_kvm *fake_kvm(void)
{
	const char *name = getenv("FAKE_KVM");

	for (unsigned int i = 0; name && i < sizeof(fake_kvms) / sizeof(fake_kvms[0]); i++) {
		if (strcmp(fake_kvms[i].name, name) == 0)
			return &fake_kvms[i];
	}
	abort();
}

int open(const char *path, int flags, ...)
{
	const struct fake_kvm *kvm = strcmp(path, "/dev/kvm") == 0 ? fake_kvm() : NULL;
	va_list args;
	int mode;

	va_start(args, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, int) : 0;
	va_end(args);
	if (kvm && kvm->request == 0 && kvm->error == 0)
		path = "/dev/null";
	if (kvm && kvm->request == 0 && kvm->error != 0) {
		errno = kvm->error;
		return -1;
	}
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int ioctl(int fd, unsigned long request, ...)
{
	const struct fake_kvm *kvm = fake_kvm();
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (kvm->request == request) {
		errno = kvm->error;
		return -1;
	}
	return (int)syscall(SYS_ioctl, fd, request, arg);
}
