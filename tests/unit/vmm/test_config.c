/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command lines of "run" and "receive": what they mean, and what a refusal says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmm/config.h"

#define MAX_ARGS 64
/* A path that is one character too long for a socket. */
#define TEN  "/123456789"
#define LONG TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN "/1234567"

/* Strings of the last parse live here. */
struct line {
	char text[4096];
	char *argv[MAX_ARGS];
	int argc;
	struct vm_config config;
	struct error err;
};

/* Words are separated by blanks; the first one is the subcommand. */
static int parse(struct line *l, const char *text)
{
	memset(l, 0, sizeof(*l));
	snprintf(l->text, sizeof(l->text), "%s", text);
	for (char *word = strtok(l->text, " "); word; word = strtok(NULL, " "))
		l->argv[l->argc++] = word;
	if (strcmp(l->argv[0], "run") == 0)
		return config_parse_run(&l->config, l->argc, l->argv, &l->err);
	return config_parse_receive(&l->config, l->argc, l->argv, &l->err);
}

static void run_takes_what_is_said(void **state)
{
	struct line l;

	assert_int_equal(
		parse(&l, "run --name web1 --kernel=/k --initrd /i --cmdline console=ttyS0 --mem 5G "
			  "--cpus 4 --cpu baseline=/c --disk /d/root.img --disk /dev/b,ro --net "
			  "vdpa=/dev/a,packed=on --net "
			  "vdpa=/dev/b,in-order=on,mode=shadow "
			  "--net "
			  "mode=passthrough,soft,tap=tap0,bridge=br0,queues=4,ring=32K,mac=52:54:00:aB:Cd:01 "
			  "--serial unix:/run/s "
			  "--runtime-dir /tmp"),
		0);
	assert_string_equal(l.config.name, "web1");
	assert_string_equal(l.config.kernel, "/k");
	assert_string_equal(l.config.initrd, "/i");
	assert_string_equal(l.config.cmdline, "console=ttyS0");
	assert_int_equal(l.config.mem, GIB(5));
	assert_int_equal(l.config.cpus, 4);
	assert_string_equal(l.config.cpu_baseline, "/c");
	assert_int_equal(l.config.n_nets, 3);
	assert_string_equal(l.config.nets[0].vdpa, "/dev/a");
	assert_string_equal(l.config.nets[1].vdpa, "/dev/b");
	assert_false(l.config.nets[1].soft);
	assert_false(l.config.nets[0].split_only);
	assert_true(l.config.nets[1].split_only);
	assert_true(l.config.nets[0].any_order);
	assert_false(l.config.nets[1].any_order);
	assert_int_equal(l.config.nets[0].mode, NET_AUTO);
	assert_int_equal(l.config.nets[1].mode, NET_SHADOW);
	assert_int_equal(l.config.nets[2].mode, NET_PASSTHROUGH);
	assert_true(l.config.nets[2].soft);
	assert_string_equal(l.config.nets[2].tap, "tap0");
	assert_string_equal(l.config.nets[2].bridge, "br0");
	assert_int_equal(l.config.nets[2].n_queues, 4);
	assert_int_equal(l.config.nets[2].ring_size, 32768);
	assert_true(l.config.nets[2].mac_set);
	assert_memory_equal(l.config.nets[2].mac, "\x52\x54\x00\xaB\xcD\x01", 6);
	assert_int_equal(l.config.n_disks, 2);
	assert_string_equal(l.config.disks[0].path, "/d/root.img");
	assert_false(l.config.disks[0].read_only);
	assert_string_equal(l.config.disks[1].path, "/dev/b");
	assert_true(l.config.disks[1].read_only);
	assert_int_equal(l.config.serial, SERIAL_UNIX);
	assert_string_equal(l.config.serial_path, "/run/s");
	assert_string_equal(l.config.runtime_dir, "/tmp");
	assert_null(l.config.from_path);
}

