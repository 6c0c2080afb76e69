/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of "ferry doctor" that devices and migrations have. */
#ifndef FERRY_VMM_APP_DOCTOR_H
#define FERRY_VMM_APP_DOCTOR_H

#include "vmm/host/doctor.h"

extern const struct doctor_parts app_doctor_parts;

#endif
