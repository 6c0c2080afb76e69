/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls of the control socket: "org.ferry.Migrate" and "org.ferry.Resume". */
#define _GNU_SOURCE
#include "migration/methods.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "migration/channel.h"
#include "migration/source.h"
#include "vmm/config_text.h"
#include "vmm/control/interface.h"
#include "vmm/shortage.h"

/* A guest that has moved may have done so within this host: taking its old home down, which unpins and unmaps
 * all of its memory, must not compete with its first moments. */
#define METHODS_SETTLE_MS 500

/* Time for which a call waits for a guest that is about to run: whoever has started it, or moved it here, may
 * be faster than the last steps of that. */
#define METHODS_HERE_MS 2000

int methods_init(struct methods *m, struct error *err)
{
	*m = (struct methods){ .here_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	if (m->here_fd < 0) {
		error_add(err, "cannot create an eventfd: %s%s", strerror(errno), shortage_advice(-errno));
		return -errno;
	}
	return 0;
}

void methods_exit(struct methods *m)
{
	if (m->here_fd >= 0)
		close(m->here_fd);
	m->here_fd = -1;
}

void methods_set_guest(struct methods *m, enum methods_guest guest, struct vm *vm)
{
	m->vm = vm;
	/* Pairs with methods_wait()'s read: who sees METHODS_HERE sees the VM. */
	m->guest = guest;
	if (guest == METHODS_HERE)
		loop_signal(m->here_fd);
}

/* Returns the VM for a call that needs its guest, or NULL; then the call has been answered. */
static struct vm *methods_wait(struct methods *m, struct control_call *call)
{
	static const char *const reasons[METHODS_N_GUESTS] = {
		[METHODS_STARTS] = "the guest has not started yet: try again in a moment",
		[METHODS_AWAITED] = "there is no guest here yet: \"ferry receive\" waits for a source",
		[METHODS_ARRIVES] = "the guest is not here yet: it is being received",
	};
	struct pollfd fds[] = { { .fd = m->here_fd, .events = POLLIN },
				{ .fd = control_call_fd(call), .events = POLLIN } };
	enum methods_guest guest = m->guest;

	if (guest != METHODS_HERE && guest != METHODS_AWAITED) {
		poll(fds, ARRAY_SIZE(fds), METHODS_HERE_MS);
		guest = m->guest;
	}
	if (guest == METHODS_HERE)
		return m->vm;
	control_fail(call, CLIENT_ERROR_NOT_RUNNING, reasons[guest]);
	return NULL;
}

static void methods_migrate_progress(void *opaque, const struct report *report)
{
	char json[REPORT_JSON_MAX];

	report_json(report, REPORT_PROGRESS, json);
	control_progress(opaque, json);
}

/* Looks for the connection that comes with the call; false if it has been answered, with what is wrong. */
static bool methods_check_connection(struct control_call *call)
{
	struct error err = { 0 };

	if (call->passed_fd < 0) {
		control_fail(call, CLIENT_ERROR_PARAMETER,
			     "the connection to the destination is missing: a connected stream socket is to "
			     "come with the call, as a descriptor");
		return false;
	}
	if (channel_check_socket(call->passed_fd, &err) < 0) {
		control_fail(call, CLIENT_ERROR_PARAMETER, err.text);
		return false;
	}
	return true;
}

/* Reads the call's parameters into @config, with the destination's name in @to; false if it has been
 * answered, with what is wrong. */
static bool methods_read(struct control_call *call, struct source_config *config,
			 char to[CONTROL_MESSAGE_MAX])
{
	uint64_t downtime_ms = CLIENT_DOWNTIME_MS;
	char stalled[16] = "throttle";
	int policy;

	if (!control_get_string(call, "to", to, CONTROL_MESSAGE_MAX))
		strcpy(to, "another host");
	config->to = to;
	if (control_get_number(call, "downtimeMs", &downtime_ms) &&
	    (downtime_ms < 1 || downtime_ms > CLIENT_DOWNTIME_MAX_MS)) {
		control_fail(call, CLIENT_ERROR_PARAMETER, "\"downtimeMs\" is out of range");
		return false;
	}
	config->downtime_limit_ns = downtime_ms * 1000000;
	control_get_string(call, "stalled", stalled, sizeof(stalled));
	policy = config_parse_word(stalled, source_stalled_names, SOURCE_N_STALLED);
	if (policy < 0) {
		control_fail(call, CLIENT_ERROR_PARAMETER, "\"stalled\" is throttle, stop or cancel");
		return false;
	}
	config->stalled = (enum source_stalled)policy;
	if (!methods_check_connection(call))
		return false;
	config->fd = control_take_fd(call);
	return true;
}

static void methods_migrate(struct control_call *call, void *opaque)
{
	struct methods *m = opaque;
	struct report report = { 0 };
	struct error err = { 0 };
	struct source_config config = { .cancel_fd = control_call_fd(call),
					.progress = methods_migrate_progress,
					.opaque = call,
					.changed_fd = -1 };
	char to[CONTROL_MESSAGE_MAX], json[REPORT_JSON_MAX];
	struct vm *vm = methods_wait(m, call);

	if (!vm)
		return;
	if (m->outcome_unknown) {
		control_fail(
			call, CLIENT_ERROR_UNKNOWN,
			"the guest is paused here after a migration whose outcome is unknown; if it does "
			"not run at the destination, \"ferry resume\" first");
		return;
	}
	if (!methods_read(call, &config, to))
		return;
	switch (source_migrate(vm, &config, &report, &err)) {
	case SOURCE_MOVED:
		log_info("the guest has moved to %s", to);
		report_json(&report, REPORT_ALL, json);
		control_reply(call, json);
		poll(&(struct pollfd){ .fd = vm->stop_fd, .events = POLLIN }, 1, METHODS_SETTLE_MS);
		gate_end(&vm->gate, VM_EXIT_POWER_OFF);
		break;
	case SOURCE_FAILED:
		log_warn("migration to %s failed, %s: %s", to,
			 gate_ended(&vm->gate) ? "and the VM ends here" : "the guest goes on here", err.text);
		control_fail(call, CLIENT_ERROR_FAILED, err.text);
		break;
	case SOURCE_UNKNOWN:
		m->outcome_unknown = true;
		log_error("migration to %s: %s", to, err.text);
		control_fail(call, CLIENT_ERROR_UNKNOWN, err.text);
		break;
	}
}

/* The call is the operator's word that the guest does not run at the destination. */
static void methods_resume(struct control_call *call, void *opaque)
{
	struct methods *m = opaque;
	struct vm *vm = methods_wait(m, call);
	struct error err = { 0 };

	if (!vm)
		return;
	if (!atomic_exchange(&m->outcome_unknown, false)) {
		control_fail(call, "org.ferry.NotPaused",
			     "the guest is not paused after a migration with unknown outcome");
		return;
	}
	if (source_resume(vm, &err) < 0) {
		m->outcome_unknown = true;
		log_error("the guest cannot go on here, and stays paused: %s", err.text);
		control_fail(call, "org.ferry.ResumeFailed", err.text);
		return;
	}
	log_info("the guest goes on here, on the operator's word");
	control_reply(call, "{}");
}

const struct control_method methods_all[METHODS_N] = {
	{ "org.ferry.Migrate", methods_migrate },
	{ "org.ferry.Resume", methods_resume },
};
