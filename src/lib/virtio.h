/* SPDX-License-Identifier: MIT
 *
 * Numbers of virtio 1.2 that device models (device/) and drivers of the machine's devices (driver/) share.
 */
#ifndef LIB_VIRTIO_H
#define LIB_VIRTIO_H

#include "lib/base.h"

enum virtio_device_id { VIRTIO_ID_NET = 1, VIRTIO_ID_BLOCK = 2, VIRTIO_ID_CONSOLE = 3, VIRTIO_ID_RNG = 4 };

/* Section 2.1. */
enum virtio_status {
    VIRTIO_ACKNOWLEDGE = 1,
    VIRTIO_DRIVER = 2,
    VIRTIO_DRIVER_OK = 4,
    VIRTIO_FEATURES_OK = 8,
    VIRTIO_NEEDS_RESET = 64,
    VIRTIO_FAILED = 128,
};

/* Section 6. */
#define VIRTIO_F_INDIRECT_DESC (UINT64_C(1) << 28)
#define VIRTIO_F_EVENT_IDX     (UINT64_C(1) << 29)
#define VIRTIO_F_VERSION_1     (UINT64_C(1) << 32)

/* Section 4.2.2: what the first register of virtio-mmio says. */
enum { VIRTIO_MMIO_MAGIC = 0x74726976 };

/* Split virtqueues, section 2.7: an entry of the descriptor table, and flags. */
struct virtio_descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags; /* enum virtio_descriptor_flags */
    uint16_t next;
};
static_assert(sizeof(struct virtio_descriptor) == 16, "as virtio has it in memory; harts are little-endian");
enum virtio_descriptor_flags {
    VIRTIO_DESCRIPTOR_NEXT = 1 << 0,
    VIRTIO_DESCRIPTOR_WRITE = 1 << 1,
    VIRTIO_DESCRIPTOR_INDIRECT = 1 << 2,
};
enum { VIRTIO_AVAILABLE_NO_INTERRUPT = 1 << 0, VIRTIO_USED_NO_NOTIFY = 1 << 0 };

/* Block devices, section 5.2: features, offsets of struct virtio_blk_config, types of requests and their status. */
#define VIRTIO_BLK_F_SIZE_MAX     (UINT64_C(1) << 1)
#define VIRTIO_BLK_F_SEG_MAX      (UINT64_C(1) << 2)
#define VIRTIO_BLK_F_RO           (UINT64_C(1) << 5)
#define VIRTIO_BLK_F_BLK_SIZE     (UINT64_C(1) << 6)
#define VIRTIO_BLK_F_FLUSH        (UINT64_C(1) << 9)
#define VIRTIO_BLK_F_TOPOLOGY     (UINT64_C(1) << 10)
#define VIRTIO_BLK_F_DISCARD      (UINT64_C(1) << 13)
#define VIRTIO_BLK_F_WRITE_ZEROES (UINT64_C(1) << 14)
enum virtio_blk_config {
    VIRTIO_BLK_CAPACITY = 0,
    VIRTIO_BLK_SIZE_MAX = 8,
    VIRTIO_BLK_SEG_MAX = 12,
    VIRTIO_BLK_BLK_SIZE = 20,
    VIRTIO_BLK_PHYSICAL_BLOCK_EXP = 24,
    VIRTIO_BLK_ALIGNMENT_OFFSET = 25,
    VIRTIO_BLK_MIN_IO_SIZE = 26,
    VIRTIO_BLK_OPT_IO_SIZE = 28,
    VIRTIO_BLK_MAX_DISCARD_SECTORS = 36,
    VIRTIO_BLK_MAX_DISCARD_SEG = 40,
    VIRTIO_BLK_DISCARD_SECTOR_ALIGNMENT = 44,
    VIRTIO_BLK_MAX_WRITE_ZEROES_SECTORS = 48,
    VIRTIO_BLK_MAX_WRITE_ZEROES_SEG = 52,
    VIRTIO_BLK_WRITE_ZEROES_MAY_UNMAP = 56,
};
enum virtio_blk_type {
    VIRTIO_BLK_IN = 0,
    VIRTIO_BLK_OUT = 1,
    VIRTIO_BLK_FLUSH = 4,
    VIRTIO_BLK_GET_ID = 8,
    VIRTIO_BLK_DISCARD = 11,
    VIRTIO_BLK_WRITE_ZEROES = 13,
};
enum virtio_blk_status { VIRTIO_BLK_OK = 0, VIRTIO_BLK_IOERR = 1, VIRTIO_BLK_UNSUPP = 2 };

/* Network devices, section 5.1: features. */
#define VIRTIO_NET_F_CSUM       (UINT64_C(1) << 0)
#define VIRTIO_NET_F_GUEST_CSUM (UINT64_C(1) << 1)
#define VIRTIO_NET_F_MTU        (UINT64_C(1) << 3)
#define VIRTIO_NET_F_MAC        (UINT64_C(1) << 5)
#define VIRTIO_NET_F_GUEST_TSO4 (UINT64_C(1) << 7)
#define VIRTIO_NET_F_GUEST_TSO6 (UINT64_C(1) << 8)
#define VIRTIO_NET_F_HOST_TSO4  (UINT64_C(1) << 11)
#define VIRTIO_NET_F_HOST_TSO6  (UINT64_C(1) << 12)
#define VIRTIO_NET_F_MRG_RXBUF  (UINT64_C(1) << 15)
#define VIRTIO_NET_F_STATUS     (UINT64_C(1) << 16)

#endif
