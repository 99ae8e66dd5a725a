/* SPDX-License-Identifier: MIT
 *
 * Switching the machine off.
 */
#include "boot/boot.h"

#include "core/log.h"
#include "core/panic.h"
#include "monitor/terminal.h"

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

_Noreturn void boot_power_off(void)
{
    terminal_flush();
    hart_halt_others();
    arch_fence_memory();
    if (boot_machine.poweroff.address != 0) {
        syscon_write(&boot_machine.poweroff);
    }
    halt_machine("This machine cannot be switched off by software: switch it off now");
}

static void on_all_stopped(void)
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
    capsule_set_idle(on_all_stopped);
}
