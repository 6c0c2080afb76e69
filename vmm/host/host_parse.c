/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Another host's report, checked member by member. */
#include "vmm/host/host_parse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmm/config_text.h"
#include "vmm/control/json.h"
#include "vmm/host/host_print.h"
#include "vmm/text.h"
#include "vmm/x86/cpu_baseline.h"

/* No host has more of anything that is counted. */
#define HOST_COUNT_MAX 65536u

/* The next item of @array behind @item, or the first; NULL behind the last. */
static const jsmntok_t *host_parse_next(const struct json *json, const jsmntok_t *array,
					const jsmntok_t *item)
{
	for (const jsmntok_t *t = (item ? item : array) + 1;
	     t < json->tokens + json->n && t->start < array->end; t++) {
		if (&json->tokens[t->parent] == array)
			return t;
	}
	return NULL;
}

static bool host_parse_text(const struct json *json, const jsmntok_t *object, const char *name, char *buf,
			    size_t size)
{
	if (!json_string(json, object, name, buf, size))
		return false;
	text_clean(buf, strlen(buf));
	return true;
}

static bool host_parse_count(const struct json *json, const jsmntok_t *object, const char *name,
			     unsigned int *v)
{
	uint64_t n;

	if (!json_number(json, object, name, &n) || n > HOST_COUNT_MAX)
		return false;
	*v = (unsigned int)n;
	return true;
}

/* A number of 64 bits, as text: "0x12". */
static bool host_parse_bits(const struct json *json, const jsmntok_t *object, const char *name, uint64_t *v)
{
	char text[24], *end;

	if (!json_string(json, object, name, text, sizeof(text)) || strncmp(text, "0x", 2) != 0 ||
	    strspn(text + 2, "0123456789abcdef") != strlen(text + 2))
		return false;
	errno = 0;
	*v = strtoull(text + 2, &end, 16);
	return errno == 0 && end != text + 2;
}

static bool host_parse_state(const char *word, enum host_state *state)
{
	int i = config_parse_word(word, host_state_names, HOST_STATES);

	*state = i < 0 ? HOST_FAIL : (enum host_state)i;
	return i >= 0;
}

static bool host_parse_check(struct host_report *r, const struct json *json, const jsmntok_t *object)
{
	struct host_check check;
	char word[16];

	if (object->type != JSMN_OBJECT ||
	    !host_parse_text(json, object, "name", check.name, sizeof(check.name)) ||
	    !host_parse_text(json, object, "found", check.found, sizeof(check.found)) ||
	    !host_parse_text(json, object, "advice", check.advice, sizeof(check.advice)) ||
	    !json_string(json, object, "state", word, sizeof(word)) || !host_parse_state(word, &check.state))
		return false;
	host_report_add(r, check.state, check.name, check.advice, "%s", check.found);
	return true;
}

static bool host_parse_nic(struct host_facts *facts, const struct json *json, const jsmntok_t *object)
{
	static const char *const modes[] = { "shadow", "passthrough" };
	struct host_nic nic = { 0 };
	char mac[32], mode[16];
	int i;

	if (object->type != JSMN_OBJECT ||
	    !host_parse_text(json, object, "node", nic.node, sizeof(nic.node)) ||
	    !host_parse_text(json, object, "driver", nic.driver, sizeof(nic.driver)) ||
	    !json_string(json, object, "mac", mac, sizeof(mac)) ||
	    !host_parse_count(json, object, "mtu", &nic.mtu) ||
	    !host_parse_bits(json, object, "features", &nic.features) ||
	    !host_parse_bits(json, object, "offered", &nic.offered) ||
	    !host_parse_bits(json, object, "lastAddress", &nic.last_address) ||
	    !host_parse_count(json, object, "queuePairs", &nic.pairs) ||
	    !host_parse_count(json, object, "ringSize", &nic.ring) ||
	    !host_parse_count(json, object, "groups", &nic.groups) ||
	    !host_parse_count(json, object, "addressSpaces", &nic.spaces) ||
	    !json_bool(json, object, "controlQueue", &nic.ctrl) ||
	    !json_bool(json, object, "controlApart", &nic.ctrl_apart) ||
	    !json_bool(json, object, "canSuspend", &nic.can_suspend) ||
	    !json_string(json, object, "mode", mode, sizeof(mode)))
		return false;
	/* One that no interface can have stands for none. */
	if (config_parse_mac(mac, nic.mac) < 0)
		memset(nic.mac, 0, sizeof(nic.mac));
	i = config_parse_word(mode, modes, ARRAY_SIZE(modes));
	nic.passthrough = i == 1;
	if (i >= 0 && facts->n_nics < HOST_MAX_NICS)
		facts->nics[facts->n_nics++] = nic;
	return i >= 0;
}

/* Reads the CPU, which may have what this Ferry does not know. */
static bool host_parse_cpu(struct host_facts *facts, const struct json *json, const jsmntok_t *object)
{
	char cpu[CPU_BASELINE_TEXT_MAX];
	struct error err = { 0 };

	if (!json_string(json, object, "cpu", cpu, sizeof(cpu)))
		return false;
	facts->has_cpu = cpu[0] != '\0' && cpu_baseline_parse(&facts->cpu, cpu, "cpu", &err) == 0;
	return true;
}

static bool host_parse_facts(struct host_facts *facts, const struct json *json)
{
	const jsmntok_t *object = json_find(json, json->tokens, "facts", JSMN_OBJECT);
	const jsmntok_t *nics = object ? json_find(json, object, "nics", JSMN_ARRAY) : NULL, *item = NULL;

	if (!nics || !host_parse_count(json, object, "streamOldest", &facts->stream_oldest) ||
	    !host_parse_count(json, object, "streamNewest", &facts->stream_newest) ||
	    !json_number(json, object, "clockUs", &facts->clock_us) ||
	    !json_number(json, object, "memTotal", &facts->mem_total) ||
	    !json_number(json, object, "memAvailable", &facts->mem_available) ||
	    !host_parse_cpu(facts, json, object))
		return false;
	while ((item = host_parse_next(json, nics, item))) {
		if (!host_parse_nic(facts, json, item))
			return false;
	}
	return true;
}

static bool host_parse_object(struct host_report *r, const struct json *json)
{
	const jsmntok_t *checks = json_find(json, json->tokens, "checks", JSMN_ARRAY), *item = NULL;

	if (!checks ||
	    !host_parse_text(json, json->tokens, "version", r->facts.version, sizeof(r->facts.version)))
		return false;
	while ((item = host_parse_next(json, checks, item))) {
		if (!host_parse_check(r, json, item))
			return false;
	}
	return host_parse_facts(&r->facts, json);
}

int host_parse(struct host_report *r, const char *text, size_t len, const char *name, struct error *err)
{
	struct json *json = malloc(sizeof(*json));
	uint64_t form = 0;
	int ret = -EINVAL;

	memset(r, 0, sizeof(*r));
	if (!json) {
		error_add(err, "out of memory for the report of %s", name);
		return -ENOMEM;
	}
	if (!json_parse(json, text, len) || !json_number(json, json->tokens, "form", &form))
		error_add(err, "what %s has answered is no report of \"ferry doctor\"", name);
	else if (form != HOST_FORM)
		error_add(err, "the report of %s has another form (%llu) than this Ferry reads (%u)", name,
			  (unsigned long long)form, HOST_FORM);
	else if (!host_parse_object(r, json))
		error_add(err, "the report of %s lacks something, or has what makes no sense", name);
	else
		ret = 0;
	free(json);
	return ret;
}
