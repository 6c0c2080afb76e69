/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's beginning, and its next. */
#include "vmm/reset.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "vmm/config_device.h"
#include "vmm/device.h"
#include "vmm/events.h"
#include "vmm/shortage.h"
#include "vmm/x86/acpi.h"
#include "vmm/x86/boot.h"
#include "vmm/x86/boot_files.h"
#include "vmm/x86/cpu.h"
#include "vmm/x86/platform.h"
#include "vmm/x86/vmclock.h"

/* Time for the parties behind the devices, which may have guest memory still. Storage that is slower than
 * this has failed, for Linux's own drivers, too. */
#define RESET_DEVICES_MS 30000
/* Time between looks at whether the process is to end. */
#define RESET_STEP_MS 100

int reset_enter(struct vm *vm, const struct boot_entry *entry, struct error *err)
{
	int ret = platform_power_on(&vm->memory, err);

	if (ret == 0)
		ret = acpi_write(&vm->memory, vm->n_vcpus, vm->board, err);
	if (ret == 0 && config_has_device(vm->board, CONFIG_DEVICE_VMCLOCK))
		ret = vmclock_power_on(&vm->memory, err);
	return ret < 0 ? ret : cpu_set_entry(&vm->vcpus[0], entry, err);
}

static int reset_boot(struct vm *vm, struct error *err)
{
	struct boot_entry entry;
	int ret = boot_load(&vm->memory, vm->boot, &entry, err);

	return ret < 0 ? ret : reset_enter(vm, &entry, err);
}

static bool reset_called_off(const struct vm *vm)
{
	return poll(&(struct pollfd){ .fd = vm->stop_fd, .events = POLLIN }, 1, 0) > 0;
}

static int reset_device(struct vm *vm, struct device *dev, uint64_t end_ns, struct error *err)
{
	int ret = 0;

	while (dev->ops->reset && (ret = dev->ops->reset(dev, end_of(RESET_STEP_MS))) == -EAGAIN) {
		if (reset_called_off(vm))
			return -ECANCELED;
		if (now_ns() >= end_ns) {
			error_add(err, "%s: what stands behind it does not answer", dev->name);
			return -ETIMEDOUT;
		}
	}
	return ret;
}

/*
 * Devices come first: their interrupt lines are low by the time that the interrupt controllers are as at
 * power-on. KVM comes before memory, because until then a vCPU writes its paravirtual state there, such as
 * that it has been preempted. Afterwards nobody but Ferry has guest memory.
 */
static int reset_machine(struct reset *r, struct error *err)
{
	struct vm *vm = r->vm;
	uint64_t end_ns = end_of(RESET_DEVICES_MS);
	int ret = 0;

	for (struct device *dev = vm->devices; ret == 0 && dev; dev = dev->next)
		ret = reset_device(vm, dev, end_ns, err);
	if (ret == 0)
		ret = vm_power_on(vm, err);
	if (ret == 0)
		ret = memory_clear(&vm->memory, r->how, vm->stop_fd, err);
	return ret < 0 ? ret : reset_boot(vm, err);
}

static int reset_guest(struct reset *r, struct error *err)
{
	if (!boot_files_known(r->vm->boot)) {
		error_add(err, "the host that it came from has not sent its kernel");
		return -ENOENT;
	}
	gate_pause(&r->vm->gate);
	return reset_machine(r, err);
}

static void reset_due(struct loop_source *src, uint32_t events)
{
	struct reset *r = container_of(src, struct reset, due);
	struct vm *vm = r->vm;
	struct error err = { 0 };
	int ret;

	/* A migration is being given up for this, and signals again when it has been. */
	if (atomic_exchange(&vm->migrating, true))
		return;
	if (!gate_resetting(&vm->gate)) {
		atomic_store(&vm->migrating, false);
		return;
	}
	ret = reset_guest(r, &err);
	if (ret < 0) {
		/* The signal that the process is to end by is dealt with next. */
		if (ret != -ECANCELED) {
			log_warn("the guest has reset itself, and cannot start again here: %s", err.text);
			gate_end(&vm->gate, VM_EXIT_RESET);
		}
		return;
	}
	events_tell(vm->events, EVENT_RESET);
	log_limited(&r->log_limit, LOG_INFO, "the guest has reset itself, and starts again");
	gate_reset_done(&vm->gate);
	atomic_store(&vm->migrating, false);
	gate_resume(&vm->gate);
}

int reset_init(struct reset *r, struct vm *vm, enum memory_clear how, struct error *err)
{
	int ret;

	*r = (struct reset){ .vm = vm, .how = how };
	r->due = (struct loop_source){ .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .fn = reset_due };
	/* Each signal is an event, and the counter stays until the reset is done: a migration polls it. */
	ret = r->due.fd < 0 ? -errno : loop_add(&vm->loop, &r->due, EPOLLIN | EPOLLET);
	if (ret < 0) {
		error_add(err, "cannot watch for the guest's reset: %s%s", strerror(-ret),
			  shortage_advice(ret));
		return ret;
	}
	gate_set_reset(&vm->gate, r->due.fd);
	return 0;
}

void reset_exit(struct reset *r)
{
	if (r->due.fd >= 0)
		close(r->due.fd);
	r->due.fd = -1;
}
