/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Drawing a migration's report. */
#include "vmm/control/chart.h"

#include <errno.h>

#include "vmm/control/json.h"
#include "vmm/control/svg.h"

/* The picture, in units of its own. The height is known at the end of a first pass that writes nothing. */
#define CHART_WIDTH  1000.0
#define CHART_LEFT   90.0
#define CHART_RIGHT  30.0
#define CHART_PLOT   (CHART_WIDTH - CHART_LEFT - CHART_RIGHT)
#define CHART_RATES  200.0 /* height of the plot of rates */
#define CHART_STACK  34.0  /* and of the downtime's bar */
#define CHART_GAP    34.0
#define CHART_TEXT   13.0
#define CHART_SMALL  11.0
#define CHART_N_GRID 4u

/* Bytes of a report's words that are drawn. */
#define CHART_WORDS_MAX ERROR_TEXT_MAX

#define CHART_SENT    "#4477aa"
#define CHART_ZERO    "#a9c4e0"
#define CHART_WRITTEN "#ee7733"
#define CHART_STOPPED "#cc3311"
#define CHART_GREY    "#666666"

struct chart {
	struct svg svg;
	const struct json *json;
	const jsmntok_t *root;
	/* Nanoseconds that the plot is wide, and bytes a second that it is high. */
	double span_ns, top_rate;
};

static double chart_number(const struct chart *c, const jsmntok_t *object, const char *name)
{
	uint64_t v = 0;

	return json_number(c->json, object, name, &v) ? (double)v : 0;
}

static void chart_words(const struct chart *c, const char *name, char buf[CHART_WORDS_MAX])
{
	if (!json_string(c->json, c->root, name, buf, CHART_WORDS_MAX))
		buf[0] = '\0';
}

/* Finds the next of the report's rounds after @last, NULL for the first. */
static const jsmntok_t *chart_next_round(const struct chart *c, const jsmntok_t *last)
{
	const jsmntok_t *array = json_find(c->json, c->root, "rounds", JSMN_ARRAY);
	const jsmntok_t *end = c->json->tokens + c->json->n;

	if (!array)
		return NULL;
	for (const jsmntok_t *t = last ? last + 1 : array + 1; t < end && t->start < array->end; t++) {
		if (t->type == JSMN_OBJECT && &c->json->tokens[t->parent] == array)
			return t;
	}
	return NULL;
}

/* Returns where in the plot a time is. */
static double chart_x(const struct chart *c, double ns)
{
	double part = c->span_ns > 0 ? ns / c->span_ns : 0;

	return CHART_LEFT + CHART_PLOT * (part > 1 ? 1 : part);
}

static double chart_height(const struct chart *c, double rate)
{
	double part = c->top_rate > 0 ? rate / c->top_rate : 0;

	return CHART_RATES * (part > 1 ? 1 : part);
}

static void chart_heading(struct chart *c, const char *text)
{
	const struct svg_style style = { CHART_LEFT, 15, "#000000", "start" };

	svg_text(&c->svg, &style, c->svg.y + CHART_GAP, text, strlen(text));
	c->svg.y += CHART_GAP + 12;
}

static void chart_title(struct chart *c)
{
	const struct svg_style title = { CHART_LEFT, 20, "#000000", "start" };
	char state[CHART_WORDS_MAX], to[CHART_WORDS_MAX], stage[CHART_WORDS_MAX], value[SVG_VALUE_MAX];
	double downtime_ns = chart_number(c, c->root, "downtimeNs");

	chart_words(c, "state", state);
	chart_words(c, "to", to);
	chart_words(c, "stage", stage);
	c->svg.y = 40;
	/* A destination does not know the downtime. */
	if (strcmp(state, "moved") == 0 && downtime_ns == 0)
		svg_textf(&c->svg, &title, c->svg.y, "Arrival of a guest");
	else if (strcmp(state, "moved") == 0)
		svg_textf(&c->svg, &title, c->svg.y, "Migration%s%.60s: moved, downtime %s",
			  to[0] ? " to " : "", to, svg_time(value, downtime_ns));
	else
		svg_textf(&c->svg, &title, c->svg.y, "Migration%s%.60s: %.20s in phase \"%.20s\"",
			  to[0] ? " to " : "", to, state, stage);
}

