/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What has become of the guest, and whether that is right. */
#ifndef FERRY_TESTS_FAULT_JUDGE_H
#define FERRY_TESTS_FAULT_JUDGE_H

#include "tests/fault/run.h"

enum outcome {
	OUTCOME_STAYED,
	OUTCOME_MOVED,
	OUTCOME_RESUMED,
	OUTCOME_SPLIT_AVOIDED,
	OUTCOME_LOST_HOST,
	OUTCOME_OTHER_MOVED,
	OUTCOME_N
};

extern const char *const outcomes[OUTCOME_N];

/* Waits for the end of the migration of @r, and has the guest go on or move once more where it can. Sets
 * @r->wrong where a promise is broken. */
enum outcome judge(struct run *r);

#endif
