/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The user, and the folder of control sockets: looked at, never made. */
#define _GNU_SOURCE
#include "vmm/host/host_rights.h"

#include <stdio.h>
#include <unistd.h>

#include "vmm/runtime_dir.h"

/* Whether the folder could be made: its parent is there, and can be written. */
static bool host_rights_can_make(const char *path)
{
	char parent[HOST_PATH_MAX];
	char *slash;

	if (snprintf(parent, sizeof(parent), "%s", path) >= (int)sizeof(parent))
		return false;
	slash = strrchr(parent, '/');
	if (!slash)
		return access(".", W_OK | X_OK) == 0;
	slash[slash == parent] = '\0';
	return access(parent, W_OK | X_OK) == 0;
}

static void host_rights_check_dir(struct host_report *r, const char *path)
{
	struct error err = { 0 };
	int fd;

	if (access(path, F_OK) < 0) {
		if (host_rights_can_make(path))
			host_report_add(
				r, HOST_OK, "runtime-dir", "",
				"%s is made when a guest is started: it will have the control sockets", path);
		else
			host_report_add(r, HOST_FAIL, "runtime-dir",
					"have root make it, and give it to this user, or choose another with "
					"--runtime-dir",
					"%s is not there, and this user cannot make it", path);
	} else if (runtime_dir_open(path, &fd, &err) < 0) {
		host_report_add(r, HOST_FAIL, "runtime-dir", "", "%s", err.text);
	} else {
		close(fd);
		if (access(path, W_OK | X_OK) == 0)
			host_report_add(r, HOST_OK, "runtime-dir", "", "%s has the control sockets", path);
		else
			host_report_add(r, HOST_FAIL, "runtime-dir",
					"choose a directory of your own with --runtime-dir",
					"this user cannot write to %s, where the control sockets are", path);
	}
}

void host_rights_check(struct host_report *r, const struct host_look *look)
{
	if (geteuid() == 0)
		host_report_add(r, HOST_INFO, "user", "", "root");
	else
		host_report_add(
			r, HOST_INFO, "user", "",
			"the user with id %u, who needs rights to /dev/kvm and to the nodes of vDPA devices",
			(unsigned int)geteuid());
	host_rights_check_dir(r, look->wish->runtime_dir);
}