/* Says when which stage was reached. */
static void chart_stages(struct chart *c, const struct svg_style *style)
{
	const jsmntok_t *stages = json_find(c->json, c->root, "stages", JSMN_OBJECT);
	const jsmntok_t *end = c->json->tokens + c->json->n;
	char text[CHART_WORDS_MAX] = "Stages:", name[32], value[SVG_VALUE_MAX];
	size_t len = strlen(text);

	for (const jsmntok_t *t = stages ? stages + 1 : end; t < end && t->start < stages->end; t++) {
		if (&c->json->tokens[t->parent] != stages || len > sizeof(text) - 128)
			continue;
		snprintf(name, sizeof(name), "%.*s", t->end - t->start, c->json->text + t->start);
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s %s after %s", len > 7 ? "," : "",
					name, svg_time(value, chart_number(c, stages, name)));
	}
	if (len > 7)
		svg_wrap(&c->svg, style, text);
}

static void chart_facts(struct chart *c)
{
	const struct svg_style plain = { CHART_LEFT, CHART_TEXT, CHART_GREY, "start" };
	const struct svg_style bad = { CHART_LEFT, CHART_TEXT, CHART_STOPPED, "start" };
	char a[CHART_WORDS_MAX], b[CHART_WORDS_MAX], v[3][SVG_VALUE_MAX];
	double limit = chart_number(c, c->root, "bandwidthLimit");

	chart_words(c, "started", a);
	chart_words(c, "ferryVersion", b);
	c->svg.y += 26;
	svg_textf(&c->svg, &plain, c->svg.y, "%.40s, %s in all; Ferry %.20s, stream version %.0f", a,
		  svg_time(v[0], chart_number(c, c->root, "elapsedNs")), b,
		  chart_number(c, c->root, "streamVersion"));
	c->svg.y += SVG_LINE;
	svg_textf(&c->svg, &plain, c->svg.y, "%s sent, and %s of zeros, of a guest with %s",
		  svg_bytes(v[0], chart_number(c, c->root, "sentBytes")),
		  svg_bytes(v[1], chart_number(c, c->root, "zeroBytes")),
		  svg_bytes(v[2], chart_number(c, c->root, "totalBytes")));
	chart_words(c, "stalled", a);
	c->svg.y += SVG_LINE;
	svg_textf(&c->svg, &plain, c->svg.y,
		  "downtime limit %s; bandwidth limit %s%s; for a guest that is too busy: %.20s",
		  svg_time(v[0], chart_number(c, c->root, "downtimeLimitNs")),
		  limit > 0 ? svg_bytes(v[1], limit) : "none", limit > 0 ? "/s" : "", a);
	chart_stages(c, &plain);
	chart_words(c, "reason", a);
	svg_wrap(&c->svg, &bad, a);
	chart_words(c, "stoppedBecause", b);
	if (b[0]) {
		snprintf(a, sizeof(a), "Why the guest was stopped when it was: %.900s.", b);
		svg_wrap(&c->svg, &plain, a);
	}
}

/* Finds how long and how high the plot of rates must be. */
static void chart_measure(struct chart *c)
{
	c->span_ns = chart_number(c, c->root, "elapsedNs");
	c->top_rate = 0;
	for (const jsmntok_t *r = NULL; (r = chart_next_round(c, r));) {
		double end = chart_number(c, r, "startNs") + chart_number(c, r, "ns");
		double sent = chart_number(c, r, "bytesPerSecond");
		double written = chart_number(c, r, "dirtyBytesPerSecond");

		c->span_ns = end > c->span_ns ? end : c->span_ns;
		c->top_rate = sent > c->top_rate ? sent : c->top_rate;
		c->top_rate = written > c->top_rate ? written : c->top_rate;
	}
}

static void chart_grid(struct chart *c, double bottom)
{
	const struct svg_style rate = { CHART_LEFT - 8, CHART_SMALL, CHART_GREY, "end" };
	struct svg_style time = { 0, CHART_SMALL, CHART_GREY, "middle" };
	char value[SVG_VALUE_MAX];

	for (unsigned int i = 0; i <= CHART_N_GRID; i++) {
		double part = (double)i / CHART_N_GRID, y = bottom - part * CHART_RATES;

		svg_put(&c->svg,
			"<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#dddddd\"/>\n",
			CHART_LEFT, y, CHART_LEFT + CHART_PLOT, y);
		svg_textf(&c->svg, &rate, y + 4, "%s/s", svg_bytes(value, part * c->top_rate));
		time.x = CHART_LEFT + part * CHART_PLOT;
		svg_textf(&c->svg, &time, bottom + 16, "%s", svg_time(value, part * c->span_ns));
	}
}

