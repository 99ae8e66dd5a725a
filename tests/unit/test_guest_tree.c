/* SPDX-License-Identifier: MIT
 *
 * The tree that a guest is started with, read back with libfdt, with our own reader of host trees, and by dtc.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <libfdt.h>

#include "core/tree.h"
#include "device/goldfish_rtc.h"
#include "device/plic.h"
#include "device/syscon.h"
#include "device/uart16550.h"
#include "dt/guest_tree.h"
#include "support.h"

enum { ROOM = 65536 };

static _Alignas(8) uint8_t blob[ROOM];
static struct capsule capsule;
static struct guest_tree_options options;
static struct plic plic;
static struct uart16550 uart;
static struct syscon syscon;
static struct goldfish_rtc rtc;
static struct console_port port;

static void on_output(void *arg, uint32_t vcpu, bool level)
{
    (void)arg, (void)vcpu, (void)level;
}

static void on_request(void *arg, bool reboot)
{
    (void)arg, (void)reboot;
}

static uint64_t on_now(void)
{
    return 0;
}

static void on_line(void *controller, uint32_t source, bool level)
{
    (void)controller, (void)source, (void)level;
}

static void bus_put(struct device *device)
{
    capsule.bus.devices[capsule.bus.count++] = device;
}

static void random_put(uint8_t *bytes, size_t length)
{
    memset(bytes, 0x33, length);
}

static int make_capsule(void **state)
{
    (void)state;
    memset(&capsule, 0, sizeof(capsule));
    capsule.config.vcpus = 2;
    capsule.config.bootargs = "console=ttyS0 root=/dev/vda";
    capsule.ram = (struct range){0x280000000, 0x10000000};
    capsule.plan.initrd = (struct range){0x288000000, 0x1234};
    plic_init(&plic, (gpa_t){0x0c000000}, 2, on_output, NULL);
    uart16550_init(&uart, (gpa_t){0x10000000}, &port, (struct irq_line){on_line, NULL, 10});
    syscon_init(&syscon, (gpa_t){0x100000}, on_request, NULL);
    goldfish_rtc_init(&rtc, (gpa_t){0x101000}, (struct irq_line){on_line, NULL, 11}, on_now);
    bus_put(&plic.device);
    bus_put(&uart.device);
    bus_put(&syscon.device);
    bus_put(&rtc.device);
    options = (struct guest_tree_options){
        .isa = "rv64imac_zicsr_zba",
        .isa_list = "i\0m\0a\0c\0zicsr\0zba",
        .isa_list_length = 18,
        .mmu_type = "sv39",
        .timebase_hz = 10000000,
        .random = random_put,
    };
    return 0;
}

/* The tree's size, or libfdt's error. */
static int write_into(void *buffer, size_t size)
{
    struct guest_tree tree;
    guest_tree_begin(&tree, buffer, size);
    for (unsigned steps = 0; !guest_tree_step(&tree, &capsule, &options); steps++) {
        assert_true(steps < capsule.config.vcpus + capsule.bus.count + 10);
    }
    return tree.error != 0 ? tree.error : (int)fdt_totalsize(buffer);
}

static int write_tree(void)
{
    memset(blob, 0xa5, sizeof(blob));
    int size = write_into(blob, sizeof(blob));
    assert_true(size > 0);
    assert_true(tree_check(blob, (size_t)size));
    assert_int_equal(fdt_totalsize(blob), size);
    return size;
}

static int node_at(const char *path)
{
    int node = fdt_path_offset(blob, path);
    if (node < 0) {
        print_error("no %s\n", path);
    }
    assert_true(node >= 0);
    return node;
}

static void assert_text(const char *path, const char *name, const char *want)
{
    const char *text = tree_string(blob, node_at(path), name);
    assert_non_null(text);
    assert_string_equal(text, want);
}

static void assert_list(const char *path, const char *name, const char *want, int length)
{
    int bytes;
    const void *list = fdt_getprop(blob, node_at(path), name, &bytes);
    assert_non_null(list);
    assert_int_equal(bytes, length);
    assert_memory_equal(list, want, (size_t)length);
}

static uint32_t cell_of(const char *path, const char *name)
{
    uint32_t cell = 0;
    assert_true(tree_u32(blob, node_at(path), name, &cell));
    return cell;
}

static bool has(const char *path, const char *name)
{
    int length;
    return fdt_getprop(blob, node_at(path), name, &length) != NULL;
}

static void test_root_and_memory(void **state)
{
    (void)state;
    int length;
    write_tree();
    assert_list("/", "compatible", "riscv-virtio\0diosix,capsule", 28);
    assert_text("/", "model", "diosix capsule");
    assert_int_equal(cell_of("/", "#address-cells"), 2);
    assert_int_equal(cell_of("/", "#size-cells"), 2);
    assert_text("/memory@280000000", "device_type", "memory");
    const uint8_t *reg = fdt_getprop(blob, node_at("/memory@280000000"), "reg", &length);
    assert_int_equal(length, 16);
    assert_true(tree_cells(reg, 2) == 0x280000000);
    assert_true(tree_cells(reg + 8, 2) == 0x10000000);
}

