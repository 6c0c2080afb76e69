/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The value of --cpus. */
#include "vmm/config_cpus.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/config_text.h"
#include "vmm/log.h"

/* Reads a number of a CPU at *@text, and moves that on: -EINVAL where there is none. */
static int config_host_cpu(const char **text, unsigned int *cpu)
{
	char *end;
	unsigned long v;

	if (**text < '0' || **text > '9')
		return -EINVAL;
	v = strtoul(*text, &end, 10);
	if (v >= CONFIG_MAX_HOST_CPUS)
		return -EINVAL;
	*text = end;
	*cpu = (unsigned int)v;
	return 0;
}

/* Reads the list, of which there may be no more than @config has room for: its length, or -EINVAL. */
static int config_pins(struct cpus_config *config, const char *text)
{
	unsigned int first, last, n = 0;

	for (;; text++) {
		if (config_host_cpu(&text, &first) < 0)
			return -EINVAL;
		last = first;
		if (*text == '-') {
			text++;
			if (config_host_cpu(&text, &last) < 0 || last < first)
				return -EINVAL;
		}
		if (last - first >= CONFIG_MAX_CPUS - n)
			return -EINVAL;
		for (; first <= last; first++)
			config->pins[n++] = (uint16_t)first;
		if (!*text)
			return (int)n;
		if (*text != '+')
			return -EINVAL;
	}
}

static int config_read_pins(struct cpus_config *config, const char *text, struct error *err)
{
	static const char key[] = "pin=";
	int n;

	if (strncmp(text, key, strlen(key)) != 0) {
		error_add(err, "--cpus: \"%s\" is not known; possible behind the number is: pin=CPUS", text);
		return -EINVAL;
	}
	n = config_pins(config, text + strlen(key));
	if (n < 0) {
		error_add(err, "--cpus: \"%s\": CPUs of the host are needed, such as pin=2-5 or pin=2+4+6-7",
			  text);
		return n;
	}
	if ((unsigned int)n != config->n) {
		error_add(err,
			  "--cpus: \"%s\" names %d CPUs of the host, and there are %u vCPUs: one for each",
			  text, n, config->n);
		return -EINVAL;
	}
	config->pinned = true;
	return 0;
}

int config_cpus_parse(struct cpus_config *config, char *text, struct error *err)
{
	char *comma = strchr(text, ',');
	uint64_t v;

	*config = (struct cpus_config){ 0 };
	if (comma)
		*comma++ = '\0';
	if (config_parse_size(text, &v) < 0 || v < 1 || v > CONFIG_MAX_CPUS) {
		error_add(err, "--cpus \"%s\": 1 to %u are possible", text, CONFIG_MAX_CPUS);
		return -EINVAL;
	}
	config->n = (unsigned int)v;
	return comma ? config_read_pins(config, comma, err) : 0;
}
