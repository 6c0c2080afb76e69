/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A migration's report as JSON. */
#include "migration/report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "vmm/control/json.h"
#include "vmm/text.h"

/* The entry that is the sum of all rounds between the first ones and the latest. */
#define REPORT_SUM (REPORT_MAX_ROUNDS / 2)

/* Bytes of a text with its quotes and escapes. */
#define REPORT_QUOTED_MAX 2048u

const char *const report_part_names[REPORT_N_PARTS] = {
	[REPORT_VCPUS_STOPPED] = "vcpusStopped",
	[REPORT_NIC_QUIESCED] = "nicQuiesced",
	[REPORT_LAST_RAM] = "lastRam",
	[REPORT_STATE] = "state",
	[REPORT_LOAD] = "load",
	[REPORT_COMMIT] = "commit",
	[REPORT_RESUMED] = "resumed",
};

const char *const report_state_names[REPORT_N_STATES] = {
	[REPORT_NONE] = "none",     [REPORT_RUNNING] = "running", [REPORT_MOVED] = "moved",
	[REPORT_FAILED] = "failed", [REPORT_UNKNOWN] = "unknown",
};

const char *const report_cause_names[REPORT_N_CAUSES] = {
	[REPORT_CONNECTION] = "connection", [REPORT_REFUSED] = "refused", [REPORT_CANCELLED] = "cancelled",
	[REPORT_TIMEOUT] = "timeout",       [REPORT_GUEST] = "guest",     [REPORT_OTHER] = "other",
};

enum report_cause report_cause_of(int ret)
{
	switch (ret) {
	case 0:
		return REPORT_NO_CAUSE;
	case -EPIPE:
		return REPORT_CONNECTION;
	case -ECONNREFUSED:
		return REPORT_REFUSED;
	case -ECANCELED:
		return REPORT_CANCELLED;
	case -ETIME:
	case -ETIMEDOUT:
		return REPORT_TIMEOUT;
	case -ESHUTDOWN:
		return REPORT_GUEST;
	default:
		return REPORT_OTHER;
	}
}

void report_reach(struct report *r, const char *name, uint64_t ns)
{
	r->stage = name;
	for (unsigned int i = 0; i < r->n_stages; i++) {
		if (strcmp(r->stages[i].name, name) == 0)
			return;
	}
	if (r->n_stages < REPORT_MAX_STAGES)
		r->stages[r->n_stages++] = (struct report_stage){ .name = name, .start_ns = ns };
}

/* Adds the figures of @b to those of @a. */
static void report_sum_up(struct report_round *a, const struct report_round *b)
{
	a->n += b->n;
	a->ns += b->ns;
	a->bytes += b->bytes;
	a->pages += b->pages;
	a->zero_pages += b->zero_pages;
	a->written_bytes += b->written_bytes;
	a->written_ns += b->written_ns;
	a->throttle = a->throttle > b->throttle ? a->throttle : b->throttle;
}

struct report_round *report_add_round(struct report *r, const struct report_round *round)
{
	if (r->n_rounds == REPORT_MAX_ROUNDS) {
		report_sum_up(&r->rounds[REPORT_SUM], &r->rounds[REPORT_SUM + 1]);
		r->n_rounds--;
		memmove(&r->rounds[REPORT_SUM + 1], &r->rounds[REPORT_SUM + 2],
			(r->n_rounds - REPORT_SUM - 1) * sizeof(r->rounds[0]));
	}
	r->rounds[r->n_rounds] = *round;
	return &r->rounds[r->n_rounds++];
}

static void report_put_string(struct json_text *t, const char *name, const char *value)
{
	char quoted[REPORT_QUOTED_MAX];

	if (!value || !value[0])
		return;
	json_quote(value, quoted, sizeof(quoted));
	json_put(t, ",\"%s\":%s", name, quoted);
}

/* Writes a time of day (RFC 3339). */
static void report_put_time(struct json_text *t, const char *name, uint64_t ns)
{
	char text[TEXT_TIME_MAX];

	if (ns == 0)
		return;
	text_time(text, ns);
	json_put(t, ",\"%s\":\"%s\"", name, text);
}

