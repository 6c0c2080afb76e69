/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file in which a process with a guest leaves its migration's report. */
#ifndef FERRY_MIGRATION_REPORT_FILE_H
#define FERRY_MIGRATION_REPORT_FILE_H

#include <pthread.h>

#include "migration/report.h"

/* Zeroed but for @path. On the thread that makes the reports. */
struct report_file {
	const char *path; /* NULL: no report is wanted */
	/* The latest report is being written, on a thread of its own: storage that does not answer is in
	 * nobody's way. */
	bool writing;
	pthread_t thread;
	_Atomic bool written;
	struct log_limit limit;
	size_t len;
	char json[REPORT_JSON_MAX];
};

/* Has @r written, see vmm/file_save.h. Never waits: while an earlier report is still being written this one
 * is left out, and logged as left out. */
void report_file_write(struct report_file *f, const struct report *r);

/* Waits until what was begun is written. */
void report_file_close(struct report_file *f);

#endif
