/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A view of the NIC in words and numbers. */
#include "devices/net/tell.h"

#include <errno.h>
#include <stdio.h>

#include "devices/net/features.h"
#include "devices/net/view.h"
#include "vmm/mac.h"

/* Queues that one answer has room for: beside all that the rest can be, and as lines of numbers. */
#define NET_TELL_QUEUES    16u
#define NET_MEASURE_QUEUES 10u

#define NET_QUEUE_NAME_MAX 8u

static const char *net_queue_name(const struct net_view *v, unsigned int i, char name[NET_QUEUE_NAME_MAX])
{
	if (i >= v->n_data)
		return "ctrl";
	snprintf(name, NET_QUEUE_NAME_MAX, "%s%u", i % 2 == 0 ? "rx" : "tx", (i / 2) % NET_MAX_PAIRS);
	return name;
}

/* Ferry passes what goes through the queue, and so has counted it. */
static bool net_is_counted(const struct net_view *v, unsigned int i)
{
	return v->phase != NET_PHASE_PASS && i < v->n_data;
}

static const char *net_mode_word(enum net_phase phase)
{
	static const char *const words[] = {
		[NET_PHASE_OFF] = "off",       [NET_PHASE_WARM] = "waiting",
		[NET_PHASE_SHADOW] = "shadow", [NET_PHASE_PASS] = "passthrough",
		[NET_PHASE_STILL] = "still",   [NET_PHASE_BROKEN] = "stopped",
	};

	return words[phase];
}

static void net_tell_features(struct facts *f, const char *name, uint64_t features)
{
	char names[1024], *save = NULL;

	net_features_names(features, names, sizeof(names));
	facts_list(f, name);
	for (char *one = strtok_r(names, ", ", &save); one; one = strtok_r(NULL, ", ", &save))
		facts_text(f, NULL, one);
	facts_list_end(f);
}

static void net_tell_rings(const struct net_view *v, struct facts *f)
{
	const char *guest = virtio_has(v->features, VIRTIO_F_RING_PACKED) ? "packed" : "split";

	if (v->phase == NET_PHASE_OFF)
		return;
	facts_text(f, "guestRings", guest);
	/* A shadow ring is a split one; in passthrough the device has the guest's. */
	facts_text(f, "deviceRings", v->phase == NET_PHASE_PASS ? guest : "split");
}

/* How long its thread looks for packets: as on the command line, and set before it began. */
static void net_tell_poll(const struct net *net, struct facts *f)
{
	if (net->look.automatic || net->look.most_ns == 0)
		facts_text(f, "poll", net->look.automatic ? "auto" : "off");
	else
		facts_format(f, "poll", "%u", (unsigned int)(net->look.most_ns / 1000));
}

static void net_tell_config(const struct net_view *v, const struct vdpa *vdpa, struct facts *f)
{
	facts_flag(f, "linkUp", v->link_up);
	facts_format(f, "mac", MAC_FORMAT, MAC_ARGS(v->config));
	if (virtio_has(v->offered, VIRTIO_NET_F_MTU))
		facts_number(f, "mtu", get_le16(v->config + NET_CONFIG_FIELD(mtu)));
	facts_number(f, "queuePairs", v->n_pairs);
	net_tell_rings(v, f);
	net_tell_features(f, "features", v->features);
	net_tell_features(f, "notAccepted", v->phase != NET_PHASE_OFF ? v->offered & ~v->features : 0);
	net_tell_features(f, "notOffered", vdpa->features & ~v->offered);
}

static void net_tell_control(const struct net_view *v, struct facts *f)
{
	facts_object(f, "control");
	cvq_tell(&v->store, f);
	facts_list(f, "announcement");
	if (v->asked_to_announce)
		facts_text(f, NULL, "the guest has been asked to announce itself");
	if (v->announcements > 0)
		facts_format(f, NULL, "Ferry announces the guest: %u rounds left", v->announcements);
	facts_list_end(f);
	facts_object_end(f);
	facts_object(f, "commands");
	facts_number(f, "done", v->outcomes[NET_CTRL_DONE]);
	facts_number(f, "refused", v->outcomes[NET_CTRL_REFUSED_HERE]);
	facts_number(f, "refusedByDevice", v->outcomes[NET_CTRL_REFUSED]);
	facts_object_end(f);
	cvq_stats_tell(&v->stats, &v->limits, f);
}

static void net_tell_queue(const struct net_view *v, unsigned int i, struct facts *f)
{
	const struct net_queue_view *q = &v->queues[i];
	char name[NET_QUEUE_NAME_MAX];

	facts_object(f, NULL);
	facts_text(f, "name", net_queue_name(v, i, name));
	facts_number(f, "entries", q->guest_size);
	if (q->device_size > 0)
		facts_number(f, "deviceEntries", q->device_size);
	if (net_is_counted(v, i)) {
		facts_number(f, "buffers", q->counts.buffers);
		facts_number(f, "bytes", q->counts.bytes);
		facts_number(f, "kicks", q->counts.kicks);
		facts_number(f, "interrupts", q->counts.interrupts);
		facts_number(f, "deviceKicks", q->counts.device_kicks);
		facts_number(f, "deviceCalls", q->counts.device_calls);
	}
	facts_object_end(f);
}

