/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "list", "pause", "stop" and "reset": VMs as machines. */
#define _GNU_SOURCE
#include "vmm/control/machine_commands.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/config.h"
#include "vmm/config_text.h"
#include "vmm/control/commands.h"
#include "vmm/control/interface.h"
#include "vmm/control/json.h"
#include "vmm/text.h"

/* Time that a guest is given to shut down, where --timeout does not say another: as long as a service manager
 * gives a service. */
#define CLIENT_STOP_S 90u

/* Time for a process to end, once it has been told to: longer than the guard lets it take. */
#define CLIENT_END_MS 20000

#define CLIENT_SOCKET_SUFFIX ".sock"

/* Prints a VM's line of the list. */
static void client_print_vm(const char *name, const char *object)
{
	char state[32] = "?", cpus[24] = "-", memory[24] = "-", pid[24] = "-";
	uint64_t n;

	json_object_string(object, "state", state, sizeof(state));
	text_clean(state, strlen(state));
	if (json_object_number(object, "cpus", &n))
		snprintf(cpus, sizeof(cpus), "%llu", (unsigned long long)n);
	if (json_object_number(object, "memory", &n))
		snprintf(memory, sizeof(memory), "%lluM", (unsigned long long)(n >> 20));
	if (json_object_number(object, "pid", &n))
		snprintf(pid, sizeof(pid), "%llu", (unsigned long long)n);
	printf("%-24s %-10s %5s %10s %8s\n", name, state, cpus, memory, pid);
}

/* Lists the VM @name. Returns whether it is listed, or is none. */
static bool client_list_vm(const struct client_options *o, const char *name)
{
	struct error err = { 0 };
	struct control_client c;
	const char *object;
	int ret = control_connect(&c, o->runtime_dir, name, &err);

	/* The socket of a process that was killed, or that has just ended. */
	if (ret == -ECONNREFUSED || ret == -ENOENT)
		return true;
	if (ret == 0) {
		ret = client_ask(&c, CLIENT_METHOD("Describe"), "{}", &object, &err);
		if (ret == 0 && client_has(o, OPTION_JSON))
			client_print_json(object);
		else if (ret == 0)
			client_print_vm(name, object);
		control_disconnect(&c);
	}
	if (ret < 0)
		log_warn("%s: %s", name, err.text);
	return ret == 0;
}

/* Cuts the suffix of a control socket off @file. False if it is none. */
static bool client_socket_name(char *file)
{
	size_t len = strlen(file), suffix = strlen(CLIENT_SOCKET_SUFFIX);

	if (len <= suffix || strcmp(file + len - suffix, CLIENT_SOCKET_SUFFIX) != 0)
		return false;
	file[len - suffix] = '\0';
	return config_name_valid(file);
}

static int client_list_all(const struct client_options *o, struct error *err)
{
	struct dirent **files = NULL;
	int n = scandir(o->runtime_dir, &files, NULL, alphasort), status = 0;

	/* No Ferry has ever run there. */
	if (n < 0 && errno == ENOENT)
		n = 0;
	if (n < 0) {
		error_add(err, "cannot read %s: %s", o->runtime_dir, strerror(errno));
		return client_failed(err);
	}
	if (!client_has(o, OPTION_JSON))
		printf("%-24s %-10s %5s %10s %8s\n", "NAME", "STATE", "VCPUS", "MEMORY", "PID");
	for (int i = 0; i < n; i++) {
		if (client_socket_name(files[i]->d_name) && !client_list_vm(o, files[i]->d_name))
			status = 1;
		free(files[i]);
	}
	free(files);
	return client_printed(status);
}

int client_list(int argc, char **argv)
{
	struct error err = { 0 };
	struct client_options o;

	if (client_parse(&o, COMMAND_LIST, argc, argv, &err) < 0)
		return client_usage("list", &err);
	return client_list_all(&o, &err);
}

int client_pause(int argc, char **argv)
{
	return client_do(COMMAND_PAUSE, MACHINE_METHOD("Pause"), argc, argv);
}

int client_reset(int argc, char **argv)
{
	return client_do(COMMAND_RESET, MACHINE_METHOD("Reboot"), argc, argv);
}

/* Opens the VM's process, whose end is its being readable; -1 where the kernel does not say which it is. */
static int client_open_process(const struct control_client *c)
{
	struct ucred peer = { 0 };
	socklen_t len = sizeof(peer);

	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || peer.pid <= 0)
		return -1;
	return (int)syscall(SYS_pidfd_open, peer.pid, 0);
}

/* Waits for the end of the VM: of its process, which has disks and NICs to its end, or else of the connection
 * to it. Returns 0, or -ETIMEDOUT. */
static int client_await_end(const struct control_client *c, int process_fd, uint64_t end_ns,
			    struct error *err)
{
	struct pollfd p = { .fd = process_fd < 0 ? c->fd : process_fd, .events = POLLIN };

	do {
		if (poll(&p, 1, ms_until(end_ns)) > 0)
			return 0;
	} while (now_ns() < end_ns);
	error_add(err, "the VM has not ended in the time that it was given");
	return -ETIMEDOUT;
}

static int client_do_stop(const struct client_options *o, struct error *err)
{
	const bool force = client_has(o, OPTION_FORCE);
	uint64_t given_s = client_has(o, OPTION_TIMEOUT) ? o->timeout_s : CLIENT_STOP_S;
	uint64_t given_ns = force ? CLIENT_END_MS * UINT64_C(1000000) : given_s * UINT64_C(1000000000);
	struct control_client c;
	const char *object;
	int ret = control_connect(&c, o->runtime_dir, o->name, err), process_fd;

	if (ret < 0)
		return ret;
	/* Before the call: its answer says that it was the VM's. */
	process_fd = client_open_process(&c);
	ret = client_ask(&c, force ? MACHINE_METHOD("Terminate") : MACHINE_METHOD("PowerOff"), "{}", &object,
			 err);
	if (ret == 0)
		ret = client_await_end(&c, process_fd, now_ns() + given_ns, err);
	if (process_fd >= 0)
		close(process_fd);
	control_disconnect(&c);
	return ret;
}

int client_stop(int argc, char **argv)
{
	struct error err = { 0 };
	struct client_options o;

	if (client_parse(&o, COMMAND_STOP, argc, argv, &err) < 0)
		return client_usage("stop", &err);
	return client_do_stop(&o, &err) < 0 ? client_failed(&err) : 0;
}
