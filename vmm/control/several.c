/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One call to each VM, whose replies come as they come: see the header. */
#include "vmm/control/several.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "vmm/control/interface.h"

/* Time between looks at progress that came too soon after the last to be told. */
#define SEVERAL_STEP_MS 500

struct several {
	const struct client_options *o;
	void (*heard)(struct several_vm *vm, const struct client_options *o, const char *object, bool last);
	struct several_vm *vms;
	struct pollfd fds[CLIENT_MAX_NAMES];
	int status;
};

static int several_call(struct several_vm *vm, const struct client_options *o, const char *method,
			struct error *err)
{
	int ret = control_connect(&vm->c, o->runtime_dir, vm->name, err);

	if (ret == 0)
		ret = control_send(&vm->c, method, "{}", CONTROL_PROGRESS, -1, err);
	if (ret < 0)
		control_disconnect(&vm->c);
	return ret;
}

static void several_call_all(struct several *s, const char *method)
{
	for (unsigned int i = 0; i < s->o->n_names; i++) {
		struct several_vm *vm = &s->vms[i];
		struct error err = { 0 };

		vm->name = s->o->names[i];
		vm->progress = (struct follow){ .out = stdout, .name = vm->name };
		if (several_call(vm, s->o, method, &err) < 0)
			s->status = client_failed(&err);
		s->fds[i] = (struct pollfd){ .fd = vm->c.fd, .events = POLLIN };
	}
}

/* Takes what has come of @vm. */
static void several_take(struct several *s, struct several_vm *vm)
{
	struct error err = { 0 };
	const char *object;
	int ret;

	while ((ret = control_receive_until(&vm->c, 0, &object, &err)) == 1)
		s->heard(vm, s->o, object, false);
	if (ret == -EAGAIN)
		return;
	if (ret == 0) {
		s->heard(vm, s->o, object, true);
	} else {
		log_error("%s: %s", vm->name, err.text);
		s->status = 1;
	}
	control_disconnect(&vm->c);
}

/* Returns whether there is anybody left to be heard. */
static bool several_step(struct several *s)
{
	unsigned int n_left = 0;

	if (poll(s->fds, s->o->n_names, SEVERAL_STEP_MS) < 0)
		return true;
	for (unsigned int i = 0; i < s->o->n_names; i++) {
		if (s->fds[i].fd >= 0 && s->fds[i].revents)
			several_take(s, &s->vms[i]);
		follow_flush(&s->vms[i].progress);
		s->fds[i].fd = s->vms[i].c.fd;
		n_left += s->fds[i].fd >= 0;
	}
	return n_left > 0;
}

int several_hear(const struct client_options *o, const char *method,
		 void (*heard)(struct several_vm *vm, const struct client_options *o, const char *object,
			       bool last))
{
	struct several s = { .o = o, .heard = heard, .vms = calloc(o->n_names, sizeof(*s.vms)) };
	struct error err = { 0 };

	if (!s.vms) {
		error_add(&err, "out of memory");
		return client_failed(&err);
	}
	several_call_all(&s, method);
	while (several_step(&s) && !ferror(stdout))
		;
	for (unsigned int i = 0; i < o->n_names; i++)
		control_disconnect(&s.vms[i].c);
	free(s.vms);
	return client_printed(s.status);
}
