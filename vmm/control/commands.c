/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "migrate" and "resume": a call over the control socket, followed to its end. */
#define _GNU_SOURCE
#include "vmm/control/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmm/config.h"
#include "vmm/control/follow.h"
#include "vmm/control/interface.h"
#include "vmm/control/json.h"
#include "vmm/control/options.h"
#include "vmm/file_save.h"
#include "vmm/text.h"

int client_usage(const char *command, const struct error *err)
{
	log_error("%s (\"ferry %s --help\" says more)", err->text, command);
	return CLIENT_EXIT_USAGE;
}

int client_failed(const struct error *err)
{
	log_error("%s", err->text);
	return 1;
}

int client_printed(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	log_error("cannot write to stdout");
	return 1;
}

int client_call(struct control_client *c, const struct client_options *o, const char *method,
		const char *parameters, struct error *err)
{
	int ret = control_connect(c, o->runtime_dir, o->name, err);

	if (ret < 0)
		return ret;
	ret = control_send(c, method, parameters,
			   client_has(o, OPTION_FOLLOW) ? CONTROL_PROGRESS : CONTROL_RESULT, -1, err);
	if (ret < 0)
		control_disconnect(c);
	return ret;
}

/* Time for a VM to answer a call that it answers at once. */
#define CLIENT_ANSWER_MS 3000

int client_ask(struct control_client *c, const char *method, const char *parameters, const char **object,
	       struct error *err)
{
	int ret = control_send(c, method, parameters, CONTROL_RESULT, -1, err);

	if (ret == 0)
		ret = control_receive_until(c, end_of(CLIENT_ANSWER_MS), object, err);
	if (ret == -EAGAIN)
		error_add(err, "the VM does not answer");
	return ret;
}

void client_print_json(const char *object)
{
	const char *end = object + strlen(object);

	while (object < end) {
		unsigned int len = text_plain_len(object, end);

		printf("%.*s", len ? (int)len : 1, len ? object : "?");
		object += len ? len : 1;
	}
	printf("\n");
	fflush(stdout);
}

void client_print_behind(const char *object)
{
	object += 1 + strspn(object + 1, " \t\r\n");
	if (*object != '}')
		putchar(',');
	client_print_json(object);
}

/* As much of a destination's place as is sent, for messages, in bytes. */
#define CLIENT_TEXT_MAX 1024u

/* A migration that is asked for. */
struct client_move {
	const struct client_options *o;
	struct control_client *c;
	struct transport transport;
	/* When the time is up that the operator gave, see now_ns(); 0: it never is. */
	uint64_t end_ns;
	/* The migration has failed because its connection ended: then the child's end says why. */
	bool connection_lost;
};

/* Writes @report to the file that the operator wants it in. The migration has ended as it has ended, and the
 * exit code tells that. */
static void client_save_report(const struct client_options *o, const char *report)
{
	struct error err = { 0 };

	if (o->report && file_save(o->report, report, strlen(report), &err) < 0)
		log_warn("%s", err.text);
}

/* Says why there is no guest elsewhere, and writes a report where the VM gave none. Returns the exit code. */
static int client_move_failed(const struct client_options *o, const char *state, const struct error *err)
{
	char report[6 * (CLIENT_TEXT_MAX + ERROR_TEXT_MAX) + 256], to[6 * CLIENT_TEXT_MAX],
		reason[6 * ERROR_TEXT_MAX];

	json_quote(o->to, to, sizeof(to));
	json_quote(err->text, reason, sizeof(reason));
	snprintf(report, sizeof(report), "{\"state\":\"%s\",\"stage\":\"connect\",\"to\":%s,\"reason\":%s}",
		 state, to, reason);
	client_save_report(o, report);
	log_error("%s", err->text);
	return 1;
}

/* Whether what the VM says of a failure has the connection's end as its cause. A Ferry that does not name
 * causes may mean that. */
static bool client_lost_connection(const char *object)
{
	char cause[32];

	return !json_object_string(object, "cause", cause, sizeof(cause)) || strcmp(cause, "connection") == 0;
}

/* Says what an error means that the VM has answered with. Returns the exit code. */
static int client_refused(struct client_move *m, const char *object, const struct error *err)
{
	char report[CONTROL_MESSAGE_MAX];

	if (!m->c->error[0]) {
		struct error reason = { 0 };

		error_add(&reason, "%s: whether the guest has moved is to be seen at the destination",
			  err->text);
		client_move_failed(m->o, "unknown", &reason);
		return CLIENT_EXIT_UNKNOWN;
	}
	if (!follow_object(object, "report", report, sizeof(report))) {
		client_move_failed(m->o, "failed", err);
	} else {
		m->connection_lost = client_lost_connection(report);
		client_save_report(m->o, report);
		log_error("%s", err->text);
	}
	return strcmp(m->c->error, CLIENT_ERROR_UNKNOWN) == 0 ? CLIENT_EXIT_UNKNOWN : 1;
}

