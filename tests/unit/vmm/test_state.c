/* SPDX-License-Identifier: GPL-2.0-or-later */
/* State trees: round trips, strictness, and every kind of damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <libfdt.h>
#include <stdlib.h>

#include "vmm/state.h"

#define N_CPUS 3u

/* A tree of every kind of value, and its reader. */
static void write_sample(void **fdt, uint32_t *len)
{
	struct state_writer w;
	uint8_t blob[513];

	for (unsigned int i = 0; i < sizeof(blob); i++)
		blob[i] = (uint8_t)(i * 7);
	assert_int_equal(state_open_writer(&w), 0);
	state_put_u32(&w, "version", 1);
	state_put_string(&w, "name", "web1");
	for (unsigned int i = 0; i < N_CPUS; i++) {
		state_begin_indexed(&w, "cpu", i * 10);
		state_put_u64(&w, "tsc", 0x123456789abcdef0u + i);
		state_put_blob(&w, "regs", blob, sizeof(blob));
		state_put_blob(&w, "msrs", NULL, 0);
		state_end(&w);
	}
	state_begin(&w, "net0");
	state_put_u32(&w, "status", 15);
	state_begin(&w, "cvq");
	state_put_blob(&w, "mac", "\2\0\0\0\0\1", 6);
	state_end(&w);
	state_end(&w);
	assert_int_equal(state_close(&w, fdt, len), 0);
}

static int read_cpu(struct state_node *root, unsigned int i)
{
	struct state_node cpu;
	const uint8_t *blob;
	uint32_t len;
	uint64_t tsc;
	int ret = state_child_indexed(&cpu, root, "cpu", i * 10);

	if (ret == 0)
		ret = state_get_u64(&cpu, "tsc", 0, UINT64_MAX, &tsc);
	if (ret == 0)
		ret = state_get_blob(&cpu, "regs", 1, 1000, &blob, &len);
	if (ret == 0)
		ret = state_get_blob(&cpu, "msrs", 0, 16, &blob, &len);
	return ret == 0 ? state_finish(&cpu) : ret;
}

static int read_net(struct state_node *root)
{
	struct state_node net, cvq;
	uint32_t status;
	uint8_t mac[6];
	int ret = state_child(&net, root, "net0");

	if (ret == 0)
		ret = state_get_u32(&net, "status", 0, 15, &status);
	if (ret == 0)
		ret = state_child(&cvq, &net, "cvq");
	if (ret == 0)
		ret = state_get_bytes(&cvq, "mac", mac, sizeof(mac));
	if (ret == 0)
		ret = state_finish(&cvq);
	return ret == 0 ? state_finish(&net) : ret;
}

static int read_sample(const void *fdt, uint32_t len, struct error *err)
{
	struct state_node root;
	const char *name;
	uint32_t version;
	int ret = state_open(&root, fdt, len, err);

	if (ret == 0)
		ret = state_get_u32(&root, "version", 1, 1, &version);
	if (ret == 0)
		ret = state_get_string(&root, "name", 64, &name);
	for (unsigned int i = 0; ret == 0 && i < N_CPUS; i++)
		ret = read_cpu(&root, i);
	if (ret == 0)
		ret = read_net(&root);
	return ret == 0 ? state_finish(&root) : ret;
}

static void what_was_written_is_read(void **state)
{
	void *fdt, *again;
	uint32_t len, again_len, v;
	struct error err = { 0 };
	struct state_node root, cpu;
	const char *name;
	const uint8_t *blob;
	uint64_t tsc;

	write_sample(&fdt, &len);
	write_sample(&again, &again_len);
	assert_int_equal(len, again_len);
	assert_memory_equal(fdt, again, len);
	assert_int_equal(read_sample(fdt, len, &err), 0);
	assert_string_equal(err.text, "");

	assert_int_equal(state_open(&root, fdt, len, &err), 0);
	assert_int_equal(state_get_u32(&root, "version", 0, 9, &v), 0);
	assert_int_equal(v, 1);
	assert_int_equal(state_get_string(&root, "name", 4, &name), 0);
	assert_string_equal(name, "web1");
	assert_true(state_has(&root, "version"));
	assert_false(state_has(&root, "versio"));
	assert_true(state_has_child(&root, "cpu@14"));
	assert_false(state_has_child(&root, "cpu"));
	assert_int_equal(state_child_indexed(&cpu, &root, "cpu", 20), 0);
	assert_int_equal(state_get_u64(&cpu, "tsc", 0, UINT64_MAX, &tsc), 0);
	assert_true(tsc == 0x123456789abcdef2u);
	assert_int_equal(state_get_blob(&cpu, "regs", 513, 513, &blob, &v), 0);
	assert_int_equal(v, 513);
	assert_int_equal(blob[512], (uint8_t)(512 * 7));
	assert_int_equal(state_get_blob(&cpu, "msrs", 0, 0, &blob, &v), 0);
	free(fdt);
	free(again);
}

