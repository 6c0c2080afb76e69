/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control commands of a hostile guest, answers of a hostile device, saved state of a hostile peer. The model
 * is a NIC that knows the specification alone: a fresh one to which the record is replayed is in the state of
 * the one that executed the commands, and so is one that had an older state; no replayed command is one that
 * the check would refuse; saved state is the same when it was loaded.
 */
#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <stdlib.h>

#include "devices/net/cvq/replay.h"
#include "devices/net/cvq/state.h"
#include "tests/fake/commands.h"
#include "tests/fake/model_nic.h"

/* Each command costs a look at all of the state, in the end. */
#define MAX_COMMANDS 64u

static const uint8_t factory_mac[6] = { 2, 0, 0, 0, 0, 1 };

struct rig {
	struct cvq_limits limits;
	bool pairs_clear_hash;
	struct cvq_store store;
	struct model_nic nic;
	/* An earlier moment of the same life. */
	bool has_earlier;
	struct cvq_store earlier;
	struct model_nic earlier_nic;
	struct cvq_stats stats;
};

static struct rig rig;
static const struct cvq_store fresh;

static void fresh_nic(struct model_nic *nic, const struct rig *r)
{
	model_nic_init(nic, factory_mac, 0x7ff);
	nic->vlan_add_once = true;
	nic->pairs_clear_hash = r->pairs_clear_hash;
	nic->n_data = r->limits.device_ctrl;
	nic->stats_types = UINT64_C(0x1000f000f);
}

static void start(struct rig *r, struct input *in)
{
	uint8_t how = input_u8(in);

	cvq_reset(&r->store);
	memset(&r->stats, 0, sizeof(r->stats));
	r->has_earlier = false;
	r->limits = fake_limits;
	r->limits.max_pairs = (uint16_t)(how % 4 ? 1 + how % 8 : how & 16 ? 63 : 64);
	r->limits.device_ctrl = (uint16_t)(2 * r->limits.max_pairs + (how & 16 ? 2 : 0));
	if (how & 32)
		r->limits.features = input_u64(in);
	if (how & 64)
		r->limits.queue_disabled[input_u8(in) % CVQ_MAX_QUEUES] = true;
	r->pairs_clear_hash = how & 128;
	fresh_nic(&r->nic, r);
}

static uint32_t make_mac_table(struct input *in, uint8_t *p)
{
	uint32_t n = 0;

	for (unsigned int table = 0; table < 2; table++) {
		uint8_t count = input_u8(in) % 8;

		put_le32(p + n, count);
		n += 4;
		input_bytes(in, p + n, 6u * count);
		n += 6u * count;
	}
	return n;
}

static uint32_t make_rss(struct input *in, uint8_t *p)
{
	uint32_t n = 1u << input_u8(in) % 4, key = input_u8(in) % 42;

	put_le32(p, input_u16(in));
	put_le16(p + 4, (uint16_t)(n - 1));
	put_le16(p + 6, input_u8(in));
	for (uint32_t i = 0; i < n; i++)
		put_le16(p + 8 + 2 * i, input_u8(in));
	put_le16(p + 8 + 2 * n, input_u8(in));
	p[10 + 2 * n] = (uint8_t)key;
	input_bytes(in, p + 11 + 2 * n, key + 1);
	return 11 + 2 * n + key + (input_u8(in) % 4 == 3);
}

static uint32_t make_context(struct input *in, uint8_t *p)
{
	put_le16(p, 1 + input_u8(in) % 9);
	input_bytes(in, p + 2, 6);
	return 8 + make_rss(in, p + 8);
}

static uint32_t make_hash(struct input *in, uint8_t *p)
{
	uint32_t key = input_u8(in) % 42;

	put_le32(p, input_u16(in));
	input_bytes(in, p + 4, 8);
	p[12] = (uint8_t)key;
	input_bytes(in, p + 13, key + 1);
	return 13 + key + (input_u8(in) % 4 == 3);
}

