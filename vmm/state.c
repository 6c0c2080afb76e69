/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VM state as a flattened device tree: libfdt's sequential writer, and a strict reader of untrusted trees. */
#include "vmm/state.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmm/text.h"

/* The longest name of a node or a property, without the NUL. */
#define STATE_NAME_MAX    63u
#define STATE_STRINGS_MAX (1u << 20)
#define STATE_MAX_DEPTH   8u
#define STATE_PATH_MAX    256

/* Writing */

int state_open_writer(struct state_writer *w)
{
	return state_open_writer_for(w, 0);
}

int state_open_writer_for(struct state_writer *w, unsigned int n_vcpus)
{
	uint32_t size =
		(uint32_t)min_u64(STATE_EXPECTED + (uint64_t)n_vcpus * STATE_EXPECTED_VCPU, STATE_MAX);

	/* The buffer is zeroed, here and when it grows: libfdt leaves the padding of properties as it finds
	 * it. */
	*w = (struct state_writer){ .fdt = calloc(1, size) };
	if (!w->fdt) {
		w->ret = -ENOMEM;
		return w->ret;
	}
	/* A property brings its name: looking for it among all others takes longer than all the rest, while a
	 * guest stands still. */
	if (fdt_create_with_flags(w->fdt, (int)size, FDT_CREATE_FLAG_NO_NAME_DEDUP) < 0 ||
	    fdt_finish_reservemap(w->fdt) < 0 || fdt_begin_node(w->fdt, "") < 0)
		w->ret = -EINVAL;
	return w->ret;
}

/*
 * Decides about libfdt's answer: true if there is more room now, so that the caller tries again. A node or a
 * property that did not fit has left nothing behind.
 */
static bool state_retry(struct state_writer *w, int fdt_ret)
{
	uint32_t size;
	void *bigger;

	if (fdt_ret == 0)
		return false;
	size = fdt_totalsize(w->fdt) * 2;
	if (fdt_ret != -FDT_ERR_NOSPACE) {
		w->ret = -EINVAL;
		return false;
	}
	if (size > STATE_MAX) {
		w->ret = -E2BIG;
		return false;
	}
	bigger = calloc(1, size);
	if (!bigger) {
		w->ret = -ENOMEM;
		return false;
	}
	if (fdt_resize(w->fdt, bigger, (int)size) < 0) {
		free(bigger);
		w->ret = -EINVAL;
		return false;
	}
	free(w->fdt);
	w->fdt = bigger;
	return true;
}

void state_begin(struct state_writer *w, const char *name)
{
	assert(strlen(name) <= STATE_NAME_MAX);
	while (w->ret == 0 && state_retry(w, fdt_begin_node(w->fdt, name)))
		;
}

static void state_index_name(char out[STATE_NAME_MAX + 1], const char *name, unsigned int index)
{
	int n = snprintf(out, STATE_NAME_MAX + 1, "%s@%x", name, index);

	assert(n > 0 && n <= (int)STATE_NAME_MAX);
	(void)n;
}

void state_begin_indexed(struct state_writer *w, const char *name, unsigned int index)
{
	char full[STATE_NAME_MAX + 1];

	state_index_name(full, name, index);
	state_begin(w, full);
}

void state_end(struct state_writer *w)
{
	while (w->ret == 0 && state_retry(w, fdt_end_node(w->fdt)))
		;
}

void state_put_blob(struct state_writer *w, const char *name, const void *data, uint32_t len)
{
	void *value = NULL;

	assert(strlen(name) <= STATE_NAME_MAX);
	if (w->ret == 0 && len > STATE_MAX)
		w->ret = -E2BIG;
	while (w->ret == 0 && state_retry(w, fdt_property_placeholder(w->fdt, name, (int)len, &value)))
		;
	if (w->ret == 0 && len > 0)
		memcpy(value, data, len);
}

void state_put_u32(struct state_writer *w, const char *name, uint32_t v)
{
	fdt32_t cell = cpu_to_fdt32(v);

	state_put_blob(w, name, &cell, sizeof(cell));
}

void state_put_u64(struct state_writer *w, const char *name, uint64_t v)
{
	fdt64_t cells = cpu_to_fdt64(v);

	state_put_blob(w, name, &cells, sizeof(cells));
}

void state_put_string(struct state_writer *w, const char *name, const char *v)
{
	state_put_blob(w, name, v, (uint32_t)strlen(v) + 1);
}

void state_set_u64(void *fdt, const char *name, uint64_t v)
{
	int ret = fdt_setprop_inplace_u64(fdt, 0, name, v);

	assert(ret == 0);
	(void)ret;
}

void state_put_note(struct state_writer *w, uint32_t v)
{
	if (w->ret == 0)
		fdt_set_boot_cpuid_phys(w->fdt, v);
}

