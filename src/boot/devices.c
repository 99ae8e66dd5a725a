/* SPDX-License-Identifier: MIT
 *
 * The machine's devices that the hypervisor drives for capsules: found by the tree, started before capsules are made,
 * which may ask for them; their interrupts come when the hart that serves them is ready.
 */
#include "boot/boot.h"

#include "control/launch.h"
#include "core/log.h"
#include "driver/host_blk.h"
#include "driver/host_net.h"
#include "driver/host_plic.h"
#include "driver/host_rng.h"

static bool driven[MACHINE_VIRTIO_MAX];
static bool entropy;

static bool start_rng(const struct host_virtio *device)
{
    const bool started = host_rng_start(device, launch_seed);
    entropy |= started;
    return started;
}

static bool start(const struct machine_virtio *where)
{
    struct host_virtio device;
    if (where->path[0] == '\0' || !host_virtio_probe(&device, where)) {
        return false;
    }
    switch (device.id) {
    case VIRTIO_ID_BLOCK:
        return host_blk_start(&device);
    case VIRTIO_ID_NET:
        return host_net_start(&device);
    case VIRTIO_ID_RNG:
        return start_rng(&device);
    default:
        return false;
    }
}

bool boot_find_devices(void)
{
    for (size_t n = 0; n < boot_machine.virtio_count && boot_machine.plic.base != 0; n++) {
        driven[n] = start(&boot_machine.virtio[n]);
    }
    return entropy;
}

void boot_enable_devices(void)
{
    for (size_t n = 0; n < boot_machine.virtio_count; n++) {
        if (driven[n]) {
            host_plic_enable(boot_machine.virtio[n].interrupt);
        }
    }
}

void boot_serve_device(uint32_t source)
{
    host_blk_serve(source);
    host_net_serve(source);
    host_rng_serve(source);
}
