/* SPDX-License-Identifier: MIT
 *
 * Networks: switches between ports, each of which is a capsule's virtio network device. Every port has one address,
 * which is pinned: no other may send from it. So a switch needs to learn nothing: it knows who is where.
 *
 * A network lives as long as the hypervisor; ports come and go with their capsules. Locks: a device's, then a
 * network's. A port is delivered to with no network's lock held, by a pointer that was found a moment ago: as for all
 * that belongs to a capsule, its memory stays until every hart has passed after it was taken out (core/reaper.h). What
 * never was open nobody found: a capsule that can't be made in whole is given back at once.
 */
#ifndef CORE_NETWORK_H
#define CORE_NETWORK_H

#include "core/refusal.h"
#include "lib/spinlock.h"

enum {
    NETWORKS_MAX = 32,
    NETWORK_PORTS_MAX = 64,
    NETWORK_NAME_MAX = 31,
    NETWORK_ADDRESS = 6, /* bytes */
    NETWORK_MTU_LEAST = 68,
    NETWORK_MTU_USUAL = 1500,
    NETWORK_MTU_MOST = 9000,
};

/* What became of a frame at one port. */
enum network_result {
    NETWORK_DELIVERED,
    NETWORK_DROPPED, /* it has no buffers, or can't take such a frame */
    NETWORK_BUSY,    /* somebody else works on that port at this moment: try again, with all locks released before */
};

/* A frame on its way, as whoever sends it has it. */
struct network_frame {
    /* Bytes of the frame, from an offset on, all of which are there. Headers that were judged come from a copy. */
    void (*read)(const struct network_frame *frame, uint32_t offset, uint8_t *to, size_t length);
    uint32_t length; /* its Ethernet header included */
    /* What is left undone, as virtio has it (virtio 1.2, 5.1.6): */
    bool needs_checksum; /* over all from start on, into what lies at start + offset */
    uint16_t checksum_start, checksum_offset;
    uint8_t gso_type; /* 0: it need not be cut */
    uint16_t gso_size, header_length;
    /* The checksum for who wants it whole, once network_sum has been called. */
    bool summed;
    uint16_t checksum;
};

struct network;

struct network_port {
    struct network *network;
    uint8_t address[NETWORK_ADDRESS];
    bool isolated;  /* reaches no other port that is */
    bool is_uplink; /* whatever is for nobody here is for it; one at most */
    /* Takes a frame. Any hart; the sender's device is locked. */
    enum network_result (*deliver)(struct network_port *port, struct network_frame *frame);
    /* Counts; by whoever sends or delivers, with its device's lock. */
    struct network_counts {
        uint64_t sent, received; /* frames */
        uint64_t spoofed;        /* not sent: from an address that is not the port's */
        uint64_t malformed;      /* not sent: too long, too short, or a header that can't be */
        uint64_t dropped;        /* not received: no buffers, or more than the driver has agreed to take */
    } counts;
    unsigned place; /* in network->ports */
    bool open;      /* frames are delivered to it; the network's lock guards this */
};

struct network {
    char name[NETWORK_NAME_MAX + 1];
    bool has_uplink; /* constant, set before ports are attached */
    uint32_t mtu;    /* bytes of payload behind the Ethernet header */
    struct spinlock lock;
    struct network_port *ports[NETWORK_PORTS_MAX]; /* NULL: none; lock guards them */
};

/* At boot. NULL: there are too many. */
struct network *network_add(const char *name, uint32_t mtu);
struct network *network_find(const char *name);

/* Has the place and the address kept for it. Port's network, address, isolated and deliver are set. DX_TOO_MANY;
 * DX_DUPLICATE: another one has the address. */
[[nodiscard]] enum dx_error network_attach(struct network_port *port);
/* It is attached: from now on frames are delivered to it. */
void network_open(struct network_port *port);
void network_detach(struct network_port *port);

/* Whom a frame to this address is for: bit n for the port at place n. Never for the sender. */
uint64_t network_targets(const struct network_port *sender, const uint8_t to[NETWORK_ADDRESS]);
/* The port at one of these places, or NULL if such a frame isn't for it any more: since it was asked whom it is for,
 * which may be long ago, somebody else may have come to that place. */
struct network_port *network_target(const struct network_port *sender, const uint8_t to[NETWORK_ADDRESS],
                                    unsigned place);
/* Whether some port of it, but that one, has this address. */
bool network_has(const struct network_port *sender, const uint8_t address[NETWORK_ADDRESS]);

/* Reads the frame with its checksum put in; network_sum first, if it needs one. */
void network_sum(struct network_frame *frame);
void network_read_whole(const struct network_frame *frame, uint32_t offset, uint8_t *to, size_t length);

#endif
