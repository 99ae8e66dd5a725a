/* SPDX-License-Identifier: MIT
 *
 * Virtio network devices of the machine (virtio 1.2, section 5.1), each the uplink of one network at most. Frames are
 * copied into and out of buffers of the hypervisor's, so that no device ever reaches a capsule's memory.
 */
#ifndef DRIVER_HOST_NET_H
#define DRIVER_HOST_NET_H

#include "core/network.h"
#include "driver/host_virtio.h"

struct host_net;

/* Sets the device up. False, with the reason in the log: it isn't used. At boot. */
bool host_net_start(const struct host_virtio *device);
/* One at that path in the machine's tree that is nobody's uplink yet, or NULL. */
struct host_net *host_net_find(const char *path);
/* Makes it the uplink of a network, before that has other ports; frames flow from now on. */
[[nodiscard]] enum dx_error host_net_join(struct host_net *net, struct network *network, struct refusal *refusal);
/* A PLIC source that one may be wired to has an interrupt: delivers what has come, at most a bounded number of frames.
 * The hart that serves devices, no lock held. */
void host_net_serve(uint32_t source);

#endif
