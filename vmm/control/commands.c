/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "migrate" and "resume": a call over the control socket, and its progress in words. */
#define _GNU_SOURCE
#include "vmm/control/commands.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>

#include "vmm/config.h"
#include "vmm/config_text.h"
#include "vmm/control/client.h"
#include "vmm/control/interface.h"
#include "vmm/control/json.h"
#include "vmm/control/transport.h"
#include "vmm/text.h"

int client_usage(const char *command, const struct error *err)
{
	log_error("%s (\"ferry %s --help\" says more)", err->text, command);
	return CLIENT_EXIT_USAGE;
}

/* As much of a destination's place as is sent, for messages, in bytes. */
#define CLIENT_TEXT_MAX 1024u

struct client_options {
	const char *name;
	const char *runtime_dir;
	const char *to;
	const char *stalled;
	unsigned int downtime_ms;
	bool check; /* nothing is to move */
	struct transport_options transport;
};

enum {
	CLIENT_OPT_TO = 256,
	CLIENT_OPT_SSH,
	CLIENT_OPT_TLS,
	CLIENT_OPT_PEER,
	CLIENT_OPT_PEER_UID,
	CLIENT_OPT_CHECK,
	CLIENT_OPT_DOWNTIME,
	CLIENT_OPT_STALLED,
	CLIENT_OPT_RUNTIME_DIR
};

static const struct option client_migrate_options[] = {
	{ "to", required_argument, NULL, CLIENT_OPT_TO },
	{ "ssh", required_argument, NULL, CLIENT_OPT_SSH },
	{ "tls", required_argument, NULL, CLIENT_OPT_TLS },
	{ "peer", required_argument, NULL, CLIENT_OPT_PEER },
	{ "peer-uid", required_argument, NULL, CLIENT_OPT_PEER_UID },
	{ "check", no_argument, NULL, CLIENT_OPT_CHECK },
	{ "downtime", required_argument, NULL, CLIENT_OPT_DOWNTIME },
	{ "stalled", required_argument, NULL, CLIENT_OPT_STALLED },
	{ "runtime-dir", required_argument, NULL, CLIENT_OPT_RUNTIME_DIR },
	{ 0 },
};

static const struct option client_resume_options[] = {
	{ "runtime-dir", required_argument, NULL, CLIENT_OPT_RUNTIME_DIR },
	{ 0 },
};

void client_help_migrate(FILE *out)
{
	fprintf(out,
		"usage: ferry migrate NAME --to PLACE [OPTION...]\n\n"
		"Moves the running guest NAME to a \"ferry receive\" that waits at PLACE. Until the "
		"destination has\n"
		"taken over, every failure and Ctrl-C leave the guest running where it is.\n\n"
		"  --to PLACE         where the guest goes:\n"
		"                       ssh:[USER@]HOST[:PORT][/NAME]  the receive called NAME (as here) on "
		"HOST, with\n"
		"                                                      your ssh configuration and keys\n"
		"                       tls:HOST:PORT  a receive that listens there, with --tls\n"
		"                       unix:PATH     a receive, or your own tunnel, that listens at PATH\n"
		"                       fd:N          a connected stream socket that is open as descriptor "
		"N\n"
		"                       exec:COMMAND  a shell command whose stdin and stdout lead there\n"
		"  --ssh COMMAND      run this in the place of ssh, with arguments split at spaces (ssh)\n"
		"  --tls DIR          for tls: the folder of ca.pem, cert.pem and key.pem (man ferry)\n"
		"  --peer NAME        for tls: a name that the other end's certificate must have, beside "
		"HOST\n"
		"  --peer-uid UID     for unix: who may listen at PATH, beside you and root\n"
		"  --check            say what stands against the move, a reason on each line, and move "
		"nothing\n"
		"  --downtime MS      how long the guest may stand still, 1 to %u (%u)\n"
		"  --stalled POLICY   for a guest that writes memory faster than it can be sent: throttle "
		"it, stop it\n"
		"                     and go over the downtime, or cancel the migration (throttle)\n"
		"  --runtime-dir DIR  where the control socket is (" CONFIG_RUNTIME_DIR ")\n\n"
		"Exit codes: 0 moved, or with --check could move; 1 failed, the guest goes on here; 2 wrong "
		"usage; 5 the outcome is "
		"unknown: the\n"
		"guest is paused here, and \"ferry resume NAME\" if it does not run at the destination; or "
		"its process has\n"
		"ended without an answer.\n",
		CLIENT_DOWNTIME_MAX_MS, CLIENT_DOWNTIME_MS);
}

void client_help_resume(FILE *out)
{
	fprintf(out, "usage: ferry resume NAME [--runtime-dir DIR]\n\n"
		     "Lets the guest NAME go on here after a migration whose outcome is unknown. Make sure "
		     "that it does not run at\n"
		     "the destination.\n\n"
		     "  --runtime-dir DIR  where the control socket is (" CONFIG_RUNTIME_DIR ")\n");
}

static int client_parse_number(const char *text, unsigned int max, unsigned int *v)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || n < 1 || n > max)
		return -EINVAL;
	*v = (unsigned int)n;
	return 0;
}

