/* SPDX-License-Identifier: MIT
 *
 * A virtio disk (virtio 1.2, section 5.2). What is behind it is one of two:
 *
 * - Memory of the hypervisor's, a copy of its own for each capsule. It never fails; a write is done when it is
 *   reported, so a flush has nothing to do. What is discarded reads as zeros. One request at a time.
 * - A stretch of a disk of the machine's (core/disk.h), several requests at a time. Header and status are copied, the
 *   payload is read and written by the machine's device where the driver has it. See docs/decisions/0022.
 */
#ifndef DEVICE_VIRTIO_BLK_H
#define DEVICE_VIRTIO_BLK_H

#include "core/disk.h"
#include "core/stats.h"
#include "device/virtio_mmio.h"
#include "lib/virtio.h"

enum { VIRTIO_BLK_SECTOR = DISK_SECTOR, VIRTIO_BLK_CONFIG_SIZE = 60, VIRTIO_BLK_ID_SIZE = DISK_SERIAL_MAX };

/* A request that the machine's disk has. */
struct virtio_blk_flight {
    bool busy;
    uint16_t head;    /* its chain's */
    gpa_t status;     /* where its status goes: in the capsule's RAM */
    uint32_t written; /* bytes that were, if it goes well */
    uint32_t type;    /* enum virtio_blk_type; likewise the next, for what is counted */
    uint64_t length;
};

struct virtio_blk {
    struct virtio_device virtio;
    struct virtqueue queues[1];
    uint64_t size;                   /* bytes; whole sectors */
    uint8_t *memory;                 /* NULL: it is a disk of the machine's, by user */
    struct disk_user user;           /* user.disk NULL: it is memory */
    char serial[VIRTIO_BLK_ID_SIZE]; /* zeros follow it, if there is room */
    uint8_t config[VIRTIO_BLK_CONFIG_SIZE];

    /* The device's lock guards these. The request that is being worked on: */
    bool busy;
    uint32_t type;
    uint8_t status;
    bool unmap;
    uint64_t at;     /* where on the disk it begins, bytes */
    uint64_t length; /* bytes to move */
    uint64_t done;   /* of them */
    struct virtqueue_chain chain;
    struct disk_counts counts; /* outlive resets */
    /* The machine's disk: */
    struct virtio_blk_flight flights[DISK_USER_REQUESTS_MAX];
    struct range places[DISK_PIECES_MAX]; /* of the payload of the request that is being sent */
};

/* size is a multiple of VIRTIO_BLK_SECTOR; of serial the first VIRTIO_BLK_ID_SIZE characters count. The disk's bytes
 * must outlive the device, and nobody else may touch them while vCPUs run. */
void virtio_blk_init(struct virtio_blk *blk, gpa_t base, const struct capsule *capsule, struct irq_line irq,
                     uint8_t *memory, uint64_t size, bool read_only, const char *serial);

/* The stretch of user's disk: user is copied, but for what the device sets itself; the caller attaches blk->user. It
 * writes only if user->writes. */
void virtio_blk_init_disk(struct virtio_blk *blk, gpa_t base, struct capsule *capsule, struct irq_line irq,
                          const struct disk_user *user, const char *serial);

/* virtio_blk_disk.c's part of the work, for virtio_blk.c: sends the request, for which room was reserved. False: it
 * can't be sent; status says why. */
bool virtio_blk_send(struct virtio_blk *blk);
/* A request of this type has been answered, with so many bytes. */
void virtio_blk_count(struct virtio_blk *blk, uint32_t type, bool good, uint64_t bytes);
/* Sets what the disk calls. */
void virtio_blk_listen(struct virtio_blk *blk);
/* Whether the request is one that the disk has to do. */
bool virtio_blk_is_sent(const struct virtio_blk *blk);
/* virtio_blk.c's, for virtio_blk_disk.c: a step of work, as virtio_device_ops.work. */
bool virtio_blk_step(struct virtio_blk *blk);

/* Bytes of a request's parts. */
enum { VIRTIO_BLK_HEADER = 16, VIRTIO_BLK_STATUS_BYTES = 1 };

#endif