/* The number of queues from @from on that are told now, of @most, and where to go on: 0 at the end. */
static unsigned int net_end_of_page(const struct net_view *v, unsigned int *from, unsigned int most)
{
	unsigned int end = (unsigned int)min_u64(v->n_queues, (uint64_t)*from + most);

	*from = end < v->n_queues ? end : 0;
	return end;
}

int net_tell(struct device *dev, struct facts *f, unsigned int *from, uint64_t until_ns, struct error *err)
{
	struct net *net = container_of(dev, struct net, device);
	struct net_view *v = net_view_ask(net, *from == 0 ? NET_VIEW_ALL : NET_VIEW_COUNTS, until_ns, err);
	unsigned int first = *from, end;

	if (!v)
		return -ETIMEDOUT;
	if (first == 0) {
		facts_text(f, "vdpa", net->backend.vdpa->name);
		facts_text(f, "mode", net_mode_word(v->phase));
		if (v->why[0])
			facts_text(f, "why", v->why);
		if (v->phase != NET_PHASE_PASS)
			net_tell_poll(net, f);
		net_tell_config(v, net->backend.vdpa, f);
		net_tell_control(v, f);
	}
	end = net_end_of_page(v, from, NET_TELL_QUEUES);
	facts_list(f, "queues");
	for (unsigned int i = first; i < end; i++)
		net_tell_queue(v, i, f);
	facts_list_end(f);
	net_view_free(v);
	return 0;
}

/* Counters of a data queue, with their places in struct net_counts. */
static const struct {
	struct metrics_family family;
	size_t place;
} net_counters[] = {
	{ { "nic_buffers_total", "Buffers of the guest's that the device has used, through shadow rings.",
	    METRICS_COUNTER },
	  offsetof(struct net_counts, buffers) },
	{ { "nic_bytes_total", "Bytes in these buffers, with their headers.", METRICS_COUNTER },
	  offsetof(struct net_counts, bytes) },
	{ { "nic_kicks_total", "Kicks from the guest that Ferry has taken.", METRICS_COUNTER },
	  offsetof(struct net_counts, kicks) },
	{ { "nic_interrupts_total", "Interrupts that Ferry has given the guest.", METRICS_COUNTER },
	  offsetof(struct net_counts, interrupts) },
	{ { "nic_device_kicks_total", "Kicks that Ferry has given the device.", METRICS_COUNTER },
	  offsetof(struct net_counts, device_kicks) },
	{ { "nic_device_calls_total", "Calls from the device that Ferry has taken.", METRICS_COUNTER },
	  offsetof(struct net_counts, device_calls) },
};

static void net_measure_nic(struct net *net, const struct net_view *v, struct metrics *m)
{
	static const struct metrics_family link = { "nic_link_up", "Whether the NIC's link is up.",
						    METRICS_GAUGE };
	static const struct metrics_family mode = {
		"nic_mode", "1 for the mode that the NIC is in, as \"ferry nic\" calls it.", METRICS_GAUGE
	};
	static const struct metrics_family commands = { "nic_control_commands_total",
							"Control commands of the guest, by their outcome.",
							METRICS_COUNTER };
	static const char *const outcomes[NET_CTRL_N_OUTCOMES] = {
		[NET_CTRL_DONE] = "done",
		[NET_CTRL_REFUSED_HERE] = "refused",
		[NET_CTRL_REFUSED] = "refused-by-device",
	};

	metrics_add(m, &link, METRICS_LABELS({ "nic", net->name }, ), v->link_up);
	metrics_add(m, &mode, METRICS_LABELS({ "nic", net->name }, { "mode", net_mode_word(v->phase) }, ), 1);
	for (unsigned int i = 0; i < NET_CTRL_N_OUTCOMES; i++)
		metrics_add(m, &commands, METRICS_LABELS({ "nic", net->name }, { "outcome", outcomes[i] }, ),
			    v->outcomes[i]);
}

int net_measure(struct device *dev, struct metrics *m, unsigned int *from, uint64_t until_ns,
		struct error *err)
{
	struct net *net = container_of(dev, struct net, device);
	struct net_view *v = net_view_ask(net, NET_VIEW_COUNTS, until_ns, err);
	unsigned int first = *from, end;

	if (!v)
		return -ETIMEDOUT;
	if (first == 0)
		net_measure_nic(net, v, m);
	end = net_end_of_page(v, from, NET_MEASURE_QUEUES);
	for (unsigned int k = 0; k < ARRAY_SIZE(net_counters); k++) {
		for (unsigned int i = first; i < end && net_is_counted(v, i); i++) {
			const char *counts = (const char *)&v->queues[i].counts;
			char name[NET_QUEUE_NAME_MAX];

			metrics_add(m, &net_counters[k].family,
				    METRICS_LABELS({ "nic", net->name },
						   { "queue", net_queue_name(v, i, name) }, ),
				    *(const uint64_t *)(counts + net_counters[k].place));
		}
	}
	net_view_free(v);
	return 0;
}
