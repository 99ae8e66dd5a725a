/* SPDX-License-Identifier: MIT
 *
 * Frames from one capsule to others: see virtio_net.h.
 */
#include "device/virtio_net.h"

#include <string.h>

#include "core/hart.h"

#define FEATURES                                                                                                       \
    (VIRTIO_NET_F_CSUM | VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_MTU | VIRTIO_NET_F_MAC | VIRTIO_NET_F_GUEST_TSO4 |     \
     VIRTIO_NET_F_GUEST_TSO6 | VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6 | VIRTIO_NET_F_MRG_RXBUF |              \
     VIRTIO_NET_F_STATUS)

enum { RECEIVE = 0, TRANSMIT = 1, QUEUES = 2 };
enum { NEEDS_CHECKSUM = 1 };
enum { GSO_NONE = 0, GSO_TCP4 = 1, GSO_TCP6 = 4 };
enum { VLAN_TAG = 4, LINK_UP = 1 };
/* What a trap may cost: so many bytes moved, where each delivery counts as some more, and so does each segment of the
 * sender's, which is looked at for each of the receiver's. */
enum { STEP_BYTES = 64 * KIB, DELIVERY_COST = 4 * KIB, SEGMENT_COST = 512 };
/* By the timer, in time that nobody is charged for: less, and not too often. */
enum { LATER_BYTES = 8 * KIB };

static struct virtio_net *net_of(struct virtio_device *virtio)
{
    return CONTAINER_OF(virtio, struct virtio_net, virtio);
}

/* --- what is sent ------------------------------------------------------------------------------------------------ */

static_assert(offsetof(struct virtio_net_frame, frame) == 0, "read_sent");

/* The Ethernet header is our copy, the rest the sender's. */
static void read_sent(const struct network_frame *frame, uint32_t offset, uint8_t *to, size_t length)
{
    const struct virtio_net_frame *sent = (const struct virtio_net_frame *)(const void *)frame;
    if (offset < VIRTIO_NET_ETHERNET) {
        const size_t part = MIN(length, (size_t)VIRTIO_NET_ETHERNET - offset);
        memcpy(to, sent->ethernet + offset, part);
        to += part;
        offset += (uint32_t)part;
        length -= part;
    }
    if (length > 0) {
        virtqueue_read(sent->queue, sent->chain, VIRTIO_NET_HEADER + (uint64_t)offset, to, length);
    }
}

/* The checksum lies in the frame, behind its Ethernet header, and is not part of what comes before it. */
static bool checksum_good(const struct network_frame *frame)
{
    const uint32_t start = frame->checksum_start;
    const uint32_t field = start + frame->checksum_offset;
    return start >= VIRTIO_NET_ETHERNET && field + sizeof(uint16_t) <= frame->length;
}

static bool gso_good(const struct virtio_net *net, const struct network_frame *frame)
{
    const uint64_t feature = frame->gso_type == GSO_TCP4 ? VIRTIO_NET_F_HOST_TSO4 : VIRTIO_NET_F_HOST_TSO6;
    return (frame->gso_type == GSO_TCP4 || frame->gso_type == GSO_TCP6) && virtio_device_has(&net->virtio, feature) &&
           frame->needs_checksum && frame->gso_size != 0 && frame->header_length <= frame->length;
}

/* Whether this is a frame that its driver may send. */
static bool judge(const struct virtio_net *net, struct virtio_net_frame *sent)
{
    struct network_frame *frame = &sent->frame;
    const struct virtio_net_header *header = &sent->header;
    const uint32_t most = net->port.network->mtu + VIRTIO_NET_ETHERNET + VLAN_TAG;
    frame->needs_checksum = (header->flags & NEEDS_CHECKSUM) != 0;
    frame->checksum_start = header->checksum_start;
    frame->checksum_offset = header->checksum_offset;
    frame->gso_type = header->gso_type;
    if (frame->needs_checksum && (!virtio_device_has(&net->virtio, VIRTIO_NET_F_CSUM) || !checksum_good(frame))) {
        return false;
    }
    if (frame->gso_type == GSO_NONE) {
        return frame->length <= most;
    }
    frame->gso_size = header->gso_size;
    frame->header_length = header->header_length;
    return gso_good(net, frame);
}

