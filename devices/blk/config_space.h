/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The disk as a driver is shown it (virtio 1.4, "Block Device / Device configuration layout"): features and
 * configuration; and whether a guest that has been shown them by another host finds them kept here.
 *
 * All functions are pure, for any thread.
 */
#ifndef FERRY_DEVICES_BLK_CONFIG_SPACE_H
#define FERRY_DEVICES_BLK_CONFIG_SPACE_H

#include "devices/blk/file.h"

/* Bytes of struct virtio_blk_config that Ferry shows: up to write_zeroes_may_unmap. */
#define BLK_CONFIG_LEN 60u

/* A request keeps those waiting that come after it, so the driver is shown bounds for all that it can ask for
 * at once. The number of segments is that of a ring of 256 entries, but for header and status. A segment may
 * be as long as Linux ever asks for, in bytes. */
#define BLK_MAX_SEGS 254u
#define BLK_MAX_SIZE (1u << 20)
/* Ranges and sectors of a DISCARD; and of a WRITE_ZEROES, less because the zeroes may have to be written. */
#define BLK_MAX_RANGES               16u
#define BLK_MAX_DISCARD_SECTORS      (1u << 22)
#define BLK_MAX_ZERO_RANGES          1u
#define BLK_MAX_WRITE_ZEROES_SECTORS (1u << 15)

uint64_t blk_config_features(const struct blk_file *f);
/* Fills the BLK_CONFIG_LEN bytes of @config as they are with the features @offered. */
void blk_config_build(const struct blk_file *f, uint64_t offered, uint8_t *config);

/* Whether the disk here keeps what @shown, configuration for the features @offered, has told a guest. */
bool blk_config_kept(const struct blk_file *f, uint64_t offered, const uint8_t *shown);
/* Refuses a guest that has been shown features which are @missing here, each by name: 0 for none, or
 * -ENOTSUP. @name is the disk's. */
int __must_check blk_config_refuse_missing(uint64_t missing, const char *name, struct error *err);

#endif
