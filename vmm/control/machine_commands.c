/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "list", "pause", "stop" and "reset": VMs as machines. */
#define _GNU_SOURCE
#include "vmm/control/machine_commands.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/config.h"
#include "vmm/control/commands.h"
#include "vmm/control/interface.h"
#include "vmm/control/json.h"
#include "vmm/control/names.h"
#include "vmm/text.h"

/* Time that a guest is given to shut down, where --timeout does not say another: as long as a service manager
 * gives a service. */
#define CLIENT_STOP_S 90u

/* Time for a process to end, once it has been told to: longer than the guard lets it take. */
#define CLIENT_END_MS 20000

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

/* Lists the VM @name. Returns 1, 0 if there is none, or -errno if it could not be asked. */
static int client_list_vm(const struct client_options *o, const char *name)
{
	struct error err = { 0 };
	struct control_client c;
	const char *object;
	int ret = control_connect(&c, o->runtime_dir, name, &err);

	/* The socket of a process that was killed, or that has just ended. */
	if (ret == -ECONNREFUSED || ret == -ENOENT)
		return 0;
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
	return ret < 0 ? ret : 1;
}

/* A list that is being printed. */
struct client_list {
	const struct client_options *o;
	int status;
	bool found[CLIENT_MAX_NAMES]; /* of what was asked for */
};

static void client_list_name(const char *name, void *opaque)
{
	struct client_list *l = opaque;
	bool wanted = l->o->n_names == 0;
	int ret;

	for (unsigned int i = 0; i < l->o->n_names; i++)
		wanted |= names_match(l->o->names[i], name);
	ret = wanted ? client_list_vm(l->o, name) : 0;
	if (ret < 0)
		l->status = 1;
	for (unsigned int i = 0; ret != 0 && i < l->o->n_names; i++)
		l->found[i] |= names_match(l->o->names[i], name);
}

static int client_list_all(const struct client_options *o, struct error *err)
{
	struct client_list l = { .o = o };

	if (!client_has(o, OPTION_JSON))
		printf("%-24s %-10s %5s %10s %8s\n", "NAME", "STATE", "VCPUS", "MEMORY", "PID");
	if (names_each(o->runtime_dir, client_list_name, &l, err) < 0)
		return client_failed(err);
	for (unsigned int i = 0; i < o->n_names; i++) {
		if (l.found[i])
			continue;
		log_error("no VM in %s is called as in \"%s\"", o->runtime_dir, o->names[i]);
		l.status = 1;
	}
	return client_printed(l.status);
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

/* A VM that is to end. */
struct client_ending {
	int process_fd; /* -1: it is not known */
	int fd;         /* the connection to it; -1: it will not end */
};

/* Tells the VM o->name to end. */
static int client_begin_stop(const struct client_options *o, struct client_ending *e, struct error *err)
{
	const char *method =
		client_has(o, OPTION_FORCE) ? MACHINE_METHOD("Terminate") : MACHINE_METHOD("PowerOff");
	struct control_client c;
	const char *object;
	int ret = control_connect(&c, o->runtime_dir, o->name, err);

	*e = (struct client_ending){ .process_fd = -1, .fd = -1 };
	if (ret < 0)
		return ret;
	/* Before the call: its answer says that it was the VM's. */
	e->process_fd = client_open_process(&c);
	ret = client_ask(&c, method, "{}", &object, err);
	if (ret == 0) {
		e->fd = c.fd;
		c.fd = -1;
	}
	control_disconnect(&c);
	return ret;
}

/* Waits for the end of the VM: of its process, which has disks and NICs to its end, or else of the connection
 * to it. Returns 0, or -ETIMEDOUT. */
static int client_await_end(const struct client_ending *e, uint64_t end_ns, struct error *err)
{
	struct pollfd p = { .fd = e->process_fd < 0 ? e->fd : e->process_fd, .events = POLLIN };

	do {
		if (poll(&p, 1, ms_until(end_ns)) > 0)
			return 0;
	} while (now_ns() < end_ns);
	error_add(err, "the VM has not ended in the time that it was given");
	return -ETIMEDOUT;
}

/* All are told before one is waited for, and have the same time. */
int client_stop(int argc, char **argv)
{
	struct client_ending vms[CLIENT_MAX_NAMES];
	struct client_options o;
	int status = client_several(&o, COMMAND_STOP, argc, argv);
	uint64_t given_ms = CLIENT_END_MS, end_ns;

	if (status)
		return status;
	for (unsigned int i = 0; i < o.n_names; i++) {
		struct error err = { 0 };

		o.name = o.names[i];
		if (client_begin_stop(&o, &vms[i], &err) < 0)
			status = client_failed_of(&o, o.name, &err);
	}
	if (!client_has(&o, OPTION_FORCE))
		given_ms = (client_has(&o, OPTION_TIMEOUT) ? o.timeout_s : CLIENT_STOP_S) * UINT64_C(1000);
	end_ns = now_ns() + given_ms * UINT64_C(1000000);
	for (unsigned int i = 0; i < o.n_names; i++) {
		struct error err = { 0 };

		if (vms[i].fd >= 0 && client_await_end(&vms[i], end_ns, &err) < 0)
			status = client_failed_of(&o, o.names[i], &err);
		if (vms[i].process_fd >= 0)
			close(vms[i].process_fd);
		if (vms[i].fd >= 0)
			close(vms[i].fd);
	}
	return status;
}
