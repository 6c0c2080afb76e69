/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long a migration takes, and how long the guest stands still for it, as its NICs' state grows: a source
 * and a destination in one process, with everything of the product's but KVM. One line for each migration,
 * the sizes in turns, so that what else the machine does is shared by all.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/bench/growth_host.h"

#define GROWTH_ROUNDS 7u

static const struct growth_case {
	const char *of;
	unsigned int n;
	struct growth_size size;
} cases[] = {
	{ "VLANs", 0, { 1, 1, 0, 0 } },         { "VLANs", 300, { 1, 1, 300, 0 } },
	{ "VLANs", 1500, { 1, 1, 1500, 0 } },   { "VLANs", 4094, { 1, 1, 4094, 0 } },
	{ "MACs", 0, { 1, 1, 0, 0 } },          { "MACs", 100, { 1, 1, 0, 100 } },
	{ "MACs", 300, { 1, 1, 0, 300 } },      { "MACs", 700, { 1, 1, 0, 700 } },
	{ "queue pairs", 1, { 1, 1, 0, 0 } },   { "queue pairs", 4, { 1, 4, 0, 0 } },
	{ "queue pairs", 16, { 1, 16, 0, 0 } }, { "queue pairs", 64, { 1, 64, 0, 0 } },
	{ "NICs", 1, { 1, 1, 0, 0 } },          { "NICs", 2, { 2, 1, 0, 0 } },
	{ "NICs", 4, { 4, 1, 0, 0 } },          { "NICs", 8, { 8, 1, 0, 0 } },
};

static void measure(const struct growth_case *c)
{
	struct growth_host *from = malloc(sizeof(*from)), *to = malloc(sizeof(*to));
	struct soft_net network;
	struct report report;

	soft_net_init(&network);
	growth_host_init(from, &network, &c->size);
	growth_host_init(to, &network, &c->size);
	growth_host_boot(from);
	growth_host_move(from, to, &report);
	printf("%s %u: downtime %.3f ms, total %.3f ms;", c->of, c->n, (double)report.downtime_ns / 1e6,
	       (double)report.elapsed_ns / 1e6);
	for (unsigned int i = 0; i < REPORT_N_PARTS; i++)
		printf(" %s %.3f", report_part_names[i], (double)report.parts_ns[i] / 1e6);
	printf("\n");
	growth_host_exit(from);
	growth_host_exit(to);
	soft_net_exit(&network);
	free(from);
	free(to);
}

int main(int argc, char **argv)
{
	unsigned int n = argc > 1 ? (unsigned int)strtoul(argv[1], NULL, 10) : GROWTH_ROUNDS;

	log_level = LOG_WARN;
	for (unsigned int i = 0; i < n; i++) {
		for (unsigned int k = 0; k < ARRAY_SIZE(cases); k++)
			measure(&cases[k]);
	}
	return 0;
}
