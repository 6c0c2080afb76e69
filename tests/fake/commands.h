/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control commands of the specification, by number, each with a payload that is right: what tests and
 * fuzzers send when they mean each command, or any. Independent of devices/net/cvq, whose table they check.
 */
#ifndef FERRY_TESTS_FAKE_COMMANDS_H
#define FERRY_TESTS_FAKE_COMMANDS_H

#include "devices/net/cvq/checks.h"

struct fake_command {
	uint8_t class, command;
	uint8_t feature; /* number of the bit that permits it */
	/* The command sets state of the device, which moves with the guest. */
	bool recorded;
	const char *name;
	uint32_t len;
	const char *payload;
	const char *words; /* that messages have for it */
};

/* Each command once, MAC_TABLE_SET twice. Payloads are right for fake_limits, and for fake_vdpa_default's
 * device. */
extern const struct fake_command fake_commands[];
extern const unsigned int fake_n_commands;

/* A device with every feature and eight pairs. */
extern const struct cvq_limits fake_limits;

#endif
