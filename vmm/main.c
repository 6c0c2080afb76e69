/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The subcommands, and the life of the process that has a VM: app_run_steps and app_receive_steps say in
 * which order it starts, app_destroy() how it ends. The one file of vmm/ that includes devices/ and
 * migration/.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "devices/machine.h"
#include "migration/compare.h"
#include "migration/incoming.h"
#include "migration/methods.h"
#include "migration/report_file.h"
#include "vmm/command.h"
#include "vmm/config.h"
#include "vmm/control/commands.h"
#include "vmm/control/connect.h"
#include "vmm/control/job_commands.h"
#include "vmm/control/server.h"
#include "vmm/cpu_command.h"
#include "vmm/guard.h"
#include "vmm/limits.h"
#include "vmm/notify.h"
#include "vmm/reset.h"
#include "vmm/shortage.h"
#include "vmm/x86/boot_files.h"
#include "vmm/x86/cpu_baseline.h"
#include "vmm/x86/platform.h"

/* A kernel that starts touches most of what it then has, page by page: entering memory that is there anyway
 * takes a fraction of the faults' time. In a guest larger than this that fraction would be of memory that it
 * may never touch. */
#define APP_PREFAULT_MAX GIB(1)

/* File descriptors that the VM, the kernel, the serial port, clients of the control socket and a migration
 * open or pass, beside vCPUs and devices. */
#define APP_DESCRIPTORS (36u + 2 * CONTROL_MAX_CLIENTS + CONTROL_MAX_CALLS)

/* Work that is done for a guest while it comes, on a thread of its own. */
struct app_work {
	bool running;
	pthread_t thread;
	/* An eventfd: the work has ended, with @ret and @err. */
	int done_fd;
	int ret;
	struct error err;
};

/* The process of one VM: what "run" and "receive" build, in this order, and take down in the other. */
struct app {
	struct vm_config config;
	struct guard guard;
	/* The guest's size: the operator's words, or the source's. */
	uint64_t mem;
	unsigned int cpus;
	struct boot_files boot;
	/* The connection to the source, while the guest comes. */
	struct destination *source;
	/* For messages of sources that asked, or whose guests cannot come. */
	struct log_limit checked_limit, refused_limit;
	bool has_vm;
	struct vm vm;
	/* The guard's word that a signal came, for the VM. */
	struct loop_source stop;
	struct reset reset;
	/* Clients are answered from the start on, with what there is of a guest. */
	struct control *control;
	struct methods methods;
	struct entrance entrance;
	struct machine machine;
	struct app_work work;
	/* Of a guest that comes. */
	struct report_file report;
};

/* Takes steps in their order, up to the first that fails. The list ends with NULL. */
static int app_take(struct app *app, int (*const *steps)(struct app *app, struct error *err),
		    struct error *err)
{
	int ret = 0;

	for (; ret == 0 && *steps; steps++)
		ret = (*steps)(app, err);
	return ret;
}

static int app_listen(struct app *app, struct error *err)
{
	const struct control_config config = {
		.runtime_dir = app->config.runtime_dir,
		.name = app->config.name,
		.methods = methods_all,
		.n_methods = METHODS_N,
		.opaque = &app->methods,
		.guard = &app->guard,
	};
	int ret = entrance_init(
		&app->entrance,
		app->config.receives ? "this Ferry is still starting" : "this VM has its guest already", err);

	if (ret == 0)
		ret = methods_init(&app->methods, &app->entrance, err);
	return ret < 0 ? ret : control_create(&app->control, &config, err);
}

static int app_open_backends(struct app *app, struct error *err)
{
	return machine_open(&app->machine, err);
}

/* A vDPA device reaches all of its guest's memory from the start. */
static enum limits_use app_memory_use(const struct vm_config *config)
{
	enum limits_use use = LIMITS_LAZY;

	for (unsigned int i = 0; i < config->n_nets; i++)
		use = config->nets[i].vdpa ? LIMITS_PINNED : use;
	return use;
}

/* Warns of a limit that is too low now: a device does not say whether it pins memory until it is given some,
 * which is when a source comes. */
