/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The report of a migration, for a person and for a manager: rounds, bytes, the downtime in parts, why the
 * guest was stopped when it was, and why a migration failed. Plain data, copied as it is. */
#ifndef FERRY_MIGRATION_REPORT_H
#define FERRY_MIGRATION_REPORT_H

#include <stdint.h>

#include "vmm/log.h"

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

/* How far it has come, or how it has ended; REPORT_NONE: there was none. */
enum report_state {
	REPORT_NONE,
	REPORT_RUNNING,
	REPORT_MOVED,
	REPORT_FAILED,
	REPORT_UNKNOWN,
	REPORT_N_STATES
};

/* What a failure, or an outcome that is unknown, came from. */
enum report_cause {
	REPORT_NO_CAUSE,
	REPORT_CONNECTION, /* it has ended, or was lost */
	REPORT_REFUSED,    /* by the peer */
	REPORT_CANCELLED,
	REPORT_TIMEOUT, /* the operator's, or a peer's that does not answer */
	REPORT_GUEST,   /* its end, or its reset */
	REPORT_OTHER,
	REPORT_N_CAUSES
};

/* A round over the guest's memory, or several of them summed up. */
struct report_round {
	unsigned int n;    /* rounds */
	uint64_t start_ns; /* after the migration's beginning; the first's */
	uint64_t ns;       /* until the destination had all of it */
	uint64_t bytes;    /* over the wire */
	uint64_t pages, zero_pages;
	/* What the guest had written by the next look, and the time between the two looks: 0 where there was
	 * no next one. */
	uint64_t written_bytes, written_ns;
	unsigned int throttle; /* percent; the most, of several */
};

/* Rounds that are kept. Of more the first half and the latest are kept one by one, and what was between them
 * as one sum. */
#define REPORT_MAX_ROUNDS 32u

/* A stage, and when it was first reached, after the beginning. */
struct report_stage {
	const char *name;
	uint64_t start_ns;
};

#define REPORT_MAX_STAGES 16u

/* Bytes of what is said of a destination that are kept, for a person. */
#define REPORT_TO_MAX 384u

/* The end that a report is of. */
enum report_side { REPORT_SOURCE, REPORT_DESTINATION };

struct report {
	enum report_side side;
	enum report_state state;
	const char
		*stage; /* name in the source's table of stages, or in the destination's: the last reached */
	char to[REPORT_TO_MAX];
	/* Why it failed, or is unknown. */
	char reason[ERROR_TEXT_MAX];
	enum report_cause cause;
	/* This host's times of day, see clock.h; 0: not yet. */
	uint64_t started, ended;
	unsigned int stream_version; /* agreed on; 0: not yet */
	/* As last set: they can change while it runs. */
	uint64_t downtime_limit_ns, bandwidth_limit;
	const char *stalled;

	unsigned int round;
	uint64_t total_bytes; /* of guest memory */
	uint64_t remaining_bytes;
	/* By the source: of memory, and of what the guest boots from, over the wire; of a destination all
	 * that came. */
	uint64_t sent_bytes, zero_bytes;
	uint64_t compressed_bytes; /* of memory, which went as fewer */
	uint64_t bytes_per_second;
	unsigned int throttle; /* percent */
	unsigned int n_warm;   /* times that device state went ahead */
	/* Time for which the network stood still while a NIC went over to shadow rings: the longest. */
	uint64_t still_ns;
	uint64_t elapsed_ns;

	/* Why the guest was stopped, NULL while it was not; what was left then, and how long sending that was
	 * expected to take. */
	const char *stopped_because;
	uint64_t stop_remaining_bytes, stop_expected_ns;
	/* When the guest stopped, after the beginning; 0: it did not. */
	uint64_t stop_ns;
	uint64_t downtime_ns; /* 0 until known, which a destination never does */
	uint64_t parts_ns[REPORT_N_PARTS];

	unsigned int n_stages;
	struct report_stage stages[REPORT_MAX_STAGES];
	unsigned int n_rounds;
	struct report_round rounds[REPORT_MAX_ROUNDS];
};

/* Names of the parts, which are followed by "Ns" in the JSON object, of the states, and of the causes, of
 * which REPORT_NO_CAUSE has none. */
extern const char *const report_part_names[REPORT_N_PARTS];
extern const char *const report_state_names[REPORT_N_STATES];
extern const char *const report_cause_names[REPORT_N_CAUSES];

/* Returns the cause of a migration's -errno, as the functions of stream.h and outgoing.h return them. */
enum report_cause report_cause_of(int ret);

/* Notes that the stage @name, which stays, is reached at @ns after the beginning. */
void report_reach(struct report *r, const char *name, uint64_t ns);

/* Adds a round, and makes room for it. Returns where it is, until the next is added. */
struct report_round *report_add_round(struct report *r, const struct report_round *round);

/* What a report as JSON contains: what changes while it runs, without the rounds; or everything. */
enum report_detail { REPORT_PROGRESS, REPORT_ALL };

/* Writes the report as a JSON object. Returns its length, without the NUL; @buf is always large enough. */
#define REPORT_JSON_MAX 16384u
unsigned int report_json(const struct report *r, enum report_detail detail, char buf[REPORT_JSON_MAX]);

#endif
