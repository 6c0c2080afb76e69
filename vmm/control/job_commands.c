/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "status", "cancel" and "tune": calls about a migration, which anybody may make who may make one; and
 * "report", which draws what is left of one. */
#define _GNU_SOURCE
#include "vmm/control/job_commands.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmm/config.h"
#include "vmm/control/chart.h"
#include "vmm/control/commands.h"
#include "vmm/control/follow.h"
#include "vmm/control/interface.h"
#include "vmm/control/json.h"
#include "vmm/control/options.h"
#include "vmm/control/several.h"
#include "vmm/file_save.h"
#include "vmm/option.h"
#include "vmm/text.h"

/* Says in words what a final reply of MigrationStatus says. */
static void client_print_status(const char *reply, const char *report)
{
	struct follow f = { .out = stdout };
	char state[32] = "", to[256] = "";

	json_object_string(reply, "state", state, sizeof(state));
	json_object_string(report, "to", to, sizeof(to));
	text_clean(to, strlen(to));
	if (strcmp(state, "none") == 0) {
		printf("no migration\n");
		return;
	}
	if (to[0])
		printf("to %s:\n", to);
	if (strcmp(state, "running") == 0)
		follow_progress(&f, report);
	else
		follow_summary(stdout, report);
}

/* Says the last reply, and whose it is where several VMs are asked. */
static void client_print_last(const struct client_options *o, const char *name, const char *reply,
			      const char *report)
{
	const bool json = client_has(o, OPTION_JSON);

	if (o->n_names > 1)
		printf(json ? "{\"name\":\"%s\"" : "%s: ", name);
	if (!json)
		client_print_status(reply, report);
	else if (o->n_names > 1)
		client_print_behind(reply);
	else
		client_print_json(reply);
}

/* Follows the replies to MigrationStatus to the last, and says what it says. Returns the exit code. */
static int client_follow_status(struct control_client *c, const struct client_options *o, struct error *err)
{
	char report[CONTROL_MESSAGE_MAX] = "{}";
	const char *object;
	struct follow f;
	int ret;

	follow_begin(&f, stdout);
	if (client_has(o, OPTION_JSON)) {
		while ((ret = control_receive(c, &object, err)) == 1)
			client_print_json(object);
	} else {
		ret = follow_replies(&f, c, &object, err);
	}
	if (ret < 0)
		return client_failed_of(o, o->name, err);
	if (!follow_object(object, "report", report, sizeof(report)))
		strcpy(report, "{}");
	client_print_last(o, o->name, object, report);
	if (o->report && strcmp(report, "{}") == 0) {
		error_add(err, "there is no report to write: no migration");
		return client_failed(err);
	}
	if (o->report && file_save(o->report, report, strlen(report), err) < 0)
		return client_failed(err);
	return client_printed(0);
}

/* Says how the VM o->name is. Returns the exit code. */
static int client_status_of(const struct client_options *o)
{
	struct error err = { 0 };
	struct control_client c;
	int status;

	if (client_call(&c, o, CLIENT_METHOD("MigrationStatus"), "{}", &err) < 0)
		return client_failed_of(o, o->name, &err);
	status = client_follow_status(&c, o, &err);
	control_disconnect(&c);
	return status;
}

/* Does as client_follow_status(), for one of several VMs. */
static void client_hear_status(struct several_vm *vm, const struct client_options *o, const char *object,
			       bool last)
{
	char report[CONTROL_MESSAGE_MAX];

	if (!follow_object(object, "report", report, sizeof(report)))
		strcpy(report, "{}");
	if (!last && !client_has(o, OPTION_JSON)) {
		follow_progress(&vm->progress, report);
		return;
	}
	follow_clear(&vm->progress);
	client_print_last(o, vm->name, object, report);
	fflush(stdout);
}

int client_status(int argc, char **argv)
{
	struct error err = { 0 };
	struct client_options o;
	int status = client_several(&o, COMMAND_STATUS, argc, argv);

	if (status)
		return status;
	if (o.n_names > 1 && o.report) {
		error_add(&err, "--report is for one VM at a time");
		return client_usage("status", &err);
	}
	if (o.n_names > 1 && client_has(&o, OPTION_FOLLOW))
		return several_hear(&o, CLIENT_METHOD("MigrationStatus"), client_hear_status);
	for (unsigned int i = 0; i < o.n_names; i++) {
		o.name = o.names[i];
		status = (int)max_u64((uint64_t)status, (uint64_t)client_status_of(&o));
	}
	return status;
}

