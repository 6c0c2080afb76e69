/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An ELF kernel with a PVH entry: xen/include/public/arch-x86/hvm/start_info.h. */
#ifndef FERRY_VMM_X86_BOOT_PVH_H
#define FERRY_VMM_X86_BOOT_PVH_H

#include "vmm/x86/boot_image.h"

extern const struct boot_format boot_pvh;

#endif
