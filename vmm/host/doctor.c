/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command: options, the look, the other end, the print. */
#define _GNU_SOURCE
#include "vmm/host/doctor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmm/config_text.h"
#include "vmm/control/commands.h"
#include "vmm/host/host_clock.h"
#include "vmm/host/host_kvm.h"
#include "vmm/host/host_memory.h"
#include "vmm/host/host_nics.h"
#include "vmm/host/host_print.h"
#include "vmm/host/host_rights.h"
#include "vmm/host/host_sandbox.h"
#include "vmm/option.h"

/* What was asked for. Texts are the arguments themselves. */
struct doctor_options {
	struct host_wish wish;
	bool json;
	const char *peer; /* NULL: nobody is asked */
	struct transport_options transport;
};

static int doctor_take_mem(struct doctor_options *o, char *value, struct error *err)
{
	if (config_parse_size(value, &o->wish.mem) == 0 && o->wish.mem >= CONFIG_MIN_MEM &&
	    o->wish.mem <= CONFIG_MAX_MEM)
		return 0;
	error_add(err, "--mem takes a size from %llu MiB to %llu GiB, such as 4G, not \"%s\"",
		  (unsigned long long)(CONFIG_MIN_MEM >> 20), (unsigned long long)(CONFIG_MAX_MEM >> 30),
		  value);
	return -EINVAL;
}

static int doctor_take_net(struct doctor_options *o, char *value, struct error *err)
{
	struct net_config *net = &o->wish.nets[o->wish.n_nets];

	if (o->wish.n_nets == CONFIG_MAX_NETS) {
		error_add(err, "--net: at most %u NICs are possible", CONFIG_MAX_NETS);
		return -EINVAL;
	}
	if (config_net_parse(net, NET_BOOTS, value, err) < 0)
		return -EINVAL;
	if (!net->vdpa || descriptor_is(net->vdpa)) {
		error_add(err, "--net: %s: give vdpa=PATH",
			  net->vdpa ? "a look at a device is by its node"
				    : "a NIC in software needs no look");
		return -EINVAL;
	}
	o->wish.n_nets++;
	return 0;
}

static int doctor_take_peer(struct doctor_options *o, char *value, struct error *err)
{
	o->peer = value;
	return 0;
}

static int doctor_take_ssh(struct doctor_options *o, char *value, struct error *err)
{
	o->transport.ssh = value;
	return 0;
}

static int doctor_take_runtime_dir(struct doctor_options *o, char *value, struct error *err)
{
	o->wish.runtime_dir = value;
	return 0;
}

static int doctor_take_json(struct doctor_options *o, char *value, struct error *err)
{
	o->json = true;
	return 0;
}

static int (*const doctor_takes[N_OPTIONS])(struct doctor_options *o, char *value, struct error *err) = {
	[OPTION_MEM] = doctor_take_mem,   [OPTION_NET] = doctor_take_net,
	[OPTION_PEER] = doctor_take_peer, [OPTION_SSH] = doctor_take_ssh,
	[OPTION_JSON] = doctor_take_json, [OPTION_RUNTIME_DIR] = doctor_take_runtime_dir,
};

static int doctor_parse(struct doctor_options *o, int argc, char **argv, struct error *err)
{
	struct option_line line;
	struct option_item item;
	int ret;

	*o = (struct doctor_options){
		.wish = { .mem = CONFIG_DEFAULT_MEM, .runtime_dir = OPTION_RUNTIME_DIR_DEFAULT },
		/* No VM is meant; a place behind ssh has a name. */
		.transport = { .name = "doctor", .peer_uid = TRANSPORT_ANY_UID },
	};
	option_begin(&line, COMMAND_DOCTOR, argc, argv);
	while ((ret = option_next(&line, &item, err)) == 1) {
		if (doctor_takes[item.row->id](o, item.value, err) < 0)
			return -EINVAL;
	}
	if (ret < 0)
		return ret;
	return o->peer ? transport_check_host(o->peer, &o->transport, err) : 0;
}

void doctor_look(struct host_report *r, const struct host_look *look)
{
	snprintf(r->facts.version, sizeof(r->facts.version), "%s", FERRY_VERSION);
	host_kvm_check(r, look);
	host_rights_check(r, look);
	host_nics_check(r, look);
	host_memory_check(r, look);
	host_clock_check(r, look);
	host_sandbox_check(r, look);
}

/* Asks the other end, and compares. */
static void doctor_ask(struct host_report *r, const struct doctor_options *o,
		       const struct doctor_parts *parts)
{
	struct host_report *peer = malloc(sizeof(*peer));
	struct host_moments moments;
	struct error err = { 0 };

	if (!peer)
		error_add(&err, "out of memory for the report of %s", o->peer);
	if (peer && host_peer_ask(peer, &moments, o->peer, &o->transport, &err) == 0)
		parts->compare(r, peer, o->peer, &moments, o->wish.mem);
	else
		host_report_add(r, HOST_FAIL, "peer", "", "%s", err.text);
	free(peer);
}

/* Prints the report. Returns the exit code. */
static int doctor_print(const struct host_report *r, const struct doctor_options *o)
{
	if (o->json) {
		host_print_json(r, stdout);
	} else {
		host_print_text(r, stdout);
		if (r->n_fails > 0)
			printf("a guest of %llu MiB could not run here%s%s: %u of these fail%s\n",
			       (unsigned long long)(o->wish.mem >> 20), o->peer ? ", or not move to " : "",
			       o->peer ? o->peer : "", r->n_fails, r->n_fails == 1 ? "s" : "");
		else
			printf("a guest of %llu MiB could run here%s%s\n",
			       (unsigned long long)(o->wish.mem >> 20), o->peer ? ", and move to " : "",
			       o->peer ? o->peer : "");
	}
	if (fflush(stdout) == 0 && !ferror(stdout))
		return r->n_fails > 0;
	log_error("cannot write to stdout: %s", strerror(errno));
	return 1;
}

int doctor_run(int argc, char **argv, const struct doctor_parts *parts)
{
	struct doctor_options o;
	const struct host_look look = {
		.proc = "/proc", .sys = "/sys", .dev = "/dev", .wish = &o.wish, .probe = &parts->probe
	};
	struct host_report *r;
	struct error err = { 0 };
	int status;

	if (doctor_parse(&o, argc, argv, &err) < 0)
		return client_usage("doctor", &err);
	r = calloc(1, sizeof(*r));
	if (!r) {
		log_error("out of memory for a report");
		return 1;
	}
	r->facts.stream_oldest = parts->stream_oldest;
	r->facts.stream_newest = parts->stream_newest;
	doctor_look(r, &look);
	if (o.peer)
		doctor_ask(r, &o, parts);
	status = doctor_print(r, &o);
	free(r);
	return status;
}