void state_fail(struct state_writer *w, int ret)
{
	if (w->ret == 0)
		w->ret = ret;
}

void state_drop(struct state_writer *w)
{
	free(w->fdt);
	w->fdt = NULL;
}

int state_close(struct state_writer *w, void **fdt, uint32_t *len)
{
	state_end(w);
	while (w->ret == 0 && state_retry(w, fdt_finish(w->fdt)))
		;
	if (w->ret < 0) {
		state_drop(w);
		return w->ret;
	}
	*fdt = w->fdt;
	*len = fdt_totalsize(w->fdt);
	w->fdt = NULL;
	return 0;
}

/*
 * Checking. fdt_check_full() of Debian 12's libfdt (1.6.1) adds a property's length to its offset before it
 * checks it, so that a tree can send it round for ever; it also allows more than Ferry writes. So the shape
 * of a tree is walked here first: properties before children, bounded names, counts and depth, one root,
 * nothing behind it.
 */
struct state_walk {
	const uint8_t *tags;
	uint32_t len;
	uint32_t pos;
	const char *strings;
	uint32_t strings_len;
	unsigned int depth; /* The number of nodes that are open. */
	struct {
		unsigned int n_props, n_children;
	} open[STATE_MAX_DEPTH];
};

static bool state_name_valid(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		bool letter = (name[i] | 0x20) >= 'a' && (name[i] | 0x20) <= 'z';
		bool digit = name[i] >= '0' && name[i] <= '9';

		if (!letter && !digit && !(name[i] != '\0' && strchr(",._+-@", name[i])))
			return false;
	}
	return len <= STATE_NAME_MAX;
}

static bool state_walk_begin(struct state_walk *t)
{
	const char *name = (const char *)t->tags + t->pos;
	size_t len = strnlen(name, t->len - t->pos);

	if (len == t->len - t->pos || !state_name_valid(name, len))
		return false;
	/* The root has no name, and nothing else goes without one. */
	if ((t->depth == 0) != (len == 0) || t->depth == STATE_MAX_DEPTH)
		return false;
	if (t->depth > 0 && ++t->open[t->depth - 1].n_children > STATE_MAX_ITEMS)
		return false;
	t->open[t->depth].n_props = t->open[t->depth].n_children = 0;
	t->depth++;
	t->pos += (uint32_t)align_up(len + 1, FDT_TAGSIZE);
	return t->pos <= t->len;
}

static bool state_walk_prop(struct state_walk *t)
{
	uint32_t len, name_offset, room;
	const char *name;
	size_t name_len;

	if (t->depth == 0 || t->open[t->depth - 1].n_children > 0 ||
	    ++t->open[t->depth - 1].n_props > STATE_MAX_ITEMS || t->len - t->pos < 8)
		return false;
	len = fdt32_ld((const fdt32_t *)(t->tags + t->pos));
	name_offset = fdt32_ld((const fdt32_t *)(t->tags + t->pos + 4));
	t->pos += 8;
	if (len > t->len - t->pos || align_up(len, FDT_TAGSIZE) > t->len - t->pos ||
	    name_offset >= t->strings_len)
		return false;
	t->pos += (uint32_t)align_up(len, FDT_TAGSIZE);
	name = t->strings + name_offset;
	/* The search ends there: each of many properties could name the longest text there is. */
	room = (uint32_t)min_u64(t->strings_len - name_offset, STATE_NAME_MAX + 1);
	name_len = strnlen(name, room);
	return name_len > 0 && name_len < room && state_name_valid(name, name_len);
}

static bool state_walk(struct state_walk *t)
{
	do {
		uint32_t tag;

		if (t->len - t->pos < FDT_TAGSIZE)
			return false;
		tag = fdt32_ld((const fdt32_t *)(t->tags + t->pos));
		t->pos += FDT_TAGSIZE;
		if (tag == FDT_BEGIN_NODE ? !state_walk_begin(t)
		    : tag == FDT_PROP     ? !state_walk_prop(t)
					  : tag != FDT_END_NODE || t->depth-- == 0)
			return false;
	} while (t->depth > 0);
	return t->len - t->pos == FDT_TAGSIZE && fdt32_ld((const fdt32_t *)(t->tags + t->pos)) == FDT_END;
}

/*
 * The header, too, must be as Ferry writes it: reservations (none), tags, strings, nothing between.
 * Reservations begin at 48 when libfdt wrote them, at 40 when dtc did.
 */
