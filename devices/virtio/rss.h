/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the fields of the payloads of MQ_RSS_CONFIG and MQ_HASH_CONFIG lie, in bytes (virtio 1.4,
 * "Receive-Side Scaling" and "Hash Configuration"). The tests and the device model spell these numbers out:
 * they check them.
 */
#ifndef FERRY_DEVICES_VIRTIO_RSS_H
#define FERRY_DEVICES_VIRTIO_RSS_H

/* struct virtio_net_rss_config has a table in its middle: what lies behind counts from the table's end. */
#define VIRTIO_RSS_TYPES        0u
#define VIRTIO_RSS_MASK         4u /* number of the table's entries, less one */
#define VIRTIO_RSS_UNCLASSIFIED 6u
#define VIRTIO_RSS_TABLE        8u
#define VIRTIO_RSS_MAX_TX_VQ(n) (VIRTIO_RSS_TABLE + 2 * (n))
#define VIRTIO_RSS_KEY_LEN(n)   (VIRTIO_RSS_MAX_TX_VQ(n) + 2)
#define VIRTIO_RSS_KEY(n)       (VIRTIO_RSS_KEY_LEN(n) + 1)
/* All of it but the table and the key. */
#define VIRTIO_RSS_FIXED VIRTIO_RSS_KEY(0)

/* struct virtio_net_hash_config. */
#define VIRTIO_HASH_TYPES    0u
#define VIRTIO_HASH_RESERVED 4u
#define VIRTIO_HASH_KEY_LEN  12u
#define VIRTIO_HASH_KEY      13u

#endif
