/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "nic" and "metrics": answers that come in parts, until the VM names no other. */
#include "vmm/control/nic_commands.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/control/commands.h"
#include "vmm/control/interface.h"
#include "vmm/control/json.h"
#include "vmm/text.h"

/* Parts that a VM may answer in: more than the NICs of any have. */
#define CLIENT_MAX_PARTS 512u

/* Bytes of a value that is printed, and of a member's name. */
#define CLIENT_VALUE_MAX  1024u
#define CLIENT_MEMBER_MAX 64u

/* Prints the name of a member, "deviceKicks", as words. */
static void client_print_words(const char *name)
{
	for (; *name; name++) {
		if (isupper((unsigned char)*name))
			putchar(' ');
		putchar(tolower((unsigned char)*name));
	}
}

/* Copies the text of a token as it stands, as plain text; cut if it does not fit. */
static void client_token(const struct json *json, const jsmntok_t *t, char *buf, size_t size)
{
	size_t len = min_u64((uint64_t)(t->end - t->start), size - 1);

	memcpy(buf, json->text + t->start, len);
	buf[len] = '\0';
	text_clean(buf, len);
}

/* Prints a member that is one value, and not an object or a list. */
static void client_print_value(const struct json *json, const jsmntok_t *object, const char *name,
			       const jsmntok_t *value)
{
	char text[CLIENT_VALUE_MAX];

	if (value->type != JSMN_STRING || !json_string(json, object, name, text, sizeof(text)))
		client_token(json, value, text, sizeof(text));
	text_clean(text, strlen(text));
	printf("%s", strcmp(text, "true") == 0 ? "yes" : strcmp(text, "false") == 0 ? "no" : text);
}

static void client_print_list(const struct json *json, const jsmntok_t *object, const char *name)
{
	char text[CLIENT_VALUE_MAX];

	for (unsigned int i = 0; json_item(json, object, name, i, text, sizeof(text)) == 1; i++) {
		text_clean(text, strlen(text));
		printf("%s%s", i > 0 ? ", " : "", text);
	}
}

/* The member of @object behind @from, which is a member's name or the object itself; NULL: there is none. */
static const jsmntok_t *client_next_member(const struct json *json, const jsmntok_t *object,
					   const jsmntok_t *from)
{
	const int parent = (int)(object - json->tokens);

	for (const jsmntok_t *t = from + 1; t < json->tokens + json->n && t->start < object->end; t++) {
		if (t->parent == parent)
			return t;
	}
	return NULL;
}

/* Prints an object of a list on one line: its name, and what it has beside that. */
static void client_print_row(const struct json *json, const jsmntok_t *object)
{
	char name[CLIENT_MEMBER_MAX];
	const char *gap = ": ";

	printf("    ");
	for (const jsmntok_t *t = client_next_member(json, object, object); t;
	     t = client_next_member(json, object, t)) {
		client_token(json, t, name, sizeof(name));
		if (strcmp(name, "name") != 0) {
			printf("%s", gap);
			client_print_words(name);
			printf(" ");
			gap = ", ";
		}
		client_print_value(json, object, name, t + 1);
	}
	printf("\n");
}

/* Prints an object's members, a line each, @indent columns in. What is in it is printed below its name. */
static void client_print_members(const struct json *json, const jsmntok_t *object, unsigned int indent)
{
	char name[CLIENT_MEMBER_MAX];

	for (const jsmntok_t *t = client_next_member(json, object, object); t;
	     t = client_next_member(json, object, t)) {
		const jsmntok_t *value = t + 1, *row = NULL;

		client_token(json, t, name, sizeof(name));
		/* The head of it all, and what is for who asks on. */
		if (strcmp(name, "name") == 0 || strncmp(name, "next", 4) == 0)
			continue;
		printf("%*s", (int)indent, "");
		client_print_words(name);
		printf(":%s", value->size > 0 && value->type != JSMN_STRING ? "" : " ");
		if (value->type == JSMN_ARRAY)
			row = client_next_member(json, value, value);
		if (row && row->type == JSMN_OBJECT) {
			printf("\n");
			for (; row; row = client_next_member(json, value, row))
				client_print_row(json, row);
		} else if (value->type == JSMN_OBJECT && indent < 8) {
			printf("\n");
			client_print_members(json, value, indent + 2);
		} else if (value->type == JSMN_ARRAY) {
			printf(" ");
			client_print_list(json, object, name);
			printf("\n");
		} else {
			client_print_value(json, object, name, value);
			printf("\n");
		}
	}
}

