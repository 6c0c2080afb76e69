/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Words for what the control queue has set. */
#include "devices/net/cvq/words.h"

#include <stdarg.h>
#include <stdio.h>

#include "devices/net/cvq/checks.h"
#include "devices/virtio/rss.h"
#include "vmm/mac.h"

/* Bytes of one item. */
#define CVQ_WORDS_MAX 448u

/* An item while it is put together; what does not fit is cut. */
struct cvq_item {
	char text[CVQ_WORDS_MAX];
	size_t len;
};

__attribute__((format(printf, 2, 3))) static void cvq_item_put(struct cvq_item *item, const char *fmt, ...)
{
	size_t room = sizeof(item->text) - item->len;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(item->text + item->len, room, fmt, args);
	va_end(args);
	item->len += n < 0 ? 0 : (size_t)min_u64((uint64_t)n, room - 1);
}

/* Adds the names of the bits of @bits as items, those without a name as a number. */
static void cvq_words_bits(uint64_t bits, const char *(*name)(unsigned int bit), struct facts *f)
{
	if (bits == 0)
		facts_text(f, NULL, "none");
	for (unsigned int bit = 0; bit < 64; bit++) {
		if (!virtio_has(bits, bit))
			continue;
		if (name(bit))
			facts_text(f, NULL, name(bit));
		else
			facts_format(f, NULL, "bit %u", bit);
	}
}

static const struct cvq_value *cvq_words_value(const struct cvq_store *store, uint8_t class, uint8_t command)
{
	const struct cvq_value *value = &store->values[class][command];

	return value->set ? value : NULL;
}

void cvq_words_mode(const struct cvq_store *store, uint8_t class, uint8_t command, struct facts *f)
{
	const struct cvq_value *value = cvq_words_value(store, class, command);

	if (value)
		facts_text(f, NULL, value->bytes[0] ? "on" : "off");
}

void cvq_words_mac(const struct cvq_store *store, uint8_t class, uint8_t command, struct facts *f)
{
	const struct cvq_value *value = cvq_words_value(store, class, command);

	if (value)
		facts_format(f, NULL, MAC_FORMAT, MAC_ARGS(value->bytes));
}

static void cvq_words_table(const char *kind, const uint8_t (*macs)[6], uint32_t n, struct facts *f)
{
	struct cvq_item item = { .len = 0 };

	cvq_item_put(&item, "%u %s address%s%s", n, kind, n == 1 ? "" : "es", n > 0 ? ":" : "");
	for (uint32_t i = 0; i < n && i < CVQ_WORDS_MACS; i++)
		cvq_item_put(&item, " " MAC_FORMAT, MAC_ARGS(macs[i]));
	if (n > CVQ_WORDS_MACS)
		cvq_item_put(&item, " and %u more", n - CVQ_WORDS_MACS);
	facts_text(f, NULL, item.text);
}

void cvq_words_macs(const struct cvq_store *store, uint8_t class, uint8_t command, struct facts *f)
{
	if (!store->mac_table_set)
		return;
	cvq_words_table("unicast", store->macs, store->n_unicast, f);
	cvq_words_table("multicast", store->macs + store->n_unicast, store->n_multicast, f);
}

static bool cvq_has_vlan(const struct cvq_store *store, unsigned int vid)
{
	return vid < CVQ_N_VLANS && store->vlans[vid / 64] >> vid % 64 & 1;
}

void cvq_words_vlans(const struct cvq_store *store, uint8_t class, uint8_t command, struct facts *f)
{
	unsigned int n_ranges = 0, n_left = 0;

	for (unsigned int vid = 0, last; vid < CVQ_N_VLANS; vid = last + 1) {
		last = vid;
		if (!cvq_has_vlan(store, vid))
			continue;
		while (cvq_has_vlan(store, last + 1))
			last++;
		if (n_ranges++ >= CVQ_WORDS_RANGES)
			n_left += last - vid + 1;
		else if (last == vid)
			facts_format(f, NULL, "%u", vid);
		else
			facts_format(f, NULL, "%u-%u", vid, last);
	}
	if (n_left > 0)
		facts_format(f, NULL, "and %u more", n_left);
}

/* Pairs and RSS each replace the other: the one that came last holds. */
static const char *cvq_words_overruled(const struct cvq_store *store, unsigned int by, unsigned int command)
{
	return store->mq[by].sequence > store->mq[command].sequence ? ", which what came later has replaced"
								    : "";
}

void cvq_words_pairs(const struct cvq_store *store, uint8_t class, uint8_t command, struct facts *f)
{
	if (store->mq[command].sequence > 0)
		facts_format(f, NULL, "%u%s", get_le16(store->mq[command].data),
			     cvq_words_overruled(store, VIRTIO_NET_CTRL_MQ_RSS_CONFIG, command));
}

static const char *cvq_hash_type(unsigned int bit)
{
	static const char names[][8] = { "IPv4",  "TCPv4", "UDPv4",  "IPv6",  "TCPv6",
					 "UDPv6", "IP_EX", "TCP_EX", "UDP_EX" };

	return bit < ARRAY_SIZE(names) ? names[bit] : NULL;
}

