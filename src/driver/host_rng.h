/* SPDX-License-Identifier: MIT
 *
 * Virtio entropy devices of the machine (virtio 1.2, section 5.4): what they give is mixed into a generator, at boot
 * and a minute after each time, so that what was once learnt of its state is soon worth nothing.
 */
#ifndef DRIVER_HOST_RNG_H
#define DRIVER_HOST_RNG_H

#include "driver/host_virtio.h"

enum { HOST_RNG_BYTES = 64, HOST_RNG_AGAIN = 60 /* seconds */ };

/* Sets the device up and waits for its first answer. False, with the reason in the log: it isn't used, and nothing was
 * mixed. At boot; no interrupts yet. mix: any hart, no lock held; the bytes are cleared after it. */
bool host_rng_start(const struct host_virtio *device, void (*mix)(const uint8_t *bytes, size_t length));
/* A PLIC source that one may be wired to has an interrupt. The hart that serves devices, no lock held. */
void host_rng_serve(uint32_t source);

#endif