/* Draws what a round sent, lighter where vCPUs were kept back, and what the guest wrote meanwhile. */
static void chart_round(struct chart *c, const jsmntok_t *r, double bottom)
{
	double start = chart_number(c, r, "startNs"), ns = chart_number(c, r, "ns");
	double x = chart_x(c, start), width = chart_x(c, start + ns) - x;
	double height = chart_height(c, chart_number(c, r, "bytesPerSecond"));
	double written = chart_height(c, chart_number(c, r, "dirtyBytesPerSecond"));
	double throttle = chart_number(c, r, "throttlePercent");
	char v[3][SVG_VALUE_MAX];

	width = width < 1.5 ? 1.5 : width - 0.5;
	svg_put(&c->svg, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"><title>", x,
		bottom - height, width, height, throttle > 0 ? CHART_ZERO : CHART_SENT);
	svg_put(&c->svg, "%s in %s, %s written meanwhile</title></rect>\n",
		svg_bytes(v[0], chart_number(c, r, "bytes")), svg_time(v[1], ns),
		svg_bytes(v[2], chart_number(c, r, "dirtyBytes")));
	if (written > 0)
		svg_put(&c->svg,
			"<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" "
			"stroke-width=\"3\"/>\n",
			x, bottom - written, x + width, bottom - written, CHART_WRITTEN);
}

/* Draws for how long the guest stood still. */
static void chart_stop(struct chart *c, double bottom)
{
	double stop = chart_number(c, c->root, "stopNs"), x = chart_x(c, stop);
	double width = chart_x(c, stop + chart_number(c, c->root, "downtimeNs")) - x;

	if (stop == 0)
		return;
	svg_put(&c->svg,
		"<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\" "
		"fill-opacity=\"0.25\"/>\n",
		x, bottom - CHART_RATES, width < 1 ? 1 : width, CHART_RATES, CHART_STOPPED);
	svg_put(&c->svg,
		"<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" "
		"stroke-dasharray=\"4 3\"/>\n",
		x, bottom - CHART_RATES, x, bottom, CHART_STOPPED);
}

static void chart_legend(struct chart *c)
{
	static const struct {
		const char *color, *words;
	} entries[] = {
		{ CHART_SENT, "sent, each round" },
		{ CHART_ZERO, "sent, with the guest's vCPUs kept back" },
		{ CHART_WRITTEN, "written by the guest meanwhile" },
		{ CHART_STOPPED, "the guest stands still" },
	};
	struct svg_style style = { CHART_LEFT, CHART_SMALL, CHART_GREY, "start" };

	for (unsigned int i = 0; i < ARRAY_SIZE(entries); i++) {
		svg_put(&c->svg, "<rect x=\"%.1f\" y=\"%.1f\" width=\"10\" height=\"10\" fill=\"%s\"/>\n",
			style.x, c->svg.y - 9, entries[i].color);
		style.x += 15;
		svg_textf(&c->svg, &style, c->svg.y, "%s", entries[i].words);
		style.x += 30 + 6 * (double)strlen(entries[i].words);
	}
}

static void chart_rates(struct chart *c)
{
	double bottom;

	chart_measure(c);
	if (!chart_next_round(c, NULL))
		return;
	chart_heading(c, "Rounds over the guest's memory");
	bottom = c->svg.y + CHART_RATES;
	chart_grid(c, bottom);
	for (const jsmntok_t *r = NULL; (r = chart_next_round(c, r));)
		chart_round(c, r, bottom);
	chart_stop(c, bottom);
	c->svg.y = bottom + 38;
	chart_legend(c);
}

/* Draws the downtime's parts side by side, and says how long each took. */
static void chart_downtime(struct chart *c)
{
	static const struct {
		const char *key, *words, *color;
	} parts[] = {
		{ "vcpusStoppedNs", "vCPUs stopped", "#332288" },
		{ "nicQuiescedNs", "NIC quiesced", "#88ccee" },
		{ "lastRamNs", "last of the memory", "#4477aa" },
		{ "stateNs", "state saved and sent", "#117733" },
		{ "loadNs", "loaded at the destination", "#999933" },
		{ "commitNs", "commit", "#cc6677" },
		{ "resumedNs", "resumed", "#aa4499" },
	};
	struct svg_style style = { 0, CHART_TEXT, "#000000", "start" };
	double total = chart_number(c, c->root, "downtimeNs"), x = CHART_LEFT, bar;
	char value[SVG_VALUE_MAX];

	if (total <= 0)
		return;
	chart_heading(c, "Downtime");
	bar = c->svg.y;
	c->svg.y += CHART_STACK + 6;
	for (unsigned int i = 0; i < ARRAY_SIZE(parts); i++) {
		double ns = chart_number(c, c->root, parts[i].key), part = ns / total > 1 ? 1 : ns / total;
		double width = part * CHART_PLOT;

		width = x + width > CHART_LEFT + CHART_PLOT ? CHART_LEFT + CHART_PLOT - x : width;
		svg_put(&c->svg, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>\n",
			x, bar, width, CHART_STACK, parts[i].color);
		x += width;
		c->svg.y += SVG_LINE;
		svg_put(&c->svg, "<rect x=\"%.1f\" y=\"%.1f\" width=\"12\" height=\"12\" fill=\"%s\"/>\n",
			CHART_LEFT, c->svg.y - 11, parts[i].color);
		style.x = CHART_LEFT + 20;
		style.anchor = "start";
		svg_textf(&c->svg, &style, c->svg.y, "%s", parts[i].words);
		style.x = CHART_LEFT + 320;
		style.anchor = "end";
		svg_textf(&c->svg, &style, c->svg.y, "%s", svg_time(value, ns));
		style.x = CHART_LEFT + 390;
		svg_textf(&c->svg, &style, c->svg.y, "%.0f %%", part * 100);
	}
}

