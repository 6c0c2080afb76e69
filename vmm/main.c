/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The subcommands, and the start of a VM in the order in which it happens. The one file of vmm/ that includes
 * devices/ and migration/. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "devices/blk/blk.h"
#include "devices/net/net.h"
#include "devices/serial/serial.h"
#include "devices/vdpa/soft/soft.h"
#include "devices/vdpa/vhost.h"
#include "migration/compare.h"
#include "migration/incoming.h"
#include "migration/methods.h"
#include "vmm/control/commands.h"
#include "vmm/config.h"
#include "vmm/control/server.h"
#include "vmm/guard.h"
#include "vmm/limits.h"
#include "vmm/runtime_dir.h"
#include "vmm/shortage.h"
#include "vmm/x86/acpi.h"
#include "vmm/x86/boot.h"
#include "vmm/x86/cpu.h"
#include "vmm/x86/platform.h"

/* A kernel that starts touches most of what it then has, page by page: entering memory that is there anyway
 * takes a fraction of the faults' time. In a guest larger than this that fraction would be of memory that it
 * may never touch. */
#define APP_PREFAULT_MAX GIB(1)

/* File descriptors that the VM, the serial port, clients of the control socket and a migration open beside
 * the devices; and those of a disk: its file, a loop, the guest's kick and interrupts. */
#define APP_DESCRIPTORS      (32u + CONTROL_MAX_CLIENTS + CONTROL_MAX_CALLS)
#define APP_DISK_DESCRIPTORS 12u

/* Work that is done for a guest while it comes, on a thread of its own. */
struct app_work {
	bool running;
	pthread_t thread;
	int done_fd; /* eventfd: the work has ended, with @ret and @err */
	int ret;
	struct error err;
};

/* For the disks' storage to complete what it has, at the end: nobody needs its answer any more. */
#define APP_STORAGE_MS 2000

/* One VM's process: what "run" and "receive" build, in this order, and take down in the other. */
struct app {
	struct vm_config config;
	struct guard guard;
	struct loop_source stop; /* the guard's word that a signal came, for the VM */
	bool has_vm;
	struct vm vm;
	struct serial *serial;
	bool has_pci;
	struct pci_bus pci;
	struct vdpa *backends[CONFIG_MAX_NETS]; /* that no NIC has taken over yet */
	unsigned int n_nets;
	struct net *nets[CONFIG_MAX_NETS];
	unsigned int n_disks;
	struct blk *disks[CONFIG_MAX_DISKS];
	struct control *control;
	struct app_work work;
	struct methods methods;
};

/* Called once: the guard's word stays, so it is not watched any longer. */
static void app_stopped(struct loop_source *src, uint32_t events)
{
	struct app *app = container_of(src, struct app, stop);

	loop_del(&app->vm.loop, src);
	gate_end(&app->vm.gate, VM_EXIT_ERROR);
}

/*
 * Guest memory for the devices of all NICs. The last of them is still at it afterwards, while the guest's
 * kernel is loaded and begins to run: app_wait_mapped(). When all threads are there, see net.h.
 */
static int app_map(struct app *app, struct error *err)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < app->n_nets; i++) {
		if (i > 0)
			ret = net_wait_mapped(app->nets[i - 1], err);
		if (ret == 0)
			net_map_begin(app->nets[i]);
	}
	return ret;
}

static int app_wait_mapped(struct app *app, struct error *err)
{
	return app->n_nets > 0 ? net_wait_mapped(app->nets[app->n_nets - 1], err) : 0;
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

	return control_create(&app->control, &app->vm.loop, &config, err);
}

/* A vDPA device reaches all of its guest's memory from the start. */
static enum limits_use app_memory_use(const struct vm_config *config)
{
	enum limits_use use = LIMITS_LAZY;

	for (unsigned int i = 0; i < config->n_nets; i++)
		use = config->nets[i].vdpa ? LIMITS_PINNED : use;
	return use;
}

