/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options in a file. */
#include "vmm/config_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int config_file_open(struct config_file *file, const char *path, struct error *err)
{
	FILE *in = fopen(path, "re");
	size_t len = 0;
	int ret = 0;

	*file = (struct config_file){ .path = path };
	if (!in) {
		ret = -errno;
		error_add(err, "--config: cannot open %s: %s", path, strerror(errno));
		return ret;
	}
	file->text = malloc(CONFIG_FILE_MAX + 2);
	if (file->text)
		len = fread(file->text, 1, CONFIG_FILE_MAX + 1, in);
	if (!file->text || ferror(in)) {
		ret = file->text ? -EIO : -ENOMEM;
		error_add(err, "--config: cannot read %s: %s", path, strerror(file->text ? errno : ENOMEM));
	} else if (len > CONFIG_FILE_MAX) {
		ret = -EINVAL;
		error_add(err, "--config: %s has more than %u bytes", path, CONFIG_FILE_MAX);
	} else if (memchr(file->text, '\0', len)) {
		ret = -EINVAL;
		error_add(err, "--config: %s is no text: it has a byte 0", path);
	}
	fclose(in);
	if (ret < 0) {
		config_file_close(file);
		return ret;
	}
	file->text[len] = '\0';
	file->next = file->text;
	return 0;
}

void config_file_close(struct config_file *file)
{
	free(file->text);
	*file = (struct config_file){ 0 };
}

void config_file_wrong(const struct config_file *file, const struct error *reason, struct error *err)
{
	error_add(err, "%s:%u: %s", file->path, file->line, reason->text);
}

/* Takes a line from the text. NULL: there is none. */
static char *config_file_line(struct config_file *file)
{
	char *line = file->next, *end;

	if (!*line)
		return NULL;
	end = line + strcspn(line, "\n");
	file->next = *end ? end + 1 : end;
	file->line++;
	while (end > line && strchr(" \t\r", end[-1]))
		end--;
	*end = '\0';
	return line + strspn(line, " \t");
}

/* Finds the option that @line begins with; 0 with none if the command passes it over. */
static int config_file_find(enum command_id command, const char *line, size_t len, struct option_item *item,
			    struct error *err)
{
	const enum command_id other = command == COMMAND_RUN ? COMMAND_RECEIVE : COMMAND_RUN;
	struct error none = { 0 };

	if (line[0] == '-' || memchr(line, '=', len)) {
		error_add(err,
			  "\"%s\": a line is an option's name without dashes, a blank, and its value, such "
			  "as \"mem 4G\"",
			  line);
		return -EINVAL;
	}
	item->row = option_find(command, line, len, &none);
	if (!item->row && option_find(other, line, len, &none))
		return 0;
	if (!item->row)
		item->row = option_find(command, line, len, err);
	if (item->row && item->row->id == OPTION_CONFIG) {
		error_add(err, "config is for the command line: a file does not name another");
		return -EINVAL;
	}
	return item->row ? 1 : -EINVAL;
}

int config_file_next(struct config_file *file, enum command_id command, struct option_item *item,
		     struct error *err)
{
	struct error reason = { 0 };
	char *line;
	int ret = 0;

	while (ret == 0) {
		size_t len;

		line = config_file_line(file);
		if (!line)
			return 0;
		if (!*line || *line == '#')
			continue;
		len = strcspn(line, " \t");
		*item = (struct option_item){ 0 };
		ret = config_file_find(command, line, len, item, &reason);
		if (ret != 1)
			continue;
		if (line[len])
			item->value = line + len + strspn(line + len, " \t");
		else if (item->row->flags & OPTION_EMPTY)
			item->value = line + len;
		if (option_check(item->row, item->value, &reason) < 0)
			ret = -EINVAL;
	}
	if (ret < 0)
		config_file_wrong(file, &reason, err);
	return ret;
}