static const struct {
	const char *words;
	double x; /* where the column ends */
} chart_columns[] = {
	{ "round", 60 }, { "began after", 170 }, { "took", 270 },
	{ "sent", 380 }, { "pages", 480 },       { "of zeros", 570 },
	{ "rate", 690 }, { "written", 800 },     { "kept back", 880 },
};

/* @first: the number of the row's first round. Returns that of the next row's. */
static double chart_row(struct chart *c, const jsmntok_t *r, double first)
{
	struct svg_style style = { 0, CHART_SMALL, "#000000", "end" };
	char v[ARRAY_SIZE(chart_columns)][SVG_VALUE_MAX];
	char rate[SVG_VALUE_MAX];
	double n;

	n = chart_number(c, r, "rounds");
	if (n > 1)
		snprintf(v[0], SVG_VALUE_MAX, "%.0f to %.0f", first, first + n - 1);
	else
		snprintf(v[0], SVG_VALUE_MAX, "%.0f", first);
	svg_time(v[1], chart_number(c, r, "startNs"));
	svg_time(v[2], chart_number(c, r, "ns"));
	svg_bytes(v[3], chart_number(c, r, "bytes"));
	snprintf(v[4], SVG_VALUE_MAX, "%.0f", chart_number(c, r, "pages"));
	snprintf(v[5], SVG_VALUE_MAX, "%.0f", chart_number(c, r, "zeroPages"));
	snprintf(v[6], SVG_VALUE_MAX, "%.20s/s", svg_bytes(rate, chart_number(c, r, "bytesPerSecond")));
	svg_bytes(v[7], chart_number(c, r, "dirtyBytes"));
	snprintf(v[8], SVG_VALUE_MAX, "%.0f %%", chart_number(c, r, "throttlePercent"));
	c->svg.y += SVG_LINE - 3;
	for (unsigned int i = 0; i < ARRAY_SIZE(chart_columns); i++) {
		style.x = CHART_LEFT + chart_columns[i].x;
		svg_textf(&c->svg, &style, c->svg.y, "%s", v[i]);
	}
	return first + n;
}

static void chart_table(struct chart *c)
{
	struct svg_style style = { 0, CHART_SMALL, CHART_GREY, "end" };
	double first = 1;

	if (!chart_next_round(c, NULL))
		return;
	chart_heading(c, "Each round");
	c->svg.y += 8;
	for (unsigned int i = 0; i < ARRAY_SIZE(chart_columns); i++) {
		style.x = CHART_LEFT + chart_columns[i].x;
		svg_textf(&c->svg, &style, c->svg.y, "%s", chart_columns[i].words);
	}
	for (const jsmntok_t *r = NULL; (r = chart_next_round(c, r));)
		first = chart_row(c, r, first);
}

static void chart_all(struct chart *c)
{
	chart_title(c);
	chart_facts(c);
	chart_rates(c);
	chart_downtime(c);
	chart_table(c);
	c->svg.y += CHART_GAP;
}

int chart_draw(FILE *out, const char *text, size_t len, struct error *err)
{
	struct json json;
	struct chart c = { .json = &json };
	char state[CHART_WORDS_MAX] = "";

	c.root = json.tokens;
	if (len <= CHART_INPUT_MAX && json_parse(&json, text, len))
		chart_words(&c, "state", state);
	if (!state[0]) {
		error_add(err, "no report of a migration: not a JSON object with a \"state\", or too large");
		return -EINVAL;
	}
	chart_all(&c);
	c.svg.out = out;
	svg_put(&c.svg,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" "
		"width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\" font-family=\"sans-serif\">\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n",
		CHART_WIDTH, c.svg.y, CHART_WIDTH, c.svg.y);
	chart_all(&c);
	svg_put(&c.svg, "</svg>\n");
	return 0;
}
