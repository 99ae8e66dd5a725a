/* SPDX-License-Identifier: MIT
 *
 * Virtio disks of the machine (virtio 1.2, section 5.2). Requests are put together here: header and status are ours,
 * the payload is wherever the order says.
 */
#ifndef DRIVER_HOST_BLK_H
#define DRIVER_HOST_BLK_H

#include "core/disk.h"
#include "driver/host_virtio.h"

/* Sets the device up, asks it for its serial number and its GPT, waiting for the answers, and adds it to the disks.
 * False, with the reason in the log: it isn't used. At boot; no interrupts yet. */
bool host_blk_start(const struct host_virtio *device);
/* A PLIC source that disks may be wired to has an interrupt: takes their answers, at most a bounded number. The hart
 * that serves devices, no lock held. */
void host_blk_serve(uint32_t source);

#endif
