/* SPDX-License-Identifier: MIT
 *
 * Boot, top to bottom: entry.S has brought the image to its home and calls boot_main on the boot hart.
 */
#include "boot/boot.h"
#include "control/machine_parts.h"
#include "core/log.h"
#include "core/panic.h"
#include "core/scheduler.h"
#include "driver/clint.h"
#include "driver/host_plic.h"
#include "driver/host_rtc.h"
#include "driver/serial.h"
#include "isolation/isolation.h"
#include "monitor/terminal.h"

/* diosix.ld */
extern const char image_start[], image_end[];

_Noreturn void boot_main(unsigned long hart, const void *tree, unsigned long old_image);

static void on_device(uint32_t source)
{
    if (source == boot_machine.uart.interrupt) {
        terminal_serve();
    }
}

static void on_external(void)
{
    host_plic_serve(on_device);
}

/* The console's interrupt, on the boot hart. False: the terminal must poll. */
static bool start_devices(void)
{
    if (!host_plic_init(&boot_machine, &boot_hart) || boot_machine.uart.interrupt == 0) {
        return false;
    }
    hart_ops.external = on_external;
    host_plic_enable(boot_machine.uart.interrupt);
    arch_hart_interrupt_enable(BIT(IRQ_M_EXTERNAL), true);
    return true;
}

_Noreturn void boot_main(unsigned long hart, const void *tree, unsigned long old_image)
{
    struct range image = boot_image_range((uintptr_t)image_start, (uintptr_t)image_end);
    struct range old = {old_image, (uintptr_t)image_end - (uintptr_t)image_start};
    boot_hart.arch.id = hart;
    boot_read_tree(tree);
    struct boot_options options = boot_parse_options(boot_machine.bootargs);
    log_info("Welcome to diosix %s ... using device tree at 0x%lx", DIOSIX_VERSION, (unsigned long)(uintptr_t)tree);
    if (boot_machine.uart.kind == MACHINE_UART_NONE) {
        log_alert("Console: %s (%s)", error_cause(DX_NO_CONSOLE), error_cure(DX_NO_CONSOLE));
    }
    if (options.fault == FAULT_EARLY) {
        boot_fault(FAULT_TRAP);
    }
    boot_power_init(&options);

    arch_hart_probe(&boot_hart.features);
    if (!clint_init(&boot_machine, boot_hart.features.time_csr)) {
        halt_machine("Neither a time CSR nor a CLINT's mtime: this machine has no clock");
    }
    bool all_here = boot_wait_for_harts((uint32_t)boot_machine.hart_count - 1);
    struct blob manifest = boot_take_memory(tree, image, old, all_here || old.base == image.base);
    boot_start_harts(image);
    isolation_start(options.fault == FAULT_MIXED);

    scheduler_init(boot_machine.timebase_hz);
    host_rtc_init(&boot_machine);
    machine_parts_set_clock(host_rtc_now);
    boot_seed();
    boot_create_capsules(manifest, &options);
    terminal_start(start_devices(), boot_machine.timebase_hz);
    boot_run(options.fault);
}