/* Returns the exit code of what was done, also where nobody could be told. */
static int client_flush(void)
{
	if (fflush(stdout) != 0 || ferror(stdout))
		log_warn("the guest has moved, or is about to; not all could be written to stdout");
	return 0;
}

static void client_say_begun(const struct client_move *m)
{
	printf("the migration is under way: \"ferry status %s\" shows it, \"ferry cancel %s\" ends it\n",
	       m->o->name, m->o->name);
}

/* Waits for the end of a migration that goes on without its client, and writes its report. */
static void client_await_report(const struct client_move *m)
{
	char report[CONTROL_MESSAGE_MAX];
	struct error err = { 0 };
	const char *object = "{}";
	int ret;

	do {
		ret = control_receive(m->c, &object, &err);
	} while (ret == 1);
	if (follow_object(object, "report", report, sizeof(report)))
		client_save_report(m->o, report);
	else
		client_move_failed(m->o, "unknown", &err);
}

/* Leaves a process behind that does so: it outlives the client and the client's terminal, as the transport
 * does. */
static void client_leave_report(const struct client_move *m)
{
	pid_t pid = fork();
	int fd;

	if (pid < 0)
		log_warn("cannot start a process that writes the report: %s; \"ferry status %s --follow "
			 "--report FILE\" does",
			 strerror(errno), m->o->name);
	if (pid != 0)
		return;
	setsid();
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (fd >= 0) {
		dup2(fd, STDIN_FILENO);
		dup2(fd, STDOUT_FILENO);
	}
	client_await_report(m);
	_exit(0);
}

/* Waits for the beginning of a migration whose report is to be written without us. Returns the exit code. */
static int client_begin(struct client_move *m, struct error *err)
{
	char report[CONTROL_MESSAGE_MAX];
	const char *object = "{}";
	int ret = control_receive(m->c, &object, err);

	if (ret < 0)
		return client_refused(m, object, err);
	if (ret == 1)
		client_leave_report(m);
	else if (follow_object(object, "report", report, sizeof(report)))
		client_save_report(m->o, report);
	client_say_begun(m);
	return client_flush();
}

/* Follows the replies to the last. Returns the exit code. */
static int client_follow(struct client_move *m, struct error *err)
{
	char report[CONTROL_MESSAGE_MAX];
	const char *object = "{}";
	struct follow f;
	int ret;

	follow_begin(&f, stdout);
	ret = follow_replies(&f, m->c, &object, err);
	if (ret < 0)
		return client_refused(m, object, err);
	if (client_has(m->o, OPTION_DETACH)) {
		client_say_begun(m);
	} else {
		if (!follow_object(object, "report", report, sizeof(report)))
			strcpy(report, "{}");
		client_save_report(m->o, report);
		follow_summary(stdout, report);
	}
	return client_flush();
}

/* Prints the answer to CheckMigration. Returns the exit code. */
static int client_follow_check(struct client_move *m, struct error *err)
{
	char reason[ERROR_TEXT_MAX];
	unsigned int n = 0;
	const char *object;
	int found;

	if (control_receive(m->c, &object, err) < 0) {
		m->connection_lost =
			strcmp(m->c->error, CLIENT_ERROR_FAILED) == 0 && client_lost_connection(object);
		log_error("%s", err->text);
		return 1;
	}
	while ((found = json_object_item(object, "obstacles", n, reason, sizeof(reason))) == 1) {
		text_clean(reason, strlen(reason));
		printf("%s\n", reason);
		n++;
	}
	if (found < 0) {
		log_error("the VM's answer makes no sense");
		return 1;
	}
	if (n == 0)
		printf("nothing stands against the move\n");
	if (fflush(stdout) != 0 || ferror(stdout)) {
		log_error("cannot write to stdout: %s", strerror(errno));
		return 1;
	}
	return n > 0;
}

/* Looks whether there is the VM to be moved, before anybody else hears of it. */
static int client_find(const struct client_move *m, struct error *err)
{
	int ret = control_connect(m->c, m->o->runtime_dir, m->o->name, err);

	if (ret == 0)
		control_disconnect(m->c);
	return ret;
}

/* Writes the time that is left as a member of the call's parameters. */
static int client_time_left(const struct client_move *m, char *text, size_t size, struct error *err)
{
	int left_ms = m->end_ns ? ms_until(m->end_ns) : -1;

	text[0] = '\0';
	if (left_ms == 0) {
		error_add(err, "not done within the %u s that it was given", m->o->timeout_s);
		return -ETIMEDOUT;
	}
	if (left_ms > 0)
		snprintf(text, size, ",\"timeoutMs\":%d", left_ms);
	return 0;
}

/* Asks the VM to migrate over the connection, which is the VM's alone then. Connects for that alone: a call
 * is not waited for as long as the destination may be. */