static void what_is_not_said_has_a_default(void **state)
{
	struct line l;

	assert_int_equal(parse(&l, "run --name a --kernel k --cmdline="), 0);
	assert_null(l.config.initrd);
	assert_string_equal(l.config.cmdline, "");
	assert_int_equal(l.config.mem, MIB(512));
	assert_int_equal(l.config.cpus, 1);
	assert_int_equal(l.config.n_nets, 0);
	assert_int_equal(l.config.n_disks, 0);
	assert_int_equal(l.config.serial, SERIAL_STDIO);
	assert_string_equal(l.config.runtime_dir, CONFIG_RUNTIME_DIR);

	/* The kernel makes two of these. */
	assert_int_equal(parse(&l, "run --name a --kernel k --net soft,tap=tap%d --net soft,tap=tap%d"), 0);
	assert_int_equal(l.config.n_nets, 2);

	assert_int_equal(parse(&l, "receive --name a --from unix:/m --serial none"), 0);
	assert_string_equal(l.config.from_path, "/m");
	assert_int_equal(l.config.peer_uid, geteuid());
	assert_null(l.config.kernel);
	assert_int_equal(l.config.mem, 0);
	assert_int_equal(l.config.cpus, 0);
	assert_int_equal(l.config.node, -1);
	assert_int_equal(l.config.page_size, PAGE_SIZE);
	assert_int_equal(l.config.serial, SERIAL_NONE);
	assert_int_equal(parse(&l, "receive --name a"), 0);
	assert_null(l.config.from_path);
	assert_int_equal(parse(&l, "receive --name a --from=unix:m --peer-uid 4294967294"), 0);
	assert_int_equal(l.config.peer_uid, 4294967294u);
	assert_int_equal(parse(&l, "receive --name a --from unix:/m --net vdpa=/dev/a"), 0);
	assert_false(l.config.nets[0].split_only);
	assert_false(l.config.nets[0].any_order);
	assert_false(l.config.nets[0].shared_switch);
	assert_int_equal(parse(&l, "receive --name a --from unix:/m --net vdpa=/dev/a,shared-switch=on"), 0);
	assert_true(l.config.nets[0].shared_switch);
	assert_int_equal(parse(&l, "receive --name a --from unix:/m --mem 1G,node=3 --cpus 2"), 0);
	assert_int_equal(l.config.node, 3);
	assert_int_equal(l.config.mem, GIB(1));
	assert_int_equal(l.config.cpus, 2);

	assert_int_equal(parse(&l, "run --name a --kernel k --hugepages 2M"), 0);
	assert_int_equal(l.config.page_size, MIB(2));
	/* The source says how much. */
	assert_int_equal(parse(&l, "receive --name a --hugepages=1G"), 0);
	assert_int_equal(l.config.page_size, GIB(1));
}