static void app_foresee_memlock(const struct vm_config *config)
{
	struct limits_memory host;
	struct error err = { 0 };

	limits_get_memory(&host, LIMITS_MEMINFO);
	if (app_memory_use(config) == LIMITS_PINNED &&
	    limits_check_memlock(config->mem ? config->mem : host.available, &err) < 0)
		log_warn("%s", err.text);
}

/* Looks for what a guest that comes will need, before it is waited for: else its source would be the one to
 * find out that it is not to be had. */
static int app_foresee(struct app *app, struct error *err)
{
	int ret = kvm_check_host(err);

	if (ret < 0)
		return ret;
	app_foresee_memlock(&app->config);
	return machine_check(&app->machine, err);
}

/* Checks the limit of file descriptors for all at once: guest and devices open theirs one by one, and only
 * the last of them would find none left. */
static int app_check_descriptors(struct app *app, struct error *err)
{
	return shortage_check_descriptors(
		APP_DESCRIPTORS + app->config.cpus + machine_descriptors(&app->machine), err);
}

static int app_make_vm(struct app *app, struct error *err)
{
	int ret;

	app->has_vm = true;
	ret = vm_frame(&app->vm, app->mem, app->cpus, err);
	app->vm.memory.dumped = app->config.core == CORE_GUEST;
	app->vm.stop_fd = app->guard.stop_fd;
	app->vm.boot = &app->boot;
	return ret;
}

/* Leaves out what the hosts that the guest is to move between do not have in common. */
static int app_limit_cpu(struct app *app, struct error *err)
{
	struct cpuid_offer offer;
	int ret;

	if (!app->config.cpu_baseline)
		return 0;
	ret = cpu_baseline_load(&offer, app->config.cpu_baseline, err);
	return ret < 0 ? ret : vm_limit_cpu(&app->vm, &offer, err);
}

/* The guard's word stays, so it is not watched any longer. */
static void app_stopped(struct loop_source *src, uint32_t events)
{
	struct app *app = container_of(src, struct app, stop);

	loop_del(&app->vm.loop, src);
	gate_end(&app->vm.gate, VM_EXIT_ERROR);
}

static int app_watch_signals(struct app *app, struct error *err)
{
	int ret;

	app->stop = (struct loop_source){ .fd = app->guard.stop_fd, .fn = app_stopped };
	ret = loop_add(&app->vm.loop, &app->stop, EPOLLIN);
	if (ret < 0) {
		error_add(err, "cannot watch signals: %s", strerror(-ret));
		return ret;
	}
	return 0;
}

static int app_watch_reset(struct app *app, struct error *err)
{
	bool pinned = app_memory_use(&app->config) == LIMITS_PINNED;

	if (app->config.on_reset == RESET_ENDS)
		return 0;
	return reset_init(&app->reset, &app->vm, pinned ? MEMORY_OVERWRITE : MEMORY_DROP, err);
}

static int app_add_platform(struct app *app, struct error *err)
{
	return platform_init(&app->vm.pio, &app->vm.gate, err);
}

static int app_add_devices(struct app *app, struct error *err)
{
	return machine_build(&app->machine, &app->vm, err);
}

/* The part of the machine that costs the same for every size. */
static int (*const app_frame_steps[])(struct app *app, struct error *err) = {
	app_make_vm,     app_limit_cpu, app_watch_signals, app_watch_reset, app_add_platform,
	app_add_devices, NULL,
};

static int app_frame(struct app *app, struct error *err)
{
	return app_take(app, app_frame_steps, err);
}

static int app_fill(struct app *app, struct error *err)
{
	return vm_fill(&app->vm, err);
}

/* The rest of the machine, once there is memory: KVM's tables for that, and vCPUs. Their threads come before
 * the devices have memory: the kernel is busy with the process's memory then. */
static int app_equip(struct app *app, struct error *err)
{
	int ret = vm_equip(&app->vm, err);

	return ret < 0 ? ret : vm_start(&app->vm, err);
}

static int app_keep_power_on(struct app *app, struct error *err)
{
	return app->config.on_reset == RESET_RESTARTS ? vm_keep_power_on(&app->vm, err) : 0;
}

static int app_map(struct app *app, struct error *err)
{
	return machine_map(&app->machine, err);
}

static int app_wait_mapped(struct app *app, struct error *err)
{
	return machine_wait_mapped(&app->machine, err);
}

