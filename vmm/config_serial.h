/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The value of --serial. Plain functions, any thread. */
#ifndef FERRY_VMM_CONFIG_SERIAL_H
#define FERRY_VMM_CONFIG_SERIAL_H

#include <stdint.h>

#include "vmm/util.h"

struct error;

enum serial_kind { SERIAL_STDIO, SERIAL_UNIX, SERIAL_FILE, SERIAL_PTY, SERIAL_NONE };

/* Bounds of a file: it holds some screens at the least, and half an hour of a line that never rests. */
#define CONFIG_SERIAL_MIN     KIB(64)
#define CONFIG_SERIAL_MAX     GIB(1024)
#define CONFIG_SERIAL_DEFAULT MIB(16)

struct serial_config {
	enum serial_kind kind;
	const char *path; /* of a socket or a file; in the text that was parsed */
	uint64_t max;     /* of a file, bytes */
};

/* Reads @text, and ends a path where its comma was. -EINVAL, with the reason and what would be right. */
int __must_check config_serial_parse(struct serial_config *config, char *text, struct error *err);

#endif
