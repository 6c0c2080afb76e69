/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The report of a migration, for a person and for a manager: rounds, bytes, and the downtime in parts. */
#ifndef FERRY_MIGRATION_REPORT_H
#define FERRY_MIGRATION_REPORT_H

#include <stdint.h>

#include "vmm/util.h"

enum report_part {
	REPORT_VCPUS_STOPPED,
	REPORT_NIC_QUIESCED,
	REPORT_LAST_RAM,
	REPORT_STATE, /* saved and sent */
	REPORT_LOAD,  /* at the destination */
	REPORT_COMMIT,
	REPORT_RESUMED,
	REPORT_N_PARTS,
};

struct report {
	const char *stage; /* name in the source's table of stages */
	unsigned int round;
	uint64_t total_bytes; /* of guest memory */
	uint64_t remaining_bytes;
	uint64_t sent_bytes, zero_bytes;
	uint64_t bytes_per_second;
	unsigned int throttle; /* percent */
	unsigned int n_warm;   /* times that device state went ahead */
	/* Time for which the network stood still while a NIC went over to shadow rings: the longest. */
	uint64_t still_ns;
	uint64_t elapsed_ns;
	uint64_t downtime_ns; /* 0 until known */
	uint64_t parts_ns[REPORT_N_PARTS];
};

/* Names of the parts, which are followed by "Ns" in the JSON object. */
extern const char *const report_part_names[REPORT_N_PARTS];

/* Writes the report as a JSON object, for the control socket. Returns its length, without the NUL; @buf is
 * always large enough. */
#define REPORT_JSON_MAX 1024u
unsigned int report_json(const struct report *r, char buf[REPORT_JSON_MAX]);

#endif
