/* SPDX-License-Identifier: MIT
 *
 * The host's time of the day: read once from its real-time clock, then kept by the timebase.
 */
#ifndef DRIVER_HOST_RTC_H
#define DRIVER_HOST_RTC_H

#include "core/machine.h"

void host_rtc_init(const struct machine *machine);
/* Nanoseconds since 1970; without a clock, since power-on. Any hart. */
uint64_t host_rtc_now(void);

#endif