/* A device does not say whether it pins memory until it is given some: that the limit is too low would be
 * found when a source comes. */
static void app_foresee_memlock(const struct vm_config *config)
{
	struct limits_memory host;
	struct error err = { 0 };

	limits_get_memory(&host, LIMITS_MEMINFO);
	if (app_memory_use(config) == LIMITS_PINNED &&
	    limits_check_memlock(config->mem ? config->mem : host.available, &err) < 0)
		log_warn("%s", err.text);
}

/* What a guest that comes will need: else its source would be the one to find out that it is not to be had.
 */
static int app_foresee(const struct vm_config *config, struct error *err)
{
	int dir_fd, ret = runtime_dir_open(config->runtime_dir, &dir_fd, err);

	if (ret < 0)
		return ret;
	close(dir_fd);
	ret = kvm_check_host(err);
	if (ret == 0)
		app_foresee_memlock(config);
	for (unsigned int i = 0; ret == 0 && i < config->n_disks; i++)
		ret = blk_check(config->disks[i].path, config->disks[i].read_only, err);
	return ret;
}

/* Checks the limit of file descriptors for all at once: guest and devices open theirs one by one, and the
 * last of them would be the one to find none. */
static int app_check_descriptors(const struct app *app, struct error *err)
{
	unsigned int n = APP_DESCRIPTORS + app->config.cpus + app->config.n_disks * APP_DISK_DESCRIPTORS;

	for (unsigned int i = 0; i < app->config.n_nets; i++)
		n += net_descriptors(app->backends[i]);
	return shortage_check_descriptors(n, err);
}

/* Opens the NICs, and looks at the disks, before a guest is waited for: so what cannot be had is said at
 * once, and nobody else can take a NIC. */
static int app_claim(struct app *app, struct error *err)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < app->config.n_nets; i++) {
		const struct net_config *net = &app->config.nets[i];

		ret = net->soft ? soft_vdpa_open(&app->backends[i], net, err)
				: vhost_open(&app->backends[i], net->vdpa, err);
		if (ret == 0 && app->backends[i]->undo)
			guard_add(&app->guard, app->backends[i]->undo);
	}
	if (ret == 0 && app->config.from)
		ret = app_foresee(&app->config, err);
	return ret < 0 ? ret : app_check_descriptors(app, err);
}

/* The part of the machine that costs the same for every size: interrupt controllers, and everything on its
 * buses. */
static int app_frame(struct app *app, uint64_t mem, unsigned int cpus, struct error *err)
{
	int ret;

	app->has_vm = true;
	ret = vm_frame(&app->vm, mem, cpus, err);
	if (ret < 0)
		return ret;
	app->vm.memory.dumped = app->config.core == CORE_GUEST;
	app->vm.stop_fd = app->guard.stop_fd;
	app->methods.vm = &app->vm;
	app->stop = (struct loop_source){ .fd = app->guard.stop_fd, .fn = app_stopped };
	ret = loop_add(&app->vm.loop, &app->stop, EPOLLIN);
	if (ret < 0)
		return error_add(err, ret, "cannot watch signals: %s", strerror(-ret));
	ret = app_listen(app, err);
	if (ret == 0)
		ret = platform_init(&app->vm.pio, &app->vm.gate, err);
	if (ret == 0)
		ret = serial_create(&app->serial, &app->vm, &app->config, err);
	if (ret == 0)
		serial_guard(app->serial, &app->guard);
	if (ret == 0)
		ret = pci_bus_init(&app->pci, &app->vm, err);
	app->has_pci = ret == 0;
	for (; ret == 0 && app->n_nets < app->config.n_nets; app->n_nets += ret == 0) {
		struct vdpa *backend = app->backends[app->n_nets];

		app->backends[app->n_nets] = NULL;
		ret = net_create(&app->nets[app->n_nets], &app->vm, &app->pci, backend, app->n_nets,
				 &app->config.nets[app->n_nets], err);
	}
	for (; ret == 0 && app->n_disks < app->config.n_disks; app->n_disks += ret == 0) {
		const struct disk_config *disk = &app->config.disks[app->n_disks];
		const struct blk_setup setup = { .path = disk->path,
						 .read_only = disk->read_only,
						 .arriving = app->config.from != NULL,
						 .index = app->n_disks };

		ret = blk_create(&app->disks[app->n_disks], &app->vm, &app->pci, &setup, err);
	}
	return ret;
}

