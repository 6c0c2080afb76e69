/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files of listening unix sockets, and who is at the other end. */
#define _GNU_SOURCE
#include "vmm/socket_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Looks whether a process holds the socket: 0, -EADDRINUSE, or another -errno where that cannot be told. A
 * datagram socket cannot be connected to a stream socket, and the way in which it fails tells whether anybody
 * has that, listening or not; unlike a connection this is not noticed there.
 */
static int socket_file_probe(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), ret;

	if (fd < 0)
		return -errno;
	ret = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 ? -errno : 0;
	close(fd);
	switch (ret) {
	case -ECONNREFUSED:
	case -ENOENT:
		return 0;
	case 0:
	case -EPROTOTYPE:
	/* The other socket is a datagram socket that is connected to another one. */
	case -EPERM:
		return -EADDRINUSE;
	default:
		return ret;
	}
}

/* Removes the socket that a dead process of Ferry's own user has left. */
static int socket_file_clear(const struct socket_file *file, const struct sockaddr_un *addr)
{
	struct stat st, now;
	int ret;

	if (fstatat(file->dir_fd, file->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	if (st.st_uid != geteuid())
		return -EPERM;
	ret = socket_file_probe(addr);
	if (ret < 0)
		return ret;
	/* Only the file that was examined is removed: another process may have replaced it meanwhile. */
	if (fstatat(file->dir_fd, file->name, &now, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (now.st_dev != st.st_dev || now.st_ino != st.st_ino)
		return -EADDRINUSE;
	return unlinkat(file->dir_fd, file->name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

/* Binds, with a file of @mode. */
static int socket_file_make(int fd, const struct sockaddr_un *addr, mode_t mode)
{
	mode_t mask = 0;
	int ret;

	/* The file gets the socket's mode, so no moment is left in which others could connect; and without
	 * what the process withholds from files, which is of no account for those of Ferry's: they all say
	 * their mode. */
	if (fchmod(fd, mode) < 0)
		return -errno;
	if (mode & 077)
		mask = umask(0);
	ret = bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 ? -errno : 0;
	if (mode & 077)
		umask(mask);
	return ret;
}

int socket_file_bind(struct socket_file *file, int fd, int dir_fd, const char *path, mode_t mode)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *slash = strrchr(path, '/');
	struct socket_file made = { .dir_fd = dir_fd };
	struct stat st;
	int ret;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	strcpy(made.name, dir_fd != AT_FDCWD && slash ? slash + 1 : path);
	ret = socket_file_clear(&made, &addr);
	if (ret < 0)
		return ret;
	ret = socket_file_make(fd, &addr, mode);
	if (ret < 0)
		return ret;
	/* The name was free, so this file is Ferry's, unless @path leads elsewhere. */
	if (fstatat(dir_fd, made.name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? -ESTALE : -errno;
	made.dev = st.st_dev;
	made.ino = st.st_ino;
	*file = made;
	return 0;
}

const char *socket_file_error(int ret)
{
	switch (ret) {
	case -EADDRINUSE:
		return "it is in use by another process";
	case -EEXIST:
		return "the file exists and is not a socket";
	case -EPERM:
		return "there is a socket of another user; remove it, or choose another path";
	case -ESTALE:
		return "its directory was replaced meanwhile";
	default:
		return strerror(-ret);
	}
}

void socket_file_remove(struct socket_file *file)
{
	struct stat st;

	if (file->name[0] && fstatat(file->dir_fd, file->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_dev == file->dev && st.st_ino == file->ino)
		unlinkat(file->dir_fd, file->name, 0);
}

int socket_file_check_peer(int fd, uid_t *uid)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return -errno;
	*uid = peer.uid;
	return peer.uid == geteuid() || peer.uid == 0 ? 0 : -EPERM;
}
