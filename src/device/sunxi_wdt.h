/* SPDX-License-Identifier: MIT
 *
 * The capsule's watchdog, in the form of Allwinner's sun6i-a31, which Linux's sunxi_wdt drives. It counts real time,
 * whether the guest gets to run or not.
 */
#ifndef DEVICE_SUNXI_WDT_H
#define DEVICE_SUNXI_WDT_H

#include "core/device.h"

enum { SUNXI_WDT_WINDOW_SIZE = 0x1000 };

struct sunxi_wdt {
    struct device device;

    /* Set these after init; they are called with the device's lock held, unless it says otherwise. */
    /* Asks for sunxi_wdt_fire at this tick of the host's time, instead of what was asked for before; TIMER_NEVER takes
     * the request back. */
    void (*arm)(struct sunxi_wdt *wdt, uint64_t deadline);
    /* Whether the guest could not have fed it, however much it wished: then it gets the whole period once more. */
    bool (*held)(struct sunxi_wdt *wdt);
    /* The guest did not feed it for so long. Called by sunxi_wdt_fire, with no lock held. */
    void (*expired)(struct sunxi_wdt *wdt, uint32_t milliseconds);

    uint32_t initial_ms; /* it runs from the reset on, with this period; 0: when the guest starts it */

    /* device.lock guards these: */
    uint32_t config;
    uint32_t mode;
    uint32_t period_ms; /* 0: it doesn't run */
    uint64_t due;       /* in ticks; while it runs */
};

/* initial_seconds is at most CAPSULE_WATCHDOG_MAX. */
void sunxi_wdt_init(struct sunxi_wdt *wdt, gpa_t base, uint32_t initial_seconds);

/* The time that was asked for with arm has come. Any hart, the device's lock not held; a fire that comes too early or
 * after the request was taken back does no harm. */
void sunxi_wdt_fire(struct sunxi_wdt *wdt);

/* If it runs, it gets the whole period from now on, as if the guest had fed it. Likewise. */
void sunxi_wdt_feed(struct sunxi_wdt *wdt);

/* It is off until the next reset; no vCPU of the capsule may be running. Likewise. */
void sunxi_wdt_silence(struct sunxi_wdt *wdt);

#endif