static void a_tree_grows_to_its_bound_and_not_beyond(void **state)
{
	const uint32_t big = 1000000;
	struct state_writer w;
	struct state_node root;
	struct error err = { 0 };
	uint8_t *blob = malloc(big);
	const uint8_t *found;
	void *fdt;
	uint32_t len, found_len;

	memset(blob, 0x5a, big);
	assert_int_equal(state_open_writer(&w), 0);
	state_put_u32(&w, "small", 7);
	state_put_blob(&w, "a", blob, big);
	state_put_blob(&w, "b", blob, big);
	assert_int_equal(state_close(&w, &fdt, &len), 0);
	assert_int_equal(state_open(&root, fdt, len, &err), 0);
	assert_int_equal(state_get_blob(&root, "b", big, big, &found, &found_len), 0);
	assert_memory_equal(found, blob, big);
	free(fdt);

	assert_int_equal(state_open_writer(&w), 0);
	for (char name[2] = "a"; name[0] < 'f'; name[0]++)
		state_put_blob(&w, name, blob, big);
	state_put_u32(&w, "after", 1); /* the failure sticks */
	assert_int_equal(state_close(&w, &fdt, &len), -E2BIG);

	assert_int_equal(state_open_writer(&w), 0);
	state_put_blob(&w, "huge", blob, UINT32_MAX);
	assert_int_equal(state_close(&w, &fdt, &len), -E2BIG);
	free(blob);
}

static void padding_says_nothing_of_memory(void **state)
{
	void *fdt;
	uint32_t len;
	struct state_writer w;
	const uint8_t *tags;
	uint8_t *dirt = malloc(65536);

	memset(dirt, 0xff, 65536);
	free(dirt);
	assert_int_equal(state_open_writer(&w), 0);
	state_put_blob(&w, "x", "\1", 1);
	assert_int_equal(state_close(&w, &fdt, &len), 0);
	tags = (const uint8_t *)fdt + fdt_off_dt_struct(fdt);
	/* The value is behind the root and the property's header. */
	assert_memory_equal(tags + 8 + 12, "\1\0\0\0", 4);
	free(fdt);
}

static void what_is_not_as_it_should_be_is_refused_by_name(void **state)
{
	void *fdt;
	uint32_t len, v;
	uint64_t v64;
	struct error err = { 0 };
	struct state_node root, child;
	const char *text;
	uint8_t bytes[4];

	write_sample(&fdt, &len);
	assert_int_equal(state_open(&root, fdt, len, &err), 0);
	assert_int_equal(state_get_u32(&root, "version", 2, 5, &v), -EINVAL);
	assert_non_null(
		strstr(err.text, "value out of range in property 'version'; it is 1, allowed are 2 to 5"));
	assert_int_equal(state_get_u32(&root, "version", 0, 0, &v), -EINVAL);
	assert_int_equal(state_get_u64(&root, "version", 0, 5, &v64), -EINVAL);
	assert_int_equal(state_get_u32(&root, "none", 0, 5, &v), -EINVAL);
	assert_int_equal(state_get_string(&root, "name", 3, &text), -EINVAL);
	assert_int_equal(state_get_string(&root, "version", 9, &text), -EINVAL);
	assert_int_equal(state_get_bytes(&root, "name", bytes, 4), -EINVAL);
	assert_int_equal(state_child(&child, &root, "cpu"), -ENOENT);
	assert_int_equal(state_child(&child, &root, "net"), -ENOENT);
	err = (struct error){ 0 };
	assert_int_equal(state_child(&child, &root, "net0"), 0);
	assert_int_equal(state_finish(&child), -EINVAL);
	assert_non_null(strstr(err.text, "node /net0: more in it than this Ferry knows"));
	assert_int_equal(state_get_u32(&child, "status", 0, 15, &v), 0);
	assert_int_equal(state_finish(&child), -EINVAL);
	assert_int_equal(state_child(&root, &child, "cvq"), 0);
	assert_int_equal(state_finish(&child), 0);
	free(fdt);
}

