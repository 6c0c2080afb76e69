/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls that only ask: they are answered at once, or within INSPECT_MS. */
#include "migration/methods_tell.h"

#include <errno.h>

#include "migration/describe.h"
#include "migration/inspect.h"
#include "vmm/control/interface.h"

void methods_describe_vm(struct control_call *call, void *opaque)
{
	struct methods *m = opaque;
	const char *state = methods_guest_state(m);
	char text[METHODS_REPLY_MAX];

	/* Its size is known once it is here. */
	describe_vm(m->config, m->guest == METHODS_HERE ? m->vm : NULL, state, text, sizeof(text));
	control_reply(call, text);
}

/* Answers where @ret says that there is no answer: what is asked for by @parameter is not there, or a device
 * stands still. */
static void methods_fail_inspect(struct control_call *call, int ret, const char *parameter,
				 const struct error *err)
{
	if (ret == -ENOENT)
		control_fail_parameter(call, parameter);
	else
		control_fail(call, CLIENT_ERROR_BUSY, err->text);
}

void methods_describe_nic(struct control_call *call, void *opaque)
{
	struct methods *m = opaque;
	char text[METHODS_REPLY_MAX], nic[32];
	const bool named = control_has(call, "nic");
	struct error err = { 0 };
	uint64_t queue = 0;
	int ret;

	if (!methods_wait(m, call) || !methods_number(call, "queue", 0, CLIENT_QUEUE_MAX, &queue))
		return;
	if (named && !control_get_string(call, "nic", nic, sizeof(nic))) {
		control_fail_parameter(call, "nic");
		return;
	}
	ret = inspect_nic(m->vm, named ? nic : NULL, (unsigned int)queue, text, sizeof(text), &err);
	if (ret == 0)
		control_reply(call, text);
	else if (ret == -ENOENT && !named)
		control_fail(call, CLIENT_ERROR_NO_NIC, "the guest has no NIC");
	else
		methods_fail_inspect(call, ret, "nic", &err);
}

void methods_metrics(struct control_call *call, void *opaque)
{
	struct methods *m = opaque;
	const struct inspect_vm in = {
		.config = m->config,
		.vm = m->guest == METHODS_HERE ? m->vm : NULL,
		.job = &m->job,
		.state = methods_guest_state(m),
	};
	char text[METHODS_REPLY_MAX];
	struct error err = { 0 };
	uint64_t from = 0;
	int ret;

	if (!methods_number(call, "from", 0, UINT32_MAX, &from))
		return;
	ret = inspect_metrics(&in, (unsigned int)from, text, sizeof(text), &err);
	if (ret == 0)
		control_reply(call, text);
	else
		methods_fail_inspect(call, ret, "from", &err);
}