static uint64_t report_rate(uint64_t bytes, uint64_t ns)
{
	return ns ? (uint64_t)((double)bytes / (double)ns * 1e9) : 0;
}

static void report_put_round(struct json_text *t, const struct report_round *r)
{
	json_put(t, "{\"rounds\":%u,\"startNs\":%" PRIu64 ",\"ns\":%" PRIu64, r->n, r->start_ns, r->ns);
	json_put(t, ",\"bytes\":%" PRIu64, r->bytes);
	json_put(t, ",\"pages\":%" PRIu64 ",\"zeroPages\":%" PRIu64, r->pages, r->zero_pages);
	json_put(t, ",\"bytesPerSecond\":%" PRIu64, report_rate(r->bytes, r->ns));
	json_put(t, ",\"dirtyBytes\":%" PRIu64 ",\"dirtyBytesPerSecond\":%" PRIu64, r->written_bytes,
		 report_rate(r->written_bytes, r->written_ns));
	json_put(t, ",\"throttlePercent\":%u}", r->throttle);
}

static void report_put_numbers(struct json_text *t, const struct report *r)
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
		{ "compressedBytes", r->compressed_bytes },
		{ "bytesPerSecond", r->bytes_per_second },
		{ "throttlePercent", r->throttle },
		{ "warmStates", r->n_warm },
		{ "nicStillNs", r->still_ns },
		{ "elapsedNs", r->elapsed_ns },
		{ "downtimeNs", r->downtime_ns },
		{ "downtimeLimitNs", r->downtime_limit_ns },
		{ "bandwidthLimit", r->bandwidth_limit },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(numbers); i++)
		json_put(t, ",\"%s\":%" PRIu64, numbers[i].name, numbers[i].v);
	for (unsigned int i = 0; i < REPORT_N_PARTS; i++)
		json_put(t, ",\"%sNs\":%" PRIu64, report_part_names[i], r->parts_ns[i]);
}

static void report_put_rest(struct json_text *t, const struct report *r)
{
	report_put_string(t, "side", r->side == REPORT_SOURCE ? "source" : "destination");
	report_put_string(t, "ferryVersion", FERRY_VERSION);
	json_put(t, ",\"streamVersion\":%u", r->stream_version);
	report_put_time(t, "started", r->started);
	report_put_time(t, "ended", r->ended);
	report_put_string(t, "to", r->to);
	report_put_string(t, "reason", r->reason);
	report_put_string(t, "cause", report_cause_names[r->cause]);
	report_put_string(t, "stoppedBecause", r->stopped_because);
	if (r->stop_ns > 0)
		json_put(t,
			 ",\"stopNs\":%" PRIu64 ",\"stopRemainingBytes\":%" PRIu64
			 ",\"stopExpectedNs\":%" PRIu64,
			 r->stop_ns, r->stop_remaining_bytes, r->stop_expected_ns);
	json_put(t, ",\"stages\":{");
	for (unsigned int i = 0; i < r->n_stages; i++)
		json_put(t, "%s\"%s\":%" PRIu64, i > 0 ? "," : "", r->stages[i].name, r->stages[i].start_ns);
	json_put(t, "},\"rounds\":[");
	for (unsigned int i = 0; i < r->n_rounds; i++) {
		json_put(t, "%s", i > 0 ? "," : "");
		report_put_round(t, &r->rounds[i]);
	}
	json_put(t, "]");
}

unsigned int report_json(const struct report *r, enum report_detail detail, char buf[REPORT_JSON_MAX])
{
	struct json_text t = { .buf = buf, .size = REPORT_JSON_MAX };

	json_put(&t, "{\"state\":\"%s\"", report_state_names[r->state]);
	report_put_string(&t, "stage", r->stage);
	report_put_string(&t, "stalled", r->stalled);
	report_put_numbers(&t, r);
	if (detail == REPORT_ALL)
		report_put_rest(&t, r);
	json_put(&t, "}");
	return (unsigned int)t.len;
}
