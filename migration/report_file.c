/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing reports beside a guest. */
#include "migration/report_file.h"

#include "vmm/file_save.h"

static void *report_file_thread(void *arg)
{
	struct report_file *f = arg;
	struct error err = { 0 };

	if (file_save(f->path, f->json, f->len, &err) < 0)
		log_limited(&f->limit, LOG_WARN, "the report of the migration is lost: %s", err.text);
	f->written = true;
	return NULL;
}

void report_file_write(struct report_file *f, const struct report *r)
{
	int ret;

	if (!f->path)
		return;
	if (f->writing && !f->written) {
		log_limited(&f->limit, LOG_WARN,
			    "the report of the migration is left out: %s takes long to write", f->path);
		return;
	}
	report_file_close(f);
	f->len = report_json(r, REPORT_ALL, f->json);
	f->written = false;
	ret = pthread_create(&f->thread, NULL, report_file_thread, f);
	f->writing = ret == 0;
	if (ret != 0)
		log_limited(&f->limit, LOG_WARN,
			    "the report of the migration is lost: cannot start a thread: %s", strerror(ret));
}

void report_file_close(struct report_file *f)
{
	if (f->writing)
		pthread_join(f->thread, NULL);
	f->writing = false;
}
