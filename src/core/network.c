/* SPDX-License-Identifier: MIT
 *
 * Switches: see network.h.
 */
#include "core/network.h"

#include <string.h>

static struct network networks[NETWORKS_MAX];
static unsigned network_count;

struct network *network_add(const char *name, uint32_t mtu)
{
    if (network_count == NETWORKS_MAX) {
        return NULL;
    }
    struct network *network = &networks[network_count++];
    memcpy(network->name, name, strnlen(name, NETWORK_NAME_MAX));
    network->mtu = mtu;
    return network;
}

struct network *network_find(const char *name)
{
    for (unsigned n = 0; n < network_count; n++) {
        if (strcmp(networks[n].name, name) == 0) {
            return &networks[n];
        }
    }
    return NULL;
}

static bool same(const uint8_t *a, const uint8_t *b)
{
    return memcmp(a, b, NETWORK_ADDRESS) == 0;
}

enum dx_error network_attach(struct network_port *port)
{
    struct network *network = port->network;
    enum dx_error error = DX_TOO_MANY;
    spinlock_take(&network->lock);
    for (unsigned n = NETWORK_PORTS_MAX; n > 0; n--) {
        const struct network_port *other = network->ports[n - 1];
        if (other == NULL && error != DX_DUPLICATE) {
            port->place = n - 1;
            error = DX_OK;
        } else if (other != NULL && same(other->address, port->address)) {
            error = DX_DUPLICATE;
        }
    }
    if (error == DX_OK) {
        network->ports[port->place] = port;
    }
    spinlock_release(&network->lock);
    return error;
}

void network_open(struct network_port *port)
{
    spinlock_take(&port->network->lock);
    port->open = true;
    spinlock_release(&port->network->lock);
}

void network_detach(struct network_port *port)
{
    struct network *network = port->network;
    spinlock_take(&network->lock);
    if (network->ports[port->place] == port) {
        network->ports[port->place] = NULL;
    }
    port->open = false;
    spinlock_release(&network->lock);
}

bool network_has(const struct network_port *sender, const uint8_t address[NETWORK_ADDRESS])
{
    struct network *network = sender->network;
    bool has = false;
    spinlock_take(&network->lock);
    for (unsigned n = 0; n < NETWORK_PORTS_MAX && !has; n++) {
        const struct network_port *port = network->ports[n];
        has = port != NULL && port != sender && same(port->address, address);
    }
    spinlock_release(&network->lock);
    return has;
}

/* Held: the network's lock is. */
static bool reaches(const struct network_port *sender, const struct network_port *port)
{
    return port != NULL && port->open && port != sender && !(port->isolated && sender->isolated);
}

static bool is_for(const struct network_port *port, const uint8_t to[NETWORK_ADDRESS])
{
    const bool to_group = (to[0] & 1) != 0; /* broadcast is one too */
    return to_group || same(port->address, to);
}

uint64_t network_targets(const struct network_port *sender, const uint8_t to[NETWORK_ADDRESS])
{
    struct network *network = sender->network;
    uint64_t targets = 0;
    uint64_t uplink = 0;
    spinlock_take(&network->lock);
    for (unsigned n = 0; n < NETWORK_PORTS_MAX; n++) {
        const struct network_port *port = network->ports[n];
        if (reaches(sender, port)) {
            uplink |= port->is_uplink ? UINT64_C(1) << n : 0;
            targets |= is_for(port, to) ? UINT64_C(1) << n : 0;
        }
    }
    spinlock_release(&network->lock);
    return targets == 0 ? uplink : targets;
}

struct network_port *network_target(const struct network_port *sender, const uint8_t to[NETWORK_ADDRESS],
                                    unsigned place)
{
    struct network *network = sender->network;
    spinlock_take(&network->lock);
    struct network_port *port = network->ports[place];
    if (!reaches(sender, port) || !(port->is_uplink || is_for(port, to))) {
        port = NULL;
    }
    spinlock_release(&network->lock);
    return port;
}

/* --- checksums --------------------------------------------------------------------------------------------------- */

/* The ones' complement sum over the rest of the frame, into which the sender has put that of the pseudo header. Two
 * bytes at a time, in whichever order this machine has them: the sum's bytes are in the same one. */
void network_sum(struct network_frame *frame)
{
    enum { BLOCK = 256 };
    uint16_t words[BLOCK / 2];
    uint64_t total = 0;
    if (!frame->needs_checksum || frame->summed) {
        return;
    }
    for (uint32_t at = frame->checksum_start; at < frame->length;) {
        const uint32_t part = MIN(frame->length - at, (uint32_t)BLOCK);
        words[part % BLOCK / 2] = 0; /* an odd last byte is the first of two */
        frame->read(frame, at, (uint8_t *)words, part);
        for (uint32_t n = 0; n < (part + 1) / 2; n++) {
            total += words[n];
        }
        at += part;
    }
    while (total >> 16 != 0) {
        total = (total & UINT16_MAX) + (total >> 16);
    }
    frame->checksum = (uint16_t)~total;
    frame->checksum = frame->checksum == 0 ? UINT16_MAX : frame->checksum; /* to UDP 0 is none */
    frame->summed = true;
}

void network_read_whole(const struct network_frame *frame, uint32_t offset, uint8_t *to, size_t length)
{
    const uint32_t field = (uint32_t)frame->checksum_start + frame->checksum_offset;
    frame->read(frame, offset, to, length);
    for (uint32_t n = 0; frame->needs_checksum && n < sizeof(frame->checksum); n++) {
        if (field + n >= offset && field + n - offset < length) {
            to[field + n - offset] = ((const uint8_t *)&frame->checksum)[n];
        }
    }
}