static void a_string_is_plain_text_and_ends_once(void **state)
{
	static const struct {
		const char *bytes;
		uint32_t len;
		int ret;
	} cases[] = {
		{ "ok", 3, 0 },
		{ "", 1, 0 },
		{ "\303\251", 3, 0 },
		{ "", 0, -EINVAL },
		{ "ab", 2, -EINVAL },
		{ "a\0b", 4, -EINVAL },
		{ "a\0", 3, -EINVAL },
		{ "a\n", 3, -EINVAL },
		{ "\033[2J", 5, -EINVAL },
		{ "\177", 2, -EINVAL },
		{ "\302\2332J", 5, -EINVAL },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct state_writer w;
		struct state_node root;
		struct error err = { 0 };
		const char *text;
		void *fdt;
		uint32_t len;

		assert_int_equal(state_open_writer(&w), 0);
		state_put_blob(&w, "s", cases[i].bytes, cases[i].len);
		assert_int_equal(state_close(&w, &fdt, &len), 0);
		assert_int_equal(state_open(&root, fdt, len, &err), 0);
		assert_int_equal(state_get_string(&root, "s", 8, &text), cases[i].ret);
		free(fdt);
	}
}

/* Returns a copy of exactly @len bytes, so that ASan sees a read beyond; with @patch the header says so, too.
 */
static void *cut(const void *fdt, uint32_t len, bool patch)
{
	void *copy = malloc(len ? len : 1);

	memcpy(copy, fdt, len);
	if (patch && len >= 8)
		fdt_set_totalsize(copy, len);
	return copy;
}

static void a_tree_that_is_cut_anywhere_is_refused(void **state)
{
	void *fdt;
	uint32_t len;

	write_sample(&fdt, &len);
	for (uint32_t n = 0; n < len; n++) {
		for (int patch = 0; patch < 2; patch++) {
			void *copy = cut(fdt, n, patch);
			struct error err = { 0 };

			assert_int_equal(read_sample(copy, n, &err), -EINVAL);
			assert_string_not_equal(err.text, "");
			free(copy);
		}
	}
	/* The tags alone are cut short, at each offset. */
	for (uint32_t n = 0; n < fdt_size_dt_struct(fdt); n++) {
		void *copy = cut(fdt, len, false);
		struct error err = { 0 };

		fdt_set_size_dt_struct(copy, n);
		assert_int_equal(read_sample(copy, len, &err), -EINVAL);
		free(copy);
	}
	/* A tree has something behind its end. */
	void *copy = calloc(1, len + 4);
	struct error err = { 0 };

	memcpy(copy, fdt, len);
	assert_int_equal(read_sample(copy, len + 4, &err), -EINVAL);
	fdt_set_size_dt_struct(copy, fdt_size_dt_struct(copy) + 4);
	assert_int_equal(read_sample(copy, len, &err), -EINVAL);
	free(copy);
	free(fdt);
}

/* No flip may be noticed by ASan; flips of what the format fixes must be refused. */
static void a_tree_with_flipped_bits_is_read_within_its_bounds(void **state)
{
	void *fdt;
	uint32_t len;
	unsigned int seed = 1;

	write_sample(&fdt, &len);
	for (uint32_t i = 0; i < len; i++) {
		for (unsigned int round = 0; round < 9; round++) {
			uint8_t *copy = cut(fdt, len, false);
			unsigned int flip = round < 8 ? 1u << round : 1 + (unsigned int)rand_r(&seed) % 255;
			struct error err = { 0 };
			int ret;

			copy[i] = (uint8_t)(copy[i] ^ flip);
			ret = read_sample(copy, len, &err);
			assert_true(ret == 0 || (ret < 0 && err.text[0] != '\0'));
			/* Of the header only boot_cpuid_phys, which has no meaning here, is free. */
			if (i < sizeof(struct fdt_header) && i / 4 != 7)
				assert_true(ret < 0);
			free(copy);
		}
	}
	for (unsigned int round = 0; round < 20000; round++) {
		uint8_t *copy = cut(fdt, len, false);
		struct error err = { 0 };

		for (unsigned int n = 1 + (unsigned int)rand_r(&seed) % 8; n > 0; n--)
			copy[(unsigned int)rand_r(&seed) % len] = (uint8_t)rand_r(&seed);
		if (read_sample(copy, len, &err) < 0)
			assert_string_not_equal(err.text, "");
		free(copy);
	}
	free(fdt);
}