static int app_open_boot(struct app *app, struct error *err)
{
	const struct vm_config *config = &app->config;

	return boot_files_open(&app->boot, config->kernel, config->initrd, config->cmdline, err);
}

static int app_boot(struct app *app, struct error *err)
{
	return reset_boot(&app->vm, err);
}

static int app_go(struct app *app, struct error *err)
{
	vm_prefault_present(&app->vm, APP_PREFAULT_MAX);
	gate_resume(&app->vm.gate);
	return 0;
}

/* "run": a guest that boots here. When the last step returns 0 it runs. */
static int (*const app_run_steps[])(struct app *app, struct error *err) = {
	/* The name is this process's from here on, and whoever calls it is answered. */
	app_listen,
	/* The host gives devices and descriptors. */
	app_open_backends,
	app_check_descriptors,
	/* The machine. */
	app_frame,
	app_fill,
	app_equip,
	app_keep_power_on,
	app_map,
	/* Memory gets its contents. */
	app_open_boot,
	app_boot,
	/* The guest begins while the last device still gets its memory. */
	app_go,
	app_wait_mapped,
	NULL,
};

/* Enters the guest's pages that came before KVM had its memory. */
static int app_prefault(struct app *app, struct error *err)
{
	vm_prefault_present(&app->vm, app->vm.memory.size);
	return 0;
}

/* Steps that take longer the larger the guest is. */
static int (*const app_work_steps[])(struct app *app, struct error *err) = {
	app_equip, app_keep_power_on, app_prefault, app_map, app_wait_mapped, NULL,
};

static void *app_work_thread(void *arg)
{
	struct app *app = arg;

	app->work.ret = app_take(app, app_work_steps, &app->work.err);
	loop_signal(app->work.done_fd);
	return NULL;
}

/* Starts app_work_steps, which go on while the guest comes. */
static int app_work_begin(struct app *app, struct error *err)
{
	int ret;

	app->work.done_fd = eventfd(0, EFD_CLOEXEC);
	if (app->work.done_fd < 0) {
		error_add(err, "cannot create an eventfd: %s%s", strerror(errno), shortage_advice(-errno));
		return -errno;
	}
	ret = -pthread_create(&app->work.thread, NULL, app_work_thread, app);
	app->work.running = ret == 0;
	if (ret < 0) {
		error_add(err, "cannot start a thread: %s%s", strerror(-ret), shortage_advice(ret));
		return ret;
	}
	return 0;
}

static int app_work_end(void *opaque, struct error *err)
{
	struct app *app = opaque;
	struct app_work *work = &app->work;

	/* The path is another destination's, before the source hears that the guest runs here. */
	entrance_close_doors(&app->entrance);

	pthread_join(work->thread, NULL);
	work->running = false;
	if (work->ret < 0) {
		error_add(err, "%s", work->err.text);
		return work->ret;
	}
	return 0;
}

/* Bounds the guest by what the operator has allowed, or else by what the host has. A reason against it does
 * not end the comparison: app_compare() adds its own, and fails for all of them. */
static int app_check_size(struct app *app, struct error *err)
{
	const struct vm_config *config = &app->config;
	enum limits_use use = app_memory_use(config);
	struct limits_memory host;

	limits_get_memory(&host, LIMITS_MEMINFO);
	if (config->mem && config->mem != app->mem)
		error_add(err, "the guest has %llu MiB of memory, --mem says %llu MiB",
			  (unsigned long long)(app->mem >> 20), (unsigned long long)(config->mem >> 20));
	else if (!config->mem)
		limits_check_memory(&host, app->mem, use, err);
	/* A device says whether it pins memory when it is given some, which is too late for who only asks. */
	if (app->source->check && use == LIMITS_PINNED)
		limits_check_memlock(app->mem, err);
	if (config->cpus && config->cpus != app->cpus)
		error_add(err, "the guest has %u vCPUs, --cpus says %u", app->cpus, config->cpus);
	return 0;
}

static int app_compare(struct app *app, struct error *err)
{
	return compare_hello(app->source, &app->vm, err);
}

static int app_ready(struct app *app, struct error *err)
{
	return destination_ready(app->source, err);
}

