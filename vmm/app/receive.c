/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "receive": sources are waited for, compared, and one of them taken. */
#include "vmm/app/receive.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "migration/compare.h"
#include "migration/incoming.h"
#include "vmm/app/work.h"
#include "vmm/huge_pages.h"

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

static int app_check_huge(const struct app *app, uint64_t mem, struct error *err)
{
	return huge_pages_check(HUGE_PAGES_SYS, mem, app->config.page_size, app->config.node, err);
}

/* Looks for what a guest that comes will need, before it is waited for: else its source would be the one to
 * find out that it is not to be had. */
static int app_foresee(struct app *app, struct error *err)
{
	int ret = kvm_check_host(app->config.kvm, err);

	if (ret < 0)
		return ret;
	if (app->config.vcpus.pinned)
		ret = limits_check_cpus(app->config.vcpus.pins, app->config.vcpus.n, err);
	if (ret == 0 && app->config.node >= 0)
		ret = memory_check_node((unsigned int)app->config.node, err);
	if (ret == 0 && app->config.page_size > PAGE_SIZE)
		ret = app_check_huge(app, max_u64(app->config.mem, app->config.page_size), err);
	if (ret < 0)
		return ret;
	app_foresee_memlock(&app->config);
	return machine_check(&app->machine, err);
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
	else if (config->page_size > PAGE_SIZE)
		app_check_huge(app, app->mem, err);
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
	app_check_size, app_begin, app_frame, app_compare, NULL,
};

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
		 config->from_path  ? descriptor_is(config->from_path) ? " or at " : " or at unix:"
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

/* Enters the guest's pages that came before KVM had its memory. */
static int app_prefault(struct app *app, struct error *err)
{
	vm_prefault_present(&app->vm, app->vm.memory.size);
	return 0;
}

/* Steps that take longer the larger the guest is, while it comes. */
static int (*const app_coming_steps[])(struct app *app, struct error *err) = {
	app_equip, app_keep_power_on, app_prefault, app_map, app_wait_mapped, NULL,
};

static int app_receive_begin(struct app *app, struct error *err)
{
	return app_work_begin(app, app_coming_steps, err);
}

static int app_receive_end(void *opaque, struct error *err)
{
	struct app *app = opaque;

	/* The path is another destination's, before the source hears that the guest runs here. */
	entrance_close_doors(&app->entrance);
	return app_work_end(app, err);
}

/* READY goes out at once, however large the guest is; to a check it is all. */
static int (*const app_admit_steps[])(struct app *app, struct error *err) = {
	app_close_ways, app_fill, app_ready, app_receive_begin, NULL,
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
	struct incoming_work work = { .end = app_receive_end, .opaque = app };
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

int (*const app_receive_steps[])(struct app *app, struct error *err) = {
	app_listen, app_register,      app_open_backends, app_foresee, app_check_descriptors,
	app_let_in, app_foresee_pages, app_arrive,        NULL,
};
