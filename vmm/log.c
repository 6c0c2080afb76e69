/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages to stderr and the texts of errors. */
#include "vmm/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "vmm/text.h"

#define LOG_LINE_MAX 2048

enum log_level log_level = LOG_INFO;

int log_keep_stdio(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		/* It gets the lowest number that is free, which is this one. */
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			return -errno;
	}
	return 0;
}

static void log_line(const char *fmt, va_list ap)
{
	char line[LOG_LINE_MAX];
	size_t len = (size_t)snprintf(line, sizeof(line), "ferry: ");
	int n = vsnprintf(line + len, sizeof(line) - len - 1, fmt, ap);

	if (n < 0)
		return;
	len += min_u64((uint64_t)n, sizeof(line) - len - 2);
	text_clean(line, len);
	line[len++] = '\n';
	/* There is nowhere to report that stderr is gone. */
	if (write(STDERR_FILENO, line, len) < 0)
		return;
}

void log_message(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if (level > log_level)
		return;
	va_start(ap, fmt);
	log_line(fmt, ap);
	va_end(ap);
}

void log_limited(struct log_limit *limit, enum log_level level, const char *fmt, ...)
{
	uint64_t now = now_ns();
	va_list ap;

	if (level > log_level)
		return;
	if (limit->start_ns == 0 || now - limit->start_ns > LOG_INTERVAL_NS) {
		if (limit->n_dropped > 0)
			log_message(level, "%u messages like the following were left out", limit->n_dropped);
		*limit = (struct log_limit){ .start_ns = now };
	}
	if (limit->n_logged == LOG_BURST) {
		limit->n_dropped++;
		return;
	}
	limit->n_logged++;
	va_start(ap, fmt);
	log_line(fmt, ap);
	va_end(ap);
}

int error_add(struct error *err, int ret, const char *fmt, ...)
{
	size_t len = strlen(err->text);
	va_list ap;

	if (len > 0)
		len += (size_t)snprintf(err->text + len, sizeof(err->text) - len, "; ");
	if (len >= sizeof(err->text))
		return ret;
	va_start(ap, fmt);
	vsnprintf(err->text + len, sizeof(err->text) - len, fmt, ap);
	va_end(ap);
	return ret;
}
