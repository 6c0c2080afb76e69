/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A destination behind ssh. */
#include "vmm/control/ssh_place.h"

#include <errno.h>

#include "vmm/config_text.h"

/* ssh puts both into commands that its configuration may give to a shell. */
static bool ssh_place_user_valid(const char *user)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.+@";

	return user[0] != '\0' && user[0] != '-' && strspn(user, allowed) == strlen(user);
}

static bool ssh_place_host_valid(const char *host, bool bracketed)
{
	static const char allowed[] = "%:ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
	const char *set = bracketed ? allowed : allowed + 2;

	return host[0] != '\0' && host[0] != '-' && strspn(host, set) == strlen(host);
}

/* Cuts @s->text into its parts; false where it has no such form. */
static bool ssh_place_cut(struct ssh_place *s)
{
	char *at = s->text, *end = strchr(at, '/');
	bool bracketed;

	if (end) {
		*end = '\0';
		s->name = end + 1;
	}
	end = strrchr(at, '@');
	if (end) {
		*end = '\0';
		s->user = at;
		at = end + 1;
	}
	bracketed = at[0] == '[';
	s->host = at + bracketed;
	end = bracketed ? strchr(at, ']') : strchr(at, ':');
	if (bracketed) {
		if (!end || (end[1] != '\0' && end[1] != ':'))
			return false;
		*end++ = '\0';
	}
	if (end && *end == ':') {
		*end = '\0';
		s->port = end + 1;
	}
	return ssh_place_host_valid(s->host, bracketed) && (!s->user || ssh_place_user_valid(s->user)) &&
	       (!s->port || config_port_valid(s->port));
}

int ssh_place_parse(struct ssh_place *s, const char *place, const char *name, struct error *err)
{
	*s = (struct ssh_place){ .name = name };
	if (strlen(place) < sizeof(s->text)) {
		strcpy(s->text, place);
		if (!ssh_place_cut(s)) {
			error_add(err,
				  "ssh:%s: give ssh:[USER@]HOST[:PORT][/NAME], with an IPv6 address in "
				  "brackets",
				  place);
			return -EINVAL;
		}
	} else {
		error_add(err, "ssh:%s: longer than %u bytes", place, SSH_PLACE_MAX - 1);
		return -EINVAL;
	}
	/* A name that begins with '-' would be an option there. */
	if (!config_name_valid(s->name) || s->name[0] == '-') {
		error_add(err, "ssh:%s: \"%s\" cannot be the name of the VM there: give another behind a '/'",
			  place, s->name);
		return -EINVAL;
	}
	return 0;
}
