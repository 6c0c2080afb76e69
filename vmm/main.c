/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The subcommands: start here. "run" and "receive" are lists of steps in vmm/app/. */
#include "vmm/app/life.h"
#include "vmm/app/receive.h"
#include "vmm/app/run.h"
#include "vmm/command.h"
#include "vmm/config.h"
#include "vmm/control/commands.h"
#include "vmm/control/connect.h"
#include "vmm/control/job_commands.h"
#include "vmm/cpu_command.h"
#include "vmm/guard.h"

static int command_run(int argc, char **argv)
{
	struct error err = { 0 };
	struct app app;

	app_init(&app);
	if (config_parse_run(&app.config, argc, argv, &err) < 0)
		return client_usage("run", &err);
	app.mem = app.config.mem;
	app.cpus = app.config.cpus;
	return app_main(&app, app_run_steps);
}

static int command_receive(int argc, char **argv)
{
	struct error err = { 0 };
	struct app app;

	app_init(&app);
	if (config_parse_receive(&app.config, argc, argv, &err) < 0)
		return client_usage("receive", &err);
	return app_main(&app, app_receive_steps);
}

static const struct command commands[] = {
	{ "run", "boot a guest and stay with it until it ends", command_run, config_help_run },
	{ "receive", "wait for a guest from another Ferry, then stay with it", command_receive,
	  config_help_receive },
	{ "connect", "be a source's connection to a Ferry that waits in receive", client_connect,
	  client_help_connect },
	{ "migrate", "move a running guest to a Ferry that waits in receive", client_migrate,
	  client_help_migrate },
	{ "cpu", "print the CPU features that guests can have here, or that hosts have in common",
	  command_cpu, command_help_cpu },
	{ "status", "say how far a migration is, or how it has ended", client_status, client_help_status },
	{ "cancel", "call off a migration that is under way", client_cancel, client_help_cancel },
	{ "tune", "change what a migration that is under way may take", client_tune, client_help_tune },
	{ "report", "draw the report of a migration", client_report, client_help_report },
	{ "resume", "let a guest go on whose migration ended with unknown outcome", client_resume,
	  client_help_resume },
};

int main(int argc, char **argv)
{
	static const struct command_set set = {
		.head = "Ferry runs Linux guests with vDPA NICs and moves them, live, with all of the NIC's "
			"state.",
		.foot = "Exit codes: 0 the guest powered off or has moved; 1 error; 2 wrong usage; 3 the "
			"guest reset itself,\n"
			"and cannot or must not start again; 4 the guest crashed; 5 a migration's outcome is "
			"unknown, and the\n"
			"guest paused here or its process ended.",
		.commands = commands,
		.n_commands = ARRAY_SIZE(commands),
	};

	guard_failed_calls();
	if (log_keep_stdio() < 0)
		return VM_EXIT_ERROR;
	return command_main(&set, argc, argv);
}