/* A command of exactly its size, to be freed. */
static uint8_t *make_command(struct input *in, uint32_t *len)
{
	uint8_t buf[512], how = input_u8(in);
	uint8_t *cmd;

	if (how < fake_n_commands) {
		buf[0] = fake_commands[how].class;
		buf[1] = fake_commands[how].command;
		*len = fake_commands[how].len;
		input_bytes(in, buf + 2, *len);
	} else if (how % 8 == 0) {
		*len = input_u8(in);
		input_bytes(in, buf, 2);
		buf[0] %= 10;
		buf[1] %= 4;
		input_bytes(in, buf + 2, *len);
	} else {
		static const struct {
			uint8_t head[2];
			uint32_t (*make)(struct input *in, uint8_t *p);
		} made[] = { { { 1, 0 }, make_mac_table },
			     { { 4, 1 }, make_rss },
			     { { 4, 2 }, make_hash },
			     { { 9, 1 }, make_context },
			     { { 9, 2 }, make_context } };

		memcpy(buf, made[how % ARRAY_SIZE(made)].head, 2);
		*len = made[how % ARRAY_SIZE(made)].make(in, buf + 2);
	}
	/* Header and all, or less than that. */
	*len = how == 0xff ? *len % 2 : *len + 2;
	cmd = malloc(*len + 1);
	assert(cmd);
	memcpy(cmd, buf, *len);
	return realloc(cmd, *len ? *len : 1);
}

/* The answer to what is passed through, spoiled or not. */
static void pass(struct rig *r, struct input *in, const uint8_t *cmd, uint32_t len)
{
	static uint8_t reply[MODEL_MAX_REPLY];
	uint32_t want = cvq_reply_len(cmd, len, input_u8(in)), n;
	uint8_t how = input_u8(in), *exact;

	assert(want <= CVQ_MAX_REPLY);
	if (want == 0)
		return;
	if (how % 4 == 3) {
		n = 1 + input_u8(in) % want;
		input_bytes(in, reply, n);
	} else {
		r->nic.stats_fault = how % 4 == 2 ? input_u8(in) % MODEL_STATS_N_FAULTS : MODEL_STATS_GOOD;
		n = (uint32_t)min_u64(model_nic_answer(&r->nic, cmd, len, reply), want);
		if (how & 128)
			reply[input_u16(in) % n] = input_u8(in);
	}
	exact = malloc(n);
	assert(exact && n > 0);
	memcpy(exact, reply, n);
	if (how & 64 && cmd[0] == VIRTIO_NET_CTRL_STATS && cmd[1] == VIRTIO_NET_CTRL_STATS_GET) {
		(void)!cvq_stats_rebase(&r->stats, &r->limits, cmd, len, exact, n);
	} else {
		uint32_t shown = cvq_take_reply(&r->stats, &r->limits, cmd, len, exact, n);

		assert(shown > 0 && shown <= n);
	}
	free(exact);
}

static void command(struct rig *r, struct input *in)
{
	struct error err = { 0 };
	char words[CVQ_NAME_MAX];
	uint32_t len, checked;
	uint8_t *cmd = make_command(in, &len);
	enum cvq_verdict verdict;

	checked = len;
	cvq_describe(cmd, len, words);
	verdict = cvq_check(&r->limits, cmd, &checked, &err);
	assert(checked <= len && (verdict == CVQ_REFUSE) == (err.text[0] != '\0'));
	cvq_describe(cmd, checked, words);
	if (verdict == CVQ_FORWARD && model_nic_command(&r->nic, cmd, checked) == 0)
		cvq_remember(&r->store, cmd, checked);
	else if (verdict == CVQ_PASS)
		pass(r, in, cmd, checked);
	free(cmd);
}

