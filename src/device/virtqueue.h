/* SPDX-License-Identifier: MIT
 *
 * One split virtqueue of virtio 1.2, as a device sees it. All that the driver writes is hostile: each number is read
 * once, into our copy, and checked there; a driver that breaks a rule gets QUEUE_BROKEN, and the device asks for a
 * reset. Nothing here takes a lock: the device's lock is held. Bytes of the capsule's RAM are reached by
 * capsule_ram_part alone, each time anew, since RAM may lie in several places of the host.
 */
#ifndef DEVICE_VIRTQUEUE_H
#define DEVICE_VIRTQUEUE_H

#include "core/capsule.h"

enum { VIRTQUEUE_SIZE_MAX = 128 }; /* entries; a power of two */

struct virtqueue_segment {
    gpa_t address; /* all length bytes are in the capsule's RAM */
    uint32_t length;
};

/* A request: what the driver gives to read, then what it gives to be written. */
struct virtqueue_chain {
    uint16_t head;
    uint16_t count;          /* of segments */
    uint16_t readable_count; /* the first so many are to be read, the others to be written */
    uint64_t readable;       /* bytes; less than 2^32 with those of writable */
    uint64_t writable;
    struct virtqueue_segment segments[VIRTQUEUE_SIZE_MAX];
};

struct virtqueue {
    const struct capsule *capsule;
    /* As the driver has set them; checked by virtqueue_enable: */
    uint32_t size;     /* entries */
    gpa_t descriptors; /* the table */
    gpa_t driver;      /* the available ring */
    gpa_t device;      /* the used ring */
    bool ready;
    bool event_index; /* negotiated; likewise the next */
    bool indirect;
    /* Ours: what the driver writes into its copies of the last two has no effect. */
    uint16_t taken;     /* as avail.idx counts */
    uint16_t given;     /* as used.idx counts */
    uint16_t told;      /* given as of the last answer of virtqueue_interrupts */
    uint16_t published; /* avail_event as it was last written */
};

enum virtqueue_taken {
    QUEUE_EMPTY, /* the driver will notify of the next chain */
    QUEUE_CHAIN,
    QUEUE_BROKEN, /* the driver broke a rule: look no further before a reset */
};

/* As after a reset, of this capsule. */
void virtqueue_reset(struct virtqueue *queue, const struct capsule *capsule);
/* Makes it ready, from the beginning of its rings, if size, alignment and place of all of them are good. */
void virtqueue_enable(struct virtqueue *queue);

/* The next chain that the driver has made available; of a queue that is ready. At most VIRTQUEUE_SIZE_MAX descriptors
 * are read. *chain is undefined unless it is QUEUE_CHAIN. */
[[nodiscard]] enum virtqueue_taken virtqueue_take(struct virtqueue *queue, struct virtqueue_chain *chain);
/* How many chains the driver has made available that weren't taken; 0 for a queue that isn't ready. */
uint32_t virtqueue_waiting(struct virtqueue *queue);
/* Gives a chain back: so many of its writable bytes were written, from the first on. */
void virtqueue_give(struct virtqueue *queue, const struct virtqueue_chain *chain, uint32_t written);
/* The same for a chain of which only the head was kept. */
void virtqueue_give_head(struct virtqueue *queue, uint16_t head, uint32_t written);
/* The same for several, of which the driver sees all or none. */
void virtqueue_give_all(struct virtqueue *queue, const uint16_t *heads, const uint32_t *written, unsigned count);
/* As if the last so many chains had not been taken; none of them has been given back. */
void virtqueue_untake(struct virtqueue *queue, unsigned count);
/* Whether the driver wants an interrupt for what was given back since this was last asked. */
[[nodiscard]] bool virtqueue_interrupts(struct virtqueue *queue);

/* Copies length bytes, from offset on, out of a chain's readable part or into its writable part, all of which must be
 * there. The guest may change them meanwhile. What is read may overlap where it goes; it is garbage then. */
void virtqueue_read(const struct virtqueue *queue, const struct virtqueue_chain *chain, uint64_t offset, void *to,
                    size_t length);
void virtqueue_write(const struct virtqueue *queue, const struct virtqueue_chain *chain, uint64_t offset,
                     const void *from, size_t length);

/* Where length bytes, from offset on, of a chain's readable or writable part lie in the host, in order, each place at
 * most longest bytes: how many places, or 0 if they are more than most. */
[[nodiscard]] uint32_t virtqueue_places(const struct virtqueue *queue, const struct virtqueue_chain *chain,
                                        bool writable, uint64_t offset, uint64_t length, uint32_t longest,
                                        struct range *places, uint32_t most);
/* The last writable byte of a chain that has one. */
gpa_t virtqueue_last_byte(const struct virtqueue_chain *chain);

#endif