/* The next chain becomes the frame that is being sent; false: it has no room for headers, or parts to write to. */
static bool begin(struct virtio_net *net)
{
    struct virtio_net_frame *sent = &net->frame;
    const uint64_t length = net->chain.readable;
    if (length < VIRTIO_NET_HEADER + VIRTIO_NET_ETHERNET || net->chain.writable != 0) {
        return false;
    }
    *sent = (struct virtio_net_frame){
        .frame = {.read = read_sent},
        .queue = &net->virtio.queues[TRANSMIT],
        .chain = &net->chain,
    };
    net->busy = true;
    net->targets = 0;
    if (length > VIRTIO_NET_HEADER + VIRTIO_NET_FRAME_MOST) {
        net->port.counts.malformed++;
        return true;
    }
    sent->frame.length = (uint32_t)(length - VIRTIO_NET_HEADER);
    virtqueue_read(sent->queue, sent->chain, 0, &sent->header, sizeof(sent->header));
    virtqueue_read(sent->queue, sent->chain, VIRTIO_NET_HEADER, sent->ethernet, sizeof(sent->ethernet));
    if (memcmp(sent->ethernet + NETWORK_ADDRESS, net->port.address, NETWORK_ADDRESS) != 0) {
        net->port.counts.spoofed++;
    } else if (!judge(net, sent)) {
        net->port.counts.malformed++;
    } else {
        net->port.counts.sent++;
        net->targets = network_targets(&net->port, sent->ethernet);
    }
    return true;
}

/* --- what is received: held: the receiver's device is locked ----------------------------------------------------- */

/* A frame as one receiver gets it. */
struct reception {
    const struct network_frame *frame;
    struct virtio_net_header header;
    bool whole;     /* its checksum is to be put in */
    uint32_t total; /* header and frame */
    uint32_t done;
    unsigned segments; /* of the buffers below */
    unsigned count;
    gpa_t count_at[2]; /* where the first buffer has the field that counts them */
    uint16_t heads[VIRTIO_NET_BUFFERS_MAX];
    uint32_t lengths[VIRTIO_NET_BUFFERS_MAX];
};

/* So many bytes of header and frame, from where it is, to a place in the receiver's RAM. */
static void copy_to(struct reception *reception, uint8_t *place, uint32_t length)
{
    uint32_t at = reception->done;
    reception->done += length;
    if (at < VIRTIO_NET_HEADER) {
        const uint32_t part = MIN(length, VIRTIO_NET_HEADER - at);
        memcpy(place, (const uint8_t *)&reception->header + at, part);
        place += part;
        at += part;
        length -= part;
    }
    if (length > 0) {
        const struct network_frame *frame = reception->frame;
        (reception->whole ? network_read_whole : frame->read)(frame, at - VIRTIO_NET_HEADER, place, length);
    }
}

/* Held. Fills one buffer of the driver's. */
static uint32_t fill(struct virtio_net *net, struct reception *reception)
{
    const uint32_t before = reception->done;
    for (unsigned n = 0; n < net->buffer.count && reception->done < reception->total; n++) {
        const struct virtqueue_segment *segment = &net->buffer.segments[n];
        for (uint32_t at = 0; at < segment->length && reception->done < reception->total;) {
            uint64_t part = MIN(segment->length - at, reception->total - reception->done);
            uint8_t *place = capsule_ram_part(net->virtio.capsule, (gpa_t){segment->address.at + at}, &part);
            assert(place != NULL);
            copy_to(reception, place, (uint32_t)part);
            at += (uint32_t)part;
        }
    }
    return reception->done - before;
}

/* Where a byte of a buffer lies. */
static gpa_t place_of(const struct virtqueue_chain *buffer, uint32_t offset)
{
    const struct virtqueue_segment *segment = buffer->segments;
    while (offset >= segment->length) {
        offset -= segment->length;
        segment++;
    }
    return (gpa_t){segment->address.at + offset};
}

