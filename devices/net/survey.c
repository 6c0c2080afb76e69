/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device's facts, as a NIC takes them. */
#include "devices/net/survey.h"

#include <errno.h>

#include "devices/net/features.h"
#include "devices/net/passthrough.h"
#include "devices/net/path.h"
#include "vmm/log.h"

/* Reads the number of queue pairs. */
static int net_survey_pairs(struct net_survey *survey, struct vdpa *vdpa, const char *nic, struct error *err)
{
	unsigned int n = 1;

	if (vdpa->features & (VIRTIO_BIT(VIRTIO_NET_F_MQ) | VIRTIO_BIT(VIRTIO_NET_F_RSS)))
		n = get_le16(survey->config + NET_CONFIG_FIELD(max_virtqueue_pairs));
	if (n < 1 || n > NET_MAX_PAIRS) {
		error_add(err, "%s: the device has %u queue pairs, Ferry takes 1 to %u", vdpa->name, n,
			  NET_MAX_PAIRS);
		return -EINVAL;
	}
	if (vdpa->n_vqs < 2 * n + 1 && n > 1) {
		/* With MQ or RSS the control queue would have an index that this device node does not reach.
		 */
		log_limited(
			&vdpa->log_limit, LOG_WARN,
			"%s: %u queue pairs but only %u virtqueues: used with one pair, without MQ and RSS",
			nic, n, vdpa->n_vqs);
		vdpa->features &= ~(VIRTIO_BIT(VIRTIO_NET_F_MQ) | VIRTIO_BIT(VIRTIO_NET_F_RSS));
		n = 1;
	}
	survey->max_pairs = n;
	return 0;
}

int net_survey(struct net_survey *survey, struct vdpa *vdpa, const char *nic, struct error *err)
{
	uint32_t len = (uint32_t)min_u64(vdpa->config_len, NET_CONFIG_LEN);
	uint8_t *table;
	int ret;

	*survey = (struct net_survey){ 0 };
	if (!virtio_has(vdpa->features, VIRTIO_F_VERSION_1)) {
		error_add(err, "%s: the device is a legacy one (no VIRTIO_F_VERSION_1)", vdpa->name);
		return -ENOTSUP;
	}
	if (vdpa->n_vqs < 2) {
		error_add(err, "%s: the device has %u virtqueues, a NIC needs 2", vdpa->name, vdpa->n_vqs);
		return -EINVAL;
	}
	ret = vdpa->ops->get_config(vdpa, 0, survey->config, len, err);
	if (ret == 0)
		ret = net_survey_pairs(survey, vdpa, nic, err);
	if (ret < 0)
		return ret;
	/* A table that the guest can set must be one that can be carried. */
	table = survey->config + NET_CONFIG_FIELD(rss_max_indirection_table_length);
	put_le16(table, (uint16_t)min_u64(get_le16(table), CVQ_MAX_RSS_TABLE));
	put_le16(survey->config + NET_CONFIG_FIELD(max_virtqueue_pairs), (uint16_t)survey->max_pairs);
	survey->possible = net_features_offer(vdpa, survey->max_pairs);
	return 0;
}

/* Reads the shortest of the data queues. */
static int net_survey_ring(struct vdpa *vdpa, unsigned int n_data, unsigned int *ring, struct error *err)
{
	*ring = UINT16_MAX;
	for (unsigned int i = 0; i < n_data; i++) {
		uint16_t size;
		int ret = vdpa->ops->vring_size(vdpa, i, &size, err);

		if (ret < 0)
			return ret;
		*ring = (unsigned int)min_u64(*ring, size);
	}
	return 0;
}

int net_survey_describe(struct host_nic *nic, const char **why, struct vdpa *vdpa,
			const struct net_config *config, struct error *err)
{
	struct net_survey survey;
	int ret = net_survey(&survey, vdpa, vdpa->name, err);

	if (ret < 0)
		return ret;
	*nic = (struct host_nic){ .features = vdpa->features,
				  .offered = survey.possible,
				  .pairs = survey.max_pairs,
				  .groups = vdpa->n_groups ? vdpa->n_groups : 1,
				  .spaces = vdpa->n_asids ? vdpa->n_asids : 1,
				  .ctrl = virtio_has(survey.possible, VIRTIO_NET_F_CTRL_VQ),
				  .ctrl_apart = vdpa->ctrl_apart,
				  .can_suspend = vdpa->can_suspend,
				  .last_address = vdpa->iova_last };
	if (virtio_has(vdpa->features, VIRTIO_NET_F_MAC))
		memcpy(nic->mac, survey.config + NET_CONFIG_FIELD(mac), MAC_LEN);
	if (!mac_valid(nic->mac))
		memset(nic->mac, 0, MAC_LEN);
	if (virtio_has(vdpa->features, VIRTIO_NET_F_MTU))
		nic->mtu = get_le16(survey.config + NET_CONFIG_FIELD(mtu));
	*why = net_pass_obstacle(vdpa, survey.possible, config);
	nic->passthrough = !*why;
	if (*why && config->mode == NET_PASSTHROUGH) {
		error_add(err, "%s: no passthrough: %s", vdpa->name, *why);
		return -ENOTSUP;
	}
	return net_survey_ring(vdpa, 2 * survey.max_pairs, &nic->ring, err);
}