static int client_parse_uid(const char *text, uid_t *uid)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || *text < '0' || *text > '9' || *end || n >= TRANSPORT_ANY_UID)
		return -EINVAL;
	*uid = (uid_t)n;
	return 0;
}

static int client_parse(struct client_options *o, const struct option *known, int argc, char **argv,
			struct error *err)
{
	int c;

	*o = (struct client_options){ .runtime_dir = CONFIG_RUNTIME_DIR,
				      .stalled = "throttle",
				      .downtime_ms = CLIENT_DOWNTIME_MS,
				      .transport.peer_uid = TRANSPORT_ANY_UID };
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":", known, NULL)) != -1) {
		switch (c) {
		case CLIENT_OPT_TO:
			o->to = optarg;
			break;
		case CLIENT_OPT_SSH:
			o->transport.ssh = optarg;
			break;
		case CLIENT_OPT_TLS:
			o->transport.tls_dir = optarg;
			break;
		case CLIENT_OPT_PEER:
			o->transport.peer = optarg;
			break;
		case CLIENT_OPT_PEER_UID:
			if (client_parse_uid(optarg, &o->transport.peer_uid) < 0) {
				error_add(err, "--peer-uid takes the number of a user, not \"%s\"", optarg);
				return -EINVAL;
			}
			break;
		case CLIENT_OPT_CHECK:
			o->check = true;
			break;
		case CLIENT_OPT_DOWNTIME:
			if (client_parse_number(optarg, CLIENT_DOWNTIME_MAX_MS, &o->downtime_ms) < 0) {
				error_add(err, "--downtime takes milliseconds from 1 to %u, not \"%s\"",
					  CLIENT_DOWNTIME_MAX_MS, optarg);
				return -EINVAL;
			}
			break;
		case CLIENT_OPT_STALLED:
			o->stalled = optarg;
			break;
		case CLIENT_OPT_RUNTIME_DIR:
			o->runtime_dir = optarg;
			break;
		case ':':
			error_add(err, "%s takes a value", argv[optind - 1]);
			return -EINVAL;
		default:
			error_add(err, "no option \"%s\"", argv[optind - 1]);
			return -EINVAL;
		}
	}
	if (argc - optind != 1) {
		error_add(err, argc == optind ? "the name of the VM is missing" : "one VM at a time");
		return -EINVAL;
	}
	o->name = argv[optind];
	if (!config_name_valid(o->name)) {
		error_add(err, "\"%s\" cannot be the name of a VM", o->name);
		return -EINVAL;
	}
	o->transport.name = o->name;
	return 0;
}

/* A reply of org.ferry.Migrate, as migration/report.c writes it. */
struct client_report {
	char stage[32];
	uint64_t round, sent, remaining, bytes_per_second, throttle, elapsed_ns;
};

static double client_mib(uint64_t bytes)
{
	return (double)bytes / (1 << 20);
}

static void client_progress(const char *object, struct client_report *last)
{
	struct client_report r = { 0 };

	json_object_string(object, "stage", r.stage, sizeof(r.stage));
	text_clean(r.stage, strlen(r.stage));
	json_object_number(object, "round", &r.round);
	json_object_number(object, "sentBytes", &r.sent);
	json_object_number(object, "remainingBytes", &r.remaining);
	json_object_number(object, "bytesPerSecond", &r.bytes_per_second);
	json_object_number(object, "throttlePercent", &r.throttle);
	json_object_number(object, "elapsedNs", &r.elapsed_ns);
	printf("%7.2f s  %-8s", (double)r.elapsed_ns / 1e9, r.stage);
	if (r.sent > 0) {
		printf("  round %llu  %8.1f MiB sent  %8.1f MiB left  %8.1f MiB/s",
		       (unsigned long long)r.round, client_mib(r.sent), client_mib(r.remaining),
		       client_mib(r.bytes_per_second));
		if (r.throttle > 0)
			printf("  throttled %llu %%", (unsigned long long)r.throttle);
	}
	printf("\n");
	fflush(stdout);
	*last = r;
}

static const struct {
	const char *key;
	const char *words;
} client_parts[] = {
	{ "vcpusStoppedNs", "vCPUs stopped" },
	{ "nicQuiescedNs", "NIC quiesced" },
	{ "lastRamNs", "last RAM" },
	{ "stateNs", "state" },
	{ "loadNs", "destination load" },
	{ "commitNs", "commit" },
	{ "resumedNs", "resumed" },
};

static void client_summary(const char *object)
{
	uint64_t ns = 0;

	json_object_number(object, "downtimeNs", &ns);
	printf("moved; downtime %.2f ms\n", (double)ns / 1e6);
	for (unsigned int i = 0; i < ARRAY_SIZE(client_parts); i++) {
		ns = 0;
		json_object_number(object, client_parts[i].key, &ns);
		printf("  %-17s %8.2f ms\n", client_parts[i].words, (double)ns / 1e6);
	}
	ns = 0;
	json_object_number(object, "nicStillNs", &ns);
	if (ns > 0)
		printf("before it the network stood still for %.2f ms, for shadow rings\n", (double)ns / 1e6);
}

