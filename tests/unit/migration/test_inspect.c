/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers about a VM's devices, in parts: each is named by the one before, and nothing else is one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "migration/inspect.h"
#include "vmm/device.h"

/* A NIC with ten queues, of which one answer has four; and a device that says nothing. */

static unsigned int end_of_part(unsigned int *from)
{
	unsigned int end = *from + 4 < 10 ? *from + 4 : 10;

	*from = end < 10 ? end : 0;
	return end;
}

static int tell(struct device *dev, struct facts *f, unsigned int *from, uint64_t until_ns, struct error *err)
{
	unsigned int first = *from, end = end_of_part(from);

	facts_list(f, "queues");
	for (unsigned int i = first; i < end; i++)
		facts_number(f, NULL, i);
	facts_list_end(f);
	return 0;
}

static int measure(struct device *dev, struct metrics *m, unsigned int *from, uint64_t until_ns,
		   struct error *err)
{
	static const struct metrics_family packets = { "packets_total", "Packets.", METRICS_COUNTER };
	unsigned int first = *from, end = end_of_part(from);

	for (unsigned int i = first; i < end; i++)
		metrics_add(m, &packets, METRICS_LABELS({ "nic", dev->name }, ), i);
	return 0;
}

static int tell_nothing(struct device *dev, struct facts *f, unsigned int *from, uint64_t until_ns,
			struct error *err)
{
	/* Nobody is waited for without an end. */
	assert_true(until_ns <= end_of(INSPECT_MS));
	error_add(err, "%s stands still", dev->name);
	return -ETIMEDOUT;
}

static const struct device_ops mute_ops = { .describe = NULL };
static const struct device_ops nic_ops = { .tell = tell, .measure = measure };
static const struct device_ops still_ops = { .tell = tell_nothing };

static struct device devices[] = {
	{ .ops = &mute_ops, .name = "serial", .next = &devices[1] },
	{ .ops = &nic_ops, .name = "net0", .next = &devices[2] },
	{ .ops = &mute_ops, .name = "disk0", .next = &devices[3] },
	{ .ops = &nic_ops, .name = "net1", .next = &devices[4] },
	{ .ops = &still_ops, .name = "net2" },
};

static struct vm vm = { .devices = devices, .n_vcpus = 2, .memory = { .size = GIB(1) } };

static char text[16384];

static int nic(const char *name, unsigned int queue)
{
	struct error err = { 0 };
	int ret = inspect_nic(&vm, name, queue, text, sizeof(text), &err);

	if (ret == -ETIMEDOUT)
		strcpy(text, err.text);
	return ret;
}

static void nics_are_told_one_after_the_other(void **state)
{
	assert_int_equal(nic(NULL, 0), 0);
	assert_string_equal(text, "{\"name\":\"net0\",\"queues\":[0,1,2,3],\"nextQueue\":4}");
	assert_int_equal(nic("net0", 4), 0);
	assert_string_equal(text, "{\"name\":\"net0\",\"queues\":[4,5,6,7],\"nextQueue\":8}");
	assert_int_equal(nic("net0", 8), 0);
	assert_string_equal(text, "{\"name\":\"net0\",\"queues\":[8,9],\"nextNic\":\"net1\"}");
	assert_int_equal(nic("net1", 8), 0);
	assert_string_equal(text, "{\"name\":\"net1\",\"queues\":[8,9],\"nextNic\":\"net2\"}");
}

static void a_device_that_is_none_or_stands_still_is_said(void **state)
{
	assert_int_equal(nic("net3", 0), -ENOENT);
	assert_int_equal(nic("", 0), -ENOENT);
	/* It has nothing to tell. */
	assert_int_equal(nic("serial", 0), -ENOENT);
	assert_int_equal(nic("net2", 0), -ETIMEDOUT);
	assert_string_equal(text, "net2 stands still");
}

static int metrics(struct job *job, const struct vm *of, unsigned int from)
{
	static const struct vm_config config = { .name = "web1" };
	const struct inspect_vm in = { .config = &config, .vm = of, .job = job, .state = "running" };
	struct error err = { 0 };

	return inspect_metrics(&in, from, text, sizeof(text), &err);
}

static void assert_text(const char *words)
{
	if (!strstr(text, words))
		fail_msg("%s is not in %s", words, text);
}

static void numbers_come_in_parts_to_the_last_device(void **state)
{
	struct job job;
	uint64_t next = 0;
	unsigned int n = 0;

	job_init(&job);
	job.n_ended[REPORT_FAILED] = 3;
	job.last_downtime_ns = 25000000;
	assert_int_equal(metrics(&job, &vm, 0), 0);
	assert_text("ferry_guest_state{vm=\\\"web1\\\",state=\\\"running\\\"} 1");
	assert_text("ferry_guest_memory_bytes{vm=\\\"web1\\\"} 1073741824");
	assert_text("ferry_guest_vcpus{vm=\\\"web1\\\"} 2");
	assert_text("ferry_migrations_total{vm=\\\"web1\\\",outcome=\\\"failed\\\"} 3");
	assert_text("ferry_migration_running{vm=\\\"web1\\\"} 0");
	assert_text("ferry_migration_last_downtime_seconds{vm=\\\"web1\\\"} 0.025000000");
	while (json_object_number(text, "next", &next)) {
		assert_int_equal(metrics(&job, &vm, (unsigned int)next), 0);
		assert_text(n < 3 ? "nic=\\\"net0\\\"" : "nic=\\\"net1\\\"");
		n++;
	}
	assert_int_equal(n, 6);
	/* Without a guest there are those of the VM alone. */
	assert_int_equal(metrics(&job, NULL, 0), 0);
	assert_null(strstr(text, "memory"));
	assert_null(strstr(text, "\"next\""));
	job_exit(&job);
}

static void a_part_that_nobody_has_named_is_none(void **state)
{
	static const unsigned int none[] = { 1, 65535, 3 * 65536, UINT32_MAX };
	struct job job;

	job_init(&job);
	for (unsigned int i = 0; i < ARRAY_SIZE(none); i++)
		assert_int_equal(metrics(&job, &vm, none[i]), -ENOENT);
	assert_int_equal(metrics(&job, NULL, 65536), -ENOENT);
	job_exit(&job);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nics_are_told_one_after_the_other),
		cmocka_unit_test(a_device_that_is_none_or_stands_still_is_said),
		cmocka_unit_test(numbers_come_in_parts_to_the_last_device),
		cmocka_unit_test(a_part_that_nobody_has_named_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
