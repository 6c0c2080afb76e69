/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The directory of the VMs' folders: whose it and they may be, and its lock. */
#define _GNU_SOURCE
#include "vmm/runtime_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The lock's file has a name that no VM can have. */
#define RUNTIME_DIR_LOCK ".lock"

/* The time that is waited for the lock: a process that has it lets go of it after a few system calls, unless
 * it was stopped, or the file system was. */
#define RUNTIME_DIR_LOCK_MS 5000
#define RUNTIME_DIR_STEP_MS 20

static int runtime_dir_check(int fd, const char *path, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0) {
		error_add(err, "cannot examine the runtime directory %s: %s", path, strerror(errno));
		return -errno;
	}
	if (st.st_uid != geteuid() && st.st_uid != 0) {
		error_add(err,
			  "the runtime directory %s belongs to the user with id %u, who could put a "
			  "socket of their own in a VM's place: choose a directory of your own with "
			  "--runtime-dir",
			  path, (unsigned int)st.st_uid);
		return -EPERM;
	}
	if (st.st_mode & S_ISVTX && st.st_mode & 022) {
		error_add(err,
			  "the runtime directory %s is everybody's (mode %04o), who could take a VM's "
			  "name: choose a directory of your own with --runtime-dir, such as %s/ferry",
			  path, (unsigned int)st.st_mode & 07777, path);
		return -EPERM;
	}
	if (st.st_mode & 022) {
		error_add(err,
			  "others can write to the runtime directory %s (mode %04o), and could put a "
			  "socket of their own in a VM's place: \"chmod go-w %s\", or choose another "
			  "with --runtime-dir",
			  path, (unsigned int)st.st_mode & 07777, path);
		return -EPERM;
	}
	return 0;
}

/* Opens @name in the directory @at with @flags, or makes it; @path is for messages. */
static int runtime_dir_open_at(int at, const char *name, const char *path, int flags, int *fd,
			       struct error *err)
{
	int ret;

	if (mkdirat(at, name, 0700) < 0 && errno != EEXIST) {
		error_add(err,
			  "cannot create the runtime directory %s: %s; create it, or choose another with "
			  "--runtime-dir",
			  path, strerror(errno));
		return -errno;
	}
	*fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags);
	if (*fd < 0) {
		error_add(err, "cannot open the runtime directory %s: %s; choose another with --runtime-dir",
			  path, strerror(errno));
		return -errno;
	}
	ret = runtime_dir_check(*fd, path, err);
	if (ret < 0) {
		close(*fd);
		*fd = -1;
	}
	return ret;
}

int runtime_dir_open(const char *path, int *fd, struct error *err)
{
	return runtime_dir_open_at(AT_FDCWD, path, path, 0, fd, err);
}

int runtime_dir_enter(int dir_fd, const char *name, const char *path, int *fd, struct error *err)
{
	return runtime_dir_open_at(dir_fd, name, path, O_NOFOLLOW, fd, err);
}

/* Tries to take the lock. 0: this process has it. -EAGAIN: somebody else has it, or whoever had it has
 * removed the file. */
static int runtime_dir_try_lock(int fd, int *lock_fd)
{
	int lock = openat(fd, RUNTIME_DIR_LOCK, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	struct stat st, named;
	int ret = 0;

	if (lock < 0)
		return -errno;
	if (flock(lock, LOCK_EX | LOCK_NB) < 0)
		ret = errno == EINTR ? -EAGAIN : -errno;
	else if (fstat(lock, &st) < 0)
		ret = -errno;
	else if (fstatat(fd, RUNTIME_DIR_LOCK, &named, AT_SYMLINK_NOFOLLOW) < 0)
		ret = errno == ENOENT ? -EAGAIN : -errno;
	else if (st.st_dev != named.st_dev || st.st_ino != named.st_ino)
		ret = -EAGAIN;
	if (ret < 0)
		close(lock);
	else
		*lock_fd = lock;
	return ret;
}

int runtime_dir_lock(int fd, const char *path, int cancel_fd, int *lock_fd, struct error *err)
{
	struct pollfd cancel = { .fd = cancel_fd, .events = POLLIN };
	uint64_t end_ns = end_of(RUNTIME_DIR_LOCK_MS);
	int ret;

	while ((ret = runtime_dir_try_lock(fd, lock_fd)) == -EAGAIN && now_ns() < end_ns) {
		if (poll(&cancel, 1, RUNTIME_DIR_STEP_MS) > 0) {
			error_add(err, "cancelled while waiting for the lock of the runtime directory %s",
				  path);
			return -ECANCELED;
		}
	}
	if (ret == -EAGAIN)
		error_add(
			err,
			"another process holds the lock of the runtime directory %s for more than %u s: end "
			"the one that \"fuser %s/" RUNTIME_DIR_LOCK "\" shows, or choose another directory "
			"with --runtime-dir",
			path, RUNTIME_DIR_LOCK_MS / 1000, path);
	else if (ret < 0)
		error_add(err,
			  "cannot lock the runtime directory %s by the file " RUNTIME_DIR_LOCK " in it: %s%s",
			  path, strerror(-ret),
			  ret == -EACCES ? "; choose a directory of your own with --runtime-dir" : "");
	return ret;
}

void runtime_dir_unlock(int fd, int lock_fd)
{
	unlinkat(fd, RUNTIME_DIR_LOCK, 0);
	close(lock_fd);
}
