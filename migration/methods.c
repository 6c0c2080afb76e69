/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls of the control socket: "org.ferry.Migrate" and "org.ferry.Resume". */
#define _GNU_SOURCE
#include "migration/methods.h"

#include <poll.h>

#include "migration/source.h"
#include "vmm/control/commands.h"

/* A guest that has moved may have done so within this host: taking its old home down, which unpins and unmaps
 * all of its memory, must not compete with its first moments. */
#define METHODS_SETTLE_MS 500

static void methods_migrate_progress(void *opaque, const struct report *report)
{
	char json[REPORT_JSON_MAX];

	report_json(report, json);
	control_reply(opaque, json, true);
}

static const struct {
	const char *name;
	enum source_stalled stalled;
} methods_stalled[] = {
	{ "throttle", SOURCE_THROTTLE },
	{ "stop", SOURCE_STOP },
	{ "cancel", SOURCE_CANCEL },
};

static void methods_migrate(struct control_call *call, void *opaque)
{
	struct methods *m = opaque;
	struct report report = { 0 };
	struct error err = { 0 };
	struct source_config config = { .cancel_fd = control_call_fd(call),
					.progress = methods_migrate_progress,
					.opaque = call };
	char to[CONTROL_MESSAGE_MAX], stalled[16] = "throttle", json[REPORT_JSON_MAX];
	uint64_t downtime_ms = CLIENT_DOWNTIME_MS;
	unsigned int i;

	if (m->outcome_unknown) {
		control_fail(
			call, CLIENT_ERROR_UNKNOWN,
			"the guest is paused here after a migration whose outcome is unknown; if it does "
			"not run at the destination, \"ferry resume\" first");
		return;
	}
	if (!control_get_string(call, "to", to, sizeof(to))) {
		control_fail(call, "org.varlink.service.InvalidParameter",
			     "\"to\" is missing: the address to migrate to");
		return;
	}
	config.to = to;
	if (control_get_number(call, "downtimeMs", &downtime_ms) &&
	    (downtime_ms < 1 || downtime_ms > CLIENT_DOWNTIME_MAX_MS)) {
		control_fail(call, "org.varlink.service.InvalidParameter", "\"downtimeMs\" is out of range");
		return;
	}
	config.downtime_limit_ns = downtime_ms * 1000000;
	control_get_string(call, "stalled", stalled, sizeof(stalled));
	for (i = 0; i < ARRAY_SIZE(methods_stalled) && strcmp(methods_stalled[i].name, stalled) != 0; i++)
		;
	if (i == ARRAY_SIZE(methods_stalled)) {
		control_fail(call, "org.varlink.service.InvalidParameter",
			     "\"stalled\" is throttle, stop or cancel");
		return;
	}
	config.stalled = methods_stalled[i].stalled;

	switch (source_migrate(m->vm, &config, &report, &err)) {
	case SOURCE_MOVED:
		log_info("the guest has moved to %s", to);
		report_json(&report, json);
		control_reply(call, json, false);
		poll(&(struct pollfd){ .fd = m->vm->stop_fd, .events = POLLIN }, 1, METHODS_SETTLE_MS);
		gate_end(&m->vm->gate, VM_EXIT_POWER_OFF);
		break;
	case SOURCE_FAILED:
		log_warn("migration to %s failed, %s: %s", to,
			 gate_ended(&m->vm->gate) ? "and the VM ends here" : "the guest goes on here",
			 err.text);
		control_fail(call, "org.ferry.MigrationFailed", err.text);
		break;
	case SOURCE_UNKNOWN:
		m->outcome_unknown = true;
		log_error("migration to %s: %s", to, err.text);
		control_fail(call, CLIENT_ERROR_UNKNOWN, err.text);
		break;
	}
}

/* The operator's word that the guest does not run at the destination. */
static void methods_resume(struct control_call *call, void *opaque)
{
	struct methods *m = opaque;
	struct error err = { 0 };

	if (!atomic_exchange(&m->outcome_unknown, false)) {
		control_fail(call, "org.ferry.NotPaused",
			     "the guest is not paused after a migration with unknown outcome");
		return;
	}
	if (source_resume(m->vm, &err) < 0) {
		m->outcome_unknown = true;
		log_error("the guest cannot go on here, and stays paused: %s", err.text);
		control_fail(call, "org.ferry.ResumeFailed", err.text);
		return;
	}
	log_info("the guest goes on here, on the operator's word");
	control_reply(call, "{}", false);
}

const struct control_method methods_all[METHODS_N] = {
	{ "org.ferry.Migrate", methods_migrate },
	{ "org.ferry.Resume", methods_resume },
};
