/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON by jsmn, made strict; and text as a JSON string. */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The one copy of jsmn's code: the header declares it only. */
#define JSMN_STRICT
#define JSMN_PARENT_LINKS
#include <jsmn.h>

#include "vmm/control/json.h"
#include "vmm/text.h"

static int json_hex4(const char *s, const char *end)
{
	static const char digits[] = "0123456789abcdef";
	int v = 0;

	if (end - s < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		const char *d = strchr(digits, s[i] | 0x20);

		/* The case bit makes digits of a few control characters. */
		if (!d || s[i] < '0')
			return -1;
		v = v << 4 | (int)(d - digits);
	}
	return v;
}

static unsigned int json_put_utf8(uint32_t c, char out[4])
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/*
 * Reads one character of a string, escaped or not, as UTF-8. Returns the bytes read, 0 if it is not right.
 * NUL is not: text in C could not hold it.
 */
static unsigned int json_next_char(const char *s, const char *end, char out[4], unsigned int *out_len)
{
	static const char escapes[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
	const char *e;
	int c, low;

	if (*s != '\\') {
		text_decode(s, end, out_len);
		if ((uint8_t)*s < 0x20)
			*out_len = 0;
		memcpy(out, s, *out_len);
		return *out_len;
	}
	if (end - s < 2 || s[1] == '\0')
		return 0;
	e = strchr(escapes, s[1]);
	if (e) {
		*out_len = json_put_utf8((uint32_t)meant[e - escapes], out);
		return 2;
	}
	c = s[1] == 'u' ? json_hex4(s + 2, end) : 0;
	if (c <= 0 || (c >= 0xdc00 && c < 0xe000))
		return 0;
	if (c < 0xd800 || c >= 0xe000) {
		*out_len = json_put_utf8((uint32_t)c, out);
		return 6;
	}
	low = end - s >= 12 && s[6] == '\\' && s[7] == 'u' ? json_hex4(s + 8, end) : -1;
	if (low < 0xdc00 || low >= 0xe000)
		return 0;
	*out_len = json_put_utf8(0x10000 + (((uint32_t)c & 0x3ff) << 10 | ((uint32_t)low & 0x3ff)), out);
	return 12;
}

/* Reads the string between its quotes. Returns false if it is not one, or does not fit. @buf may be NULL, to
 * look only. */
static bool json_unescape(const char *s, const char *end, char *buf, size_t size)
{
	size_t len = 0;

	while (s < end) {
		unsigned int n, out_len = 0;
		char out[4];

		n = json_next_char(s, end, out, &out_len);
		if (n == 0 || (buf && out_len >= size - len))
			return false;
		if (buf)
			memcpy(buf + len, out, out_len);
		len += out_len;
		s += n;
	}
	if (buf)
		buf[len] = '\0';
	return true;
}

/* Checks a word or a number. It is inside an object, so something that ends a number is behind it. */
static bool json_primitive_valid(const char *s, const char *end)
{
	static const char digits[] = "0123456789";
	static const char *const words[] = { "true", "false", "null" };
	size_t n;

	for (unsigned int i = 0; i < ARRAY_SIZE(words); i++) {
		if ((size_t)(end - s) == strlen(words[i]) && memcmp(s, words[i], strlen(words[i])) == 0)
			return true;
	}
	s += *s == '-';
	n = strspn(s, digits);
	if (n == 0 || (n > 1 && *s == '0'))
		return false;
	s += n;
	if (*s == '.') {
		n = strspn(++s, digits);
		s += n;
	}
	if (n > 0 && (*s | 0x20) == 'e') {
		s++;
		s += *s == '+' || *s == '-';
		n = strspn(s, digits);
		s += n;
	}
	return n > 0 && s == end;
}

/* jsmn takes more than JSON: what is left after this is JSON. */
bool json_parse(struct json *json, const char *text, size_t len)
{
	const jsmntok_t *tokens = json->tokens;
	jsmn_parser parser;

	jsmn_init(&parser);
	json->text = text;
	json->n = jsmn_parse(&parser, text, len, json->tokens, JSON_MAX_TOKENS);
	if (json->n < 1 || tokens[0].type != JSMN_OBJECT)
		return false;
	for (int i = 0; i < json->n; i++) {
		const jsmntok_t *t = &tokens[i], *parent = t->parent < 0 ? NULL : &tokens[t->parent];

		if ((i > 0) != (parent != NULL))
			return false;
		if (t->type == JSMN_STRING && !json_unescape(text + t->start, text + t->end, NULL, 0))
			return false;
		if (t->type == JSMN_PRIMITIVE && !json_primitive_valid(text + t->start, text + t->end))
			return false;
		if (!parent || parent->type == JSMN_ARRAY)
			continue;
		if (parent->type == JSMN_OBJECT && (t->type != JSMN_STRING || t->size != 1))
			return false;
		if (parent->type == JSMN_PRIMITIVE ||
		    (parent->type == JSMN_STRING && tokens[parent->parent].type != JSMN_OBJECT))
			return false;
	}
	return true;
}

/* Finds the value of a member, whatever it is. */
static const jsmntok_t *json_member(const struct json *json, const jsmntok_t *object, const char *name)
{
	for (const jsmntok_t *t = object + 1; t < json->tokens + json->n && t->start < object->end; t++) {
		if (&json->tokens[t->parent] == object && (size_t)(t->end - t->start) == strlen(name) &&
		    memcmp(json->text + t->start, name, strlen(name)) == 0)
			return &t[1];
	}
	return NULL;
}

const jsmntok_t *json_find(const struct json *json, const jsmntok_t *object, const char *name,
			   jsmntype_t type)
{
	const jsmntok_t *t = json_member(json, object, name);

	return t && t->type == type ? t : NULL;
}

bool json_has(const struct json *json, const jsmntok_t *object, const char *name)
{
	const jsmntok_t *t = object ? json_member(json, object, name) : NULL;

	return t && !(t->type == JSMN_PRIMITIVE && json->text[t->start] == 'n');
}

bool json_other(const struct json *json, const jsmntok_t *object, const char *const *names, char *buf,
		size_t size)
{
	for (const jsmntok_t *t = object ? object + 1 : NULL;
	     t && t < json->tokens + json->n && t->start < object->end; t++) {
		const char *const *name = names;

		if (&json->tokens[t->parent] != object)
			continue;
		while (*name && ((size_t)(t->end - t->start) != strlen(*name) ||
				 memcmp(json->text + t->start, *name, strlen(*name)) != 0))
			name++;
		if (*name)
			continue;
		snprintf(buf, size, "%.*s", t->end - t->start, json->text + t->start);
		return true;
	}
	return false;
}

bool json_string(const struct json *json, const jsmntok_t *object, const char *name, char *buf, size_t size)
{
	const jsmntok_t *t = object ? json_find(json, object, name, JSMN_STRING) : NULL;

	return t && json_unescape(json->text + t->start, json->text + t->end, buf, size);
}

bool json_number(const struct json *json, const jsmntok_t *object, const char *name, uint64_t *v)
{
	const jsmntok_t *t = object ? json_find(json, object, name, JSMN_PRIMITIVE) : NULL;

	if (!t)
		return false;
	*v = 0;
	for (int i = t->start; i < t->end; i++) {
		unsigned int digit = (unsigned int)json->text[i] - '0';

		if (digit > 9 || *v > (UINT64_MAX - digit) / 10)
			return false;
		*v = *v * 10 + digit;
	}
	return true;
}

bool json_bool(const struct json *json, const jsmntok_t *object, const char *name, bool *v)
{
	const jsmntok_t *t = object ? json_find(json, object, name, JSMN_PRIMITIVE) : NULL;

	if (!t || (json->text[t->start] != 't' && json->text[t->start] != 'f'))
		return false;
	*v = json->text[t->start] == 't';
	return true;
}

bool json_true(const struct json *json, const char *name)
{
	bool v = false;

	return json_bool(json, json->tokens, name, &v) && v;
}

bool json_object_string(const char *object, const char *name, char *buf, size_t size)
{
	struct json json;

	return json_parse(&json, object, strlen(object)) && json_string(&json, json.tokens, name, buf, size);
}

bool json_object_number(const char *object, const char *name, uint64_t *v)
{
	struct json json;

	return json_parse(&json, object, strlen(object)) && json_number(&json, json.tokens, name, v);
}

int json_item(const struct json *json, const jsmntok_t *object, const char *name, unsigned int index,
	      char *buf, size_t size)
{
	const jsmntok_t *array = object ? json_find(json, object, name, JSMN_ARRAY) : NULL;

	if (!array)
		return -EINVAL;
	for (const jsmntok_t *t = array; t < json->tokens + json->n; t++) {
		if (t->parent < 0 || &json->tokens[t->parent] != array || index-- > 0)
			continue;
		if (t->type != JSMN_STRING ||
		    !json_unescape(json->text + t->start, json->text + t->end, buf, size))
			return -EINVAL;
		return 1;
	}
	return 0;
}

int json_object_item(const char *object, const char *name, unsigned int index, char *buf, size_t size)
{
	struct json json;

	if (!json_parse(&json, object, strlen(object)))
		return -EINVAL;
	return json_item(&json, json.tokens, name, index, buf, size);
}

void json_put(struct json_text *t, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(t->buf + t->len, t->size - t->len, fmt, args);
	va_end(args);
	assert(n >= 0 && (size_t)n < t->size - t->len);
	t->len += (size_t)n;
}

void json_quote(const char *text, char *buf, size_t size)
{
	const char *end = text + strlen(text);
	size_t len = 0;

	assert(size >= 3);
	buf[len++] = '"';
	while (text < end) {
		unsigned int n;
		uint32_t c = text_decode(text, end, &n);
		char out[8];

		if (n == 0)
			snprintf(out, sizeof(out), "\\ufffd");
		else if (text_plain_len(text, end) == 0)
			snprintf(out, sizeof(out), "\\u%04x", c & 0xffff);
		else
			snprintf(out, sizeof(out), "%s%.*s", *text == '"' || *text == '\\' ? "\\" : "",
				 (int)n, text);
		if (strlen(out) + 2 > size - len)
			break;
		memcpy(buf + len, out, strlen(out));
		len += strlen(out);
		text += n ? n : 1;
	}
	buf[len++] = '"';
	buf[len] = '\0';
}
