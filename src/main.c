/* SPDX-License-Identifier: MIT
 *
 * Boot, top to bottom: entry.S has brought the image to its home and calls boot_main on the boot hart.
 */
#include "boot/boot.h"
#include "control/machine_parts.h"
#include "core/affinity.h"
#include "core/log.h"
#include "core/panic.h"
#include "core/reaper.h"
#include "core/scheduler.h"
#include "driver/clint.h"
#include "driver/host_plic.h"
#include "driver/host_rtc.h"
#include "driver/serial.h"
#include "isolation/isolation.h"
#include "monitor/monitor.h"
#include "monitor/terminal.h"

/* diosix.ld */
extern const char image_start[], image_end[];

_Noreturn void boot_main(unsigned long hart, const void *tree, unsigned long old_image);

static void on_device(uint32_t source)
{
    if (source == boot_machine.uart.interrupt) {
        terminal_serve();
    }
    boot_serve_device(source);
}

static void on_external(void)
{
    host_plic_serve(on_device);
}

/* The hart that serves the machine's devices: the boot hart, unless it runs no guests or has been dedicated to one. */
static struct hart *choose_server(void)
{
    const uint64_t dedicated = affinity_dedicated();
    struct hart *server = NULL;
    for (uint32_t n = 0; n < hart_count; n++) {
        if ((dedicated >> n & 1) == 0 && (server == NULL || harts[n] == &boot_hart)) {
            server = harts[n];
        }
    }
    return server == NULL ? harts[0] : server;
}

/* On that hart, before any guest. */
static void start_devices(void)
{
    const bool has_plic = host_plic_init(&boot_machine, hart_this());
    const bool has_interrupt = has_plic && boot_machine.uart.interrupt != 0;
    if (has_plic) {
        hart_ops.external = on_external;
        boot_enable_devices();
        arch_hart_interrupt_enable(BIT(IRQ_M_EXTERNAL), true);
    }
    if (has_interrupt) {
        host_plic_enable(boot_machine.uart.interrupt);
    }
    hart_ops.terminal = terminal_serve;
    terminal_start(has_interrupt, boot_machine.timebase_hz);
    boot_start_capsules();
}

static void start_monitor(const struct boot_options *options)
{
    static struct monitor_host host = {
        .power_off = boot_power_off,
        .create = boot_create_capsule,
        .focus = terminal_focus,
    };
    host.reboot = boot_machine.reboot.address != 0 ? boot_reboot : NULL;
    monitor_init(&host);
    monitor_set_plain(options->no_color);
    terminal_set_color(!options->no_color);
}

/* What was read of the tree before the image moved, or NULL: if it didn't, entry.S has cleared that. */
static const struct machine *read_before(struct range image, struct range old)
{
    const uint64_t offset = (uintptr_t)&boot_machine - image.base;
    return old.base == image.base ? NULL : (const struct machine *)(uintptr_t)(old.base + offset);
}

_Noreturn void boot_main(unsigned long hart, const void *tree, unsigned long old_image)
{
    struct range image = boot_image_range((uintptr_t)image_start, (uintptr_t)image_end);
    struct range old = {old_image, (uintptr_t)image_end - (uintptr_t)image_start};
    boot_hart.arch.id = hart;
    boot_read_tree(tree, read_before(image, old));
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
    reaper_init(capsule_look_idle);
    host_rtc_init(&boot_machine);
    machine_parts_set_clock(host_rtc_now);
    boot_seed(boot_find_devices());
    boot_create_capsules(manifest, &options);
    start_monitor(&options);
    boot_run(options.fault, choose_server(), start_devices);
}
