/* SPDX-License-Identifier: MIT
 *
 * What the machine is, and where its tree, the manifest and free memory lie.
 */
#include "boot/boot.h"

#include <string.h>

#include "boot/map.h"
#include "core/log.h"
#include "core/panic.h"
#include "dt/host_tree.h"
#include "manifest/manifest.h"
#include "monitor/terminal.h"

struct machine boot_machine;

/* If no console can be had by the tree, what is wrong would go unseen: then the UART of QEMU's virt is tried. */
static const struct machine_uart last_resort = {
    .kind = MACHINE_UART_NS16550,
    .base = 0x10000000,
    .reg_io_width = 1,
};
enum { LINE_STATUS = 5, TRANSMITTER_IDLE = 0x60 };

/* A register of the UART that may be read at any time, and that is there. */
static bool uart_answers(const struct machine_uart *uart)
{
    bool small = uart->kind == MACHINE_UART_NS16550;
    return arch_answers(uart->base + ((uint64_t)(small ? LINE_STATUS : 0) << uart->reg_shift), uart->reg_io_width);
}

/* The console that the tree names, if there is something at its address. */
static bool find_console(const void *tree)
{
    struct machine_uart uart = {.kind = MACHINE_UART_NONE};
    if (!host_tree_console(tree, HOST_TREE_LIMIT, &uart) || !uart_answers(&uart)) {
        return false;
    }
    terminal_early(&uart);
    return true;
}

/* Only reads before it is sure enough; never in what the tree, if it is sound, calls RAM. */
static void try_last_resort(void)
{
    for (size_t n = 0; n < boot_machine.bank_count; n++) {
        if (range_holds(boot_machine.banks[n], last_resort.base, 1)) {
            return;
        }
    }
    if (uart_answers(&last_resort) &&
        (mmio_read8(last_resort.base + LINE_STATUS) & TRANSMITTER_IDLE) == TRANSMITTER_IDLE) {
        terminal_early(&last_resort);
    }
}

/* The tree, or NULL if the loader's address can't be one: a multiple of 8 where a header could be read. */
static const void *checked_address(const void *tree)
{
    enum { HEADER_LAST = 36 };
    uint64_t address = (uintptr_t)tree;
    bool there = address % sizeof(uint64_t) == 0 && arch_answers(address, 4) && arch_answers(address + HEADER_LAST, 4);
    size_t size = there ? host_tree_size(tree, HOST_TREE_LIMIT) : 0;
    return size != 0 && arch_answers(address + size - 1, 1) ? tree : NULL;
}

void boot_read_tree(const void *tree, const struct machine *known)
{
    struct refusal refusal;
    const void *checked = checked_address(tree);
    bool console = find_console(checked);
    enum dx_error error = DX_OK;
    if (known != NULL) {
        boot_machine = *known;
    } else {
        error = host_tree_read(checked, HOST_TREE_LIMIT, &boot_machine, &refusal);
    }
    if (!console) {
        try_last_resort();
    }
    if (error != DX_OK) {
        halt_machine("Host device tree at 0x%lx refused: %s (%s; %s)", (unsigned long)(uintptr_t)tree, refusal.text,
                     error_cause(refusal.error), error_cure(refusal.error));
    }
}

/* Moves length bytes to the top of what is free; leaves them where they are if they don't fit elsewhere. */
static struct range move_up(struct range from)
{
    struct range to;
    if (from.size == 0 || !memory_map_take(&boot_map, from.size, PAGE_SIZE, true, &to)) {
        return from;
    }
    memcpy((void *)(uintptr_t)to.base, (const void *)(uintptr_t)from.base, (size_t)from.size);
    return (struct range){to.base, from.size};
}

static void find_free_memory(struct range image, struct range tree, struct range manifest)
{
    boot_map_ram(&boot_map);
    memory_map_carve(&boot_map, image);
    memory_map_carve(&boot_map, tree);
    memory_map_carve(&boot_map, manifest);
}

/* The manifest inside the image (make image MANIFEST=): between these two symbols of diosix.ld. */
extern const uint8_t manifest_start[], manifest_end[];

static struct range embedded_manifest(void)
{
    return (struct range){(uintptr_t)manifest_start, (uintptr_t)manifest_end - (uintptr_t)manifest_start};
}

static bool initrd_in_ram(void)
{
    for (size_t n = 0; n < boot_machine.bank_count; n++) {
        if (range_holds_range(boot_machine.banks[n], boot_machine.initrd)) {
            return true;
        }
    }
    return false;
}

struct blob boot_take_memory(const void *tree, struct range image, struct range old_image, bool old_image_free)
{
    struct range old_tree = {(uintptr_t)tree, host_tree_size(tree, HOST_TREE_LIMIT)};
    struct range manifest = boot_machine.initrd;
    if (manifest.size != 0 && !initrd_in_ram()) {
        log_alert("The initrd at 0x%llx is not in RAM: ignored", (unsigned long long)manifest.base);
        manifest.size = 0;
    }
    find_free_memory(image, old_tree, manifest);
    memory_map_carve(&boot_map, old_image);
    struct range new_tree = move_up(old_tree);
    struct range new_manifest = move_up(manifest);
    find_free_memory(image, new_tree, new_manifest);
    if (!old_image_free) {
        memory_map_carve(&boot_map, old_image);
    }
    log_info("Available physical RAM: %llu MiB, physical CPU cores: %u",
             (unsigned long long)(memory_map_free_bytes(&boot_map) / MIB), (unsigned)boot_machine.hart_count);
    memory_init(&boot_map);
    if (new_manifest.size == 0) {
        new_manifest = embedded_manifest();
    }
    return (struct blob){(const uint8_t *)(uintptr_t)new_manifest.base, (size_t)new_manifest.size};
}