static void cvq_item_types(struct cvq_item *item, uint32_t types)
{
	cvq_item_put(item, "hashed:%s", types == 0 ? " nothing" : "");
	for (unsigned int bit = 0; bit < 32; bit++) {
		if (virtio_has(types, bit) && cvq_hash_type(bit))
			cvq_item_put(item, " %s", cvq_hash_type(bit));
		else if (virtio_has(types, bit))
			cvq_item_put(item, " bit %u", bit);
	}
}

static void cvq_item_table(struct cvq_item *item, const struct virtio_rss *rss)
{
	cvq_item_put(item, "table of %u: queues", rss->n_entries);
	for (uint32_t i = 0; i < rss->n_entries && i < CVQ_WORDS_ENTRIES; i++)
		cvq_item_put(item, " %u", virtio_rss_entry(rss, i));
	if (rss->n_entries > CVQ_WORDS_ENTRIES)
		cvq_item_put(item, " and %u more", rss->n_entries - CVQ_WORDS_ENTRIES);
}

void cvq_words_rss(const struct cvq_store *store, uint8_t class, uint8_t command, struct facts *f)
{
	const struct cvq_mq_slot *slot = &store->mq[command];
	struct cvq_item types = { .len = 0 }, table = { .len = 0 };
	struct virtio_rss rss;

	if (slot->sequence == 0 || !virtio_rss_read(&rss, slot->data, slot->len))
		return;
	cvq_item_types(&types, rss.types);
	cvq_item_put(&types, "%s", cvq_words_overruled(store, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, command));
	facts_text(f, NULL, types.text);
	cvq_item_table(&table, &rss);
	facts_text(f, NULL, table.text);
	facts_format(f, NULL, "others: queue %u", rss.unclassified);
	facts_format(f, NULL, "transmit queues: %u", rss.max_tx_vq);
	facts_format(f, NULL, "key of %u bytes", rss.key_len);
}

void cvq_words_hash(const struct cvq_store *store, uint8_t class, uint8_t command, struct facts *f)
{
	const struct cvq_mq_slot *slot = &store->mq[command];
	struct cvq_item types = { .len = 0 };
	struct virtio_rss rss;

	if (slot->sequence == 0 || !virtio_rss_read_hash(&rss, slot->data, slot->len))
		return;
	cvq_item_types(&types, rss.types);
	facts_text(f, NULL, types.text);
	facts_format(f, NULL, "key of %u bytes", rss.key_len);
}

void cvq_words_contexts(const struct cvq_store *store, uint8_t class, uint8_t command, struct facts *f)
{
	for (unsigned int i = 0; i < CVQ_MAX_CONTEXTS; i++) {
		const struct cvq_context *context = &store->contexts[i];
		struct cvq_item item = { .len = 0 };
		struct virtio_rss rss;

		if (context->len == 0 || !virtio_rss_read(&rss, context->data, context->len))
			continue;
		cvq_item_put(&item, "%u: ", i + 1);
		cvq_item_types(&item, rss.types);
		cvq_item_put(&item, "; ");
		cvq_item_table(&item, &rss);
		cvq_item_put(&item, "; others: queue %u; key of %u bytes", rss.unclassified, rss.key_len);
		facts_text(f, NULL, item.text);
	}
}

void cvq_words_offloads(const struct cvq_store *store, uint8_t class, uint8_t command, struct facts *f)
{
	const struct cvq_value *value = cvq_words_value(store, class, command);

	if (value)
		cvq_words_bits(get_le64(value->bytes), cvq_offload_name, f);
}

static const char *cvq_tunnel_type(unsigned int bit)
{
	static const char names[][16] = { "GRE (RFC 2784)", "GRE (RFC 2890)", "GRE (RFC 7676)",
					  "GRE in UDP",     "VXLAN",          "VXLAN-GPE",
					  "GENEVE",         "IPIP",           "NVGRE" };

	return bit < ARRAY_SIZE(names) ? names[bit] : NULL;
}

void cvq_words_tunnel(const struct cvq_store *store, uint8_t class, uint8_t command, struct facts *f)
{
	const struct cvq_value *value = cvq_words_value(store, class, command);

	if (value)
		cvq_words_bits(get_le32(value->bytes), cvq_tunnel_type, f);
}

void cvq_words_coal(const struct cvq_store *store, uint8_t class, uint8_t command, struct facts *f)
{
	const struct cvq_value *value = cvq_words_value(store, class, command);

	if (value)
		facts_format(f, NULL, "%u packets, %u us", get_le32(value->bytes),
			     get_le32(value->bytes + 4));
}

void cvq_words_coal_queues(const struct cvq_store *store, uint8_t class, uint8_t command, struct facts *f)
{
	for (unsigned int i = 0; i < CVQ_MAX_QUEUES; i++) {
		const struct cvq_value *value = &store->coal_queue[i];

		if (value->set)
			facts_format(f, NULL, "%s%u: %u packets, %u us", i % 2 == 0 ? "rx" : "tx", i / 2,
				     get_le32(value->bytes), get_le32(value->bytes + 4));
	}
}
