/* SPDX-License-Identifier: MIT
 *
 * The capsule's clock of the day: a Goldfish RTC. A guest that sets it moves its own capsule's clock only.
 */
#ifndef DEVICE_GOLDFISH_RTC_H
#define DEVICE_GOLDFISH_RTC_H

#include "core/device.h"

enum { GOLDFISH_RTC_WINDOW_SIZE = 0x1000 };
#define GOLDFISH_RTC_NEVER UINT64_MAX

struct goldfish_rtc {
    struct device device;
    struct irq_line irq;
    uint64_t (*now_ns)(void); /* the host's time of the day: nanoseconds since 1970 */

    /* Asks for goldfish_rtc_fire at when_ns of the host's time of the day, instead of what was asked for before;
     * GOLDFISH_RTC_NEVER takes the request back. Called with the device's lock held. NULL: alarms that are in the
     * future when they are set never ring. Set it after init. */
    void (*arm)(struct goldfish_rtc *rtc, uint64_t when_ns);

    /* device.lock guards these: */
    uint64_t offset;       /* what the guest added to the host's time, modulo 2^64; survives a reset */
    uint32_t latched_high; /* of the time that TIME_LOW was last read from */
    uint64_t alarm;        /* in the guest's time */
    bool alarm_set;
    bool irq_pending;
    bool irq_enabled;
};

void goldfish_rtc_init(struct goldfish_rtc *rtc, gpa_t base, struct irq_line irq, uint64_t (*now_ns)(void));

/* The time that was asked for with arm has come. Any hart, the device's lock not held; a fire that comes too early or
 * after the alarm was taken back does no harm. */
void goldfish_rtc_fire(struct goldfish_rtc *rtc);

/* Takes a set alarm back, as CLEAR_ALARM does. Likewise. */
void goldfish_rtc_silence(struct goldfish_rtc *rtc);

#endif
