/* SPDX-License-Identifier: MIT
 *
 * The capsule's power switch: QEMU virt's test device with its syscon-poweroff and syscon-reboot nodes.
 */
#ifndef DEVICE_SYSCON_H
#define DEVICE_SYSCON_H

#include "core/device.h"

enum { SYSCON_WINDOW_SIZE = 0x1000 };

struct syscon {
    struct device device;
    void (*request)(void *arg, bool reboot);
    void *arg;
};

/* request is called with the device's lock held when the guest asks to be powered off or rebooted; it may be called
 * again before the vCPU has left the guest. */
void syscon_init(struct syscon *syscon, gpa_t base, void (*request)(void *arg, bool reboot), void *arg);

#endif
