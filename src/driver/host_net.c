/* SPDX-License-Identifier: MIT
 *
 * Uplinks: see host_net.h. What a capsule sends is copied by the vCPU that notifies; what comes from outside by the
 * hart that serves devices, some frames at a time.
 */
#include "driver/host_net.h"

#include <string.h>

#include "core/hart.h"
#include "core/log.h"
#include "core/memory.h"

enum { RECEIVE = 0, TRANSMIT = 1 };
enum {
    NETS_MAX = 8,
    SLOTS = 64, /* frames each way */
    SLOT_SIZE = 2 * KIB,
    HEADER_MOST = 12, /* virtio's; 10 bytes to legacy devices without merged buffers */
    HEADER_LEGACY = 10,
    ETHERNET = 14,
    FRAME_MOST = NETWORK_MTU_USUAL + ETHERNET + 4, /* and a VLAN's tag */
    SERVE_MAX = 8,                                 /* frames before a rest */
    BUSY_MAX = 100,                                /* times that a receiver may be busy before the frame is dropped */
    CHAIN = 2,                                     /* buffers: virtio's header and the frame */
};

/* A frame that came from outside. */
struct came {
    struct network_frame frame;
    const uint8_t *bytes;
};
static_assert(offsetof(struct came, frame) == 0, "read_came");

struct host_net {
    struct host_virtio virtio;
    struct network_port port;
    uint8_t *memory; /* 2 * SLOTS slots: to receive into, to send from */
    size_t header;   /* bytes of virtio's */

    struct spinlock lock; /* guards the queue to send by, and: */
    struct host_queue send;
    uint8_t send_slot[HOST_QUEUE_MAX]; /* by a chain's head */
    uint8_t free_slots[SLOTS];         /* the first free_count */
    uint32_t free_count;

    /* The hart that serves devices alone touches these: */
    struct host_queue receive;
    uint8_t receive_slot[HOST_QUEUE_MAX];
    bool pending; /* came is on its way to targets */
    struct came came;
    uint64_t targets;
    uint8_t slot; /* where it lies */
    unsigned busy;
    struct host_pace pace; /* of frames that come */
    struct timer rest;     /* armed: no interrupts are wanted, frames are taken when it fires */
};

static struct host_net *nets[NETS_MAX];
static unsigned net_count;

/* --- out ---------------------------------------------------------------------------------------------------------- */

static struct host_buffer buffer_of(const void *place, size_t size, bool writable)
{
    return (struct host_buffer){{(uintptr_t)place, size}, writable};
}

/* Held: net->lock is. Slots whose frames the device has sent are free again. */
static void reclaim(struct host_net *net)
{
    uint16_t head;
    uint32_t written;
    while (host_queue_take(&net->send, &head, &written)) {
        net->free_slots[net->free_count++] = net->send_slot[head];
    }
}

/* Held. */
static void put(struct host_net *net, struct network_frame *frame)
{
    const uint8_t slot = net->free_slots[--net->free_count];
    uint8_t *place = net->memory + (size_t)(SLOTS + slot) * SLOT_SIZE;
    memset(place, 0, net->header);
    network_read_whole(frame, 0, place + HEADER_MOST, frame->length);
    const struct host_buffer buffers[CHAIN] = {buffer_of(place, net->header, false),
                                               buffer_of(place + HEADER_MOST, frame->length, false)};
    net->send_slot[host_queue_add(&net->send, buffers, CHAIN)] = slot;
    host_queue_publish(&net->send);
}

static enum network_result on_deliver(struct network_port *port, struct network_frame *frame)
{
    struct host_net *net = CONTAINER_OF(port, struct host_net, port);
    bool sent = false;
    network_sum(frame);
    spinlock_take(&net->lock);
    reclaim(net);
    if (frame->length <= FRAME_MOST && frame->gso_type == 0 && net->free_count > 0) {
        put(net, frame);
        sent = true;
    }
    port->counts.received += sent ? 1 : 0;
    port->counts.dropped += sent ? 0 : 1;
    spinlock_release(&net->lock);
    return sent ? NETWORK_DELIVERED : NETWORK_DROPPED;
}

/* --- in ----------------------------------------------------------------------------------------------------------- */

static void read_came(const struct network_frame *frame, uint32_t offset, uint8_t *to, size_t length)
{
    const struct came *came = (const struct came *)(const void *)frame;
    memcpy(to, came->bytes + offset, length);
}

static uint8_t *receive_place(const struct host_net *net, unsigned slot)
{
    return net->memory + (size_t)slot * SLOT_SIZE;
}

static void post(struct host_net *net, uint8_t slot)
{
    uint8_t *place = receive_place(net, slot);
    const struct host_buffer buffers[CHAIN] = {buffer_of(place, net->header, true),
                                               buffer_of(place + HEADER_MOST, SLOT_SIZE - HEADER_MOST, true)};
    net->receive_slot[host_queue_add(&net->receive, buffers, CHAIN)] = slot;
}

/* The next frame that has come is on its way, or to nobody; false: there is none. */
static bool next(struct host_net *net)
{
    uint16_t head;
    uint32_t written;
    if (!host_queue_take(&net->receive, &head, &written)) {
        return false;
    }
    net->slot = net->receive_slot[head];
    const uint8_t *bytes = receive_place(net, net->slot) + HEADER_MOST;
    const uint32_t length = written >= net->header ? written - (uint32_t)net->header : 0;
    net->pending = true;
    net->targets = 0;
    net->busy = 0;
    net->came = (struct came){.frame = {.read = read_came, .length = length}, .bytes = bytes};
    if (length < ETHERNET || length > FRAME_MOST) {
        net->port.counts.malformed++;
    } else if (network_has(&net->port, bytes + NETWORK_ADDRESS)) {
        net->port.counts.spoofed++; /* a capsule's address, from outside */
    } else {
        net->port.counts.sent++;
        net->targets = network_targets(&net->port, bytes);
    }
    return true;
}

