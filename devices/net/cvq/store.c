/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The record of control commands: what each changes in it. */
#include "devices/net/cvq/store.h"

void cvq_reset(struct cvq_store *store)
{
	memset(store, 0, sizeof(*store));
}

void cvq_reset_queue(struct cvq_store *store, unsigned int queue)
{
	store->coal_queue[queue] = (struct cvq_coal){ 0 };
}

void cvq_remember_rx_mode(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len)
{
	store->rx_mode[command] = p[0] ? CVQ_ON : CVQ_OFF;
}

void cvq_remember_mac_table(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len)
{
	store->mac_table_set = true;
	store->n_unicast = get_le32(p);
	p += 4;
	memcpy(store->macs, p, 6 * store->n_unicast);
	p += 6 * store->n_unicast;
	store->n_multicast = get_le32(p);
	memcpy((uint8_t *)store->macs + 6 * store->n_unicast, p + 4, 6 * store->n_multicast);
}

void cvq_remember_mac(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len)
{
	store->mac_set = true;
	memcpy(store->mac, p, len);
}

void cvq_remember_vlan(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len)
{
	uint16_t vid = get_le16(p);

	if (command == VIRTIO_NET_CTRL_VLAN_ADD)
		store->vlans[vid / 64] |= (uint64_t)1 << vid % 64;
	else
		store->vlans[vid / 64] &= ~((uint64_t)1 << vid % 64);
}

void cvq_remember_mq(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len)
{
	struct cvq_mq_slot *slot = &store->mq[command];

	/* The rest of @data keeps what it had: nobody looks behind @len. */
	slot->sequence = ++store->mq_sequence;
	slot->len = (uint16_t)len;
	memcpy(slot->data, p, len);
}

void cvq_remember_offloads(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len)
{
	store->offloads_set = true;
	store->offloads = get_le64(p);
}

void cvq_remember_tunnel(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len)
{
	store->tunnel_types = get_le32(p);
}

void cvq_remember_context(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len)
{
	struct cvq_context *context = &store->contexts[get_le16(p) - 1];

	context->len = 0;
	if (command == VIRTIO_NET_CTRL_RSS_CTX_DEL)
		return;
	context->len = (uint16_t)(len - CVQ_CONTEXT_CONFIG);
	memcpy(context->data, p + CVQ_CONTEXT_CONFIG, context->len);
}

/* For every queue of its kind, those that had a value of their own included. */
void cvq_remember_coal(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len)
{
	store->coal[command].set = true;
	memcpy(store->coal[command].value, p, len);
	for (unsigned int queue = 0; queue < CVQ_MAX_QUEUES; queue++) {
		if (cvq_kind_of(queue) == command)
			cvq_reset_queue(store, queue);
	}
}

void cvq_remember_coal_queue(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len)
{
	struct cvq_coal *coal = &store->coal_queue[get_le16(p)];

	coal->set = true;
	memcpy(coal->value, p + 4, sizeof(coal->value));
}