static void test_chosen(void **state)
{
    (void)state;
    uint64_t start;
    uint64_t end;
    write_tree();
    assert_text("/chosen", "bootargs", "console=ttyS0 root=/dev/vda");
    assert_text("/chosen", "stdout-path", "/soc/serial@10000000");
    assert_text("/soc/serial@10000000", "compatible", "ns16550a");
    assert_list("/chosen", "linux,initrd-start", "\0\0\0\2\x88\0\0\0", 8);
    assert_true(tree_number(blob, node_at("/chosen"), "linux,initrd-start", &start) && start == 0x288000000);
    assert_true(tree_number(blob, node_at("/chosen"), "linux,initrd-end", &end) && end == 0x288001234);
    uint8_t seed[64];
    random_put(seed, sizeof(seed));
    assert_list("/chosen", "rng-seed", (const char *)seed, sizeof(seed));
}

static void test_chosen_without_parts(void **state)
{
    (void)state;
    capsule.bus.count = 1; /* the PLIC alone */
    capsule.plan.initrd.size = 0;
    capsule.config.bootargs = "";
    options.random = NULL;
    write_tree();
    assert_text("/chosen", "bootargs", "");
    assert_false(has("/chosen", "stdout-path"));
    assert_false(has("/chosen", "linux,initrd-start"));
    assert_false(has("/chosen", "linux,initrd-end"));
    assert_false(has("/chosen", "rng-seed"));
    assert_true(fdt_path_offset(blob, "/soc/serial@10000000") < 0);
}

static void test_moved_uart(void **state)
{
    (void)state;
    uart.device.window.base = 0x3010000000;
    write_tree();
    assert_text("/chosen", "stdout-path", "/soc/serial@3010000000");
    node_at("/soc/serial@3010000000");
}

static void test_cpus(void **state)
{
    (void)state;
    write_tree();
    assert_int_equal(cell_of("/cpus", "timebase-frequency"), 10000000);
    assert_int_equal(cell_of("/cpus", "#address-cells"), 1);
    assert_int_equal(cell_of("/cpus", "#size-cells"), 0);
    assert_int_equal(cell_of("/cpus/cpu@1", "reg"), 1);
    assert_text("/cpus/cpu@1", "device_type", "cpu");
    assert_text("/cpus/cpu@1", "status", "okay");
    assert_text("/cpus/cpu@1", "compatible", "riscv");
    assert_text("/cpus/cpu@1", "mmu-type", "riscv,sv39");
    assert_text("/cpus/cpu@1/interrupt-controller", "compatible", "riscv,cpu-intc");
    assert_int_equal(cell_of("/cpus/cpu@1/interrupt-controller", "#interrupt-cells"), 1);
    assert_true(has("/cpus/cpu@1/interrupt-controller", "interrupt-controller"));
    assert_int_equal(cell_of("/cpus/cpu-map/cluster0/core1", "cpu"), cell_of("/cpus/cpu@1", "phandle"));
    assert_false(has("/cpus/cpu@1", "riscv,cbom-block-size"));
    assert_true(fdt_path_offset(blob, "/cpus/cpu@2") < 0);
}

static void test_one_vcpu(void **state)
{
    (void)state;
    capsule.config.vcpus = 1;
    options.mmu_type = "";
    write_tree();
    assert_true(fdt_path_offset(blob, "/cpus/cpu-map") < 0);
    assert_false(has("/cpus/cpu@0", "mmu-type"));
}

static void test_isa(void **state)
{
    (void)state;
    write_tree();
    assert_text("/cpus/cpu@0", "riscv,isa", "rv64imac_zicsr_zba");
    assert_text("/cpus/cpu@0", "riscv,isa-base", "rv64i");
    assert_list("/cpus/cpu@0", "riscv,isa-extensions", "i\0m\0a\0c\0zicsr\0zba", 18);
    options.isa = "rv32ima";
    options.isa_list_length = 6;
    write_tree();
    assert_text("/cpus/cpu@0", "riscv,isa", "rv32ima");
    assert_text("/cpus/cpu@0", "riscv,isa-base", "rv32i");
    assert_list("/cpus/cpu@0", "riscv,isa-extensions", "i\0m\0a", 6);
    options.isa = "";
    write_tree();
    assert_false(has("/cpus/cpu@0", "riscv,isa"));
}

static void test_cache_blocks(void **state)
{
    (void)state;
    options.cboz_block_size = 64;
    write_tree();
    assert_int_equal(cell_of("/cpus/cpu@0", "riscv,cboz-block-size"), 64);
    assert_false(has("/cpus/cpu@0", "riscv,cbom-block-size"));
    options.cbom_block_size = 32;
    options.cbop_block_size = 128;
    write_tree();
    assert_int_equal(cell_of("/cpus/cpu@0", "riscv,cbom-block-size"), 32);
    assert_int_equal(cell_of("/cpus/cpu@0", "riscv,cbop-block-size"), 128);
}

