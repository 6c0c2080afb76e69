/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors that Ferry was started with: see the header. */
#define _GNU_SOURCE
#include "vmm/descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/log.h"

#define DESCRIPTOR_PREFIX "fd:"

/* The first that service managers pass. */
#define DESCRIPTOR_FIRST 3

/* Digits of a number: the kernel's own bound has seven. */
#define DESCRIPTOR_MAX_DIGITS 7u

bool descriptor_is(const char *text)
{
	return strncmp(text, DESCRIPTOR_PREFIX, strlen(DESCRIPTOR_PREFIX)) == 0;
}

/* Returns the number that @text is, or -EINVAL. */
static int descriptor_number(const char *text)
{
	size_t len = strlen(text);

	if (len < 1 || len > DESCRIPTOR_MAX_DIGITS || strspn(text, "0123456789") != len)
		return -EINVAL;
	return atoi(text);
}

/* Descriptors that a service manager passes. */

static int descriptors_mark(const struct descriptors *d, struct error *err)
{
	for (unsigned int i = 0; i < d->n_passed; i++) {
		int fd = DESCRIPTOR_FIRST + (int)i;

		if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
			error_add(err, "LISTEN_FDS says %u descriptors, but descriptor %d is not open",
				  d->n_passed, fd);
			return -EINVAL;
		}
	}
	return 0;
}

static int descriptors_read(struct descriptors *d, const char *pid, const char *fds, const char *names,
			    struct error *err)
{
	int n;

	/* Another process is meant: one that started this one, and left its environment as it was. */
	if (!pid || !fds || descriptor_number(pid) != getpid())
		return 0;
	n = descriptor_number(fds);
	if (n < 0 || n > (int)DESCRIPTORS_MAX_PASSED) {
		error_add(err, "LISTEN_FDS is \"%.16s\": 0 to %u descriptors are possible", fds,
			  DESCRIPTORS_MAX_PASSED);
		return -EINVAL;
	}
	if (names && strlen(names) > DESCRIPTORS_MAX_NAMES) {
		error_add(err, "LISTEN_FDNAMES has more than %u characters", DESCRIPTORS_MAX_NAMES);
		return -EINVAL;
	}
	d->n_passed = (unsigned int)n;
	d->names = strdup(names ? names : "");
	if (!d->names) {
		error_add(err, "out of memory for the names of descriptors");
		return -ENOMEM;
	}
	return descriptors_mark(d, err);
}

int descriptors_init(struct descriptors *d, struct error *err)
{
	static const char *const variables[] = { "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES",
						 "LISTEN_PIDFDID" };
	int ret;

	*d = (struct descriptors){ 0 };
	ret = descriptors_read(d, getenv(variables[0]), getenv(variables[1]), getenv(variables[2]), err);
	for (unsigned int i = 0; i < ARRAY_SIZE(variables); i++)
		unsetenv(variables[i]);
	return ret;
}

void descriptors_release(struct descriptors *d)
{
	free(d->names);
	*d = (struct descriptors){ 0 };
}

/* Finds the descriptor of a name that only one has. */
static int descriptors_find(const struct descriptors *d, const char *option, const char *name,
			    struct error *err)
{
	const char *p = d->names;
	int found = -1;

	for (unsigned int i = 0; p && i < d->n_passed; i++) {
		size_t len = strcspn(p, ":");

		if (len > 0 && len == strlen(name) && memcmp(p, name, len) == 0) {
			if (found >= 0) {
				error_add(err,
					  "%s: descriptors %d and %d are both called \"%s\": give a number",
					  option, found, DESCRIPTOR_FIRST + (int)i, name);
				return -EINVAL;
			}
			found = DESCRIPTOR_FIRST + (int)i;
		}
		p = p[len] ? p + len + 1 : NULL;
	}
	if (found >= 0)
		return found;
	if (d->n_passed > 0)
		error_add(err,
			  "%s: fd:%.64s: no descriptor of that name was passed; LISTEN_FDNAMES is \"%.128s\"",
			  option, name, d->names);
	else
		error_add(err,
			  "%s: fd:%.64s: the number of a descriptor is needed, or the name of one that a "
			  "service "
			  "manager passes (LISTEN_FDNAMES)",
			  option, name);
	return -EINVAL;
}

/* Descriptors that the command line names. */

static int descriptor_check_listener(int fd)
{
	int domain = 0, type = 0, listens = 0;
	socklen_t len = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0)
		return -errno;
	return domain == AF_UNIX && type == SOCK_STREAM && listens ? 0 : -EINVAL;
}

/* Returns what is wrong with the descriptor, or NULL. */
static const char *descriptor_fault(int fd, enum descriptor_use use)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return "not open: whoever starts Ferry opens it";
	if (flags & O_PATH)
		return "open as a mere path (O_PATH)";
	if (use == DESCRIPTOR_LISTEN)
		return descriptor_check_listener(fd) < 0 ? "not a unix stream socket that listens" : NULL;
	if ((flags & O_ACCMODE) == O_WRONLY)
		return "open for writing alone";
	if (use == DESCRIPTOR_READ)
		return NULL;
	if ((flags & O_ACCMODE) != O_RDWR)
		return "open for reading alone";
	/* Linux appends, wherever a write is to go. */
	return flags & O_APPEND ? "open for appending" : NULL;
}

/* Whether two descriptors are of one open file, as far as the kernel tells: some know numbers alone. */
static bool descriptor_same(int a, int b)
{
	return a == b || syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, a, b) == 0;
}

int descriptors_claim(struct descriptors *d, const char *option, const char *name, enum descriptor_use use,
		      struct error *err)
{
	int fd = descriptor_number(name);
	const char *fault;

	if (fd < 0)
		fd = descriptors_find(d, option, name, err);
	if (fd < 0)
		return fd;
	fault = fd <= STDERR_FILENO ? "a standard stream: give one beyond stderr" : descriptor_fault(fd, use);
	for (unsigned int i = 0; !fault && i < d->n_claimed; i++) {
		if (descriptor_same(d->claimed[i].fd, fd))
			fault = "given twice: each serves one";
	}
	if (!fault && d->n_claimed == DESCRIPTORS_MAX)
		fault = "one too many";
	if (fault) {
		error_add(err, "%s: descriptor %d is %s", option, fd, fault);
		return -EINVAL;
	}
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	d->claimed[d->n_claimed++].fd = fd;
	return fd;
}

int descriptors_claim_text(struct descriptors *d, const char *option, const char **text,
			   enum descriptor_use use, struct error *err)
{
	char *claimed;
	int fd;

	if (!*text || !descriptor_is(*text))
		return 0;
	fd = descriptors_claim(d, option, *text + strlen(DESCRIPTOR_PREFIX), use, err);
	if (fd < 0)
		return fd;
	claimed = d->claimed[d->n_claimed - 1].text;
	snprintf(claimed, sizeof(d->claimed[0].text), DESCRIPTOR_PREFIX "%d", fd);
	*text = claimed;
	return 0;
}

int descriptor_take(const char *path, int flags)
{
	return descriptor_is(path) ? atoi(path + strlen(DESCRIPTOR_PREFIX)) : open(path, flags);
}

int descriptor_open(const char *path, int flags)
{
	return descriptor_is(path) ? fcntl(descriptor_take(path, flags), F_DUPFD_CLOEXEC, 0)
				   : open(path, flags);
}
