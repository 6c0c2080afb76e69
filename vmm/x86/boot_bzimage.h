/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A bzImage by the 64-bit boot protocol: Documentation/arch/x86/boot.rst. */
#ifndef FERRY_VMM_X86_BOOT_BZIMAGE_H
#define FERRY_VMM_X86_BOOT_BZIMAGE_H

#include "vmm/x86/boot_image.h"

extern const struct boot_format boot_bzimage;

#endif
