/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two ways to print a report. */
#include "vmm/host/host_print.h"

#include <inttypes.h>

#include "vmm/control/json.h"
#include "vmm/x86/cpu_baseline.h"

/* Bytes of the longest text, each of them escaped. */
#define HOST_QUOTED_MAX (6 * CPU_BASELINE_TEXT_MAX + 3)

void host_print_text(const struct host_report *r, FILE *out)
{
	for (unsigned int i = 0; i < r->n_checks; i++) {
		const struct host_check *check = &r->checks[i];

		fprintf(out, "%-4s  %s: %s\n", host_state_names[check->state], check->name, check->found);
		if (check->advice[0])
			fprintf(out, "      -> %s\n", check->advice);
	}
}

/* Prints a member with text. @before: what separates it from the last one. */
static void host_print_string(FILE *out, const char *before, const char *name, const char *text)
{
	char quoted[HOST_QUOTED_MAX];

	json_quote(text, quoted, sizeof(quoted));
	fprintf(out, "%s\"%s\":%s", before, name, quoted);
}

static const char *host_print_word(bool is)
{
	return is ? "true" : "false";
}

static void host_print_check(FILE *out, const struct host_check *check)
{
	host_print_string(out, "{", "name", check->name);
	host_print_string(out, ",", "state", host_state_names[check->state]);
	host_print_string(out, ",", "found", check->found);
	host_print_string(out, ",", "advice", check->advice);
	fputc('}', out);
}

static void host_print_nic(FILE *out, const struct host_nic *nic)
{
	host_print_string(out, "{", "node", nic->node);
	host_print_string(out, ",", "driver", nic->driver);
	fprintf(out, ",\"mac\":\"" MAC_FORMAT "\",\"mtu\":%u", MAC_ARGS(nic->mac), nic->mtu);
	/* Text, for a number of JSON's may have no more than 53 bits in its reader. */
	fprintf(out,
		",\"features\":\"0x%" PRIx64 "\",\"offered\":\"0x%" PRIx64 "\",\"lastAddress\":\"0x%" PRIx64
		"\"",
		nic->features, nic->offered, nic->last_address);
	fprintf(out, ",\"queuePairs\":%u,\"ringSize\":%u,\"groups\":%u,\"addressSpaces\":%u", nic->pairs,
		nic->ring, nic->groups, nic->spaces);
	fprintf(out, ",\"controlQueue\":%s,\"controlApart\":%s,\"canSuspend\":%s,\"mode\":\"%s\"}",
		host_print_word(nic->ctrl), host_print_word(nic->ctrl_apart),
		host_print_word(nic->can_suspend), nic->passthrough ? "passthrough" : "shadow");
}

static void host_print_facts(FILE *out, const struct host_facts *facts)
{
	char cpu[CPU_BASELINE_TEXT_MAX] = "";

	if (facts->has_cpu)
		cpu_baseline_print(&facts->cpu, cpu);
	fprintf(out,
		"{\"streamOldest\":%u,\"streamNewest\":%u,\"clockUs\":%" PRIu64 ",\"memTotal\":%" PRIu64
		",\"memAvailable\":%" PRIu64,
		facts->stream_oldest, facts->stream_newest, facts->clock_us, facts->mem_total,
		facts->mem_available);
	host_print_string(out, ",", "cpu", cpu);
	fputs(",\"nics\":[", out);
	for (unsigned int i = 0; i < facts->n_nics; i++) {
		fputs(i > 0 ? "," : "", out);
		host_print_nic(out, &facts->nics[i]);
	}
	fputs("]}", out);
}

void host_print_json(const struct host_report *r, FILE *out)
{
	fprintf(out, "{\"form\":%u", HOST_FORM);
	host_print_string(out, ",", "version", r->facts.version);
	fprintf(out, ",\"ok\":%s,\"checks\":[", host_print_word(r->n_fails == 0));
	for (unsigned int i = 0; i < r->n_checks; i++) {
		fputs(i > 0 ? "," : "", out);
		host_print_check(out, &r->checks[i]);
	}
	fputs("],\"facts\":", out);
	host_print_facts(out, &r->facts);
	fputs("}\n", out);
}
