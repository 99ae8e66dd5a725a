/* SPDX-License-Identifier: MIT
 *
 * A virtio network device (virtio 1.2, section 5.1): a port of a network. What its driver sends is copied once, from
 * its buffers into those of the receiver, by the vCPU that notifies; the headers that are judged are copied before.
 *
 * Checksums may be left to the receiver, and segmentation too, where both sides have agreed to it; between capsules
 * nobody does either, then. A receiver that wants whole checksums gets them; one that takes no large frames gets none.
 *
 * Locks: the sender's device's is held when the receiver's is wanted, and the other way round at the same time. So the
 * second is only tried (spinlock_try), and who fails lets his own go and traps once more: nobody waits with a lock
 * held.
 *
 * Who has sent as much as its rate allows leaves the rest in its ring; a timer makes the device go on, by a step of its
 * own, since the driver won't notify of what it has notified of already.
 */
#ifndef DEVICE_VIRTIO_NET_H
#define DEVICE_VIRTIO_NET_H

#include "core/network.h"
#include "core/rate.h"
#include "core/timer.h"
#include "device/virtio_mmio.h"

enum {
    VIRTIO_NET_HEADER = 12,   /* virtio's, before each frame */
    VIRTIO_NET_ETHERNET = 14, /* addresses and type */
    VIRTIO_NET_FRAME_MOST = 65550,
    VIRTIO_NET_BUFFERS_MAX = 64, /* of one frame; likewise the next */
    VIRTIO_NET_SEGMENTS_MAX = VIRTQUEUE_SIZE_MAX,
};

/* As virtio has it in memory. */
struct virtio_net_header {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t header_length;
    uint16_t gso_size;
    uint16_t checksum_start;
    uint16_t checksum_offset;
    uint16_t buffers;
};
static_assert(sizeof(struct virtio_net_header) == VIRTIO_NET_HEADER, "as virtio has it in memory");

/* A frame that a driver sends: our copies of its headers, and where the rest is. */
struct virtio_net_frame {
    struct network_frame frame;
    const struct virtqueue *queue;
    const struct virtqueue_chain *chain;
    struct virtio_net_header header;
    uint8_t ethernet[VIRTIO_NET_ETHERNET];
};

struct virtio_net {
    struct virtio_device virtio;
    struct virtqueue queues[2];
    struct network_port port;
    uint8_t config[12];

    /* The device's lock guards these. The frame that is being sent: */
    bool busy;
    uint64_t targets;   /* ports that have not had it yet */
    struct rate rate;   /* of what is sent; outlives resets. rate.limit is set before a guest runs */
    struct timer later; /* armed while its next frame waits for that */
    struct virtio_net_frame frame;
    struct virtqueue_chain chain;
    struct virtqueue_chain buffer; /* of a frame that is being received */
};

/* port.network, address and isolated are those of port; the caller attaches net->port, and opens it. */
void virtio_net_init(struct virtio_net *net, gpa_t base, const struct capsule *capsule, struct irq_line irq,
                     const struct network_port *port);

#endif
