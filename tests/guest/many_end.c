/* SPDX-License-Identifier: MIT
 *
 * Guests that end, or would never: for watchdogs, restart policies, and the limit of crash loops.
 */
#include "many.h"

/* --- the watchdog of the capsule's machine, by hand: Allwinner's, as of sun6i --- */

enum { WDT_CTRL = 0x10, WDT_CFG = 0x14, WDT_MODE = 0x18, WDT_RELOAD = 0xa57 << 1 | 1, WDT_RESETS = 1, WDT_ON = 1 };

static volatile uint32_t *watchdog_register(unsigned long offset)
{
    const struct machine_device *device = find_device("allwinner,sun6i-a31-wdt");
    return (volatile uint32_t *)(uintptr_t)((device != NULL ? (unsigned long)device->base : 0x00102000) + offset);
}

/* The mode register's code for the time-out: 1 to 6 are seconds, then 7 to 11 are 8 to 16 in steps of two; 0 is half a
 * second. */
static uint32_t watchdog_code(unsigned long seconds)
{
    return seconds <= 6 ? (uint32_t)seconds : seconds >= 16 ? 0xb : (uint32_t)(seconds + 1) / 2 + 3;
}

static void watchdog_start(unsigned long seconds)
{
    *watchdog_register(WDT_MODE) = watchdog_code(seconds) << 4;
    *watchdog_register(WDT_CFG) = WDT_RESETS;
    *watchdog_register(WDT_MODE) = watchdog_code(seconds) << 4 | WDT_ON;
    *watchdog_register(WDT_CTRL) = WDT_RELOAD;
}

static void watchdog_feed(void)
{
    *watchdog_register(WDT_CTRL) = WDT_RELOAD;
}

/* --- hang --- */

/* bootargs watchdog=SECONDS: starts it, 0: half a second; fed=MILLISECONDS: feeds it (started by itself or not) for
 * that long; off=1: then switches it off. Then nothing more happens here, with interrupts off; wfi=1: not even that. */
void many_hang(void)
{
    unsigned mode = find_device("allwinner") != NULL ? (unsigned)*watchdog_register(WDT_MODE) : 0;
    say("hang", "up, watchdog mode 0x%x", mode);
    if (argument_text("watchdog") != NULL) {
        watchdog_start(argument("watchdog", 1));
    }
    for (uint64_t end = now() + milliseconds(argument("fed", 0)); now() < end; rest(50)) {
        watchdog_feed();
    }
    if (argument("off", 0) != 0) {
        *watchdog_register(WDT_MODE) = 0;
    }
    csr_write(sie, 0);
    csr_clear(sstatus, STATUS_SIE);
    say("hang", "hangs");
    for (;;) {
        if (argument("wfi", 0) != 0) {
            wait_for_interrupt();
        }
    }
}

/* --- fail --- */

static void reset(unsigned long type, unsigned long reason)
{
    sbi(SBI_EXT_SRST, SBI_SRST_RESET, type, reason, 0);
}

/* Nowhere to go with a trap: traps without end. */
static void end_by_trap(void)
{
    csr_write(stvec, 0);
    *(volatile unsigned long *)0 = 0;
}

static void end_by_syscon(unsigned value)
{
    *(volatile uint32_t *)(uintptr_t)find_device("sifive,test1")->base = value;
}

/* bootargs how=off|failure|reset|warm|trap|syscon-off|syscon-reset|last, after=MILLISECONDS. RAM that some life before
 * this one left behind is told: there must be none. */
void many_fail(void)
{
    extern char __end[];
    const char *how = argument_text("how") != NULL ? argument_text("how") : "off";
    unsigned long *mark = (unsigned long *)(void *)__end;
    say("fail", "alive t=%llu%s", (unsigned long long)now(), *mark != 0 ? ", NOT SCRUBBED" : "");
    *mark = 0x6c697665;
    rest(argument("after", 0));
    if (has_word(how, "failure")) {
        reset(SBI_SRST_SHUTDOWN, SBI_SRST_REASON_FAILURE);
    } else if (has_word(how, "reset")) {
        reset(SBI_SRST_COLD_REBOOT, SBI_SRST_REASON_NONE);
    } else if (has_word(how, "warm")) {
        reset(SBI_SRST_WARM_REBOOT, SBI_SRST_REASON_NONE);
    } else if (has_word(how, "trap")) {
        end_by_trap();
    } else if (has_word(how, "syscon-off")) {
        end_by_syscon(0x5555);
    } else if (has_word(how, "syscon-reset")) {
        end_by_syscon(0x7777);
    } else if (has_word(how, "last")) {
        sbi(SBI_EXT_HSM, SBI_HSM_STOP, 0, 0, 0);
    }
    reset(SBI_SRST_SHUTDOWN, SBI_SRST_REASON_NONE);
}
