/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The value of --serial. */
#include "vmm/config_serial.h"

#include <errno.h>
#include <sys/un.h>

#include "vmm/config_text.h"
#include "vmm/log.h"

static int config_serial_socket(struct serial_config *config, const char *text, struct error *err)
{
	struct sockaddr_un sun;

	config->kind = SERIAL_UNIX;
	config->path = text + strlen("unix:");
	if (strlen(config->path) >= sizeof(sun.sun_path)) {
		error_add(err, "--serial \"%s\": a socket's path has at most %zu characters", text,
			  sizeof(sun.sun_path) - 1);
		return -EINVAL;
	}
	return 0;
}

/* Reads "file:PATH[,max=SIZE]". */
static int config_serial_file(struct serial_config *config, char *text, struct error *err)
{
	static const char key[] = "max=";
	char *comma = strchr(text, ',');

	config->kind = SERIAL_FILE;
	config->path = text + strlen("file:");
	config->max = CONFIG_SERIAL_DEFAULT;
	if (!comma)
		return 0;
	*comma++ = '\0';
	if (strncmp(comma, key, strlen(key)) != 0) {
		error_add(err,
			  "--serial: \"%s\" is not known; possible behind a path without commas is: max=SIZE",
			  comma);
		return -EINVAL;
	}
	if (config_parse_size(comma + strlen(key), &config->max) < 0 || config->max < CONFIG_SERIAL_MIN ||
	    config->max > CONFIG_SERIAL_MAX) {
		error_add(err, "--serial: \"%s\": %lluK to %lluG are possible", comma,
			  (unsigned long long)(CONFIG_SERIAL_MIN >> 10),
			  (unsigned long long)(CONFIG_SERIAL_MAX >> 30));
		return -EINVAL;
	}
	return 0;
}

int config_serial_parse(struct serial_config *config, char *text, struct error *err)
{
	static const struct {
		const char *word;
		enum serial_kind kind;
	} words[] = { { "stdio", SERIAL_STDIO }, { "pty", SERIAL_PTY }, { "none", SERIAL_NONE } };

	*config = (struct serial_config){ 0 };
	for (unsigned int i = 0; i < ARRAY_SIZE(words); i++) {
		config->kind = words[i].kind;
		if (strcmp(text, words[i].word) == 0)
			return 0;
	}
	if (strncmp(text, "unix:", 5) == 0 && text[5])
		return config_serial_socket(config, text, err);
	if (strncmp(text, "file:", 5) == 0 && text[5] && text[5] != ',')
		return config_serial_file(config, text, err);
	error_add(err, "--serial \"%s\": stdio, unix:PATH, file:PATH[,max=SIZE], pty or none are possible",
		  text);
	return -EINVAL;
}