/* Held. Takes buffers and fills them until all is there; false: they don't suffice, or the driver broke a rule. */
static bool fill_all(struct virtio_net *net, struct reception *reception)
{
    struct virtqueue *queue = &net->virtio.queues[RECEIVE];
    const unsigned most = virtio_device_has(&net->virtio, VIRTIO_NET_F_MRG_RXBUF) ? VIRTIO_NET_BUFFERS_MAX : 1;
    /* the sender pays for this: a receiver can't make it long by buffers in many pieces */
    while (reception->done < reception->total && reception->count < most &&
           reception->segments < VIRTIO_NET_SEGMENTS_MAX) {
        const enum virtqueue_taken taken = virtqueue_take(queue, &net->buffer);
        if (taken == QUEUE_EMPTY) {
            return false;
        }
        if (taken == QUEUE_BROKEN || net->buffer.readable != 0 || net->buffer.writable < VIRTIO_NET_HEADER) {
            virtio_device_break(&net->virtio);
            return false;
        }
        for (unsigned n = 0; reception->count == 0 && n < sizeof(uint16_t); n++) {
            reception->count_at[n] = place_of(&net->buffer, (uint32_t)offsetof(struct virtio_net_header, buffers) + n);
        }
        reception->segments += net->buffer.count;
        reception->heads[reception->count] = net->buffer.head;
        reception->lengths[reception->count++] = fill(net, reception);
    }
    return reception->done == reception->total;
}

/* Held. The first buffer's header says how many there are, which is only known now. */
static void tell_count(const struct virtio_net *net, const struct reception *reception)
{
    for (unsigned n = 0; n < sizeof(uint16_t); n++) {
        uint8_t *place = capsule_ram(net->virtio.capsule, reception->count_at[n], 1);
        assert(place != NULL);
        *place = (uint8_t)(reception->count >> (8 * n));
    }
}

/* Held. Whether the driver has agreed to take such a frame. */
static bool takes(const struct virtio_net *net, const struct network_frame *frame)
{
    if (!virtio_device_works(&net->virtio, RECEIVE)) {
        return false;
    }
    if (frame->gso_type == GSO_NONE) {
        return true;
    }
    const uint64_t feature = frame->gso_type == GSO_TCP4 ? VIRTIO_NET_F_GUEST_TSO4 : VIRTIO_NET_F_GUEST_TSO6;
    return virtio_device_has(&net->virtio, feature | VIRTIO_NET_F_GUEST_CSUM);
}

/* What the receiver has to know of what is left undone. */
static void describe(struct virtio_net_header *header, const struct network_frame *frame)
{
    header->flags = frame->needs_checksum ? NEEDS_CHECKSUM : 0;
    header->checksum_start = frame->needs_checksum ? frame->checksum_start : 0;
    header->checksum_offset = frame->needs_checksum ? frame->checksum_offset : 0;
    header->gso_type = frame->gso_type;
    header->gso_size = frame->gso_size;
    header->header_length = frame->header_length;
}

/* Held. */
static bool receive(struct virtio_net *net, struct network_frame *frame)
{
    struct virtqueue *queue = &net->virtio.queues[RECEIVE];
    struct reception reception = {.frame = frame, .total = VIRTIO_NET_HEADER + frame->length};
    if (!takes(net, frame)) {
        return false;
    }
    reception.header.buffers = 1;
    reception.whole = frame->needs_checksum && !virtio_device_has(&net->virtio, VIRTIO_NET_F_GUEST_CSUM);
    if (reception.whole) {
        network_sum(frame);
    } else {
        describe(&reception.header, frame);
    }
    if (!fill_all(net, &reception)) {
        if (virtio_device_works(&net->virtio, RECEIVE)) {
            virtqueue_untake(queue, reception.count);
        }
        return false;
    }
    tell_count(net, &reception);
    virtqueue_give_all(queue, reception.heads, reception.lengths, reception.count);
    virtio_device_interrupt(&net->virtio);
    return true;
}

static enum network_result on_deliver(struct network_port *port, struct network_frame *frame)
{
    struct virtio_net *net = CONTAINER_OF(port, struct virtio_net, port);
    if (!spinlock_try(&net->virtio.device.lock)) {
        return NETWORK_BUSY;
    }
    const bool received = receive(net, frame);
    port->counts.received += received ? 1 : 0;
    port->counts.dropped += received ? 0 : 1;
    spinlock_release(&net->virtio.device.lock);
    return received ? NETWORK_DELIVERED : NETWORK_DROPPED;
}

/* --- the device -------------------------------------------------------------------------------------------------- */