/* Follows the replies to a call to the last. Returns the exit code. */
static int client_follow(struct control_client *c, struct error *err)
{
	struct client_report last = { 0 };
	const char *object;
	int ret;

	while ((ret = control_receive(c, &object, err)) == 1)
		client_progress(object, &last);
	if (ret == 0) {
		client_summary(object);
		/* The guest has moved all the same, so the exit code says so. */
		if (fflush(stdout) != 0 || ferror(stdout))
			log_warn("the guest has moved; its progress could not all be written to stdout");
		return 0;
	}
	if (c->error[0]) {
		log_error("%s", err->text);
		return strcmp(c->error, CLIENT_ERROR_UNKNOWN) == 0 ? CLIENT_EXIT_UNKNOWN : 1;
	}
	log_error("%s: whether the guest has moved is to be seen at the destination", err->text);
	return CLIENT_EXIT_UNKNOWN;
}

/* Prints the answer to org.ferry.CheckMigration. Returns the exit code. */
static int client_follow_check(struct control_client *c, struct error *err)
{
	char reason[ERROR_TEXT_MAX];
	unsigned int n = 0;
	const char *object;
	int found;

	if (control_receive(c, &object, err) < 0) {
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
static int client_find(struct control_client *c, const struct client_options *o, struct error *err)
{
	int ret = control_connect(c, o->runtime_dir, o->name, err);

	if (ret == 0)
		control_disconnect(c);
	return ret;
}

/* Asks the VM to migrate over the connection @t, which is the VM's alone then. Connects for that alone: a
 * call is not waited for as long as the destination may be. */
static int client_ask_migrate(struct control_client *c, const struct client_options *o, struct transport *t,
			      struct error *err)
{
	char place[CLIENT_TEXT_MAX], to[2 * CLIENT_TEXT_MAX], stalled[64],
		parameters[2 * CLIENT_TEXT_MAX + 256];
	int ret;

	snprintf(place, sizeof(place), "%s%s", o->to, t->note);
	json_quote(place, to, sizeof(to));
	json_quote(o->stalled, stalled, sizeof(stalled));
	snprintf(parameters, sizeof(parameters), "{\"to\":%s,\"stalled\":%s,\"downtimeMs\":%u}", to, stalled,
		 o->downtime_ms);
	ret = control_connect(c, o->runtime_dir, o->name, err);
	if (ret == 0)
		ret = o->check ? control_send(c, "org.ferry.CheckMigration", parameters, CONTROL_RESULT,
					      t->fd, err)
			       : control_send(c, "org.ferry.Migrate", parameters, CONTROL_PROGRESS, t->fd,
					      err);
	transport_let_go(t);
	return ret;
}

/* Migrates as @o says. Returns the exit code, or -EINVAL where --to or --ssh make no sense. */
static int client_do_migrate(struct control_client *c, const struct client_options *o, struct error *err)
{
	struct error reason = { 0 };
	struct transport t = { .fd = -1 };
	int status = 1, ret;

	ret = client_find(c, o, err);
	if (ret == 0)
		ret = transport_open(&t, o->to, &o->transport, err);
	if (ret < 0) {
		if (ret == -EINVAL)
			return ret;
		log_error("%s", err->text);
		return 1;
	}
	ret = client_ask_migrate(c, o, &t, err);
	if (ret == 0)
		ret = control_cancel_by_signal(c, err);
	if (ret < 0)
		log_error("%s", err->text);
	else
		status = o->check ? client_follow_check(c, err) : client_follow(c, err);
	control_disconnect(c);
	/* A child that fails after the guest has moved has done its work. */
	if (transport_close(&t, &reason) < 0 && status != 0)
		log_error("%s", reason.text);
	return status;
}

int client_migrate(int argc, char **argv)
{
	struct control_client *c = calloc(1, sizeof(*c));
	struct client_options o;
	struct error err = { 0 };
	int ret;

	if (!c)
		return 1;
	ret = client_parse(&o, client_migrate_options, argc, argv, &err);
	if (ret == 0 && !o.to) {
		error_add(&err, "--to is missing: where the guest is to go");
		ret = -EINVAL;
	}
	if (ret == 0)
		ret = client_do_migrate(c, &o, &err);
	free(c);
	return ret == -EINVAL ? client_usage("migrate", &err) : ret;
}

int client_resume(int argc, char **argv)
{
	struct control_client *c = calloc(1, sizeof(*c));
	struct client_options o;
	struct error err = { 0 };
	const char *object;
	int ret;

	if (!c)
		return 1;
	if (client_parse(&o, client_resume_options, argc, argv, &err) < 0) {
		free(c);
		return client_usage("resume", &err);
	}
	ret = control_connect(c, o.runtime_dir, o.name, &err);
	if (ret == 0) {
		ret = control_send(c, "org.ferry.Resume", "{}", CONTROL_RESULT, -1, &err);
		if (ret == 0)
			ret = control_receive(c, &object, &err);
		control_disconnect(c);
	}
	if (ret < 0)
		log_error("%s", err.text);
	free(c);
	return ret < 0 ? 1 : 0;
}
