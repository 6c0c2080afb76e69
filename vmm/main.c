/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The subcommands: start here. "run" and "receive" are lists of steps in vmm/app/. */
#include "vmm/app/console.h"
#include "vmm/app/doctor.h"
#include "vmm/app/life.h"
#include "vmm/app/receive.h"
#include "vmm/app/run.h"
#include "vmm/command.h"
#include "vmm/config.h"
#include "vmm/control/commands.h"
#include "vmm/control/connect.h"
#include "vmm/control/event_commands.h"
#include "vmm/control/job_commands.h"
#include "vmm/control/machine_commands.h"
#include "vmm/control/nic_commands.h"
#include "vmm/cpu_command.h"
#include "vmm/guard.h"

static int command_run(int argc, char **argv)
{
	struct error err = { 0 };
	struct app app;
	int status;

	app_init(&app);
	if (config_parse_run(&app.config, argc, argv, &err) < 0) {
		config_release(&app.config);
		return client_usage("run", &err);
	}
	app.mem = app.config.mem;
	app.cpus = app.config.cpus;
	status = app_main(&app, app_run_steps);
	config_release(&app.config);
	return status;
}

static int command_receive(int argc, char **argv)
{
	struct error err = { 0 };
	struct app app;
	int status;

	app_init(&app);
	if (config_parse_receive(&app.config, argc, argv, &err) < 0) {
		config_release(&app.config);
		return client_usage("receive", &err);
	}
	status = app_main(&app, app_receive_steps);
	config_release(&app.config);
	return status;
}

static int command_doctor(int argc, char **argv)
{
	return doctor_run(argc, argv, &app_doctor_parts);
}

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
		.fns = {
			[COMMAND_RUN] = command_run,
			[COMMAND_RECEIVE] = command_receive,
			[COMMAND_CONNECT] = client_connect,
			[COMMAND_MIGRATE] = client_migrate,
			[COMMAND_CPU] = command_cpu,
			[COMMAND_DOCTOR] = command_doctor,
			[COMMAND_LIST] = client_list,
			[COMMAND_PAUSE] = client_pause,
			[COMMAND_RESUME] = client_resume,
			[COMMAND_STOP] = client_stop,
			[COMMAND_RESET] = client_reset,
			[COMMAND_CONSOLE] = console_run,
			[COMMAND_EVENTS] = client_events,
			[COMMAND_NIC] = client_nic,
			[COMMAND_METRICS] = client_metrics,
			[COMMAND_STATUS] = client_status,
			[COMMAND_CANCEL] = client_cancel,
			[COMMAND_TUNE] = client_tune,
			[COMMAND_REPORT] = client_report,
		},
	};

	guard_failed_calls();
	if (log_keep_stdio() < 0)
		return VM_EXIT_ERROR;
	return command_main(&set, argc, argv);
}