/* The rest of the machine, once there is memory: KVM's tables for that, and vCPUs. */
static int app_equip(struct app *app, struct error *err)
{
	int ret = vm_equip(&app->vm, err);

	return ret < 0 ? ret : vm_start(&app->vm, err);
}

static int app_boot(struct app *app, struct error *err)
{
	struct boot_entry entry;
	int ret = app_frame(app, app->config.mem, app->config.cpus, err);

	if (ret == 0)
		ret = vm_fill(&app->vm, err);
	if (ret == 0)
		ret = app_equip(app, err);
	if (ret == 0)
		ret = app_map(app, err);
	if (ret == 0)
		ret = platform_power_on(&app->vm.memory, err);
	if (ret == 0)
		ret = acpi_write(&app->vm.memory, app->config.cpus, err);
	if (ret == 0)
		ret = boot_load(&app->vm.memory, app->config.kernel, app->config.initrd, app->config.cmdline,
				&entry, err);
	if (ret == 0)
		ret = cpu_set_entry(&app->vm.vcpus[0], &entry, err);
	if (ret < 0)
		return ret;
	vm_prefault_present(&app->vm, APP_PREFAULT_MAX);
	gate_resume(&app->vm.gate);
	return app_wait_mapped(app, err);
}

/* Does what takes longer the larger the guest is. vCPU threads come first, for the kernel is busy with the
 * process's memory later; pages of the guest that came before KVM had its memory are entered in between. */
static int app_work(struct app *app, struct error *err)
{
	int ret = app_equip(app, err);

	if (ret == 0)
		vm_prefault_present(&app->vm, app->vm.memory.size);
	if (ret == 0)
		ret = app_map(app, err);
	return ret < 0 ? ret : app_wait_mapped(app, err);
}

static void *app_work_thread(void *arg)
{
	struct app *app = arg;

	app->work.ret = app_work(app, &app->work.err);
	loop_signal(app->work.done_fd);
	return NULL;
}

/* Starts app_work(), which goes on while the guest comes. */
static int app_work_begin(struct app *app, struct error *err)
{
	int ret;

	app->work.done_fd = eventfd(0, EFD_CLOEXEC);
	if (app->work.done_fd < 0)
		return error_add(err, -errno, "cannot create an eventfd: %s%s", strerror(errno),
				 shortage_advice(-errno));
	ret = -pthread_create(&app->work.thread, NULL, app_work_thread, app);
	app->work.running = ret == 0;
	return ret < 0 ? error_add(err, ret, "cannot start a thread: %s%s", strerror(-ret),
				   shortage_advice(ret))
		       : 0;
}

static int app_work_end(void *opaque, struct error *err)
{
	struct app_work *work = &((struct app *)opaque)->work;

	pthread_join(work->thread, NULL);
	work->running = false;
	return work->ret < 0 ? error_add(err, work->ret, "%s", work->err.text) : 0;
}

/* Bounds the guest by what the operator has allowed, or else by what the host has. */
static void app_check_size(const struct app *app, const struct destination *dst, struct error *err)
{
	const struct vm_config *config = &app->config;
	enum limits_use use = app_memory_use(config);
	struct limits_memory host;

	limits_get_memory(&host, LIMITS_MEMINFO);
	if (config->mem && config->mem != dst->mem)
		error_add(err, -EINVAL, "the guest has %llu MiB of memory, --mem says %llu MiB",
			  (unsigned long long)(dst->mem >> 20), (unsigned long long)(config->mem >> 20));
	else if (!config->mem)
		limits_check_memory(&host, dst->mem, use, err);
	if (config->cpus && config->cpus != dst->cpus)
		error_add(err, -EINVAL, "the guest has %u vCPUs, --cpus says %u", dst->cpus, config->cpus);
}