/* Compares what a source describes as a whole, before memory is taken for the guest. */
static int (*const app_compare_steps[])(struct app *app, struct error *err) = {
	app_check_size,
	app_frame,
	app_compare,
	NULL,
};

/* Tells a service manager, which may have units wait for that, and may not be there. */
static void app_say_ready(void)
{
	struct error err = { 0 };

	if (notify_ready(&err) < 0)
		log_warn("%s", err.text);
}

/* Opens the ways in, and says so: whoever waits for that may begin a migration now. */
static int app_let_in(struct app *app, struct error *err)
{
	const struct vm_config *config = &app->config;
	int ret = 0;

	arrivals_open(&app->entrance.arrivals);
	if (config->from_path)
		ret = entrance_open(&app->entrance, config->from_path, config->peer_uid, &app->guard, err);
	else if (config->from_tls)
		ret = entrance_open_tls(&app->entrance, config->from_tls, config->tls_dir, config->tls_peer,
					err);
	if (ret < 0)
		return ret;
	log_info("ready for a source, by \"ferry connect %s\"%s%s", config->name,
		 config->from_path  ? " or at unix:"
		 : config->from_tls ? " or at tls:"
				    : "",
		 config->from_path  ? config->from_path
		 : config->from_tls ? config->from_tls
				    : "");
	app_say_ready();
	return 0;
}

/* Whoever comes from here on is too late, unless this guest does not come after all. */
static int app_close_ways(struct app *app, struct error *err)
{
	arrivals_close(&app->entrance.arrivals, "another source was faster, and its guest is being received");
	return 0;
}

/* READY goes out at once, however large the guest is; to a check it is all. */
static int (*const app_admit_steps[])(struct app *app, struct error *err) = {
	app_close_ways, app_fill, app_ready, app_work_begin, NULL,
};

static int app_prepare(struct app *app, struct error *err)
{
	int ret = app_take(app, app_compare_steps, err);

	if (ret < 0)
		return ret;
	return app->source->check ? app_ready(app, err) : app_take(app, app_admit_steps, err);
}

/* Goes back to where a source is waited for: what app_prepare() has built is gone, and NICs' devices are this
 * process's still. */
static int app_take_down(struct app *app, struct error *err)
{
	if (app->work.done_fd >= 0)
		close(app->work.done_fd);
	app->work.done_fd = -1;
	if (!machine_dismantle(&app->machine)) {
		error_add(err, "the storage of a disk does not answer");
		return -EIO;
	}
	if (app->has_vm)
		vm_destroy(&app->vm);
	app->has_vm = false;
	reset_exit(&app->reset);
	boot_files_close(&app->boot);
	arrivals_open(&app->entrance.arrivals);
	return machine_open(&app->machine, err);
}

/* Answers a source that does not send its guest, because it only asked or because of @reason. */
static int app_turn_away(struct app *app, const struct error *reason, struct error *err)
{
	if (reason->text[0]) {
		destination_refuse(app->source, reason);
		destination_report_end(app->source, reason);
		report_file_write(&app->report, &app->source->report);
		log_limited(&app->refused_limit, LOG_WARN,
			    "a guest cannot come here, and a source is still waited for: %s", reason->text);
	} else {
		log_limited(&app->checked_limit, LOG_INFO, "a guest was compared, and could come here");
	}
	destination_close(app->source);
	arrivals_settle(&app->entrance.arrivals, reason->text[0] ? -ENOTSUP : 0, reason->text);
	return app_take_down(app, err);
}

/* Answers a source, and takes its guest. Returns 1 where it does not come, and the next source may. */
static int app_meet(struct app *app, struct error *err)
{
	struct incoming_work work = { .end = app_work_end, .opaque = app };
	struct error reason = { 0 };
	int ret;

	app->mem = app->source->mem;
	app->cpus = app->source->cpus;
	ret = app_prepare(app, &reason);
	if (ret < 0 || app->source->check) {
		if (ret < 0 && !reason.text[0])
			error_add(&reason, "%s", strerror(-ret));
		ret = app_turn_away(app, &reason, err);
		return ret < 0 ? ret : 1;
	}
	work.fd = app->work.done_fd;
	ret = incoming_run(app->source, &app->vm, &work, err);
	report_file_write(&app->report, &app->source->report);
	destination_close(app->source);
	arrivals_settle(&app->entrance.arrivals, ret, err->text);
	arrivals_close(&app->entrance.arrivals, "this VM has its guest already");
	return ret;
}

