/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reports of a migration in words. */
#define _GNU_SOURCE
#include "vmm/control/follow.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmm/control/json.h"
#include "vmm/text.h"

/* Lines that nobody writes over are for a log. */
#define FOLLOW_LINE_NS UINT64_C(1000000000)

/* Columns of a terminal that does not say how many it has. */
#define FOLLOW_COLUMNS 80u

/* Words of a report that are shown; those of a host's name and of a reason. */
#define FOLLOW_WORD_MAX 32u
#define FOLLOW_TEXT_MAX ERROR_TEXT_MAX

void follow_begin(struct follow *f, FILE *out)
{
	*f = (struct follow){ .out = out, .live = isatty(fileno(out)) };
}

static double follow_mib(uint64_t bytes)
{
	return (double)bytes / (1 << 20);
}

/* Reads a text of a stranger's, fit to be shown; "" where there is none. */
static void follow_text(const char *object, const char *name, char *buf, size_t size)
{
	if (!json_object_string(object, name, buf, size))
		buf[0] = '\0';
	text_clean(buf, strlen(buf));
}

static uint64_t follow_number(const char *object, const char *name)
{
	uint64_t v = 0;

	return json_object_number(object, name, &v) ? v : 0;
}

/* Writes a report's line without its end. */
static void follow_line(const char *report, char line[FOLLOW_LINE_MAX])
{
	uint64_t sent = follow_number(report, "sentBytes"), throttle;
	char stage[FOLLOW_WORD_MAX];
	int n;

	follow_text(report, "stage", stage, sizeof(stage));
	n = snprintf(line, FOLLOW_LINE_MAX, "%7.2f s  %-8s", (double)follow_number(report, "elapsedNs") / 1e9,
		     stage);
	if (sent == 0)
		return;
	n += snprintf(line + n, FOLLOW_LINE_MAX - (size_t)n,
		      "  round %llu  %8.1f MiB sent  %8.1f MiB left  %8.1f MiB/s",
		      (unsigned long long)follow_number(report, "round"), follow_mib(sent),
		      follow_mib(follow_number(report, "remainingBytes")),
		      follow_mib(follow_number(report, "bytesPerSecond")));
	throttle = follow_number(report, "throttlePercent");
	if (follow_number(report, "compressedBytes") > 0)
		n += snprintf(line + n, FOLLOW_LINE_MAX - (size_t)n, "  compressed");
	if (throttle > 0)
		snprintf(line + n, FOLLOW_LINE_MAX - (size_t)n, "  throttled %llu %%",
			 (unsigned long long)throttle);
}

/* Cuts @line so that it fits a terminal's line: one that went over to the next could not be written over. */
static void follow_cut(char line[FOLLOW_LINE_MAX], unsigned int columns)
{
	const char *at = line, *end = line + strlen(line);

	for (unsigned int n = 0; at < end && n + 1 < columns; n++) {
		unsigned int len = text_plain_len(at, end);

		/* A character that is no ASCII may be twice as wide. */
		n += len > 1;
		if (len == 0 || n + 1 >= columns)
			break;
		at += len;
	}
	line[at - line] = '\0';
}

static unsigned int follow_columns(FILE *out)
{
	struct winsize size;

	if (ioctl(fileno(out), TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return FOLLOW_COLUMNS;
	return size.ws_col;
}

void follow_flush(struct follow *f)
{
	uint64_t now = now_ns();

	if (!f->pending[0] || (f->last_ns != 0 && now - f->last_ns <= FOLLOW_LINE_NS))
		return;
	f->last_ns = now;
	fprintf(f->out, "%s%s%s\n", f->name ? f->name : "", f->name ? ": " : "", f->pending);
	fflush(f->out);
	f->pending[0] = '\0';
}

void follow_progress(struct follow *f, const char *report)
{
	follow_line(report, f->pending);
	if (!f->live) {
		follow_flush(f);
		return;
	}
	follow_cut(f->pending, follow_columns(f->out));
	/* To the line's beginning, and what a longer one has left is erased. */
	fprintf(f->out, "\r%s\033[K", f->pending);
	fflush(f->out);
	f->shown = true;
}

int follow_replies(struct follow *f, struct control_client *c, const char **parameters, struct error *err)
{
	char report[CONTROL_MESSAGE_MAX];
	int ret;

	do {
		uint64_t due_ns = !f->live && f->pending[0] ? f->last_ns + FOLLOW_LINE_NS + 1 : UINT64_MAX;

		ret = control_receive_until(c, due_ns, parameters, err);
		if (ret == 1)
			follow_progress(f, follow_object(*parameters, "report", report, sizeof(report))
						   ? report
						   : *parameters);
		else if (ret == -EAGAIN)
			follow_flush(f);
	} while (ret == 1 || ret == -EAGAIN);
	follow_clear(f);
	return ret;
}

void follow_clear(struct follow *f)
{
	f->pending[0] = '\0';
	if (!f->shown)
		return;
	f->shown = false;
	fprintf(f->out, "\r\033[K");
	fflush(f->out);
}

static const struct {
	const char *key;
	const char *words;
} follow_parts[] = {
	{ "vcpusStoppedNs", "vCPUs stopped" },
	{ "nicQuiescedNs", "NIC quiesced" },
	{ "lastRamNs", "last RAM" },
	{ "stateNs", "state" },
	{ "loadNs", "destination load" },
	{ "commitNs", "commit" },
	{ "resumedNs", "resumed" },
};

static void follow_moved(FILE *out, const char *report)
{
	char because[FOLLOW_TEXT_MAX];
	uint64_t ns;

	fprintf(out, "moved; downtime %.2f ms\n", (double)follow_number(report, "downtimeNs") / 1e6);
	for (unsigned int i = 0; i < ARRAY_SIZE(follow_parts); i++)
		fprintf(out, "  %-17s %8.2f ms\n", follow_parts[i].words,
			(double)follow_number(report, follow_parts[i].key) / 1e6);
	follow_text(report, "stoppedBecause", because, sizeof(because));
	if (because[0])
		fprintf(out, "why the guest was stopped when it was: %s\n", because);
	ns = follow_number(report, "nicStillNs");
	if (ns > 0)
		fprintf(out, "before it the network stood still for %.2f ms, for shadow rings\n",
			(double)ns / 1e6);
}

void follow_summary(FILE *out, const char *report)
{
	char state[FOLLOW_WORD_MAX], reason[FOLLOW_TEXT_MAX];

	follow_text(report, "state", state, sizeof(state));
	if (strcmp(state, "failed") != 0 && strcmp(state, "unknown") != 0) {
		follow_moved(out, report);
		return;
	}
	follow_text(report, "reason", reason, sizeof(reason));
	fprintf(out, "%s; %s\n", strcmp(state, "failed") == 0 ? "failed" : "outcome unknown", reason);
}

bool follow_object(const char *object, const char *name, char *buf, size_t size)
{
	struct json json;
	const jsmntok_t *t;
	size_t len;

	if (!json_parse(&json, object, strlen(object)))
		return false;
	t = json_find(&json, json.tokens, name, JSMN_OBJECT);
	len = t ? (size_t)(t->end - t->start) : 0;
	if (!t || len >= size)
		return false;
	memcpy(buf, object + t->start, len);
	buf[len] = '\0';
	return true;
}