/* Prints a part of what the VM says of a NIC. */
static int client_print_nic(const struct client_options *o, const char *object, struct error *err)
{
	char name[CLIENT_MEMBER_MAX];
	struct json json;

	if (client_has(o, OPTION_JSON)) {
		client_print_json(object);
		return 0;
	}
	if (!json_parse(&json, object, strlen(object)) ||
	    !json_string(&json, json.tokens, "name", name, sizeof(name))) {
		error_add(err, "the VM's answer makes no sense");
		return -EPROTO;
	}
	text_clean(name, strlen(name));
	/* Further queues follow those before. */
	if (json_has(&json, json.tokens, "mode"))
		printf("%s\n", name);
	client_print_members(&json, json.tokens, 2);
	return 0;
}

/* Writes the parameters that ask for the part behind @object. False: it was the last. */
static bool client_next_nic(const char *object, char *parameters, size_t size)
{
	char name[CLIENT_MEMBER_MAX], quoted[6 * CLIENT_MEMBER_MAX + 3];
	uint64_t queue = 0;

	if (json_object_number(object, "nextQueue", &queue) && queue > 0) {
		if (!json_object_string(object, "name", name, sizeof(name)))
			return false;
	} else if (!json_object_string(object, "nextNic", name, sizeof(name))) {
		return false;
	}
	json_quote(name, quoted, sizeof(quoted));
	snprintf(parameters, size, "{\"nic\":%s,\"queue\":%llu}", quoted, (unsigned long long)queue);
	return true;
}

static int client_follow_nic(struct control_client *c, const struct client_options *o, struct error *err)
{
	char parameters[6 * CLIENT_MEMBER_MAX + 64] = "{}";
	const char *object = "{}";
	unsigned int n = 0;
	int ret;

	do {
		ret = client_ask(c, CLIENT_METHOD("DescribeNic"), parameters, &object, err);
		if (ret == 0)
			ret = client_print_nic(o, object, err);
	} while (ret == 0 && ++n < CLIENT_MAX_PARTS &&
		 client_next_nic(object, parameters, sizeof(parameters)));
	return ret;
}

int client_nic(int argc, char **argv)
{
	struct error err = { 0 };
	struct control_client c;
	struct client_options o;
	int ret;

	if (client_parse(&o, COMMAND_NIC, argc, argv, &err) < 0)
		return client_usage("nic", &err);
	ret = control_connect(&c, o.runtime_dir, o.name, &err);
	if (ret == 0) {
		ret = client_follow_nic(&c, &o, &err);
		control_disconnect(&c);
	}
	return client_printed(ret < 0 ? client_failed(&err) : 0);
}

/* Metrics: texts of several VMs, in parts, become one, where each family has its head once. */

struct client_texts {
	char **texts;
	unsigned int n;
};

static int client_keep_text(struct client_texts *all, const char *text, struct error *err)
{
	char **texts = realloc(all->texts, (all->n + 1) * sizeof(*texts));

	if (texts)
		all->texts = texts;
	if (!texts || !(texts[all->n] = strdup(text))) {
		error_add(err, "out of memory");
		return -ENOMEM;
	}
	all->n++;
	return 0;
}

