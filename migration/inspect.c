/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices told and measured in parts: see the header. */
#include "migration/inspect.h"

#include <errno.h>
#include <stdio.h>

#include "vmm/device.h"

/* Bytes of one part of the numbers, before they are quoted: what a device tells at a time has room, with the
 * longest name of a VM. */
#define INSPECT_METRICS_MAX 14336u

/* A part's number: of the VM's own numbers 0, else that of a device, from 1, and where to go on in it. */
#define INSPECT_OF_DEVICE 65536u

/* Finds a device that has something to tell: the one called @name, or for NULL the first, from @dev on. */
static struct device *inspect_find(struct device *dev, const char *name)
{
	while (dev && (!dev->ops->tell || (name && strcmp(dev->name, name) != 0)))
		dev = dev->next;
	return dev;
}

int inspect_nic(const struct vm *vm, const char *name, unsigned int queue, char *text, size_t size,
		struct error *err)
{
	struct device *dev = inspect_find(vm->devices, name), *next;
	struct facts f;
	int ret;

	if (!dev)
		return -ENOENT;
	facts_begin(&f, text, size);
	facts_text(&f, "name", dev->name);
	ret = dev->ops->tell(dev, &f, &queue, end_of(INSPECT_MS), err);
	if (ret < 0)
		return ret;
	next = inspect_find(dev->next, NULL);
	if (queue > 0)
		facts_number(&f, "nextQueue", queue);
	else if (next)
		facts_text(&f, "nextNic", next->name);
	facts_end(&f);
	return 0;
}

/* Numbers of the VM, and of its migrations. */

static void inspect_migrations(struct job *job, struct metrics *m)
{
	static const struct metrics_family ended = {
		"migrations_total",
		"Migrations of the guest away from here that have ended, by their outcome.", METRICS_COUNTER
	};
	static const struct metrics_family running = { "migration_running",
						       "Whether a migration is under way.", METRICS_GAUGE };
	static const struct metrics_family downtime = {
		"migration_last_downtime_seconds",
		"How long the guest stood still in the last migration that has ended, 0 where it did not.",
		METRICS_GAUGE
	};
	static const struct metrics_family sent = { "migration_sent_bytes",
						    "Bytes that the current or the last migration has sent.",
						    METRICS_GAUGE };
	struct job_counts counts = job_count(job);

	for (unsigned int state = REPORT_MOVED; state < REPORT_N_STATES; state++)
		metrics_add(m, &ended, METRICS_LABELS({ "outcome", report_state_names[state] }, ),
			    counts.ended[state]);
	metrics_add(m, &running, METRICS_LABELS(), counts.running);
	metrics_add_ns(m, &downtime, METRICS_LABELS(), counts.last_downtime_ns);
	metrics_add(m, &sent, METRICS_LABELS(), counts.sent_bytes);
}

static void inspect_guest(const struct inspect_vm *in, struct metrics *m)
{
	static const struct metrics_family state = {
		"guest_state", "1 for the state that the guest is in, as \"ferry list\" calls it.",
		METRICS_GAUGE
	};
	static const struct metrics_family memory = { "guest_memory_bytes", "Memory that the guest has.",
						      METRICS_GAUGE };
	static const struct metrics_family vcpus = { "guest_vcpus", "Virtual CPUs that the guest has.",
						     METRICS_GAUGE };

	metrics_add(m, &state, METRICS_LABELS({ "state", in->state }, ), 1);
	if (in->vm) {
		metrics_add(m, &memory, METRICS_LABELS(), in->vm->memory.size);
		metrics_add(m, &vcpus, METRICS_LABELS(), in->vm->n_vcpus);
	}
	inspect_migrations(in->job, m);
}

/* The @n-th device, from 1, that can be measured, or NULL. */
static struct device *inspect_nth(const struct vm *vm, unsigned int n)
{
	struct device *dev = vm ? vm->devices : NULL;

	for (; dev; dev = dev->next) {
		if (dev->ops->measure && --n == 0)
			break;
	}
	return dev;
}

/* Writes a part, and sets @from to the next one's number, 0 behind the last. */
static int inspect_part(const struct inspect_vm *in, unsigned int *from, struct metrics *m, struct error *err)
{
	unsigned int n = *from / INSPECT_OF_DEVICE, part = *from % INSPECT_OF_DEVICE;
	struct device *dev = n > 0 ? inspect_nth(in->vm, n) : NULL;
	int ret = 0;

	if ((n > 0) != (dev != NULL) || (n == 0 && part > 0))
		return -ENOENT;
	if (dev)
		ret = dev->ops->measure(dev, m, &part, end_of(INSPECT_MS), err);
	else
		inspect_guest(in, m);
	if (part > 0)
		*from = n * INSPECT_OF_DEVICE + part;
	else
		*from = inspect_nth(in->vm, n + 1) ? (n + 1) * INSPECT_OF_DEVICE : 0;
	return ret;
}

int inspect_metrics(const struct inspect_vm *in, unsigned int from, char *text, size_t size,
		    struct error *err)
{
	struct json_text t = { .buf = text, .size = size };
	char numbers[INSPECT_METRICS_MAX];
	struct metrics m;
	int ret;

	metrics_begin(&m, in->config->name, numbers, sizeof(numbers));
	ret = inspect_part(in, &from, &m, err);
	if (ret < 0)
		return ret;
	json_put(&t, "{\"text\":");
	/* What follows has room, whatever is cut here. */
	json_quote(numbers, text + t.len, size - t.len - 32);
	t.len += strlen(text + t.len);
	if (from > 0)
		json_put(&t, ",\"next\":%u", from);
	json_put(&t, "}");
	return 0;
}