static bool state_check_shape(const void *fdt, uint32_t len)
{
	static const uint8_t no_reservations[sizeof(struct fdt_reserve_entry)];
	uint32_t tags = fdt_off_dt_struct(fdt), reservations = fdt_off_mem_rsvmap(fdt);
	struct state_walk t = { .len = fdt_size_dt_struct(fdt), .strings_len = fdt_size_dt_strings(fdt) };

	if (fdt_version(fdt) != FDT_LAST_SUPPORTED_VERSION ||
	    fdt_last_comp_version(fdt) != FDT_LAST_COMPATIBLE_VERSION ||
	    (reservations != 40 && reservations != 48) || tags != reservations + sizeof(no_reservations))
		return false;
	if (len < tags || t.len > len - tags || t.strings_len != len - tags - t.len ||
	    fdt_off_dt_strings(fdt) != tags + t.len || t.strings_len > STATE_STRINGS_MAX)
		return false;
	if (memcmp((const uint8_t *)fdt + reservations, no_reservations, sizeof(no_reservations)) != 0)
		return false;
	t.tags = (const uint8_t *)fdt + tags;
	t.strings = (const char *)t.tags + t.len;
	return state_walk(&t);
}

/* Opens a node of a tree that has been checked. A list of what is optional that makes no sense is one more
 * property that nobody knows. */
static struct state_node state_node_at(const void *fdt, int offset, struct error *err)
{
	struct state_node node = { .fdt = fdt, .offset = offset, .err = err };
	int len = 0;
	const char *text = fdt_getprop(fdt, offset, STATE_OPTIONAL, &len);

	if (text && len > 0 && len <= (int)STATE_OPTIONAL_MAX &&
	    strnlen(text, (size_t)len) == (size_t)len - 1)
		node.optional = text;
	return node;
}

int state_open(struct state_node *root, const void *fdt, uint32_t len, struct error *err)
{
	*root = (struct state_node){ .fdt = fdt, .err = err };
	if (len < sizeof(struct fdt_header) || len > STATE_MAX) {
		error_add(err, "saved state of %u bytes: a tree has %zu to %u", len,
			  sizeof(struct fdt_header), STATE_MAX);
		return -EINVAL;
	}
	if (fdt_magic(fdt) != FDT_MAGIC || fdt_totalsize(fdt) != len) {
		error_add(err, "saved state is cut short, or no flattened device tree");
		return -EINVAL;
	}
	if (!state_check_shape(fdt, len) || fdt_check_full(fdt, len) != 0) {
		error_add(err, "saved state is a damaged tree");
		return -EINVAL;
	}
	*root = state_node_at(fdt, 0, err);
	return 0;
}

uint32_t state_note(const struct state_node *node)
{
	return fdt_boot_cpuid_phys(node->fdt);
}

/* Reading */

/* Adds the place of the fault; the fault follows as a reason of its own. */
static int state_refuse(const struct state_node *node, const char *what, const char *name)
{
	char path[STATE_PATH_MAX];

	if (fdt_get_path(node->fdt, node->offset, path, sizeof(path)) != 0)
		snprintf(path, sizeof(path), "(deep)");
	error_add(node->err, "saved state, node %s: %s%s%s%s", path, what, name ? " '" : "", name ? name : "",
		  name ? "'" : "");
	return -EINVAL;
}

/* Returns whether the node says that who does not know @name may skip it. */
static bool state_is_optional(const struct state_node *node, const char *name)
{
	size_t len = strlen(name);
	const char *at = node->optional;

	if (at && strcmp(name, STATE_OPTIONAL) == 0)
		return true;
	while (at && *at) {
		size_t n = strcspn(at, " ");

		if (n == len && memcmp(at, name, n) == 0)
			return true;
		at += n + (at[n] == ' ');
	}
	return false;
}

static int state_seek_child(const struct state_node *node, int child, const char *name)
{
	while (child >= 0) {
		const char *found = fdt_get_name(node->fdt, child, NULL);

		if (found && strcmp(found, name) == 0)
			return child;
		child = fdt_next_subnode(node->fdt, child);
	}
	return -1;
}

/* Nodes are found by the whole name: fdt_subnode_offset() would take "cpu@1" for "cpu". A search from the
 * first child for each of many would take longer than all the rest, while a guest stands still. */
static int state_find_child(const struct state_node *node, const char *name)
{
	int child = -1;

	if (node->last_child > 0)
		child = state_seek_child(node, fdt_next_subnode(node->fdt, node->last_child), name);
	return child >= 0 ? child : state_seek_child(node, fdt_first_subnode(node->fdt, node->offset), name);
}

static bool state_is_prop(const struct state_node *node, int prop, const char *name)
{
	const char *found = NULL;

	return fdt_getprop_by_offset(node->fdt, prop, &found, NULL) && strcmp(found, name) == 0;
}

/* Properties are mostly read in the order in which they were written: the one behind the last is looked at
 * first. Returns the offset, or a negative number. */
static int state_find_prop(const struct state_node *node, const char *name)
{
	int prop = -1;

	if (node->last_prop > 0)
		prop = fdt_next_property_offset(node->fdt, node->last_prop);
	if (prop >= 0 && state_is_prop(node, prop, name))
		return prop;
	fdt_for_each_property_offset(prop, node->fdt, node->offset)
	{
		if (state_is_prop(node, prop, name))
			break;
	}
	return prop;
}