static int client_ask_migrate(struct client_move *m, struct error *err)
{
	const bool detach = client_has(m->o, OPTION_DETACH);
	char place[CLIENT_TEXT_MAX], to[CLIENT_TEXT_MAX], limits[CLIENT_LIMITS_MAX], time[32];
	char parameters[sizeof(to) + sizeof(limits) + sizeof(time) + 32];
	int ret = client_time_left(m, time, sizeof(time), err);

	snprintf(place, sizeof(place), "%s%s", m->o->to, m->transport.note);
	json_quote(place, to, sizeof(to));
	client_limits_json(m->o, limits);
	snprintf(parameters, sizeof(parameters), "{\"to\":%s%s%s%s}", to, limits, time,
		 detach ? ",\"detach\":true" : "");
	if (ret == 0)
		ret = control_connect(m->c, m->o->runtime_dir, m->o->name, err);
	if (ret == 0)
		ret = client_has(m->o, OPTION_CHECK)
			      ? control_send(m->c, CLIENT_METHOD("CheckMigration"), parameters,
					     CONTROL_RESULT, m->transport.fd, err)
			      : control_send(m->c, CLIENT_METHOD("Migrate"), parameters,
					     detach && !m->o->report ? CONTROL_RESULT : CONTROL_PROGRESS,
					     m->transport.fd, err);
	transport_let_go(&m->transport);
	return ret;
}

/* Migrates. Returns the exit code. */
static int client_do_migrate(struct client_move *m, struct error *err)
{
	struct error reason = { 0 };
	int status, ret;

	m->end_ns = client_has(m->o, OPTION_TIMEOUT) ? end_of((int)m->o->timeout_s * 1000) : 0;
	ret = client_find(m, err);
	if (ret == 0)
		ret = transport_open(&m->transport, m->o->to, &m->o->transport, err);
	if (ret < 0)
		return client_move_failed(m->o, "failed", err);
	ret = client_ask_migrate(m, err);
	/* A migration that goes on has no use for a client that waits. */
	if (ret == 0 && !(client_has(m->o, OPTION_DETACH)))
		ret = control_cancel_by_signal(m->c, err);
	if (ret < 0)
		status = client_move_failed(m->o, "failed", err);
	else
		status = client_has(m->o, OPTION_CHECK)                    ? client_follow_check(m, err)
			 : client_has(m->o, OPTION_DETACH) && m->o->report ? client_begin(m, err)
									   : client_follow(m, err);
	control_disconnect(m->c);
	/* One that goes on needs who carries its bytes; else that one ends, and after the guest has moved it
	 * has done its work even if it fails. The end of one whose connection the VM has closed says nothing.
	 */
	if (!(client_has(m->o, OPTION_DETACH) && status == 0) &&
	    transport_close(&m->transport, &reason) < 0 && m->connection_lost)
		log_error("%s", reason.text);
	return status;
}

static int client_parse_migrate(struct client_options *o, int argc, char **argv, struct error *err)
{
	if (client_parse(o, COMMAND_MIGRATE, argc, argv, err) < 0)
		return -EINVAL;
	/* Wrong usage is that, whether there is such a VM or not. */
	if (transport_check(o->to, &o->transport, err) < 0)
		return -EINVAL;
	if (client_has(o, OPTION_CHECK) && (client_has(o, OPTION_DETACH) || o->report)) {
		error_add(err, "--check moves nothing that could be detached, or reported on");
		return -EINVAL;
	}
	return 0;
}

int client_migrate(int argc, char **argv)
{
	struct client_options o;
	struct control_client c = { .fd = -1, .signal_fd = -1 };
	struct client_move m = { .o = &o, .c = &c };
	struct error err = { 0 };

	if (client_parse_migrate(&o, argc, argv, &err) < 0)
		return client_usage("migrate", &err);
	return client_do_migrate(&m, &err);
}

int client_several(struct client_options *o, enum command_id command, int argc, char **argv)
{
	struct error err = { 0 };

	if (client_parse(o, command, argc, argv, &err) < 0)
		return client_usage(command_table[command].name, &err);
	return client_find_names(o, &err) < 0 ? client_failed(&err) : 0;
}

int client_failed_of(const struct client_options *o, const char *name, const struct error *err)
{
	if (o->n_names == 1)
		return client_failed(err);
	log_error("%s: %s", name, err->text);
	return 1;
}

int client_do(enum command_id command, const char *method, int argc, char **argv)
{
	struct client_options o;
	int status = client_several(&o, command, argc, argv);

	if (status)
		return status;
	for (unsigned int i = 0; i < o.n_names; i++) {
		struct control_client c;
		struct error err = { 0 };
		const char *object;
		int ret;

		o.name = o.names[i];
		ret = client_call(&c, &o, method, "{}", &err);
		if (ret == 0) {
			ret = control_receive(&c, &object, &err);
			control_disconnect(&c);
		}
		if (ret < 0)
			status = client_failed_of(&o, o.name, &err);
	}
	return status;
}

int client_resume(int argc, char **argv)
{
	return client_do(COMMAND_RESUME, CLIENT_METHOD("Resume"), argc, argv);
}