/* To the next port; false: that is busy, and not for too long yet. */
static bool deliver_next(struct host_net *net)
{
    struct network_port *port = network_target(&net->port, net->came.bytes, (unsigned)__builtin_ctzll(net->targets));
    const bool busy = port != NULL && port->deliver(port, &net->came.frame) == NETWORK_BUSY;
    if (busy && net->busy++ < BUSY_MAX) {
        return false;
    }
    net->busy = 0;
    net->targets &= net->targets - 1;
    return true;
}

/* True: there may be more, for a moment later. */
static bool receive(struct host_net *net)
{
    bool posted = false;
    bool more = true;
    for (; more && net->pace.left > 0; net->pace.left--) {
        if (!net->pending && !next(net)) {
            more = false;
        } else if (net->targets != 0 && !deliver_next(net)) {
            break;
        } else if (net->targets == 0) {
            net->pending = false;
            post(net, net->slot);
            posted = true;
        }
    }
    if (posted) {
        host_queue_publish(&net->receive);
    }
    return more;
}

static void serve(struct host_net *net);

static void rested(struct timer *timer)
{
    struct host_net *net = CONTAINER_OF(timer, struct host_net, rest);
    host_queue_quiet(&net->receive, false);
    serve(net);
}

/* What is left is taken after a rest, in which the device doesn't interrupt. */
static void serve(struct host_net *net)
{
    host_pace_begin(&net->pace, SERVE_MAX);
    const bool more = receive(net);
    host_pace_end(&net->pace);
    if (more) {
        host_queue_quiet(&net->receive, true);
        net->rest.fire = rested;
        timer_arm(&hart_this()->timers, &net->rest, net->pace.until);
    }
}

void host_net_serve(uint32_t source)
{
    for (unsigned n = 0; n < net_count; n++) {
        if (nets[n]->virtio.where->interrupt == source && nets[n]->port.network != NULL) {
            host_virtio_acknowledge(&nets[n]->virtio);
            if (!timer_is_armed(&nets[n]->rest)) {
                serve(nets[n]);
            }
        }
    }
}

/* --- boot --------------------------------------------------------------------------------------------------------- */

static bool start(struct host_net *net)
{
    if (!host_virtio_begin(&net->virtio, VIRTIO_NET_F_MAC | VIRTIO_NET_F_MRG_RXBUF) ||
        !host_queue_begin(&net->receive, &net->virtio, RECEIVE) ||
        !host_queue_begin(&net->send, &net->virtio, TRANSMIT)) {
        return false;
    }
    const bool longer =
        host_virtio_has(&net->virtio, VIRTIO_NET_F_MRG_RXBUF) || host_virtio_has(&net->virtio, VIRTIO_F_VERSION_1);
    net->header = longer ? HEADER_MOST : HEADER_LEGACY;
    net->memory = memory_alloc((size_t)2 * SLOTS * SLOT_SIZE);
    if (net->memory == NULL || net->receive.size < CHAIN * SLOTS || net->send.size < CHAIN * SLOTS) {
        return false;
    }
    for (unsigned n = 0; n < SLOTS; n++) {
        net->free_slots[net->free_count++] = (uint8_t)n;
    }
    host_queue_quiet(&net->send, true);
    for (unsigned n = 0; n < NETWORK_ADDRESS && host_virtio_has(&net->virtio, VIRTIO_NET_F_MAC); n++) {
        net->port.address[n] = host_virtio_config8(&net->virtio, n);
    }
    return true;
}

bool host_net_start(const struct host_virtio *device)
{
    struct host_net *net = memory_alloc(sizeof(*net));
    if (net == NULL) {
        log_alert("Network device %s is not used: no memory", device->where->path);
        return false;
    }
    net->virtio = *device;
    if (net_count == NETS_MAX || device->where->interrupt == 0 || !start(net)) {
        log_alert("Network device %s is not used: it has no interrupt, or does not do what a virtio device does",
                  device->where->path);
        (void)host_virtio_reset(&net->virtio);
        return false;
    }
    nets[net_count++] = net;
    log_info("Network device %s", device->where->path);
    return true;
}

struct host_net *host_net_find(const char *path)
{
    for (unsigned n = 0; n < net_count; n++) {
        if (nets[n]->port.network == NULL && strcmp(nets[n]->virtio.where->path, path) == 0) {
            return nets[n];
        }
    }
    return NULL;
}

enum dx_error host_net_join(struct host_net *net, struct network *network, struct refusal *refusal)
{
    if (network->mtu > NETWORK_MTU_USUAL) {
        return refuse(refusal, DX_BAD_VALUE, "network %s: mtu: must be at most %d with an uplink", network->name,
                      NETWORK_MTU_USUAL);
    }
    net->port.network = network;
    net->port.is_uplink = true;
    net->port.deliver = on_deliver;
    network->has_uplink = true;
    enum dx_error error = network_attach(&net->port);
    assert(error == DX_OK); /* it is the first */
    network_open(&net->port);
    for (unsigned n = 0; n < SLOTS; n++) {
        post(net, (uint8_t)n);
    }
    host_virtio_go(&net->virtio);
    host_queue_publish(&net->receive);
    return error;
}
