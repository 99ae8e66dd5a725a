/* SPDX-License-Identifier: MIT
 *
 * The partitions of a disk that has a GUID partition table (UEFI 2.10, section 5.3). What is on a disk was written by
 * anybody: nothing of it is believed unchecked, and a table whose checksums are wrong isn't one; its copy at the end of
 * the disk is tried then.
 */
#ifndef DRIVER_GPT_H
#define DRIVER_GPT_H

#include "core/disk.h"

struct gpt_source {
    /* Reads length bytes, whole blocks, from a sector of DISK_SECTOR bytes on. */
    bool (*read)(void *context, uint64_t sector, void *to, uint32_t length);
    void *context;
    uint32_t block_size; /* bytes: 512 to 4096, a power of two */
    uint64_t sectors;
};

/* The named partitions, in memory of their own; NULL: there is no table, or no memory. At boot. */
struct disk_partition *gpt_read(const struct gpt_source *source, uint32_t *count);

#endif
