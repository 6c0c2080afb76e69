/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VM as systemd's tools know a machine. */
#include "vmm/app/instance.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "vmm/control/interface.h"
#include "vmm/power.h"
#include "vmm/shortage.h"

/* Bytes of the name of an event that somebody filters by, with its NUL: longer ones are none of Ferry's. */
#define INSTANCE_EVENT_MAX 32u

static void instance_terminate(struct control_call *call, void *opaque)
{
	struct instance *in = opaque;

	log_limited(&in->log_limit, LOG_INFO, "the VM is ended, on a client's word");
	control_reply(call, "{}");
	guard_end(in->guard);
}

static void instance_power_off(struct control_call *call, void *opaque)
{
	struct instance *in = opaque;

	if (!methods_wait(in->methods, call))
		return;
	log_limited(&in->log_limit, LOG_INFO, "the guest's power button is pressed, on a client's word");
	power_press(&in->methods->vm->irqs);
	events_tell(in->events, EVENT_POWERDOWN);
	control_reply(call, "{}");
}

/* Answers with the reason why the guest cannot be paused, resumed or reset now. */
static void instance_refuse(struct control_call *call, int ret, const struct error *err)
{
	control_fail(call, ret == -EALREADY ? CLIENT_ERROR_UNKNOWN : CLIENT_ERROR_BUSY, err->text);
}

static void instance_reboot(struct control_call *call, void *opaque)
{
	struct instance *in = opaque;
	struct error err = { 0 };
	int ret;

	if (!methods_wait(in->methods, call))
		return;
	ret = job_reset(&in->methods->job, &err);
	if (ret < 0) {
		instance_refuse(call, ret, &err);
		return;
	}
	log_limited(&in->log_limit, LOG_INFO, "the guest is reset, on a client's word");
	control_reply(call, "{}");
}

static void instance_pause(struct control_call *call, void *opaque)
{
	struct instance *in = opaque;
	struct error err = { 0 };
	int ret;

	if (!methods_wait(in->methods, call))
		return;
	ret = job_pause(&in->methods->job, &err);
	if (ret < 0)
		instance_refuse(call, ret, &err);
	else
		control_reply(call, "{}");
}

/* Of a guest that runs already there is nothing to be done. */
static void instance_resume(struct control_call *call, void *opaque)
{
	struct instance *in = opaque;
	struct error err = { 0 };
	int ret;

	if (!methods_wait(in->methods, call))
		return;
	ret = job_resume(&in->methods->job, JOB_FROM_PAUSE, &err);
	if (ret < 0 && ret != -ENOENT)
		instance_refuse(call, ret, &err);
	else
		control_reply(call, "{}");
}

static void instance_describe(struct control_call *call, void *opaque)
{
	struct instance *in = opaque;
	const char *state = methods_guest_state(in->methods);
	bool running = strcmp(state, "running") == 0 || strcmp(state, "migrating") == 0;
	char text[128];

	snprintf(text, sizeof(text), "{\"running\":%s,\"status\":\"%s\"}", running ? "true" : "false", state);
	control_reply(call, text);
}

/* Reads the filter as a set of events. False if the call has been answered. */
static bool instance_filter(struct control_call *call, unsigned int *wanted)
{
	char name[INSTANCE_EVENT_MAX];

	*wanted = ~0u;
	if (!control_has(call, "filter"))
		return true;
	*wanted = 0;
	for (unsigned int i = 0;; i++) {
		int ret = control_get_item(call, "filter", i, name, sizeof(name));

		if (ret == 0)
			return true;
		if (ret == -EINVAL) {
			control_fail_parameter(call, "filter");
			return false;
		}
		for (unsigned int event = 0; ret == 1 && event < EVENT_N_EVENTS; event++) {
			if (strcmp(name, event_names[event]) == 0)
				*wanted |= 1u << event;
		}
	}
}

static void instance_tell_events(struct control_call *call, struct instance *in, struct event_listener *l,
				 unsigned int wanted)
{
	enum event event;
	char text[64];

	while (events_take(in->events, l, &event)) {
		snprintf(text, sizeof(text), "{\"event\":\"%s\"}", event_names[event]);
		if (wanted & 1u << event)
			control_progress(call, text);
	}
}

/* The last event, which is the answer, comes when the machine ends; a client that has gone does not hear it.
 */
static void instance_subscribe(struct control_call *call, void *opaque)
{
	struct instance *in = opaque;
	struct event_listener l;
	unsigned int wanted;
	char text[64];

	if (!instance_filter(call, &wanted) || !methods_stay(in->methods, call))
		return;
	if (events_listen(in->events, &l) < 0) {
		control_fail(call, CLIENT_ERROR_BUSY, "the VM is short of descriptors");
	} else {
		struct pollfd fds[] = { { .fd = l.fd, .events = POLLIN },
					{ .fd = control_call_fd(call), .events = POLLIN } };

		control_progress(call, "{\"event\":\"READY\"}");
		while (fds[1].revents == 0) {
			if (poll(fds, ARRAY_SIZE(fds), -1) > 0)
				instance_tell_events(call, in, &l, wanted);
		}
		events_forget(in->events, &l);
		snprintf(text, sizeof(text), "{\"event\":\"SHUTDOWN\",\"data\":{\"state\":\"%s\"}}",
			 strcmp(methods_guest_state(in->methods), "moved") == 0 ? "moved" : "ended");
		control_reply(call, text);
	}
	methods_stayed(in->methods);
}

static void instance_cannot(struct control_call *call, void *opaque)
{
	control_fail_with(call, MACHINE_METHOD("NotSupported"), "{}");
}

static const char *const instance_events[] = { "filter", NULL };
static const char *const instance_add[] = { "fileDescriptorIndex", "name", "config", NULL };
static const char *const instance_remove[] = { "name", NULL };
static const char *const instance_replace[] = { "fileDescriptorIndex", "name", NULL };

static const struct control_method instance_methods[] = {
	{ .name = "Terminate", .fn = instance_terminate },
	{ .name = "PowerOff", .fn = instance_power_off },
	{ .name = "Reboot", .fn = instance_reboot },
	{ .name = "Pause", .fn = instance_pause },
	{ .name = "Resume", .fn = instance_resume },
	{ .name = "Describe", .fn = instance_describe },
	{ .name = "SubscribeEvents",
	  .fn = instance_subscribe,
	  .parameters = instance_events,
	  .mode = CONTROL_NEEDS_MORE },
	{ .name = "AddStorage", .fn = instance_cannot, .parameters = instance_add },
	{ .name = "RemoveStorage", .fn = instance_cannot, .parameters = instance_remove },
	{ .name = "ReplaceStorage", .fn = instance_cannot, .parameters = instance_replace },
};

static const char instance_description[] =
#include "instance.varlink.h"
	;

static const char instance_marker_description[] =
#include "marker.varlink.h"
	;

const struct control_interface instance_interface = {
	.name = "io.systemd.MachineInstance",
	.description = instance_description,
	.methods = instance_methods,
	.n_methods = ARRAY_SIZE(instance_methods),
};

const struct control_interface instance_marker = {
	.name = "io.systemd.VirtualMachineInstance",
	.description = instance_marker_description,
};