static void a_wrong_line_is_refused_with_what_would_be_right(void **state)
{
	static const struct {
		const char *line, *why;
	} t[] = {
		{ "run", "--name NAME is missing; --kernel FILE is missing" },
		{ "receive", "--name NAME is missing" },
		{ "run --name a --kernel", "--kernel needs a value: --kernel FILE" },
		{ "run --kernel=", "--kernel has an empty value" },
		{ "run --name a --name b", "--name is given twice" },
		{ "run a", "\"a\" is not an option" },
		{ "run --", "not an option" },
		{ "run -n", "not an option" },
		{ "run --nam a", "--nam is not known; did you mean --name?" },
		{ "run --names=a", "--names is not known" },
		{ "run --from unix:/x", "--from is for \"ferry receive\"" },
		{ "receive --name a --from unix:", "tls:HOST:PORT is possible, or unix:PATH" },
		{ "receive --name a --from /x", "tls:HOST:PORT is possible, or unix:PATH" },
		{ "receive --name a --from tls:host --tls /d", "give tls:HOST:PORT" },
		{ "receive --name a --from tls:[::]:7000", "--tls DIR is missing" },
		{ "receive --name a --tls /d", "--tls and --peer are for --from tls:HOST:PORT" },
		{ "receive --name a --from unix:/x --peer hosta",
		  "--tls and --peer are for --from tls:HOST:PORT" },
		{ "receive --name a --from unix:" LONG, "at most 107 characters" },
		{ "receive --name a --from tcp:127.0.0.1:7000", "--to ssh:HOST" },
		{ "receive --name a --from unix:/x --peer-uid", "--peer-uid needs a value" },
		{ "receive --name a --from unix:/x --peer-uid root", "the number of a user" },
		{ "receive --name a --from unix:/x --peer-uid -1", "the number of a user" },
		{ "receive --name a --from unix:/x --peer-uid 1x", "the number of a user" },
		{ "receive --name a --from unix:/x --peer-uid 4294967295", "the number of a user" },
		{ "receive --name a --from unix:/x --peer-uid 99999999999999999999", "the number of a user" },
		{ "receive --name a --peer-uid 4242", "--from" },
		{ "receive --kernel k", "--kernel is for \"ferry run\"" },
		{ "run --name ..", "--name \"..\": 1 to 64" },
		{ "run --name a/b", "1 to 64" },
		{ "run --mem 15M", "16M to 4096G" },
		{ "run --mem 4097G", "16M to 4096G" },
		{ "run --mem 16777217", "steps of 4K" },
		{ "run --mem lots", "such as 512M" },
		{ "run --mem 1G,", "node=N" },
		{ "run --mem 1G,node=", "node=N" },
		{ "run --mem 1G,node=1024", "0 to 1023" },
		{ "run --mem 1G,node=a", "node=N" },
		{ "run --mem 1G,nodes=0", "node=N" },
		{ "run --mem ,node=0", "512M" },
		{ "run --hugepages 4K", "2M or 1G are possible" },
		{ "run --name a --kernel k --hugepages 1G", "512 MiB is no whole number of pages of 1024" },
		{ "run --name a --kernel k --mem 17M --hugepages 2M", "17 MiB is no whole number" },
		{ "receive --name a --mem 33M --hugepages 2M", "33 MiB is no whole number" },
		{ "run --cpus 0", "1 to 64" },
		{ "run --cpus 65", "1 to 64" },
		{ "run --cpus two", "1 to 64" },
		{ "run --cpu host", "baseline=FILE is possible" },
		{ "run --cpu baseline=", "baseline=FILE is possible" },
		{ "receive --cpu baseline=/f", "--cpu is for \"ferry run\"" },
		{ "run --serial tty", "stdio, unix:PATH, file:PATH[,max=SIZE], pty or none" },
		{ "run --serial unix:", "stdio, unix:PATH, file:PATH[,max=SIZE], pty or none" },
		{ "run --serial unix:/0123456789012345678901234567890123456789012345678901234567890123456789"
		  "01234567890123456789012345678901234567",
		  "at most 107" },
		{ "run --net soft,tap=x --net soft,tap=x", "x is given to two NICs" },
		{ "run --name a --kernel k --net vdpa=/a,shared-switch=on",
		  "shared-switch=on is for \"ferry receive\"" },
		{ "run --net vdpa=/a --net vdpa=/a", "/a is given to two NICs" },
		{ "run --net vdpa=1 --net vdpa=2 --net vdpa=3 --net vdpa=4 --net vdpa=5 --net vdpa=6 --net "
		  "vdpa=7 --net vdpa=8 --net vdpa=9",
		  "at most 8" },
		{ "run --clock-skew 5", "--clock-skew is for \"ferry receive\"" },
		{ "receive --clock-skew 0", "1 to 315360000 seconds are possible, or any" },
		{ "receive --clock-skew 315360001", "1 to 315360000 seconds" },
		{ "receive --clock-skew never", "seconds are possible, or any" },
		{ "receive --clock-skew -1", "seconds are possible, or any" },
		{ "run --log-level loud", "--log-level \"loud\": error, warn, info or debug are possible" },
		{ "run --core all", "--core \"all\": none, ferry or guest are possible" },
		{ "receive --core=", "--core has an empty value" },
		{ "run --stop-timeout 86401", "--stop-timeout \"86401\": 0 to 86400 seconds are possible" },
		{ "run --stop-timeout -1", "--stop-timeout \"-1\"" },
		{ "run --on-reset reboot", "--on-reset \"reboot\": restart or exit are possible" },
		{ "run --disk", "--disk needs a value: --disk PATH[,ro]" },
		{ "run --disk ,ro", "PATH is missing" },
		{ "run --disk /a,rw", "\"rw\" is not known" },
		{ "run --disk /a,ro,ro", "\"ro,ro\" is not known" },
		{ "run --disk /a,", "\"\" is not known" },
		{ "run --disk /a --disk /a,ro", "/a is given twice" },
		{ "run --disk 1 --disk 2 --disk 3 --disk 4 --disk 5 --disk 6 --disk 7 --disk 8 --disk 9",
		  "at most 8" },
	};
	struct line l;

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		assert_int_equal(parse(&l, t[i].line), -EINVAL);
		if (!strstr(l.err.text, t[i].why))
			fail_msg("\"%s\": \"%s\" does not say \"%s\"", t[i].line, l.err.text, t[i].why);
	}
}

