/* SPDX-License-Identifier: MIT
 *
 * The host's real-time clock (Goldfish).
 */
#include "driver/host_rtc.h"

#include "core/hart.h"

enum { TIME_LOW = 0x00, TIME_HIGH = 0x04 };
#define NANOSECONDS 1000000000ull

static uint64_t epoch_ns; /* of tick start */
static uint64_t start, timebase;

void host_rtc_init(const struct machine *machine)
{
    timebase = machine->timebase_hz;
    if (machine->has_rtc) {
        uint64_t low = mmio_read32(machine->rtc_base + TIME_LOW); /* latches the high half */
        epoch_ns = (uint64_t)mmio_read32(machine->rtc_base + TIME_HIGH) << 32 | low;
        start = clock_now();
    }
}

uint64_t host_rtc_now(void)
{
    uint64_t ticks = clock_now() - start;
    return epoch_ns + ticks / timebase * NANOSECONDS + ticks % timebase * NANOSECONDS / timebase;
}
