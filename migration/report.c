/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A migration's report as JSON. */
#include "migration/report.h"

#include <inttypes.h>
#include <stdio.h>

const char *const report_part_names[REPORT_N_PARTS] = {
	[REPORT_VCPUS_STOPPED] = "vcpusStopped",
	[REPORT_NIC_QUIESCED] = "nicQuiesced",
	[REPORT_LAST_RAM] = "lastRam",
	[REPORT_STATE] = "state",
	[REPORT_LOAD] = "load",
	[REPORT_COMMIT] = "commit",
	[REPORT_RESUMED] = "resumed",
};

unsigned int report_json(const struct report *r, char buf[REPORT_JSON_MAX])
{
	const struct {
		const char *name;
		uint64_t v;
	} numbers[] = {
		{ "round", r->round },
		{ "totalBytes", r->total_bytes },
		{ "remainingBytes", r->remaining_bytes },
		{ "sentBytes", r->sent_bytes },
		{ "zeroBytes", r->zero_bytes },
		{ "bytesPerSecond", r->bytes_per_second },
		{ "throttlePercent", r->throttle },
		{ "warmStates", r->n_warm },
		{ "nicStillNs", r->still_ns },
		{ "elapsedNs", r->elapsed_ns },
		{ "downtimeNs", r->downtime_ns },
	};
	/* 18 numbers with their names take less than half of it. */
	int n = snprintf(buf, REPORT_JSON_MAX, "{\"stage\":\"%s\"", r->stage ? r->stage : "");

	for (unsigned int i = 0; i < ARRAY_SIZE(numbers); i++)
		n += snprintf(buf + n, REPORT_JSON_MAX - (size_t)n, ",\"%s\":%" PRIu64, numbers[i].name,
			      numbers[i].v);
	for (unsigned int i = 0; i < REPORT_N_PARTS; i++)
		n += snprintf(buf + n, REPORT_JSON_MAX - (size_t)n, ",\"%sNs\":%" PRIu64,
			      report_part_names[i], r->parts_ns[i]);
	n += snprintf(buf + n, REPORT_JSON_MAX - (size_t)n, "}");
	return (unsigned int)n;
}