static void test_devices(void **state)
{
    (void)state;
    int length;
    write_tree();
    assert_text("/soc", "compatible", "simple-bus");
    assert_true(has("/soc", "ranges"));
    uint32_t phandle = cell_of("/soc/plic@c000000", "phandle");
    assert_int_equal(cell_of("/soc/serial@10000000", "interrupt-parent"), phandle);
    const uint8_t *pairs = fdt_getprop(blob, node_at("/soc/plic@c000000"), "interrupts-extended", &length);
    assert_int_equal(length, 32);
    for (int context = 0; context < 4; context++) {
        const char *intc[] = {"/cpus/cpu@0/interrupt-controller", "/cpus/cpu@1/interrupt-controller"};
        assert_int_equal(tree_cells(pairs + context * 8, 1), cell_of(intc[context / 2], "phandle"));
        assert_int_equal(tree_cells(pairs + context * 8 + 4, 1), context % 2 == 0 ? UINT32_MAX : 9);
    }
}

/* In the bus's order, so that Linux numbers disks as the manifest does. */
static void test_devices_in_order(void **state)
{
    (void)state;
    static const char *const names[] = {"plic@c000000", "serial@10000000"};
    write_tree();
    int node = fdt_first_subnode(blob, node_at("/soc"));
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        assert_string_equal(fdt_get_name(blob, node, NULL), names[i]);
        node = fdt_next_subnode(blob, node);
    }
}

/* No phandle is used twice. */
static void test_phandles(void **state)
{
    (void)state;
    bool seen[256] = {false};
    capsule.config.vcpus = CAPSULE_VCPUS_MAX;
    plic_init(&plic, (gpa_t){0x0c000000}, CAPSULE_VCPUS_MAX, on_output, NULL);
    write_tree();
    int count = 0;
    for (int node = 0; node >= 0; node = fdt_next_node(blob, node, NULL)) {
        uint32_t phandle = fdt_get_phandle(blob, node);
        if (phandle != 0) {
            assert_true(phandle < ARRAY_LENGTH(seen) && !seen[phandle]);
            seen[phandle] = true;
            count++;
        }
    }
    assert_true(count >= 1 + 2 * CAPSULE_VCPUS_MAX);
    node_at("/cpus/cpu@1f");
}

static int describe_nothing(const struct device *device, void *tree, struct tree_context *context)
{
    (void)device, (void)tree, (void)context;
    return -FDT_ERR_BADSTATE;
}

static void test_device_that_fails(void **state)
{
    (void)state;
    static const struct device_class silent = {.name = "silent"};
    static const struct device_class failing = {.name = "failing", .describe = describe_nothing};
    struct device device = {.class = &silent};
    bus_put(&device);
    write_tree();
    device.class = &failing;
    assert_int_equal(write_into(blob, sizeof(blob)), -FDT_ERR_BADSTATE);
}

/* At every size that is too small it says so, and writes nothing beyond; what is left of a larger one is zeroed. */
static void test_no_room(void **state)
{
    (void)state;
    int size = write_tree();
    for (int room = 0; room < size; room += 8) {
        uint8_t *buffer = malloc((size_t)room == 0 ? 1 : (size_t)room);
        assert_int_equal(write_into(buffer, (size_t)room), -FDT_ERR_NOSPACE);
        free(buffer);
    }
    uint8_t *buffer = malloc((size_t)size + 64);
    memset(buffer, 0x5a, (size_t)size + 64);
    assert_int_equal(write_into(buffer, (size_t)size + 64), size);
    for (int n = size; n < size + 64; n++) {
        assert_int_equal(buffer[n], 0);
    }
    free(buffer);
}

/* The device tree compiler has no warning for it. The syscon is left out: its actions have no registers, as on QEMU,
 * but stand in /soc, where dtc expects some. */
static void test_dtc_is_silent(void **state)
{
    (void)state;
    char name[] = "/tmp/guest_tree_XXXXXX";
    char command[256];

    capsule.bus.devices[2] = capsule.bus.devices[3];
    capsule.bus.count = 3;
    int size = write_tree();
    int file = mkstemp(name);
    assert_true(file >= 0);
    assert_int_equal(write(file, blob, (size_t)size), size);
    close(file);
    /* 77: there is no dtc */
    snprintf(command, sizeof(command),
             "command -v dtc >/dev/null || exit 77; warnings=$(dtc -I dtb -O dts -o /dev/null %s 2>&1) && "
             "test -z \"$warnings\" || { echo \"$warnings\"; exit 1; }",
             name);
    int status = system(command);
    unlink(name);
    if (WEXITSTATUS(status) == 77) {
        skip();
    }
    assert_int_equal(status, 0);
}

#define TEST(name) cmocka_unit_test_setup(name, make_capsule)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_root_and_memory),
        TEST(test_chosen),
        TEST(test_chosen_without_parts),
        TEST(test_moved_uart),
        TEST(test_cpus),
        TEST(test_one_vcpu),
        TEST(test_isa),
        TEST(test_cache_blocks),
        TEST(test_devices),
        TEST(test_devices_in_order),
        TEST(test_phandles),
        TEST(test_device_that_fails),
        TEST(test_no_room),
        TEST(test_dtc_is_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