/* Trees by hand: tags as 32 bit numbers, strings "a\0b\0". */
#define T_BEGIN 1
#define T_END   2
#define T_PROP  3
#define T_NOP   4
#define T_STOP  9
#define NAME_X  0x78000000 /* "x" */
#define NAME_Y  0x79000000

static int open_tags(const uint32_t *tags, unsigned int n, struct error *err)
{
	static const char strings[] = "a\0b"; /* with the NUL at its end */
	uint32_t struct_len = n * 4, off = 40 + 16, len = off + struct_len + (uint32_t)sizeof(strings);
	uint32_t header[14] = { FDT_MAGIC, len, off, off + struct_len, 40,
				17,        16,  0,   sizeof(strings),  struct_len };
	uint8_t *fdt = malloc(len);
	struct state_node root;
	int ret;

	for (unsigned int i = 0; i < 14; i++)
		fdt32_st(fdt + 4 * i, header[i]);
	for (unsigned int i = 0; i < n; i++)
		fdt32_st(fdt + off + 4 * i, tags[i]);
	memcpy(fdt + off + struct_len, strings, sizeof(strings));
	ret = state_open(&root, fdt, len, err);
	if (ret == 0)
		ret = state_finish(&root) < 0 ? 1 : 0;
	free(fdt);
	return ret;
}

static void a_tree_against_the_format_is_refused(void **state)
{
	static const struct {
		const char *what;
		/* 1: a tree, but not one that the reader knows. */
		int ret;
		unsigned int n;
		uint32_t tags[16];
	} cases[] = {
		{ "empty root", 0, 4, { T_BEGIN, 0, T_END, T_STOP } },
		{ "child", 1, 7, { T_BEGIN, 0, T_BEGIN, NAME_X, T_END, T_END, T_STOP } },
		{ "property", 1, 8, { T_BEGIN, 0, T_PROP, 4, 2, 77, T_END, T_STOP } },
		{ "no property's data", 1, 7, { T_BEGIN, 0, T_PROP, 0, 2, T_END, T_STOP } },
		{ "the same property twice",
		  1,
		  10,
		  { T_BEGIN, 0, T_PROP, 0, 2, T_PROP, 0, 2, T_END, T_STOP } },
		{ "nothing", -EINVAL, 0, { 0 } },
		{ "only an end", -EINVAL, 1, { T_STOP } },
		{ "no root", -EINVAL, 2, { T_END, T_STOP } },
		{ "property without a node", -EINVAL, 4, { T_PROP, 0, 0, T_STOP } },
		{ "root with a name", -EINVAL, 4, { T_BEGIN, NAME_X, T_END, T_STOP } },
		{ "child without a name", -EINVAL, 7, { T_BEGIN, 0, T_BEGIN, 0, T_END, T_END, T_STOP } },
		{ "two roots", -EINVAL, 7, { T_BEGIN, 0, T_END, T_BEGIN, 0, T_END, T_STOP } },
		{ "tags behind the end", -EINVAL, 5, { T_BEGIN, 0, T_END, T_STOP, T_STOP } },
		{ "NOP", -EINVAL, 5, { T_BEGIN, 0, T_NOP, T_END, T_STOP } },
		{ "unknown tag", -EINVAL, 5, { T_BEGIN, 0, 5, T_END, T_STOP } },
		{ "end too early", -EINVAL, 3, { T_BEGIN, 0, T_STOP } },
		{ "no end", -EINVAL, 3, { T_BEGIN, 0, T_END } },
		{ "name without end", -EINVAL, 4, { T_BEGIN, 0x78787878, 0x78787878, 0x78787878 } },
		{ "slash in a name", -EINVAL, 7, { T_BEGIN, 0, T_BEGIN, 0x2f000000, T_END, T_END, T_STOP } },
		{ "control character in a name",
		  -EINVAL,
		  7,
		  { T_BEGIN, 0, T_BEGIN, 0x0a000000, T_END, T_END, T_STOP } },
		{ "property's name outside", -EINVAL, 7, { T_BEGIN, 0, T_PROP, 0, 4, T_END, T_STOP } },
		{ "property's name far outside",
		  -EINVAL,
		  7,
		  { T_BEGIN, 0, T_PROP, 0, 0xffffffff, T_END, T_STOP } },
		{ "property without a name", -EINVAL, 7, { T_BEGIN, 0, T_PROP, 0, 1, T_END, T_STOP } },
		{ "property too long", -EINVAL, 7, { T_BEGIN, 0, T_PROP, 9, 2, T_END, T_STOP } },
		{ "property's length wraps to an earlier tag",
		  -EINVAL,
		  7,
		  { T_BEGIN, 0, T_PROP, 0xfffffff4, 2, T_END, T_STOP } },
		{ "property's length wraps when rounded",
		  -EINVAL,
		  7,
		  { T_BEGIN, 0, T_PROP, 0xffffffff, 2, T_END, T_STOP } },
		{ "property's header cut", -EINVAL, 4, { T_BEGIN, 0, T_PROP, 0 } },
		{ "property behind a child",
		  -EINVAL,
		  10,
		  { T_BEGIN, 0, T_BEGIN, NAME_X, T_END, T_PROP, 0, 2, T_END, T_STOP } },
		{ "child as deep as can be",
		  -EINVAL,
		  16,
		  { T_BEGIN, 0, T_BEGIN, NAME_X, T_BEGIN, NAME_X, T_BEGIN, NAME_X, T_BEGIN, NAME_X, T_BEGIN,
		    NAME_X, T_BEGIN, NAME_X, T_BEGIN, NAME_Y } },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = { 0 };
		int ret = open_tags(cases[i].tags, cases[i].n, &err);

		if (ret != cases[i].ret)
			fail_msg("%s: %d, not %d", cases[i].what, ret, cases[i].ret);
	}
}