/* To the next port that has not had it; false: that is busy. */
static bool deliver_next(struct virtio_net *net)
{
    const unsigned place = (unsigned)__builtin_ctzll(net->targets);
    struct network_port *port = network_target(&net->port, net->frame.ethernet, place);
    if (port != NULL && port->deliver(port, &net->frame.frame) == NETWORK_BUSY) {
        return false;
    }
    net->targets &= net->targets - 1;
    return true;
}

static void go_on_later(struct timer *timer);

/* So many ticks from now, or a moment, the device goes on. */
static void wait_for(struct virtio_net *net, uint64_t ticks)
{
    if (!timer_is_armed(&net->later)) {
        net->later.fire = go_on_later;
        timer_arm(&hart_this()->timers, &net->later, clock_now() + MAX(ticks, clock_rest()));
    }
}

/* Whether the next frame must wait for the device's rate. */
static bool is_paced(struct virtio_net *net)
{
    const uint64_t wait = rate_is_limited(&net->rate) ? rate_wait(&net->rate, clock_now(), clock_hz) : 0;
    if (wait != 0) {
        wait_for(net, wait);
    }
    return wait != 0;
}

/* The next frame is that which is being sent; false: there is none for now, or the driver broke a rule. */
static bool next(struct virtio_net *net)
{
    if (is_paced(net)) {
        return false;
    }
    const enum virtqueue_taken taken = virtqueue_take(&net->virtio.queues[TRANSMIT], &net->chain);
    if (taken == QUEUE_EMPTY) {
        return false;
    }
    if (taken == QUEUE_BROKEN || !begin(net)) {
        virtio_device_break(&net->virtio);
        return false;
    }
    if (rate_is_limited(&net->rate)) {
        rate_use(&net->rate, net->frame.frame.length, clock_now(), clock_hz);
    }
    return true;
}

/* Sends so much, or a frame more; true: there may be more. */
static bool send(struct virtio_net *net, uint32_t left)
{
    while (left > 0) {
        if (!net->busy && !next(net)) {
            return false;
        }
        if (net->targets != 0 && !deliver_next(net)) {
            return true;
        }
        if (net->targets == 0) {
            virtqueue_give(&net->virtio.queues[TRANSMIT], &net->chain, 0);
            net->busy = false;
        }
        left -= MIN(left, net->frame.frame.length + DELIVERY_COST + net->chain.count * SEGMENT_COST);
    }
    return true;
}

/* Buffers to receive into need no work: who has something to deliver looks for them. */
static bool net_work(struct virtio_device *virtio, struct virtqueue *queue)
{
    return queue == &virtio->queues[TRANSMIT] && send(net_of(virtio), STEP_BYTES);
}

static void go_on_later(struct timer *timer)
{
    struct virtio_net *net = CONTAINER_OF(timer, struct virtio_net, later);
    spinlock_take(&net->virtio.device.lock);
    if (virtio_device_works(&net->virtio, TRANSMIT)) {
        if (send(net, LATER_BYTES) && virtio_device_works(&net->virtio, TRANSMIT)) {
            wait_for(net, 0);
        }
        virtio_device_interrupt(&net->virtio);
    }
    spinlock_release(&net->virtio.device.lock);
}

/* A rate that was used up stays so: a reset is no way around it. */
static void net_reset(struct virtio_device *virtio)
{
    net_of(virtio)->busy = false;
    timer_cancel(&net_of(virtio)->later);
}

static const struct virtio_device_ops net_ops = {
    .name = "virtio_net",
    .id = VIRTIO_ID_NET,
    .queue_count = QUEUES,
    .work = net_work,
    .reset = net_reset,
};

void virtio_net_init(struct virtio_net *net, gpa_t base, const struct capsule *capsule, struct irq_line irq,
                     const struct network_port *port)
{
    const uint16_t mtu = (uint16_t)port->network->mtu;
    memset(net, 0, sizeof(*net));
    const uint64_t large =
        port->network->has_uplink ? VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6 : 0; /* nobody cuts frames for it */
    virtio_device_init(&net->virtio, &net_ops, net->queues, base, capsule, irq, FEATURES & ~large);
    net->port = *port;
    net->port.deliver = on_deliver;
    memcpy(net->config, port->address, NETWORK_ADDRESS);
    net->config[6] = LINK_UP;
    net->config[8] = 1; /* max_virtqueue_pairs */
    memcpy(net->config + 10, &mtu, sizeof(mtu));
    net->virtio.config = net->config;
    net->virtio.config_size = sizeof(net->config);
}
