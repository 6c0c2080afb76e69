/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The record of control commands, and how each of them changes it. */
#include "devices/net/cvq/store.h"

#include <assert.h>

_Static_assert(CVQ_CONTEXT_CONFIG + CVQ_MAX_MQ_COMMAND <= CVQ_MAX_COMMAND, "a buffer for any command");
_Static_assert(CVQ_MAX_MQ_COMMAND <= UINT16_MAX, "struct cvq_mq_slot's len");

void cvq_reset(struct cvq_store *store)
{
	memset(store, 0, sizeof(*store));
}

void cvq_reset_queue(struct cvq_store *store, unsigned int queue)
{
	store->coal_queue[queue] = (struct cvq_value){ 0 };
}

static void cvq_keep_value(struct cvq_store *store, const struct cvq_slot *slot, uint8_t class,
			   uint8_t command, const uint8_t *p, uint32_t len)
{
	struct cvq_value *value = &store->values[class][command];

	assert(class < CVQ_N_CLASSES && command < CVQ_N_COMMANDS && len <= sizeof(value->bytes));
	*value = (struct cvq_value){ 0 };
	memcpy(value->bytes, p, len);
	for (uint32_t i = 0; i < len; i++)
		value->set |= !slot->zero_default || p[i] != 0;
}

/* A device sees on or off, so two guests' different words for on are the same. */
static void cvq_keep_mode(struct cvq_store *store, uint8_t command, const uint8_t *p)
{
	store->values[VIRTIO_NET_CTRL_RX][command] = (struct cvq_value){ true, { p[0] != 0 } };
}

static void cvq_keep_macs(struct cvq_store *store, const uint8_t *p)
{
	store->mac_table_set = true;
	store->n_unicast = get_le32(p);
	p += 4;
	memcpy(store->macs, p, 6 * store->n_unicast);
	p += 6 * store->n_unicast;
	store->n_multicast = get_le32(p);
	memcpy(store->macs[store->n_unicast], p + 4, 6 * store->n_multicast);
}

static void cvq_keep_vlan(struct cvq_store *store, uint8_t command, const uint8_t *p)
{
	uint16_t vid = get_le16(p);

	if (command == VIRTIO_NET_CTRL_VLAN_ADD)
		store->vlans[vid / 64] |= (uint64_t)1 << vid % 64;
	else
		store->vlans[vid / 64] &= ~((uint64_t)1 << vid % 64);
}

static void cvq_keep_mq(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len)
{
	struct cvq_mq_slot *slot = &store->mq[command];

	/* Nobody looks behind @len, so the rest of @data may keep what it had. */
	slot->sequence = ++store->mq_sequence;
	slot->len = (uint16_t)len;
	memcpy(slot->data, p, len);
}

static void cvq_keep_context(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len)
{
	struct cvq_context *context = &store->contexts[get_le16(p) - 1];

	context->len = 0;
	if (command == VIRTIO_NET_CTRL_RSS_CTX_DEL)
		return;
	context->len = (uint16_t)(len - CVQ_CONTEXT_CONFIG);
	memcpy(context->data, p + CVQ_CONTEXT_CONFIG, context->len);
}

/* Zero is kept too, for saved state has always told it from a command that never came. */
static void cvq_keep_coal(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len)
{
	struct cvq_value *value = &store->values[VIRTIO_NET_CTRL_NOTF_COAL][command];

	value->set = true;
	memcpy(value->bytes, p, len);
	for (unsigned int queue = 0; queue < CVQ_MAX_QUEUES; queue++) {
		if (cvq_kind_of(queue) == command)
			cvq_reset_queue(store, queue);
	}
}

static void cvq_keep_coal_queue(struct cvq_store *store, const uint8_t *p)
{
	struct cvq_value *value = &store->coal_queue[get_le16(p)];

	value->set = true;
	memcpy(value->bytes, p + 4, sizeof(value->bytes));
}

void cvq_keep(struct cvq_store *store, const struct cvq_slot *slot, const uint8_t *cmd, uint32_t len)
{
	const uint8_t command = cmd[1], *p = cmd + 2;

	/* A command that changes a device's state must be kept: give its row a slot. */
	assert(slot->keep != CVQ_KEEP_NOTHING);
	len -= 2;
	switch (slot->keep) {
	case CVQ_KEEP_VALUE:
		cvq_keep_value(store, slot, cmd[0], command, p, len);
		break;
	case CVQ_KEEP_MODE:
		cvq_keep_mode(store, command, p);
		break;
	case CVQ_KEEP_COAL:
		cvq_keep_coal(store, command, p, len);
		break;
	case CVQ_KEEP_COAL_QUEUE:
		cvq_keep_coal_queue(store, p);
		break;
	case CVQ_KEEP_MACS:
		cvq_keep_macs(store, p);
		break;
	case CVQ_KEEP_VLANS:
		cvq_keep_vlan(store, command, p);
		break;
	case CVQ_KEEP_MQ:
		cvq_keep_mq(store, command, p, len);
		break;
	case CVQ_KEEP_CONTEXT:
		cvq_keep_context(store, command, p, len);
		break;
	case CVQ_KEEP_NOTHING:
		break;
	}
}

bool cvq_is_set(const struct cvq_store *store, uint8_t class, uint8_t command)
{
	return store->values[class][command].set;
}

const uint8_t *cvq_mac(const struct cvq_store *store)
{
	const struct cvq_value *value = &store->values[VIRTIO_NET_CTRL_MAC][VIRTIO_NET_CTRL_MAC_ADDR_SET];

	return value->set ? value->bytes : NULL;
}

void cvq_set_mac(struct cvq_store *store, const uint8_t mac[6])
{
	struct cvq_value *value = &store->values[VIRTIO_NET_CTRL_MAC][VIRTIO_NET_CTRL_MAC_ADDR_SET];

	value->set = true;
	memcpy(value->bytes, mac, 6);
}
