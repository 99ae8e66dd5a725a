/* SPDX-License-Identifier: MIT
 *
 * Switching the machine off, and restarting it.
 */
#include "boot/boot.h"

#include "core/log.h"
#include "core/panic.h"
#include "monitor/terminal.h"

enum { PATIENCE_SECONDS = 2 };

static bool halt_when_idle;

static void syscon_write(const struct machine_syscon *syscon)
{
    if (syscon->mask == UINT32_MAX) {
        mmio_write32(syscon->address, syscon->value);
    } else {
        uint32_t kept = mmio_read32(syscon->address) & ~syscon->mask;
        mmio_write32(syscon->address, kept | (syscon->value & syscon->mask));
    }
}

/* The switch may take a moment, in which nothing should be said. */
static void wait_for_the_end(void)
{
    uint64_t start = clock_now();
    while (clock_now() - start < (uint64_t)boot_machine.timebase_hz * PATIENCE_SECONDS) {
        /* time is all there is to wait for */
    }
}

static void switch_off(void)
{
    arch_fence_memory();
    syscon_write(&boot_machine.poweroff);
    wait_for_the_end();
}

_Noreturn void boot_power_off(void)
{
    terminal_flush();
    hart_halt_others();
    if (boot_machine.poweroff.address != 0) {
        switch_off();
    }
    panic_set_power_off(NULL);
    halt_machine("This machine cannot be switched off by software: switch it off now");
}

_Noreturn void boot_reboot(void)
{
    log_info("Restarting the machine");
    terminal_flush();
    hart_halt_others();
    arch_fence_memory();
    syscon_write(&boot_machine.reboot);
    wait_for_the_end();
    panic_set_power_off(NULL);
    halt_machine("The machine did not restart: reset it now");
}

void boot_all_stopped(void)
{
    if (halt_when_idle) {
        log_info("No capsule is left to run: staying up (on-idle=halt)");
        return;
    }
    log_info("No capsule is left to run: powering off");
    boot_power_off();
}

void boot_power_init(const struct boot_options *options)
{
    halt_when_idle = options->halt_when_idle;
    if (boot_machine.poweroff.address != 0 && !halt_when_idle) {
        panic_set_power_off(switch_off);
    }
}