/* Waits for a source whose guest can come here, and takes it. */
static int app_arrive(struct app *app, struct error *err)
{
	const struct destination_config config = { .arrivals = &app->entrance.arrivals,
						   .cancel_fd = app->guard.stop_fd,
						   .clock_skew_ns = app->config.clock_skew_ns };
	struct destination source;
	int ret;

	app->report.path = app->config.report;
	do {
		methods_set_guest(&app->methods, METHODS_AWAITED, NULL);
		ret = destination_accept(&source, &config, err);
		if (ret < 0)
			return ret;
		methods_set_guest(&app->methods, METHODS_ARRIVES, NULL);
		app->source = &source;
		ret = app_meet(app, err);
		app->source = NULL;
	} while (ret == 1);
	return ret;
}

/* "receive": a guest that comes from a source. When the last step returns 0 it runs here. */
static int (*const app_receive_steps[])(struct app *app, struct error *err) = {
	app_listen, app_open_backends, app_foresee, app_check_descriptors, app_let_in, app_arrive, NULL,
};

static void app_destroy(struct app *app)
{
	struct error dropped = { 0 };

	if (app->control)
		control_destroy(app->control);
	methods_exit(&app->methods);
	entrance_exit(&app->entrance);
	if (app->work.running)
		app->work.ret = app_work_end(app, &dropped);
	if (app->work.done_fd >= 0)
		close(app->work.done_fd);
	/* vCPUs first: nothing else may be in a device when it goes. */
	if (app->has_vm)
		gate_stop(&app->vm.gate);
	reset_exit(&app->reset);
	if (machine_destroy(&app->machine) && app->has_vm)
		vm_destroy(&app->vm);
	boot_files_close(&app->boot);
	report_file_close(&app->report);
}

static int app_live(struct app *app, int (*const *steps)(struct app *app, struct error *err))
{
	struct error err = { 0 };
	int ret;

	ret = log_start();
	if (ret < 0)
		error_add(&err, "cannot start the thread that writes messages: %s%s", strerror(-ret),
			  shortage_advice(ret));
	if (ret == 0)
		ret = app_take(app, steps, &err);
	if (ret == 0) {
		guard_started(&app->guard);
		if (!app->config.receives)
			app_say_ready();
		methods_set_guest(&app->methods, METHODS_HERE, &app->vm);
		ret = loop_run(&app->vm.loop);
	}
	if (ret < 0 && !guard_signal(&app->guard))
		log_error("%s", err.text[0] ? err.text : strerror(-ret));
	return ret < 0 ? VM_EXIT_ERROR : (int)app->vm.gate.exit;
}

/* The life of the process: takes @steps, stays with the guest until it ends, and takes all down. */
static int app_main(struct app *app, int (*const *steps)(struct app *app, struct error *err))
{
	struct error err = { 0 };
	int status, signo;

	log_level = app->config.log_level;
	/* Before anything else is opened: the process that takes connections is to have none of it. */
	if (app->config.from_path && door_fork(&app->entrance.door, &err) < 0) {
		log_error("%s", err.text);
		return VM_EXIT_ERROR;
	}
	shortage_raise_descriptors();
	if (guard_init(&app->guard, &err) < 0) {
		log_error("%s", err.text);
		return VM_EXIT_ERROR;
	}
	/* A core file is readable by whoever can read where it is written. */
	if (app->config.core == CORE_NONE && prctl(PR_SET_DUMPABLE, 0) < 0)
		log_warn("core files cannot be switched off: %s", strerror(errno));
	status = app_live(app, steps);
	app_destroy(app);
	signo = guard_exit(&app->guard);
	log_stop();
	if (signo)
		guard_die(signo);
	return status;
}

static void app_init(struct app *app)
{
	*app = (struct app){ .machine = { .config = &app->config, .guard = &app->guard },
			     .methods.here_fd = -1,
			     .boot = BOOT_FILES_NONE,
			     .entrance = { .arrivals.event_fd = -1, .door.fd = -1 },
			     .reset.due.fd = -1,
			     .work.done_fd = -1 };
}

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
