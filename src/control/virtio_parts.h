/* SPDX-License-Identifier: MIT
 *
 * The capsule machine's virtio devices: those that the manifest asks for, in their slots, and the memory of RAM disks.
 */
#ifndef CONTROL_VIRTIO_PARTS_H
#define CONTROL_VIRTIO_PARTS_H

#include "core/capsule.h"
#include "core/refusal.h"
#include "core/stats.h"
#include "device/plic.h"
#include "device/virtio_console.h"

struct virtio_part {
    struct virtio_device *device; /* NULL: the slot is empty */
    size_t size;                  /* bytes at device */
    struct range disk;            /* of the host; size 0: none */
};

/* All zero: there are none. */
struct virtio_parts {
    struct virtio_console *console; /* NULL: none; it lies in one of the slots */
    struct virtio_part slots[CAPSULE_DEVICES_MAX];
    unsigned cursor; /* slots whose disks are done: filled or, while it is destroyed, scrubbed */
    uint64_t offset; /* bytes of the next one that are */
    bool filled;     /* disks outlive restarts: they are filled once */
    bool scrubbing;
};

/* Makes the devices of capsule->config, slot 0 at base, and puts them on the capsule's bus. On a refusal destroy gives
 * back what was taken. */
[[nodiscard]] enum dx_error virtio_parts_create(struct virtio_parts *parts, struct capsule *capsule, gpa_t base,
                                                struct plic *plic, struct refusal *refusal);
/* One step of copying what is to be on the disks at first; true when they are full. The capsule is FILLING. */
bool virtio_parts_fill(struct virtio_parts *parts, const struct capsule_config *config);
/* One step of scrubbing disks; true when they are zero. The capsule is DESTROYING: they are never filled again. */
bool virtio_parts_scrub(struct virtio_parts *parts);
/* No vCPU runs, and nothing is on its way to the capsule's RAM: all devices are as after a reset. */
void virtio_parts_silence(struct virtio_parts *parts);
/* As capsule_device_stats. */
bool virtio_parts_stats(const struct virtio_parts *parts, uint32_t index, struct device_stats *out);
/* Nothing of the machine's knows of the devices any more. The capsule is in no list. */
void virtio_parts_detach(struct virtio_parts *parts);
/* Gives back what create took: disks must have been scrubbed if they were ever filled. */
void virtio_parts_destroy(struct virtio_parts *parts);

#endif
