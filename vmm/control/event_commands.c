/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "events": one call to each VM, whose replies are the events. */
#include "vmm/control/event_commands.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmm/control/commands.h"
#include "vmm/control/follow.h"
#include "vmm/control/interface.h"
#include "vmm/control/json.h"
#include "vmm/text.h"

/* A VM that is listened to; its client's fd is -1 when it has ended. */
struct events_vm {
	const char *name;
	struct control_client c;
};

/* Prints an event that the VM tells as @object: {"event": ..., "data": ...}. */
static void events_print(const struct client_options *o, const char *name, const char *object)
{
	char when[TEXT_TIME_MAX], event[64] = "?", data[CONTROL_MESSAGE_MAX] = "";

	text_time(when, realtime_ns());
	if (client_has(o, OPTION_JSON)) {
		printf("{\"time\":\"%s\",\"name\":\"%s\"", when, name);
		client_print_behind(object);
		return;
	}
	json_object_string(object, "event", event, sizeof(event));
	text_clean(event, strlen(event));
	printf("%s %-24s %s", when, name, event);
	if (follow_object(object, "data", data, sizeof(data))) {
		putchar(' ');
		client_print_json(data);
	} else {
		putchar('\n');
	}
	fflush(stdout);
}

static int events_subscribe(struct events_vm *vm, const struct client_options *o, struct error *err)
{
	int ret = control_connect(&vm->c, o->runtime_dir, vm->name, err);

	if (ret == 0)
		ret = control_send(&vm->c, MACHINE_METHOD("SubscribeEvents"), "{}", CONTROL_PROGRESS, -1,
				   err);
	if (ret < 0)
		control_disconnect(&vm->c);
	return ret;
}

/* Prints what has come of @vm. Returns 0, or -errno, once it will tell no more. */
static int events_take(struct events_vm *vm, const struct client_options *o, struct error *err)
{
	const char *object;
	int ret;

	while ((ret = control_receive_until(&vm->c, 0, &object, err)) == 1)
		events_print(o, vm->name, object);
	if (ret == -EAGAIN)
		return 0;
	if (ret == 0)
		events_print(o, vm->name, object);
	control_disconnect(&vm->c);
	return ret;
}

/* Listens to all that there is to be heard. Returns the exit code. */
static int events_listen_all(struct events_vm *vms, const struct client_options *o)
{
	struct pollfd fds[CLIENT_MAX_NAMES];
	unsigned int n_left = 0;
	int status = 0;

	for (unsigned int i = 0; i < o->n_names; i++) {
		fds[i] = (struct pollfd){ .fd = vms[i].c.fd, .events = POLLIN };
		n_left += vms[i].c.fd >= 0;
	}
	while (n_left > 0 && !ferror(stdout)) {
		if (poll(fds, o->n_names, -1) < 0)
			continue;
		for (unsigned int i = 0; i < o->n_names; i++) {
			struct error err = { 0 };

			if (fds[i].fd < 0 || !fds[i].revents)
				continue;
			if (events_take(&vms[i], o, &err) < 0) {
				log_error("%s: %s", vms[i].name, err.text);
				status = 1;
			}
			n_left -= vms[i].c.fd < 0;
			fds[i].fd = vms[i].c.fd;
		}
	}
	return client_printed(status);
}

int client_events(int argc, char **argv)
{
	struct error err = { 0 };
	struct client_options o;
	struct events_vm *vms;
	int status = client_several(&o, COMMAND_EVENTS, argc, argv), heard;

	if (status)
		return status;
	vms = calloc(o.n_names, sizeof(*vms));
	if (!vms) {
		error_add(&err, "out of memory");
		return client_failed(&err);
	}
	for (unsigned int i = 0; i < o.n_names; i++) {
		struct error reason = { 0 };

		vms[i].name = o.names[i];
		if (events_subscribe(&vms[i], &o, &reason) < 0)
			status = client_failed(&reason);
	}
	heard = events_listen_all(vms, &o);
	for (unsigned int i = 0; i < o.n_names; i++)
		control_disconnect(&vms[i].c);
	free(vms);
	return status ? status : heard;
}