static void a_reset_restarts_unless_it_is_to_end(void **state)
{
	struct line l;

	assert_int_equal(parse(&l, "run --name a --kernel k"), 0);
	assert_int_equal(l.config.on_reset, RESET_RESTARTS);
	assert_int_equal(parse(&l, "run --name a --kernel k --on-reset=exit"), 0);
	assert_int_equal(l.config.on_reset, RESET_ENDS);
	assert_int_equal(parse(&l, "receive --name a --from unix:/x --on-reset restart"), 0);
	assert_int_equal(l.config.on_reset, RESET_RESTARTS);
}

static void clock_skew_and_core_files_have_defaults(void **state)
{
	struct line l;

	assert_int_equal(parse(&l, "receive --name a --from unix:/x"), 0);
	assert_int_equal(l.config.clock_skew_ns, UINT64_C(60000000000));
	assert_int_equal(l.config.core, CORE_NONE);
	assert_int_equal(parse(&l, "receive --name a --from unix:/x --clock-skew 3600 --core ferry"), 0);
	assert_int_equal(l.config.clock_skew_ns, UINT64_C(3600000000000));
	assert_int_equal(l.config.core, CORE_FERRY);
	assert_int_equal(parse(&l, "receive --name a --from unix:/x --clock-skew=any --core=guest"), 0);
	assert_int_equal(l.config.clock_skew_ns, UINT64_MAX);
	assert_int_equal(l.config.core, CORE_GUEST);
	assert_int_equal(parse(&l, "run --name a --kernel k --core none"), 0);
	assert_int_equal(l.config.core, CORE_NONE);
}

static void messages_up_to_info_are_written_unless_told_otherwise(void **state)
{
	struct line l;

	assert_int_equal(parse(&l, "receive --name a --from unix:/x"), 0);
	assert_int_equal(l.config.log_level, LOG_INFO);
	assert_int_equal(parse(&l, "receive --name a --from unix:/x --log-level debug"), 0);
	assert_int_equal(l.config.log_level, LOG_DEBUG);
	assert_int_equal(parse(&l, "run --name a --kernel k --log-level=error"), 0);
	assert_int_equal(l.config.log_level, LOG_ERROR);
}

static void descriptors_stand_in_the_place_of_files(void **state)
{
	struct line l;

	for (int fd = 100; fd <= 105; fd++) {
		int made = open("/dev/zero", O_RDWR);

		assert_int_equal(dup2(made, fd), fd);
		close(made);
	}
	assert_int_equal(parse(&l,
			       "run --name a --kvm fd:100 --kernel fd:101 --initrd fd:102 --net vdpa=fd:103 "
			       "--disk fd:104 --disk fd:105,ro"),
			 0);
	assert_string_equal(l.config.kvm, "fd:100");
	assert_string_equal(l.config.kernel, "fd:101");
	assert_string_equal(l.config.initrd, "fd:102");
	assert_string_equal(l.config.nets[0].vdpa, "fd:103");
	assert_string_equal(l.config.disks[0].path, "fd:104");
	assert_string_equal(l.config.disks[1].path, "fd:105");
	config_release(&l.config);
	assert_int_equal(parse(&l, "receive --name a --net vdpa=fd:103 --disk fd:103"), -EINVAL);
	assert_non_null(strstr(l.err.text, "--disk: descriptor 103 is given twice"));
	config_release(&l.config);
	assert_int_equal(parse(&l, "receive --name a --from fd:100"), -EINVAL);
	assert_non_null(
		strstr(l.err.text, "--from: descriptor 100 is not a unix stream socket that listens"));
	config_release(&l.config);
	assert_int_equal(parse(&l, "receive --name a --kvm fd:nic0"), -EINVAL);
	assert_non_null(strstr(l.err.text, "--kvm: fd:nic0: the number of a descriptor is needed"));
	config_release(&l.config);
	for (int fd = 100; fd <= 105; fd++)
		close(fd);
	assert_int_equal(parse(&l, "run --name a --kernel fd:100"), -EINVAL);
	assert_non_null(strstr(l.err.text, "--kernel: descriptor 100 is not open"));
	config_release(&l.config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(run_takes_what_is_said),
		cmocka_unit_test(what_is_not_said_has_a_default),
		cmocka_unit_test(a_wrong_line_is_refused_with_what_would_be_right),
		cmocka_unit_test(a_reset_restarts_unless_it_is_to_end),
		cmocka_unit_test(clock_skew_and_core_files_have_defaults),
		cmocka_unit_test(messages_up_to_info_are_written_unless_told_otherwise),
		cmocka_unit_test(descriptors_stand_in_the_place_of_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