/* Compares what a source describes as a whole before it takes memory for the guest; then READY goes out at
 * once, however large the guest is. */
static int app_prepare(struct app *app, struct destination *dst, struct error *err)
{
	int ret;

	app_check_size(app, dst, err);
	ret = app_frame(app, dst->mem, dst->cpus, err);
	if (ret == 0)
		ret = compare_hello(dst, &app->vm, err);
	if (ret == 0)
		ret = vm_fill(&app->vm, err);
	if (ret == 0)
		ret = destination_ready(dst, err);
	return ret < 0 ? ret : app_work_begin(app, err);
}

/* Takes a guest from a source. When it returns 0 the guest runs here. */
static int app_arrive(struct app *app, struct error *err)
{
	const struct destination_config config = { .from = app->config.from,
						   .cancel_fd = app->guard.stop_fd,
						   .clock_skew_ns = app->config.clock_skew_ns };
	struct incoming_work work = { .end = app_work_end, .opaque = app };
	struct error reason = { 0 };
	struct destination dst;
	int ret;

	ret = destination_accept(&dst, &config, err);
	if (ret < 0)
		return ret;
	ret = app_prepare(app, &dst, &reason);
	work.fd = app->work.done_fd;
	if (ret == 0) {
		ret = incoming_run(&dst, &app->vm, &work, err);
	} else {
		destination_refuse(&dst, &reason);
		error_add(err, ret, "the guest was not taken over: %s", reason.text);
	}
	destination_close(&dst);
	return ret;
}

static void app_destroy(struct app *app)
{
	struct error dropped = { 0 };
	bool in_use = false;
	uint64_t storage_ns;

	if (app->control)
		control_destroy(app->control);
	if (app->work.running)
		app->work.ret = app_work_end(app, &dropped);
	if (app->work.done_fd >= 0)
		close(app->work.done_fd);
	/* vCPUs first: nothing else may be in a device when it goes. */
	if (app->has_vm)
		gate_stop(&app->vm.gate);
	storage_ns = end_of(APP_STORAGE_MS);
	while (app->n_disks > 0)
		in_use |= !blk_destroy(app->disks[--app->n_disks], storage_ns);
	while (app->n_nets > 0)
		net_destroy(app->nets[--app->n_nets]);
	for (unsigned int i = 0; i < app->config.n_nets; i++) {
		if (app->backends[i])
			app->backends[i]->ops->close(app->backends[i]);
	}
	if (app->serial)
		serial_destroy(app->serial);
	/* The kernel takes down what it is still working on itself, with the process. */
	if (app->has_pci && !in_use)
		pci_bus_exit(&app->pci);
	if (app->has_vm && !in_use)
		vm_destroy(&app->vm);
}

static int app_run(struct app *app)
{
	struct error err = { 0 };
	int ret;

	ret = log_start();
	if (ret < 0)
		error_add(&err, ret, "cannot start the thread that writes messages: %s%s", strerror(-ret),
			  shortage_advice(ret));
	if (ret == 0)
		ret = app_claim(app, &err);
	if (ret == 0 && app->config.from)
		ret = app_arrive(app, &err);
	else if (ret == 0)
		ret = app_boot(app, &err);
	if (ret == 0) {
		guard_started(&app->guard);
		ret = loop_run(&app->vm.loop);
	}
	if (ret < 0 && !guard_signal(&app->guard))
		log_error("%s", err.text[0] ? err.text : strerror(-ret));
	return ret < 0 ? VM_EXIT_ERROR : (int)app->vm.gate.exit;
}

