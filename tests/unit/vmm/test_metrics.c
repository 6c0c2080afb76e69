/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The text format of Prometheus. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vmm/metrics.h"

static void a_family_has_its_head_once(void **state)
{
	static const struct metrics_family frames = { "frames_total", "Frames.", METRICS_COUNTER };
	static const struct metrics_family time = { "time_seconds", "Time.", METRICS_GAUGE };
	char text[512];
	struct metrics m;

	metrics_begin(&m, "web1", text, sizeof(text));
	assert_string_equal(text, "");
	metrics_add(&m, &frames, METRICS_LABELS({ "nic", "net0" }, { "queue", "rx0" }, ), UINT64_MAX);
	metrics_add(&m, &frames, METRICS_LABELS({ "nic", "net1" }, ), 0);
	metrics_add_ns(&m, &time, METRICS_LABELS(), 1000000001);
	assert_string_equal(text, "# HELP ferry_frames_total Frames.\n"
				  "# TYPE ferry_frames_total counter\n"
				  "ferry_frames_total{vm=\"web1\",nic=\"net0\",queue=\"rx0\"} "
				  "18446744073709551615\n"
				  "ferry_frames_total{vm=\"web1\",nic=\"net1\"} 0\n"
				  "# HELP ferry_time_seconds Time.\n"
				  "# TYPE ferry_time_seconds gauge\n"
				  "ferry_time_seconds{vm=\"web1\"} 1.000000001\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_family_has_its_head_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