int state_child(struct state_node *child, struct state_node *parent, const char *name)
{
	int offset = state_find_child(parent, name);

	if (offset < 0) {
		state_refuse(parent, "no child", name);
		return -ENOENT;
	}
	parent->n_children += !state_is_optional(parent, name);
	parent->last_child = offset;
	*child = state_node_at(parent->fdt, offset, parent->err);
	return 0;
}

int state_child_indexed(struct state_node *child, struct state_node *parent, const char *name,
			unsigned int index)
{
	char full[STATE_NAME_MAX + 1];

	state_index_name(full, name, index);
	return state_child(child, parent, full);
}

bool state_has_child(const struct state_node *node, const char *name)
{
	return state_find_child(node, name) >= 0;
}

bool state_has(const struct state_node *node, const char *name)
{
	return state_find_prop(node, name) >= 0;
}

int state_get_blob(struct state_node *node, const char *name, uint32_t min, uint32_t max,
		   const uint8_t **data, uint32_t *len)
{
	int n = 0, prop = state_find_prop(node, name), ret;
	const void *value = prop < 0 ? NULL : fdt_getprop_by_offset(node->fdt, prop, NULL, &n);

	if (!value)
		return state_refuse(node, "no property", name);
	*len = (uint32_t)n;
	if (*len < min || *len > max) {
		ret = state_refuse(node, "wrong length of property", name);
		error_add(node->err, "it has %u bytes, allowed are %u to %u", *len, min, max);
		return ret;
	}
	*data = value;
	node->last_prop = prop;
	node->n_props += !state_is_optional(node, name);
	return 0;
}

int state_get_bytes(struct state_node *node, const char *name, void *dst, uint32_t len)
{
	const uint8_t *value = NULL;
	uint32_t found;
	int ret = state_get_blob(node, name, len, len, &value, &found);

	if (ret == 0 && value)
		memcpy(dst, value, len);
	return ret;
}

static int state_check_range(const struct state_node *node, const char *name, uint64_t min, uint64_t max,
			     uint64_t v)
{
	int ret;

	if (v >= min && v <= max)
		return 0;
	ret = state_refuse(node, "value out of range in property", name);
	error_add(node->err, "it is %" PRIu64 ", allowed are %" PRIu64 " to %" PRIu64, v, min, max);
	return ret;
}

int state_get_u32(struct state_node *node, const char *name, uint32_t min, uint32_t max, uint32_t *v)
{
	fdt32_t cell = 0;
	int ret = state_get_bytes(node, name, &cell, sizeof(cell));

	if (ret < 0)
		return ret;
	*v = fdt32_to_cpu(cell);
	return state_check_range(node, name, min, max, *v);
}

int state_get_u64(struct state_node *node, const char *name, uint64_t min, uint64_t max, uint64_t *v)
{
	fdt64_t cells = 0;
	int ret = state_get_bytes(node, name, &cells, sizeof(cells));

	if (ret < 0)
		return ret;
	*v = fdt64_to_cpu(cells);
	return state_check_range(node, name, min, max, *v);
}

int state_get_string(struct state_node *node, const char *name, uint32_t max, const char **v)
{
	const uint8_t *value = NULL;
	const char *text, *end;
	unsigned int n;
	uint32_t len = 0;
	int ret = state_get_blob(node, name, 1, max + 1, &value, &len);

	if (ret != 0 || !value)
		return ret;
	end = (const char *)value + len - 1;
	text = (const char *)value;
	/* A string has one NUL, at its end, and plain text before that, because people will be shown it. */
	while (text < end && (n = text_plain_len(text, end)) > 0)
		text += n;
	if (text != end || *end != '\0')
		return state_refuse(node, "not a string in property", name);
	*v = (const char *)value;
	return 0;
}

int state_finish(struct state_node *node)
{
	unsigned int n_props = 0, n_children = 0;
	int offset, ret;

	fdt_for_each_property_offset(offset, node->fdt, node->offset)
	{
		const char *name = "";

		fdt_getprop_by_offset(node->fdt, offset, &name, NULL);
		n_props += !state_is_optional(node, name);
	}
	fdt_for_each_subnode(offset, node->fdt, node->offset)
	{
		const char *name = fdt_get_name(node->fdt, offset, NULL);

		n_children += !name || !state_is_optional(node, name);
	}
	if (n_props == node->n_props && n_children == node->n_children)
		return 0;
	ret = state_refuse(node, "more in it than this Ferry knows", NULL);
	error_add(node->err, "%u of its %u properties and %u of its %u children are known", node->n_props,
		  n_props, node->n_children, n_children);
	return ret;
}