static void nodes_properties_and_depth_are_bounded(void **state)
{
	for (int nodes = 0; nodes < 2; nodes++) {
		for (unsigned int n = STATE_MAX_ITEMS; n <= STATE_MAX_ITEMS + 1; n++) {
			uint32_t *tags = malloc((4 + 4 * n) * sizeof(*tags)), len = 2;
			struct error err = { 0 };

			tags[0] = T_BEGIN;
			tags[1] = 0;
			for (unsigned int i = 0; i < n; i++) {
				const uint32_t item[] = { nodes ? T_BEGIN : T_PROP, nodes ? NAME_X : 0,
							  nodes ? T_END : 0 };

				memcpy(tags + len, item, sizeof(item));
				len += 3;
			}
			tags[len++] = T_END;
			tags[len++] = T_STOP;
			assert_int_equal(open_tags(tags, len, &err), n == STATE_MAX_ITEMS ? 1 : -EINVAL);
			free(tags);
		}
	}
	for (unsigned int depth = 1; depth < 2000; depth++) {
		uint32_t *tags = malloc((3 * depth + 1) * sizeof(*tags)), len = 0;
		struct error err = { 0 };

		for (unsigned int i = 0; i < depth; i++) {
			tags[len++] = T_BEGIN;
			tags[len++] = i ? NAME_X : 0;
		}
		for (unsigned int i = 0; i < depth; i++)
			tags[len++] = T_END;
		tags[len++] = T_STOP;
		assert_int_equal(open_tags(tags, len, &err), depth == 1 ? 0 : depth <= 8 ? 1 : -EINVAL);
		free(tags);
	}
}

