/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A NIC's device opened for a look, and the names of features. */
#include "vmm/app/doctor.h"

#include "devices/net/features.h"
#include "devices/net/net.h"
#include "devices/net/survey.h"
#include "devices/vdpa/vhost.h"
#include "migration/stream.h"
#include "vmm/app/doctor_compare.h"
#include "vmm/cpu_command.h"
#include "vmm/trial.h"

static int doctor_open_nic(const struct net_config *config, struct host_nic *nic, const char **why,
			   struct error *err)
{
	struct vdpa *vdpa;
	int ret = vhost_open(&vdpa, config->vdpa, err);

	if (ret < 0)
		return ret;
	ret = net_survey_describe(nic, why, vdpa, config, err);
	nic->descriptors = net_descriptors(vdpa);
	vdpa->ops->close(vdpa);
	return ret;
}

const struct doctor_parts app_doctor_parts = {
	.probe = { .machine = cpu_command_host,
		   .trial = trial_run,
		   .nic = doctor_open_nic,
		   .feature_names = net_features_names },
	.stream_oldest = STREAM_OLDEST,
	.stream_newest = STREAM_NEWEST,
	.compare = doctor_compare,
};