static int app_main(struct app *app)
{
	struct error err = { 0 };
	int status, signo;

	shortage_raise_descriptors();
	if (guard_init(&app->guard, &err) < 0) {
		log_error("%s", err.text);
		return VM_EXIT_ERROR;
	}
	/* A core file is readable by whoever can read where it is written. */
	if (app->config.core == CORE_NONE && prctl(PR_SET_DUMPABLE, 0) < 0)
		log_warn("core files cannot be switched off: %s", strerror(errno));
	status = app_run(app);
	app_destroy(app);
	signo = guard_exit(&app->guard);
	log_stop();
	if (signo)
		guard_die(signo);
	return status;
}

static int command_run(int argc, char **argv)
{
	struct app app = { .work.done_fd = -1 };
	struct error err = { 0 };

	if (config_parse_run(&app.config, argc, argv, &err) < 0)
		return client_usage("run", &err);
	return app_main(&app);
}

static int command_receive(int argc, char **argv)
{
	struct app app = { .work.done_fd = -1 };
	struct error err = { 0 };

	if (config_parse_receive(&app.config, argc, argv, &err) < 0)
		return client_usage("receive", &err);
	return app_main(&app);
}

/* The exit code of a command that only prints. */
static int said(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	log_error("cannot write to stdout: %s", strerror(errno));
	return VM_EXIT_ERROR;
}

static int command_version(int argc, char **argv)
{
	printf("ferry %s\n", FERRY_VERSION);
	return said();
}

static int command_help(int argc, char **argv);

static const struct command {
	const char *name;
	const char *summary;
	int (*fn)(int argc, char **argv);
	void (*help)(FILE *out);
} commands[] = {
	{ "run", "boot a guest and stay with it until it ends", command_run, config_help_run },
	{ "receive", "wait for a guest from another Ferry, then stay with it", command_receive,
	  config_help_receive },
	{ "migrate", "move a running guest to a Ferry that waits in receive", client_migrate,
	  client_help_migrate },
	{ "resume", "let a guest go on whose migration ended with unknown outcome", client_resume,
	  client_help_resume },
	{ "version", "print the version", command_version, NULL },
	{ "help", "say this, or more about one command", command_help, NULL },
};

static const struct command *command_find(const char *name)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

static void help(FILE *out)
{
	fprintf(out, "Ferry runs Linux guests with vDPA NICs and moves them, live, with all of the NIC's "
		     "state.\n\n"
		     "usage: ferry COMMAND [OPTION...]\n\n");
	for (unsigned int i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].summary);
	fprintf(out,
		"\n\"ferry COMMAND --help\" says more.\n"
		"Exit codes: 0 the guest powered off or has moved; 1 error; 2 wrong usage; 3 the guest "
		"reset itself;\n"
		"4 the guest crashed; 5 a migration's outcome is unknown, and the guest paused here or its "
		"process ended.\n");
}

static int command_help(int argc, char **argv)
{
	const struct command *command = argc > 1 ? command_find(argv[1]) : NULL;

	if (argc > 1 && !command) {
		log_error("no command \"%s\"; \"ferry help\" lists them", argv[1]);
		return CLIENT_EXIT_USAGE;
	}
	if (command && command->help)
		command->help(stdout);
	else
		help(stdout);
	return said();
}

int main(int argc, char **argv)
{
	const struct command *command;

	guard_failed_calls();
	if (log_keep_stdio() < 0)
		return VM_EXIT_ERROR;
	if (argc < 2) {
		help(stderr);
		return CLIENT_EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		argv[1] = "help";
	if (strcmp(argv[1], "--version") == 0)
		argv[1] = "version";
	command = command_find(argv[1]);
	if (!command) {
		log_error("no command \"%s\"; \"ferry help\" lists them", argv[1]);
		return CLIENT_EXIT_USAGE;
	}
	for (int i = 2; i < argc; i++) {
		if (strcmp(argv[i], "--help") != 0 && strcmp(argv[i], "-h") != 0)
			continue;
		if (command->help)
			command->help(stdout);
		else
			help(stdout);
		return said();
	}
	return command->fn(argc - 1, argv + 1);
}