/* Says what CancelMigration has answered. Returns the exit code. */
static int client_say_cancelled(const char *reply)
{
	char state[32] = "", reason[ERROR_TEXT_MAX] = "";

	json_object_string(reply, "state", state, sizeof(state));
	json_object_string(reply, "reason", reason, sizeof(reason));
	text_clean(reason, strlen(reason));
	if (strcmp(state, "failed") == 0) {
		printf("the migration has ended, and the guest goes on here: %s\n", reason);
		return client_printed(0);
	}
	if (strcmp(state, "unknown") == 0) {
		log_error("too late: %s", reason);
		return CLIENT_EXIT_UNKNOWN;
	}
	log_error("too late: the guest has moved");
	return 1;
}

int client_cancel(int argc, char **argv)
{
	struct error err = { 0 };
	struct client_options o;
	struct control_client c;
	const char *reply;
	int status;

	if (client_parse(&o, COMMAND_CANCEL, argc, argv, &err) < 0)
		return client_usage("cancel", &err);
	if (client_call(&c, &o, CLIENT_METHOD("CancelMigration"), "{}", &err) < 0)
		return client_failed(&err);
	status = control_receive(&c, &reply, &err) < 0 ? client_failed(&err) : client_say_cancelled(reply);
	control_disconnect(&c);
	return status;
}

int client_tune(int argc, char **argv)
{
	const uint64_t limits =
		OPTION_BIT(OPTION_DOWNTIME) | OPTION_BIT(OPTION_BANDWIDTH) | OPTION_BIT(OPTION_STALLED);
	char members[CLIENT_LIMITS_MAX], parameters[CLIENT_LIMITS_MAX + 4];
	struct error err = { 0 };
	struct client_options o;
	struct control_client c;
	const char *reply;
	int ret = client_parse(&o, COMMAND_TUNE, argc, argv, &err);

	if (ret == 0 && !(o.given & limits)) {
		error_add(&err, "nothing to change: give --downtime, --bandwidth or --stalled");
		ret = -EINVAL;
	}
	if (ret < 0)
		return client_usage("tune", &err);
	client_limits_json(&o, members);
	snprintf(parameters, sizeof(parameters), "{%s}", members + 1);
	ret = client_call(&c, &o, CLIENT_METHOD("SetMigration"), parameters, &err);
	if (ret == 0) {
		ret = control_receive(&c, &reply, &err);
		control_disconnect(&c);
	}
	return ret < 0 ? client_failed(&err) : 0;
}

static int client_parse_report(const char **path, int argc, char **argv, struct error *err)
{
	struct option_line line;
	struct option_item item;
	int ret;

	option_begin(&line, COMMAND_REPORT, argc, argv);
	while ((ret = option_next(&line, &item, err)) == 1) {
		if (*path) {
			error_add(err, "the command draws one file at a time");
			return -EINVAL;
		}
		*path = item.value;
	}
	if (ret == 0 && !*path) {
		error_add(err, "the file with the report is missing");
		ret = -EINVAL;
	}
	return ret;
}

int client_report(int argc, char **argv)
{
	struct error err = { 0 };
	const char *path = NULL;
	size_t len = 0;
	char *text;
	FILE *file;
	int status = 1;

	if (client_parse_report(&path, argc, argv, &err) < 0)
		return client_usage("report", &err);
	text = calloc(1, CHART_INPUT_MAX + 1);
	file = text ? fopen(path, "re") : NULL;
	if (file)
		len = fread(text, 1, CHART_INPUT_MAX + 1, file);
	if (!file || ferror(file))
		error_add(&err, "cannot read %s: %s", path, strerror(errno));
	else if (chart_draw(stdout, text, len, &err) == 0)
		status = client_printed(0);
	if (err.text[0])
		client_failed(&err);
	if (file)
		fclose(file);
	free(text);
	return status;
}