/* A node with "known", "news" and a child "more", of which a reader knows the first. */
static void what_a_node_calls_optional_may_be_skipped(void **state)
{
	static char longest[STATE_OPTIONAL_MAX + 2];
	static const struct {
		const char *text; /* NULL: no list */
		uint32_t len;     /* 0: a string */
		bool skipped;
	} cases[] = {
		{ NULL, 0, false },
		{ "news more", 0, true },
		{ "more  known news", 0, true },
		{ "absent news more", 0, true },
		{ "news", 0, false },
		{ "more", 0, false },
		{ "new more", 0, false },
		{ "newss more", 0, false },
		{ "", 0, false },
		{ "news more", 9, false },
		{ "news\0more", 10, false },
		{ longest, 0, false },
	};

	memset(longest, ' ', sizeof(longest) - 1);
	memcpy(longest, "news more", 9);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct state_node root, node, more;
		struct state_writer w;
		struct error err = { 0 };
		uint32_t len, v;
		void *fdt;

		assert_int_equal(state_open_writer(&w), 0);
		state_begin(&w, "node");
		state_put_u32(&w, "known", 7);
		if (cases[i].text)
			state_put_blob(&w, STATE_OPTIONAL, cases[i].text,
				       cases[i].len ? cases[i].len : (uint32_t)strlen(cases[i].text) + 1);
		state_put_u32(&w, "news", 8);
		state_begin(&w, "more");
		state_end(&w);
		state_end(&w);
		assert_int_equal(state_close(&w, &fdt, &len), 0);
		for (unsigned int all = 0; all < 2; all++) {
			assert_int_equal(state_open(&root, fdt, len, &err), 0);
			assert_int_equal(state_child(&node, &root, "node"), 0);
			assert_int_equal(state_get_u32(&node, "known", 7, 7, &v), 0);
			if (all) {
				assert_int_equal(state_get_u32(&node, "news", 8, 8, &v), 0);
				assert_int_equal(state_child(&more, &node, "more"), 0);
			}
			/* Who knows all of it has nothing to skip but the list. */
			assert_int_equal(
				state_finish(&node),
				cases[i].skipped || (all && (i == 0 || (i >= 4 && i < 9))) ? 0 : -EINVAL);
			assert_int_equal(state_finish(&root), 0);
		}
		free(fdt);
	}
}

static void children_are_found_in_any_order(void **state)
{
	static const unsigned int orders[][N_CPUS] = { { 0, 1, 2 }, { 2, 1, 0 }, { 1, 2, 0 }, { 2, 0, 1 } };
	struct error err = { 0 };
	struct state_node root;
	uint32_t len;
	void *fdt;

	write_sample(&fdt, &len);
	for (unsigned int i = 0; i < ARRAY_SIZE(orders); i++) {
		struct state_node child;

		assert_int_equal(state_open(&root, fdt, len, &err), 0);
		for (unsigned int k = 0; k < N_CPUS; k++)
			assert_int_equal(read_cpu(&root, orders[i][k]), 0);
		assert_int_equal(read_net(&root), 0);
		assert_string_equal(err.text, "");
		assert_true(state_has_child(&root, "cpu@0"));
		assert_int_equal(state_child(&child, &root, "cpu@1"), -ENOENT);
		err = (struct error){ 0 };
	}
	free(fdt);
}

static void a_note_is_beside_the_tree(void **state)
{
	struct error err = { 0 };
	struct state_node root;
	struct state_writer w;
	static uint8_t blob[100000];
	uint32_t len;
	void *fdt;

	for (uint32_t note = 0; note < 3; note++) {
		assert_int_equal(state_open_writer(&w), 0);
		if (note > 0)
			state_put_note(&w, note);
		/* More than the writer has room for at first. */
		state_put_blob(&w, "blob", blob, sizeof(blob));
		assert_int_equal(state_close(&w, &fdt, &len), 0);
		assert_int_equal(state_open(&root, fdt, len, &err), 0);
		assert_int_equal(state_note(&root), note);
		free(fdt);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_written_is_read),
		cmocka_unit_test(a_tree_grows_to_its_bound_and_not_beyond),
		cmocka_unit_test(padding_says_nothing_of_memory),
		cmocka_unit_test(what_is_not_as_it_should_be_is_refused_by_name),
		cmocka_unit_test(a_string_is_plain_text_and_ends_once),
		cmocka_unit_test(a_tree_that_is_cut_anywhere_is_refused),
		cmocka_unit_test(a_tree_with_flipped_bits_is_read_within_its_bounds),
		cmocka_unit_test(a_tree_against_the_format_is_refused),
		cmocka_unit_test(nodes_properties_and_depth_are_bounded),
		cmocka_unit_test(what_a_node_calls_optional_may_be_skipped),
		cmocka_unit_test(children_are_found_in_any_order),
		cmocka_unit_test(a_note_is_beside_the_tree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
