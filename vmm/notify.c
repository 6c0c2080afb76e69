/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Words to the service manager. */
#define _GNU_SOURCE
#include "vmm/notify.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Fills in the address; returns its length, 0 for a name that cannot be. */
static socklen_t notify_address(const char *name, struct sockaddr_un *addr)
{
	size_t len = strlen(name);

	*addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if ((name[0] != '/' && name[0] != '@') || len < 2 || len >= sizeof(addr->sun_path))
		return 0;
	memcpy(addr->sun_path, name, len);
	if (name[0] == '@')
		addr->sun_path[0] = '\0';
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

int notify_ready(struct error *err)
{
	static const char ready[] = "READY=1";
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un addr;
	socklen_t len;
	int fd, ret = 0;

	if (!name || !*name)
		return 0;
	len = notify_address(name, &addr);
	if (len == 0) {
		error_add(err, "NOTIFY_SOCKET is \"%s\", which is no socket's name", name);
		return -EINVAL;
	}
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || sendto(fd, ready, sizeof(ready) - 1, MSG_DONTWAIT | MSG_NOSIGNAL,
			     (struct sockaddr *)&addr, len) < 0) {
		ret = -errno;
		error_add(err, "the service manager at %s cannot be told that Ferry is ready: %s", name,
			  strerror(-ret));
	}
	if (fd >= 0)
		close(fd);
	return ret;
}
