/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the replay and the loading of control commands share. */
#ifndef FERRY_DEVICES_CVQ_PRIV_H
#define FERRY_DEVICES_CVQ_PRIV_H

#include "devices/cvq.h"

/* Puts a command together in @cmd; returns its length. */
static inline uint32_t cvq_command(uint8_t *cmd, uint8_t class, uint8_t command, const void *payload,
				   uint32_t len)
{
	cmd[0] = class;
	cmd[1] = command;
	memcpy(cmd + 2, payload, len);
	return 2 + len;
}

#endif