static void replay(const struct rig *r, struct model_nic *nic, const struct cvq_store *from,
		   const struct cvq_store *to)
{
	static uint8_t out[CVQ_MAX_COMMAND], copy[CVQ_MAX_COMMAND];
	struct cvq_limits limits = r->limits;
	struct cvq_replay replay;
	uint32_t len, checked;

	/* The record may speak of a queue that was disabled since. */
	memset(limits.queue_disabled, 0, sizeof(limits.queue_disabled));
	cvq_replay_init(&replay, from, to);
	while ((len = cvq_replay_next(&replay, out)) > 0) {
		struct error err = { 0 };
		enum cvq_verdict verdict;

		memcpy(copy, out, len);
		checked = len;
		verdict = cvq_check(&limits, copy, &checked, &err);
		assert(verdict == CVQ_FORWARD && checked == len && memcmp(copy, out, len) == 0);
		assert(model_nic_command(nic, out, len) == 0);
	}
}

static void check_replay(struct rig *r)
{
	static struct model_nic there;

	fresh_nic(&there, r);
	replay(r, &there, &fresh, &r->store);
	assert(!model_nic_diff(&there, &r->nic));
	if (!r->has_earlier)
		return;
	replay(r, &r->earlier_nic, &r->earlier, &r->store);
	assert(!model_nic_diff(&r->earlier_nic, &r->nic));
	r->has_earlier = false;
}

static void remember_moment(struct rig *r)
{
	r->has_earlier = true;
	r->earlier = r->store;
	r->earlier_nic = r->nic;
}

static void save(const void *arg, struct state_writer *w)
{
	const struct rig *r = arg;

	cvq_save(&r->store, w);
	cvq_stats_save(&r->stats, &r->limits, w);
}

static int load(struct rig *r, const struct fuzz_tree *t)
{
	static uint8_t cmd[CVQ_MAX_COMMAND];
	struct cvq_limits limits = r->limits;
	struct error err = { 0 };
	struct state_node root;
	int ret = state_open(&root, t->fdt, t->len, &err);

	memset(limits.queue_disabled, 0, sizeof(limits.queue_disabled));
	if (ret == 0)
		ret = cvq_load(&r->store, cmd, &limits, &root);
	if (ret == 0)
		ret = cvq_stats_load(&r->stats, &limits, &root);
	if (ret == 0)
		ret = state_finish(&root);
	assert(ret == 0 || err.text[0]);
	return ret;
}

/* Another host, to which the state was carried. */
static void move(struct rig *r, struct input *in)
{
	struct fuzz_tree before = fuzz_save(save, r), after;
	bool spoil = input_u8(in) % 2;
	int ret;

	if (spoil)
		fuzz_tree_spoil(&before, in);
	ret = load(r, &before);
	assert(spoil || ret == 0);
	after = fuzz_save(save, r);
	assert(spoil || fuzz_tree_same(&before, &after));
	if (spoil) {
		/* From now on this is what there is. */
		fresh_nic(&r->nic, r);
		replay(r, &r->nic, &fresh, &r->store);
		ret = load(r, &after);
		assert(ret == 0);
	}
	r->has_earlier = false;
	free(before.fdt);
	free(after.fdt);
}

static void ask(struct rig *r)
{
	uint8_t cmd[CVQ_MAX_STATS_COMMAND];
	uint32_t len = cvq_stats_request(&r->stats, &r->limits, cmd);

	assert(len <= sizeof(cmd));
}

static void reset_queue(struct rig *r, struct input *in)
{
	unsigned int queue = input_u8(in) % (2u * r->limits.max_pairs);

	cvq_reset_queue(&r->store, queue);
	model_nic_reset_queue(&r->nic, queue);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct input in = { data, len };
	struct rig *r = &rig;

	start(r, &in);
	for (unsigned int n = 0; in.len > 0 && n < MAX_COMMANDS; n++) {
		uint8_t op = input_u8(&in) % 16;

		if (op < 10)
			command(r, &in);
		else if (op == 10)
			reset_queue(r, &in);
		else if (op == 11)
			remember_moment(r);
		else if (op == 12)
			check_replay(r);
		else if (op == 13)
			ask(r);
		else
			move(r, &in);
	}
	check_replay(r);
	return 0;
}