/* Takes what one VM says, all of it or nothing. */
static int client_take_metrics(struct control_client *c, struct client_texts *all, struct error *err)
{
	char text[CONTROL_MESSAGE_MAX], parameters[64] = "{}";
	const unsigned int had = all->n;
	const char *object;
	uint64_t next;
	int ret;

	do {
		next = 0;
		ret = client_ask(c, CLIENT_METHOD("Metrics"), parameters, &object, err);
		if (ret == 0 && !json_object_string(object, "text", text, sizeof(text))) {
			error_add(err, "the VM's answer makes no sense");
			ret = -EPROTO;
		}
		if (ret == 0)
			ret = client_keep_text(all, text, err);
		if (ret == 0 && json_object_number(object, "next", &next))
			snprintf(parameters, sizeof(parameters), "{\"from\":%llu}", (unsigned long long)next);
	} while (ret == 0 && next > 0 && all->n - had < CLIENT_MAX_PARTS);
	while (ret < 0 && all->n > had)
		free(all->texts[--all->n]);
	return ret;
}

#define CLIENT_HELP "# HELP "

/* Finds the head of the next family from @at on; NULL: there is none. */
static const char *client_family(const char *at)
{
	while (*at && strncmp(at, CLIENT_HELP, strlen(CLIENT_HELP)) != 0) {
		at += strcspn(at, "\n");
		at += *at == '\n';
	}
	return *at ? at : NULL;
}

/* Bytes of the beginning of a head, up to the family's name and the blank behind it. */
static size_t client_family_len(const char *head)
{
	const size_t len = strlen(CLIENT_HELP);

	return len + strcspn(head + len, " \n") + 1;
}

static const char *client_find_family(const char *text, const char *head)
{
	const size_t len = client_family_len(head);

	for (text = client_family(text); text; text = client_family(text + 1)) {
		if (strncmp(text, head, len) == 0)
			return text;
	}
	return NULL;
}

enum client_lines { CLIENT_SAMPLES, CLIENT_ALL_LINES };

/* Prints the lines of the family at @at: all, or its samples alone. */
static void client_print_family(const char *at, enum client_lines lines)
{
	const char *next = client_family(at + 1);

	while (*at && at != next) {
		size_t len = strcspn(at, "\n");
		char line[512];

		if (at[0] != '#' || lines == CLIENT_ALL_LINES) {
			snprintf(line, sizeof(line), "%.*s", (int)min_u64(len, sizeof(line) - 1), at);
			text_clean(line, strlen(line));
			printf("%s\n", line);
		}
		at += len + (at[len] == '\n');
	}
}

static void client_print_metrics(const struct client_texts *all)
{
	for (unsigned int i = 0; i < all->n; i++) {
		for (const char *at = client_family(all->texts[i]); at; at = client_family(at + 1)) {
			unsigned int before = 0;

			while (before < i && !client_find_family(all->texts[before], at))
				before++;
			if (before < i)
				continue;
			client_print_family(at, CLIENT_ALL_LINES);
			for (unsigned int k = i + 1; k < all->n; k++) {
				const char *same = client_find_family(all->texts[k], at);

				if (same)
					client_print_family(same, CLIENT_SAMPLES);
			}
		}
	}
}

int client_metrics(int argc, char **argv)
{
	struct client_texts all = { .n = 0 };
	struct client_options o;
	int status = client_several(&o, COMMAND_METRICS, argc, argv);

	if (status)
		return status;
	for (unsigned int i = 0; i < o.n_names; i++) {
		struct control_client c;
		struct error err = { 0 };
		int ret = control_connect(&c, o.runtime_dir, o.names[i], &err);

		if (ret == 0) {
			ret = client_take_metrics(&c, &all, &err);
			control_disconnect(&c);
		}
		if (ret < 0) {
			log_error("%s: %s", o.names[i], err.text);
			status = 1;
		}
	}
	client_print_metrics(&all);
	for (unsigned int i = 0; i < all.n; i++)
		free(all.texts[i]);
	free(all.texts);
	return client_printed(status);
}
