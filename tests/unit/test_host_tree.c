/* SPDX-License-Identifier: MIT
 *
 * The host's tree: what is read from trees like QEMU's, what other boards write differently, and damaged trees. Every
 * tree is read from a heap block of exactly its size, so that the sanitizer sees any byte read beyond it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <libfdt.h>

#include "core/tree.h"
#include "dt/host_parts.h"
#include "dt/host_tree.h"
#include "support.h"

enum { TREE_ROOM = 65536, INTC = 16, PLIC = 8, SYSCON = 9 };

#define LENGTH_OF(cells) ((int)(sizeof(cells) / sizeof((cells)[0])))
#define CELLS(path, name, ...)                                                                                         \
    set_cells(path, name, (const uint32_t[]){__VA_ARGS__}, LENGTH_OF(((const uint32_t[]){__VA_ARGS__})))

static _Alignas(8) uint8_t tree[TREE_ROOM]; /* the tree that a test is making */
static struct machine machine;
static struct refusal refusal;

/* --- making trees --- */

static int node_at(const char *path)
{
    int node = fdt_path_offset(tree, path);
    assert_true(node >= 0);
    return node;
}

static void set_bytes(const char *path, const char *name, const void *bytes, int length)
{
    assert_int_equal(fdt_setprop(tree, node_at(path), name, bytes, length), 0);
}

static void set_cells(const char *path, const char *name, const uint32_t *cells, int count)
{
    fdt32_t raw[64];
    assert_true(count <= 64);
    for (int i = 0; i < count; i++) {
        raw[i] = cpu_to_fdt32(cells[i]);
    }
    set_bytes(path, name, raw, count * (int)sizeof(fdt32_t));
}

static void set_text(const char *path, const char *name, const char *text)
{
    set_bytes(path, name, text, (int)strlen(text) + 1);
}

static void unset(const char *path, const char *name)
{
    assert_int_equal(fdt_delprop(tree, node_at(path), name), 0);
}

static void add(const char *parent, const char *name)
{
    assert_true(fdt_add_subnode(tree, node_at(parent), name) >= 0);
}

static void drop(const char *path)
{
    assert_int_equal(fdt_del_node(tree, node_at(path)), 0);
}

static void add_device(const char *name, const char *compatible, uint32_t base, uint32_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/soc/%s", name);
    add("/soc", name);
    set_text(path, "compatible", compatible);
    CELLS(path, "reg", 0, base, 0, size);
}

static void add_hart(uint32_t id, uint32_t phandle)
{
    char name[32];
    char path[64];
    snprintf(name, sizeof(name), "cpu@%x", id);
    snprintf(path, sizeof(path), "/cpus/%s", name);
    add("/cpus", name);
    CELLS(path, "reg", id);
    set_text(path, "device_type", "cpu");
    set_text(path, "status", "okay");
    set_text(path, "riscv,isa", "rv64imafdch_zicsr_sstc");
    set_text(path, "mmu-type", "riscv,sv48");
    add(path, "interrupt-controller");
    snprintf(path, sizeof(path), "/cpus/%s/interrupt-controller", name);
    set_text(path, "compatible", "riscv,cpu-intc");
    CELLS(path, "phandle", phandle);
}

static void make_chosen(void)
{
    add("/", "chosen");
    set_text("/chosen", "bootargs", "isolation=auto");
    set_text("/chosen", "stdout-path", "/soc/serial@10000000");
    CELLS("/chosen", "rng-seed", 0x01020304, 0x05060708);
    CELLS("/chosen", "linux,initrd-start", 0x84000000);
    CELLS("/chosen", "linux,initrd-end", 0x84000100);
}

static void make_soc(void)
{
    add("/", "soc");
    CELLS("/soc", "#address-cells", 2);
    CELLS("/soc", "#size-cells", 2);
    set_text("/soc", "compatible", "simple-bus");
    set_bytes("/soc", "ranges", NULL, 0);
    add_device("serial@10000000", "ns16550a", 0x10000000, 0x100);
    CELLS("/soc/serial@10000000", "interrupts", 10);
    CELLS("/soc/serial@10000000", "interrupt-parent", PLIC);
    add_device("rtc@101000", "google,goldfish-rtc", 0x101000, 0x1000);
    add_device("test@100000", "syscon", 0x100000, 0x1000);
    CELLS("/soc/test@100000", "phandle", SYSCON);
    add_device("plic@c000000", "sifive,plic-1.0.0", 0x0c000000, 0x600000);
    CELLS("/soc/plic@c000000", "phandle", PLIC);
    CELLS("/soc/plic@c000000", "riscv,ndev", 96);
    CELLS("/soc/plic@c000000", "interrupts-extended", INTC, 11, INTC, 9, INTC + 1, 11, INTC + 1, 9);
    add_device("clint@2000000", "riscv,clint0", 0x02000000, 0x10000);
    CELLS("/soc/clint@2000000", "interrupts-extended", INTC, 3, INTC, 7, INTC + 1, 3, INTC + 1, 7);
}

static void make_syscon(const char *name, const char *compatible, uint32_t value)
{
    char path[32];
    snprintf(path, sizeof(path), "/%s", name);
    add("/", name);
    set_text(path, "compatible", compatible);
    CELLS(path, "regmap", SYSCON);
    CELLS(path, "offset", 4);
    CELLS(path, "value", value);
}

/* A machine of two harts in the shape of QEMU's virt. */
static int make_virt(void **state)
{
    (void)state;
    assert_int_equal(fdt_create(tree, TREE_ROOM), 0);
    assert_int_equal(fdt_finish_reservemap(tree), 0);
    assert_int_equal(fdt_begin_node(tree, ""), 0);
    assert_int_equal(fdt_end_node(tree), 0);
    assert_int_equal(fdt_finish(tree), 0);
    assert_int_equal(fdt_open_into(tree, tree, TREE_ROOM), 0);
    CELLS("/", "#address-cells", 2);
    CELLS("/", "#size-cells", 2);
    set_text("/", "model", "riscv-virtio,test");
    add("/", "memory@80000000");
    set_text("/memory@80000000", "device_type", "memory");
    CELLS("/memory@80000000", "reg", 0, 0x80000000, 0, 0x8000000);
    add("/", "cpus");
    CELLS("/cpus", "#address-cells", 1);
    CELLS("/cpus", "#size-cells", 0);
    CELLS("/cpus", "timebase-frequency", 10000000);
    add("/cpus", "cpu-map");
    add_hart(1, INTC + 1);
    add_hart(0, INTC);
    make_chosen();
    make_soc();
    make_syscon("poweroff", "syscon-poweroff", 0x5555);
    make_syscon("reboot", "syscon-reboot", 0x7777);
    return 0;
}

/* --- reading them --- */

static enum dx_error read_blob(const void *bytes, size_t length, size_t limit)
{
    void *copy = malloc(length == 0 ? 1 : length);
    memcpy(copy, bytes, length);
    memset(&refusal, 0, sizeof(refusal));
    memset(&machine, 0xa5, sizeof(machine));
    enum dx_error error = host_tree_read(copy, limit, &machine, &refusal);
    free(copy);
    return error;
}

static enum dx_error read_tree(void)
{
    static _Alignas(8) uint8_t packed[TREE_ROOM];
    memcpy(packed, tree, sizeof(tree));
    assert_int_equal(fdt_pack(packed), 0);
    return read_blob(packed, fdt_totalsize(packed), fdt_totalsize(packed));
}

static bool console_of_tree(struct machine_uart *uart)
{
    static _Alignas(8) uint8_t packed[TREE_ROOM];
    memcpy(packed, tree, sizeof(tree));
    assert_int_equal(fdt_pack(packed), 0);
    void *copy = malloc(fdt_totalsize(packed));
    memcpy(copy, packed, fdt_totalsize(packed));
    bool found = host_tree_console(copy, fdt_totalsize(packed), uart);
    free(copy);
    return found;
}

static void assert_read(void)
{
    enum dx_error error = read_tree();
    if (error != DX_OK) {
        print_error("%s\n", refusal.text);
    }
    assert_int_equal(error, DX_OK);
}

static void assert_refused(enum dx_error error, const char *part)
{
    assert_int_equal(read_tree(), error);
    assert_int_equal(refusal.error, error);
    if (strstr(refusal.text, part) == NULL) {
        print_error("%s: lacks \"%s\"\n", refusal.text, part);
    }
    assert_non_null(strstr(refusal.text, part));
}

static void assert_range(struct range range, uint64_t base, uint64_t size)
{
    assert_true(range.base == base);
    assert_true(range.size == size);
}

/* --- a plain machine --- */

static void test_virt_memory_and_chosen(void **state)
{
    (void)state;
    assert_read();
    assert_string_equal(machine.model, "riscv-virtio,test");
    assert_int_equal(machine.bank_count, 1);
    assert_range(machine.banks[0], 0x80000000, 0x8000000);
    assert_int_equal(machine.reserved_count, 0);
    assert_string_equal(machine.bootargs, "isolation=auto");
    assert_range(machine.initrd, 0x84000000, 0x100);
    assert_int_equal(machine.seed_length, 8);
    assert_memory_equal(machine.seed, "\1\2\3\4\5\6\7\10", 8);
}

static void test_virt_harts(void **state)
{
    (void)state;
    CELLS("/cpus/cpu@0", "riscv,cbom-block-size", 64);
    CELLS("/cpus/cpu@0", "riscv,cboz-block-size", 128);
    CELLS("/cpus/cpu@0", "riscv,cbop-block-size", 32);
    assert_read();
    assert_int_equal(machine.timebase_hz, 10000000);
    assert_int_equal(machine.hart_count, 2);
    assert_int_equal(machine_hart_index(&machine, 0), 0);
    assert_int_equal(machine_hart_index(&machine, 1), 1);
    assert_int_equal(machine_hart_index(&machine, 2), -1);
    assert_true(machine.harts[0].usable && machine.harts[1].usable);
    assert_string_equal(machine.harts[0].isa, "rv64imafdch_zicsr_sstc");
    assert_string_equal(machine.harts[0].mmu_type, "sv48");
    assert_int_equal(machine.harts[0].intc_phandle, INTC);
    assert_int_equal(machine.harts[0].cbom_block_size, 64);
    assert_int_equal(machine.harts[0].cboz_block_size, 128);
    assert_int_equal(machine.harts[0].cbop_block_size, 32);
    assert_int_equal(machine.harts[1].cbom_block_size, 0);
}

static void test_virt_devices(void **state)
{
    (void)state;
    assert_read();
    assert_int_equal(machine.uart.kind, MACHINE_UART_NS16550);
    assert_true(machine.uart.base == 0x10000000);
    assert_int_equal(machine.uart.reg_io_width, 1);
    assert_int_equal(machine.uart.reg_shift, 0);
    assert_int_equal(machine.uart.interrupt, 10);
    assert_true(machine.has_rtc);
    assert_true(machine.rtc_base == 0x101000);
    assert_true(machine.poweroff.address == 0x100004);
    assert_int_equal(machine.poweroff.value, 0x5555);
    assert_true(machine.poweroff.mask == UINT32_MAX);
    assert_true(machine.reboot.address == 0x100004);
    assert_int_equal(machine.reboot.value, 0x7777);
}

static void test_virt_interrupts(void **state)
{
    (void)state;
    assert_read();
    assert_int_equal(machine.clint_count, 1);
    assert_true(machine.clints[0].msip == 0x02000000);
    assert_true(machine.clints[0].mtimecmp == 0x02004000);
    assert_true(machine.clints[0].mtime == 0x0200bff8);
    assert_int_equal(machine.clints[0].slots, 2);
    assert_int_equal(machine.clints[0].ids[0], 0);
    assert_int_equal(machine.clints[0].ids[1], 1);
    assert_false(machine.clints[0].split_writes);
    assert_true(machine.plic.base == 0x0c000000);
    assert_true(machine.plic.size == 0x600000);
    assert_int_equal(machine.plic.sources, 96);
    assert_int_equal(machine.plic.contexts, 4);
    assert_int_equal(machine.plic.m_context[1], 2);
    assert_int_equal(machine.plic.s_context[1], 3);
    assert_int_equal(machine.plic.m_context[2], -1);
}

/* --- RAM and reserved memory --- */

static void test_banks_are_sorted_and_merged(void **state)
{
    (void)state;
    CELLS("/memory@80000000", "reg", 1, 0, 0, 0x1000, 0, 0x40000000, 0, 0x1000, 0, 0x50000000, 0, 0, 0, 0x40001000, 0,
          0x1000);
    add("/", "memory@40001800");
    set_text("/memory@40001800", "device_type", "memory");
    CELLS("/memory@40001800", "reg", 0, 0x40001800, 0, 0x1800);
    add("/", "memory@0");
    set_text("/memory@0", "device_type", "memory");
    set_text("/memory@0", "status", "disabled");
    CELLS("/memory@0", "reg", 0, 0, 0, 0x1000);
    assert_read();
    assert_int_equal(machine.bank_count, 2);
    assert_range(machine.banks[0], 0x40000000, 0x3000);
    assert_range(machine.banks[1], 0x100000000, 0x1000);
}

static void test_bank_up_to_the_last_byte(void **state)
{
    (void)state;
    CELLS("/memory@80000000", "reg", 0xffffffff, 0xfffff000, 0, 0x1000);
    assert_read();
    assert_range(machine.banks[0], UINT64_MAX - 0xfff, 0x1000);
    CELLS("/memory@80000000", "reg", 0xffffffff, 0xfffff000, 0, 0x1001);
    assert_refused(DX_BAD_TREE, "memory@80000000: entry 0 of reg");
    CELLS("/memory@80000000", "reg", 0, 0, 0xffffffff, 0xffffffff);
    assert_read();
}

static void test_bank_reg_of_wrong_length(void **state)
{
    (void)state;
    CELLS("/memory@80000000", "reg", 0, 0x80000000, 0, 0x1000, 0);
    assert_refused(DX_BAD_TREE, "entry 1 of reg");
    drop("/soc"); /* it would be refused too */
    CELLS("/", "#address-cells", 3);
    assert_refused(DX_BAD_TREE, "entry 0 of reg");
}

static void test_too_many_banks(void **state)
{
    (void)state;
    uint32_t cells[4 * (MACHINE_BANKS_MAX + 1)] = {0};
    for (uint32_t i = 0; i < MACHINE_BANKS_MAX + 1; i++) {
        cells[4 * i + 1] = 0x80000000 + i * 0x2000;
        cells[4 * i + 3] = 0x1000;
    }
    set_cells("/memory@80000000", "reg", cells, 4 * MACHINE_BANKS_MAX);
    assert_read();
    assert_int_equal(machine.bank_count, MACHINE_BANKS_MAX);
    set_cells("/memory@80000000", "reg", cells, LENGTH_OF(cells));
    assert_refused(DX_TOO_MANY, "RAM");
}

static void test_one_cell_root(void **state)
{
    (void)state;
    CELLS("/", "#address-cells", 1);
    CELLS("/", "#size-cells", 1);
    CELLS("/memory@80000000", "reg", 0x80000000, 0x1000);
    assert_read();
    assert_range(machine.banks[0], 0x80000000, 0x1000);
    /* without the properties: two address cells, one size cell */
    unset("/", "#address-cells");
    unset("/", "#size-cells");
    CELLS("/memory@80000000", "reg", 1, 0x80000000, 0x1000);
    assert_read();
    assert_range(machine.banks[0], 0x180000000, 0x1000);
}

static void add_reserved(const char *name, uint32_t base, uint32_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/reserved-memory/%s", name);
    add("/reserved-memory", name);
    CELLS(path, "reg", 0, base, 0, size);
}

static void make_reserved(void)
{
    add("/", "reserved-memory");
    CELLS("/reserved-memory", "#address-cells", 2);
    CELLS("/reserved-memory", "#size-cells", 2);
    set_bytes("/reserved-memory", "ranges", NULL, 0);
}

static void test_reserved(void **state)
{
    (void)state;
    assert_int_equal(fdt_add_mem_rsv(tree, 0x90000000, 0x1000), 0);
    make_reserved();
    add_reserved("b@88000000", 0x88000000, 0x1000);
    add_reserved("a@87000000", 0x87000000, 0x2000);
    add_reserved("c@89000000", 0x89000000, 0x2000);
    set_text("/reserved-memory/c@89000000", "status", "disabled");
    add("/reserved-memory", "pool"); /* no reg: the owner of the memory chooses */
    assert_read();
    assert_int_equal(machine.reserved_count, 3);
    assert_range(machine.reserved[0], 0x87000000, 0x2000);
    assert_range(machine.reserved[1], 0x88000000, 0x1000);
    assert_range(machine.reserved[2], 0x90000000, 0x1000);
}

static void test_reserved_refused(void **state)
{
    (void)state;
    make_reserved();
    add_reserved("a@87000000", 0x87000000, 0x2000);
    CELLS("/reserved-memory/a@87000000", "reg", 0xffffffff, 0, 0xffffffff, 0);
    assert_refused(DX_BAD_TREE, "a@87000000");
    drop("/reserved-memory/a@87000000");
    assert_int_equal(fdt_add_mem_rsv(tree, UINT64_MAX - 1, 0x1000), 0);
    assert_refused(DX_BAD_TREE, "reservation 0 wraps");
}

static void test_too_many_reserved(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < MACHINE_RESERVED_MAX; i++) {
        assert_int_equal(fdt_add_mem_rsv(tree, i * 0x2000, 0x1000), 0);
    }
    assert_read();
    assert_int_equal(machine.reserved_count, MACHINE_RESERVED_MAX);
    make_reserved();
    add_reserved("a@87000000", 0x87000000, 0x2000);
    assert_refused(DX_TOO_MANY, "reserved memory");
    assert_int_equal(fdt_add_mem_rsv(tree, 0x90000000, 0x1000), 0);
    assert_refused(DX_TOO_MANY, "reserved memory");
}

static void test_ranges_add(void **state)
{
    (void)state;
    struct range list[3];
    size_t count = 0;
    assert_true(host_ranges_add(list, &count, 3, (struct range){30, 10}));
    assert_true(host_ranges_add(list, &count, 3, (struct range){10, 10}));
    assert_true(host_ranges_add(list, &count, 3, (struct range){50, 10}));
    assert_true(host_ranges_add(list, &count, 3, (struct range){70, 0}));
    assert_int_equal(count, 3);
    assert_false(host_ranges_add(list, &count, 3, (struct range){70, 1}));
    assert_int_equal(count, 3);
    /* fills the gap between two, and touches both */
    assert_true(host_ranges_add(list, &count, 3, (struct range){20, 10}));
    assert_int_equal(count, 2);
    assert_range(list[0], 10, 30);
    assert_range(list[1], 50, 10);
    /* swallows everything; all of 64 bits can't be said */
    assert_true(host_ranges_add(list, &count, 3, (struct range){0, UINT64_MAX}));
    assert_true(host_ranges_add(list, &count, 3, (struct range){UINT64_MAX, 1}));
    assert_int_equal(count, 1);
    assert_range(list[0], 0, UINT64_MAX);
}

/* --- /chosen --- */

static void test_initrd_forms(void **state)
{
    (void)state;
    CELLS("/chosen", "linux,initrd-start", 1, 0x84000000);
    CELLS("/chosen", "linux,initrd-end", 1, 0x84000001);
    assert_read();
    assert_range(machine.initrd, 0x184000000, 1);
    unset("/chosen", "linux,initrd-start");
    assert_refused(DX_BAD_TREE, "initrd");
    unset("/chosen", "linux,initrd-end");
    assert_read();
    assert_range(machine.initrd, 0, 0);
    CELLS("/chosen", "linux,initrd-start", 2);
    CELLS("/chosen", "linux,initrd-end", 1);
    assert_refused(DX_BAD_TREE, "initrd");
    CELLS("/chosen", "linux,initrd-end", 1, 2, 3);
    assert_refused(DX_BAD_TREE, "initrd");
}

static void test_bootargs_forms(void **state)
{
    (void)state;
    char text[300];
    memset(text, 'x', sizeof(text));
    text[255] = '\0';
    set_text("/chosen", "bootargs", text);
    assert_read();
    assert_int_equal(strlen(machine.bootargs), 255);
    text[255] = 'x';
    text[256] = '\0';
    set_text("/chosen", "bootargs", text);
    assert_refused(DX_TOO_MANY, "bootargs");
    set_bytes("/chosen", "bootargs", "abc", 3);
    assert_refused(DX_BAD_TREE, "bootargs");
    unset("/chosen", "bootargs");
    assert_read();
    assert_string_equal(machine.bootargs, "");
}

static void test_long_seed_and_model(void **state)
{
    (void)state;
    uint8_t seed[100];
    char model[100];
    memset(seed, 7, sizeof(seed));
    memset(model, 'm', sizeof(model));
    model[sizeof(model) - 1] = '\0';
    set_bytes("/chosen", "rng-seed", seed, sizeof(seed));
    set_text("/", "model", model);
    assert_read();
    assert_int_equal(machine.seed_length, MACHINE_SEED_MAX);
    assert_int_equal(strlen(machine.model), sizeof(machine.model) - 1);
    unset("/", "model");
    drop("/chosen");
    assert_read();
    assert_int_equal(machine.seed_length, 0);
    assert_string_equal(machine.model, "");
    assert_int_equal(machine.uart.kind, MACHINE_UART_NS16550);
}

/* --- harts --- */

static void test_unusable_harts(void **state)
{
    (void)state;
    set_text("/cpus/cpu@0", "mmu-type", "riscv,none");
    assert_read();
    assert_false(machine.harts[0].usable);
    assert_string_equal(machine.harts[0].mmu_type, "");
    assert_true(machine.harts[1].usable);
    unset("/cpus/cpu@0", "mmu-type");
    assert_read();
    assert_false(machine.harts[0].usable);
    set_text("/cpus/cpu@1", "status", "disabled");
    assert_refused(DX_MISSING, "usable hart");
    set_bytes("/cpus/cpu@1", "status", "okay", 4);
    assert_refused(DX_MISSING, "usable hart");
    unset("/cpus/cpu@1", "status");
    assert_read();
    assert_true(machine.harts[1].usable);
}

static void test_isa_forms(void **state)
{
    (void)state;
    set_text("/cpus/cpu@0", "riscv,isa", "RV64IMAC_Zicsr");
    unset("/cpus/cpu@1", "riscv,isa");
    set_text("/cpus/cpu@1", "riscv,isa-base", "rv64i");
    set_bytes("/cpus/cpu@1", "riscv,isa-extensions", "i\0m\0zicsr\0a\0zba", 16);
    assert_read();
    assert_string_equal(machine.harts[0].isa, "rv64imac_zicsr");
    assert_string_equal(machine.harts[1].isa, "rv64ima_zicsr_zba");
    set_text("/cpus/cpu@0", "riscv,isa", "rv64im\n[!] CPU 0: all is lost");
    unset("/cpus/cpu@1", "riscv,isa-base");
    assert_read();
    assert_string_equal(machine.harts[0].isa, "rv64im");
    assert_string_equal(machine.harts[1].isa, "");
}

static void test_isa_too_long(void **state)
{
    (void)state;
    static char text[2 * MACHINE_ISA_MAX];
    memset(text, 'z', sizeof(text) - 1);
    memcpy(text, "rv64i_zicsr_", 12);
    set_text("/cpus/cpu@0", "riscv,isa", text);
    unset("/cpus/cpu@1", "riscv,isa");
    set_text("/cpus/cpu@1", "riscv,isa-base", "rv64i");
    set_text("/cpus/cpu@1", "riscv,isa-extensions", text);
    assert_read();
    assert_string_equal(machine.harts[0].isa, "rv64i_zicsr");
    assert_string_equal(machine.harts[1].isa, "rv64i");
}

static void test_hart_numbers(void **state)
{
    (void)state;
    CELLS("/cpus/cpu@0", "reg", 77);
    assert_read();
    assert_int_equal(machine.harts[0].id, 77);
    assert_int_equal(machine.clints[0].ids[0], 77);
    CELLS("/cpus/cpu@0", "reg", 1);
    assert_refused(DX_BAD_TREE, "hart 1 is named twice");
    CELLS("/cpus/cpu@0", "reg", 0, 0);
    assert_refused(DX_BAD_TREE, "/cpus/cpu@0: reg");
    unset("/cpus/cpu@0", "reg");
    assert_refused(DX_BAD_TREE, "/cpus/cpu@0: reg");
    CELLS("/cpus", "#address-cells", 2);
    CELLS("/cpus/cpu@0", "reg", 0, 5);
    CELLS("/cpus/cpu@1", "reg", 0, 6);
    assert_read();
    assert_int_equal(machine.harts[1].id, 6);
    CELLS("/cpus/cpu@1", "reg", 0xffffffff, 0xffffffff);
    assert_refused(DX_BAD_TREE, "reg is not a hart's number");
    CELLS("/cpus", "#address-cells", 3);
    assert_refused(DX_BAD_TREE, "#address-cells");
}

static void test_too_many_harts(void **state)
{
    (void)state;
    for (uint32_t id = 2; id < MACHINE_HARTS_MAX; id++) {
        add_hart(id, 100 + id);
    }
    assert_read();
    assert_int_equal(machine.hart_count, MACHINE_HARTS_MAX);
    add_hart(MACHINE_HARTS_MAX, 99);
    assert_refused(DX_TOO_MANY, "harts");
}

static void test_timebase(void **state)
{
    (void)state;
    CELLS("/cpus", "timebase-frequency", 0, 4000000);
    assert_read();
    assert_int_equal(machine.timebase_hz, 4000000);
    CELLS("/cpus", "timebase-frequency", 1, 0);
    assert_refused(DX_BAD_TREE, "timebase-frequency");
    CELLS("/cpus", "timebase-frequency", 0);
    assert_refused(DX_BAD_TREE, "timebase-frequency");
    unset("/cpus", "timebase-frequency");
    assert_refused(DX_MISSING, "timebase-frequency");
    CELLS("/cpus/cpu@1", "timebase-frequency", 1000000);
    assert_read();
    assert_int_equal(machine.timebase_hz, 1000000);
}

static void test_missing_parts(void **state)
{
    (void)state;
    drop("/soc/clint@2000000");
    assert_refused(DX_MISSING, "timer");
    unset("/memory@80000000", "device_type");
    assert_refused(DX_MISSING, "RAM");
    drop("/cpus");
    assert_refused(DX_MISSING, "/cpus");
}

/* --- timers --- */

static void test_hart_without_timer(void **state)
{
    (void)state;
    CELLS("/soc/clint@2000000", "interrupts-extended", INTC + 1, 3, INTC + 1, 7);
    assert_read();
    assert_false(machine.harts[0].usable);
    assert_true(machine.harts[1].usable);
    assert_int_equal(machine.clints[0].slots, 1);
    assert_int_equal(machine.clints[0].ids[0], 1);
}

static void test_slots_keep_the_lists_order(void **state)
{
    (void)state;
    CELLS("/soc/clint@2000000", "interrupts-extended", INTC + 1, 3, 55, 3, INTC, 3, INTC + 1, 7, 55, 7, INTC, 7);
    assert_read();
    assert_int_equal(machine.clints[0].slots, 3);
    assert_int_equal(machine.clints[0].ids[0], 1);
    assert_true(machine.clints[0].ids[1] == ~0UL);
    assert_int_equal(machine.clints[0].ids[2], 0);
}

static void test_thead_clint(void **state)
{
    (void)state;
    set_bytes("/soc/clint@2000000", "compatible", "riscv,clint0\0thead,c900-clint", 30);
    assert_read();
    assert_true(machine.clints[0].mtime == 0);
    assert_true(machine.clints[0].mtimecmp == 0x02004000);
    assert_true(machine.clints[0].split_writes);
    set_text("/soc/clint@2000000", "compatible", "sifive,clint0");
    set_bytes("/soc/clint@2000000", "clint,has-no-64bit-mmio", NULL, 0);
    assert_read();
    assert_true(machine.clints[0].mtime != 0);
    assert_true(machine.clints[0].split_writes);
}

static void make_aclint(void)
{
    drop("/soc/clint@2000000");
    add_device("mswi@2000000", "riscv,aclint-mswi", 0x2000000, 0x4000);
    CELLS("/soc/mswi@2000000", "interrupts-extended", INTC, 3, INTC + 1, 3);
    add_device("mtimer@2004000", "riscv,aclint-mtimer", 0, 0);
    CELLS("/soc/mtimer@2004000", "interrupts-extended", INTC, 7, INTC + 1, 7);
    CELLS("/soc/mtimer@2004000", "reg", 0, 0x200bff8, 0, 0x4008, 0, 0x2004000, 0, 0x7ff8);
}

/* The one clint with a timer, wherever it stands. */
static const struct machine_clint *timer_of_machine(void)
{
    for (size_t i = 0; i < machine.clint_count; i++) {
        if (machine.clints[i].mtimecmp != 0) {
            return &machine.clints[i];
        }
    }
    fail();
    return NULL;
}

static void test_aclint(void **state)
{
    (void)state;
    make_aclint();
    assert_read();
    assert_int_equal(machine.clint_count, 2);
    const struct machine_clint *timer = timer_of_machine();
    const struct machine_clint *soft = &machine.clints[timer == &machine.clints[0] ? 1 : 0];
    assert_true(timer->mtime == 0x200bff8 && timer->mtimecmp == 0x2004000 && timer->msip == 0);
    assert_true(soft->mtime == 0 && soft->mtimecmp == 0 && soft->msip == 0x2000000);
    assert_int_equal(soft->slots, 2);
}

static void test_aclint_names(void **state)
{
    (void)state;
    make_aclint();
    CELLS("/soc/mtimer@2004000", "reg", 0, 0x2004000, 0, 0x7ff8, 0, 0x200bff8, 0, 8);
    set_bytes("/soc/mtimer@2004000", "reg-names", "mtimecmp\0mtime", 15);
    assert_read();
    assert_true(timer_of_machine()->mtime == 0x200bff8);
    assert_true(timer_of_machine()->mtimecmp == 0x2004000);
    unset("/soc/mtimer@2004000", "reg-names");
    CELLS("/soc/mtimer@2004000", "reg", 0, 0x2004000, 0, 0x8000);
    assert_read();
    assert_true(timer_of_machine()->mtime == 0x200bff8);
    assert_true(timer_of_machine()->mtimecmp == 0x2004000);
    assert_false(timer_of_machine()->split_writes);
    set_text("/soc/mtimer@2004000", "compatible", "thead,c900-aclint-mtimer");
    assert_read();
    assert_true(timer_of_machine()->mtime == 0);
    assert_true(timer_of_machine()->mtimecmp == 0x2004000);
    assert_true(timer_of_machine()->split_writes);
}

static void test_bad_timers(void **state)
{
    (void)state;
    CELLS("/soc/clint@2000000", "interrupts-extended", INTC, 3, INTC);
    assert_refused(DX_BAD_TREE, "clint@2000000: interrupts-extended");
    set_bytes("/soc/clint@2000000", "interrupts-extended", NULL, 0);
    assert_refused(DX_BAD_TREE, "interrupts-extended");
    CELLS("/soc/clint@2000000", "interrupts-extended", INTC, 7);
    CELLS("/soc/clint@2000000", "reg", 0, 0x2000000, 0, 0x4000);
    assert_refused(DX_BAD_TREE, "clint@2000000: reg");
    CELLS("/soc/clint@2000000", "reg", 0xffffffff, 0xffffff00, 0, 0xc000);
    assert_refused(DX_BAD_TREE, "clint@2000000: reg");
    make_aclint();
    CELLS("/soc/mtimer@2004000", "reg", 0, 0x200bff8, 0, 8, 0, 0x2004000, 0, 8);
    assert_refused(DX_BAD_TREE, "mtimer@2004000: reg");
    CELLS("/soc/mtimer@2004000", "reg", 0, 0x2004000, 0, 0);
    assert_refused(DX_BAD_TREE, "mtimer@2004000: reg");
    drop("/soc/mtimer@2004000");
    CELLS("/soc/mswi@2000000", "reg", 0, 0x2000000, 0, 4);
    assert_refused(DX_BAD_TREE, "mswi@2000000: reg");
    unset("/soc/mswi@2000000", "reg");
    assert_refused(DX_BAD_TREE, "mswi@2000000: reg");
}

static void test_too_many_timers(void **state)
{
    (void)state;
    char name[32];
    char path[64];
    for (uint32_t i = 1; i < MACHINE_CLINTS_MAX; i++) {
        snprintf(name, sizeof(name), "clint@%x", 0x3000000 + i * 0x10000);
        snprintf(path, sizeof(path), "/soc/%s", name);
        add_device(name, "riscv,clint0", 0x3000000 + i * 0x10000, 0x10000);
        CELLS(path, "interrupts-extended", INTC, 7);
    }
    assert_read();
    assert_int_equal(machine.clint_count, MACHINE_CLINTS_MAX);
    add_device("clint@4000000", "riscv,clint0", 0x4000000, 0x10000);
    CELLS("/soc/clint@4000000", "interrupts-extended", INTC, 7);
    assert_refused(DX_TOO_MANY, "CLINT");
    set_text("/soc/clint@4000000", "status", "disabled");
    assert_read();
}

static void test_timer_for_too_many_harts(void **state)
{
    (void)state;
    fdt32_t pairs[2 * (MACHINE_HARTS_MAX + 1)];
    for (uint32_t i = 0; i < MACHINE_HARTS_MAX + 1; i++) {
        pairs[2 * i] = cpu_to_fdt32(INTC + i);
        pairs[2 * i + 1] = cpu_to_fdt32(7);
    }
    set_bytes("/soc/clint@2000000", "interrupts-extended", pairs, (int)sizeof(pairs) - 8);
    assert_read();
    assert_int_equal(machine.clints[0].slots, MACHINE_HARTS_MAX);
    set_bytes("/soc/clint@2000000", "interrupts-extended", pairs, sizeof(pairs));
    assert_refused(DX_TOO_MANY, "harts");
}

/* --- PLIC --- */

static void test_plic_forms(void **state)
{
    (void)state;
    set_text("/soc/plic@c000000", "compatible", "thead,c900-plic");
    CELLS("/soc/plic@c000000", "interrupts-extended", INTC, 11, INTC + 1, 0xffffffff, 55, 9, INTC + 1, 9);
    assert_read();
    assert_int_equal(machine.plic.m_context[0], 0);
    assert_int_equal(machine.plic.s_context[0], -1);
    assert_int_equal(machine.plic.m_context[1], -1);
    assert_int_equal(machine.plic.s_context[1], 3);
    drop("/soc/plic@c000000");
    assert_read();
    assert_true(machine.plic.base == 0);
    assert_int_equal(machine.plic.m_context[0], -1);
    assert_int_equal(machine.uart.interrupt, 0);
}

static void test_second_plic_is_ignored(void **state)
{
    (void)state;
    add("/", "other"); /* behind /soc or before it: exactly one of the two is taken */
    add_device("plic@d000000", "riscv,plic0", 0x0d000000, 0x600000);
    CELLS("/soc/plic@d000000", "riscv,ndev", 5);
    CELLS("/soc/plic@d000000", "interrupts-extended", INTC, 9);
    assert_read();
    assert_true(machine.plic.base == 0x0c000000 ? machine.plic.sources == 96 : machine.plic.sources == 5);
}

static void test_bad_plic(void **state)
{
    (void)state;
    CELLS("/soc/plic@c000000", "interrupts-extended", INTC);
    assert_refused(DX_BAD_TREE, "plic@c000000: interrupts-extended");
    CELLS("/soc/plic@c000000", "riscv,ndev", 1024);
    assert_refused(DX_BAD_TREE, "plic@c000000: riscv,ndev");
    unset("/soc/plic@c000000", "riscv,ndev");
    assert_refused(DX_BAD_TREE, "plic@c000000: riscv,ndev");
    unset("/soc/plic@c000000", "reg");
    assert_refused(DX_BAD_TREE, "plic@c000000: reg");
}

/* --- buses --- */

static void test_translated_bus(void **state)
{
    (void)state;
    CELLS("/soc", "ranges", 0, 0x02000000, 0, 0x62000000, 0, 0x10000, 0, 0, 1, 0, 0, 0x2000000, 0, 0x0c000000, 0,
          0x5c000000, 0, 0x600000);
    assert_read();
    assert_true(machine.clints[0].msip == 0x62000000);
    assert_true(machine.plic.base == 0x5c000000);
    assert_true(machine.has_rtc == (sizeof(long) == 8));
    if (machine.has_rtc) {
        assert_true(machine.rtc_base == 0x100101000);
    }
    assert_int_equal(machine.uart.kind, MACHINE_UART_NONE); /* no entry covers it */
}

static void test_bus_without_ranges(void **state)
{
    (void)state;
    unset("/soc", "ranges");
    assert_refused(DX_BAD_TREE, "reg");
}

static void test_bus_ranges_that_wrap(void **state)
{
    (void)state;
    CELLS("/soc", "ranges", 0, 0, 0xffffffff, 0xff000000, 1, 0);
    assert_refused(DX_BAD_TREE, "reg");
    CELLS("/soc", "ranges", 0, 0); /* shorter than one entry */
    assert_refused(DX_BAD_TREE, "reg");
}

static void test_nested_buses(void **state)
{
    (void)state;
    add("/", "bus");
    CELLS("/bus", "#address-cells", 1);
    CELLS("/bus", "#size-cells", 1);
    CELLS("/bus", "ranges", 0x1000, 0, 0x71000000, 0x10000);
    add("/bus", "inner");
    CELLS("/bus/inner", "#address-cells", 1);
    CELLS("/bus/inner", "#size-cells", 1);
    CELLS("/bus/inner", "ranges", 0, 0x2000, 0x1000);
    add("/bus/inner", "uart");
    set_text("/bus/inner/uart", "compatible", "snps,dw-apb-uart");
    CELLS("/bus/inner/uart", "reg", 0x100, 0x100);
    CELLS("/bus/inner/uart", "reg-shift", 2);
    CELLS("/bus/inner/uart", "reg-io-width", 4);
    CELLS("/bus", "interrupt-parent", PLIC);
    CELLS("/bus/inner/uart", "interrupts", 33, 4);
    set_text("/chosen", "stdout-path", "/bus/inner/uart");
    assert_read();
    assert_true(machine.uart.base == 0x71001100);
    assert_int_equal(machine.uart.reg_shift, 2);
    assert_int_equal(machine.uart.reg_io_width, 4);
    assert_int_equal(machine.uart.interrupt, 33);
}

/* --- virtio --- */

static void test_virtio_slots(void **state)
{
    (void)state;
    CELLS("/soc", "interrupt-parent", PLIC);
    add_device("virtio_mmio@10002000", "virtio,mmio", 0x10002000, 0x1000);
    CELLS("/soc/virtio_mmio@10002000", "interrupts-extended", PLIC, 2);
    add_device("virtio_mmio@10001000", "virtio,mmio", 0x10001000, 0x1000);
    CELLS("/soc/virtio_mmio@10001000", "interrupts", 1);
    add_device("virtio_mmio@10003000", "virtio,mmio", 0x10003000, 0x1000);
    CELLS("/soc/virtio_mmio@10003000", "interrupts-extended", SYSCON, 3);
    add_device("virtio_mmio@10004000", "virtio,mmio", 0x10004000, 0x1000);
    set_text("/soc/virtio_mmio@10004000", "status", "disabled");
    assert_read();
    assert_int_equal(machine.virtio_count, 3);
    for (size_t n = 0; n < 3; n++) {
        char path[64];
        snprintf(path, sizeof(path), "/soc/virtio_mmio@1000%u000", (unsigned)n + 1);
        assert_string_equal(machine.virtio[n].path, path);
        assert_true(machine.virtio[n].base == 0x10001000 + n * 0x1000);
        assert_int_equal(machine.virtio[n].interrupt, n == 2 ? 0 : n + 1); /* the last one's isn't the PLIC's */
    }
}

/* MACHINE_PATH_MAX with the NUL: one that is longer has none, and nothing of it stays. */
static void test_virtio_long_path(void **state)
{
    (void)state;
    char name[MACHINE_PATH_MAX + 1] = "v";
    char path[MACHINE_PATH_MAX + 8];
    memset(name, 'v', MACHINE_PATH_MAX - 6);
    snprintf(path, sizeof(path), "/soc/%s", name);
    assert_int_equal(strlen(path), MACHINE_PATH_MAX - 1);
    add("/soc", name);
    set_text(path, "compatible", "virtio,mmio");
    CELLS(path, "reg", 0, 0x10001000, 0, 0x1000);
    assert_read();
    assert_string_equal(machine.virtio[0].path, path);
    drop(path);
    strcat(name, "v");
    strcat(path, "v");
    add("/soc", name);
    set_text(path, "compatible", "virtio,mmio");
    CELLS(path, "reg", 0, 0x10001000, 0, 0x1000);
    assert_read();
    assert_int_equal(machine.virtio_count, 1);
    assert_string_equal(machine.virtio[0].path, "");
}

/* --- console --- */

static void test_console_by_alias(void **state)
{
    (void)state;
    struct machine_uart uart;
    add_device("serial@10010000", "sifive,uart0", 0x10010000, 0x1000);
    add("/", "aliases");
    set_text("/aliases", "serial0", "/soc/serial@10010000");
    set_text("/chosen", "stdout-path", "serial0:115200n8");
    assert_true(console_of_tree(&uart));
    assert_int_equal(uart.kind, MACHINE_UART_SIFIVE);
    assert_true(uart.base == 0x10010000);
    assert_int_equal(uart.reg_io_width, 4);
    assert_int_equal(uart.interrupt, 0);
    set_text("/chosen", "stdout-path", "/soc/serial@10000000:115200");
    assert_true(console_of_tree(&uart));
    assert_int_equal(uart.kind, MACHINE_UART_NS16550);
    unset("/chosen", "stdout-path");
    assert_true(console_of_tree(&uart));
    assert_int_equal(uart.kind, MACHINE_UART_SIFIVE);
}

static void test_console_falls_back(void **state)
{
    (void)state;
    static const char *const paths[] = {"", ":", "/", "//", "/nowhere", "serial0", "serial0:9600", "/soc/plic@c000000"};
    struct machine_uart uart;
    for (size_t i = 0; i < ARRAY_LENGTH(paths); i++) {
        set_text("/chosen", "stdout-path", paths[i]);
        assert_true(console_of_tree(&uart));
        assert_true(uart.base == 0x10000000);
    }
    set_bytes("/chosen", "stdout-path", "/soc", 4); /* not terminated */
    assert_true(console_of_tree(&uart));
    set_text("/soc/serial@10000000", "status", "fail");
    assert_false(console_of_tree(&uart));
    assert_int_equal(uart.kind, MACHINE_UART_NONE);
    assert_read();
    assert_int_equal(machine.uart.kind, MACHINE_UART_NONE);
}

static void test_console_alias_of_itself(void **state)
{
    (void)state;
    struct machine_uart uart;
    add("/", "aliases");
    set_text("/aliases", "serial0", "serial0");
    set_text("/chosen", "stdout-path", "serial0");
    assert_true(console_of_tree(&uart)); /* the only UART */
    set_bytes("/aliases", "serial0", "/soc/serial@10000000", 20);
    assert_true(console_of_tree(&uart));
}

static void test_console_that_cannot_be_driven(void **state)
{
    (void)state;
    struct machine_uart uart;
    CELLS("/soc/serial@10000000", "reg-io-width", 2);
    assert_false(console_of_tree(&uart));
    CELLS("/soc/serial@10000000", "reg-io-width", 4);
    CELLS("/soc/serial@10000000", "reg-shift", 31);
    assert_false(console_of_tree(&uart));
    CELLS("/soc/serial@10000000", "reg-shift", 2);
    CELLS("/soc/serial@10000000", "reg-offset", 0x100);
    assert_false(console_of_tree(&uart));
    CELLS("/soc/serial@10000000", "reg-offset", 0x40);
    assert_true(console_of_tree(&uart));
    assert_true(uart.base == 0x10000040);
}

static void test_console_interrupt_forms(void **state)
{
    (void)state;
    CELLS("/soc/serial@10000000", "interrupts-extended", PLIC, 12);
    assert_read();
    assert_int_equal(machine.uart.interrupt, 12);
    CELLS("/soc/serial@10000000", "interrupts-extended", SYSCON, 12);
    assert_read();
    assert_int_equal(machine.uart.interrupt, 0);
    CELLS("/soc/serial@10000000", "interrupts-extended", PLIC);
    assert_read();
    assert_int_equal(machine.uart.interrupt, 0);
    unset("/soc/serial@10000000", "interrupts-extended");
    CELLS("/soc/serial@10000000", "interrupt-parent", SYSCON);
    assert_read();
    assert_int_equal(machine.uart.interrupt, 0);
    unset("/soc/serial@10000000", "interrupt-parent");
    CELLS("/", "interrupt-parent", PLIC);
    assert_read();
    assert_int_equal(machine.uart.interrupt, 10);
    unset("/soc/serial@10000000", "interrupts");
    assert_read();
    assert_int_equal(machine.uart.interrupt, 0);
}

/* --- syscon --- */

static void test_syscon_forms(void **state)
{
    (void)state;
    CELLS("/poweroff", "mask", 0xff);
    assert_read();
    assert_int_equal(machine.poweroff.mask, 0xff);
    unset("/poweroff", "value");
    assert_read();
    assert_int_equal(machine.poweroff.value, 0xff);
    assert_true(machine.poweroff.mask == UINT32_MAX);
    unset("/poweroff", "mask");
    unset("/reboot", "offset");
    assert_read();
    assert_true(machine.poweroff.address == 0);
    assert_true(machine.reboot.address == 0x100000);
}

static void test_bad_syscon(void **state)
{
    (void)state;
    static const uint32_t offsets[] = {0x1000, 0xffd, 2, 0xffffffff};
    for (size_t i = 0; i < ARRAY_LENGTH(offsets); i++) {
        CELLS("/poweroff", "offset", offsets[i]);
        assert_read();
        assert_true(machine.poweroff.address == 0);
    }
    CELLS("/poweroff", "offset", 0);
    CELLS("/poweroff", "regmap", 12345);
    assert_read();
    assert_true(machine.poweroff.address == 0);
    CELLS("/reboot", "regmap", PLIC, 0);
    assert_read();
    assert_true(machine.reboot.address == 0);
    /* a node that refers to itself */
    CELLS("/poweroff", "phandle", 12345);
    assert_read();
    assert_true(machine.poweroff.address == 0);
}

/* --- damaged trees --- */

static _Alignas(8) uint8_t sample[TREE_ROOM];

static size_t make_sample(void)
{
    memcpy(sample, tree, sizeof(tree));
    assert_int_equal(fdt_pack(sample), 0);
    return fdt_totalsize(sample);
}

static void test_sizes(void **state)
{
    (void)state;
    size_t size = make_sample();
    assert_int_equal(host_tree_size(sample, size), size);
    assert_int_equal(host_tree_size(sample, HOST_TREE_LIMIT), size);
    assert_int_equal(host_tree_size(sample, size - 1), 0);
    assert_int_equal(host_tree_size(sample, sizeof(struct fdt_header) - 1), 0);
    assert_int_equal(host_tree_size(sample, 0), 0);
    assert_int_equal(host_tree_size(NULL, HOST_TREE_LIMIT), 0);
    fdt_set_totalsize(sample, 0x7fffffff);
    assert_int_equal(host_tree_size(sample, HOST_TREE_LIMIT), 0);
}

static void test_bad_headers(void **state)
{
    (void)state;
    struct machine_uart uart;
    size_t size = make_sample();
    fdt_set_off_dt_struct(sample, fdt_off_dt_struct(sample) + 1);
    fdt_set_size_dt_struct(sample, fdt_size_dt_struct(sample) - 4);
    assert_int_equal(host_tree_size(sample, size), 0);
    make_sample();
    fdt_set_off_mem_rsvmap(sample, fdt_off_mem_rsvmap(sample) + 4);
    assert_int_equal(host_tree_size(sample, size), 0);
    make_sample();
    fdt_set_version(sample, 16);
    assert_int_equal(host_tree_size(sample, size), 0);
    assert_false(host_tree_console(sample, size, &uart));
    assert_int_equal(uart.kind, MACHINE_UART_NONE);
    assert_int_equal(read_blob(sample, size, size), DX_BAD_TREE);
    make_sample();
    assert_int_equal(host_tree_size(sample + 4, size), 0);
}

/* Damage at the very end doesn't hide the console. */
static void test_console_of_damaged_tree(void **state)
{
    (void)state;
    struct machine_uart uart;
    size_t size = make_sample();
    fdt_set_size_dt_struct(sample, fdt_size_dt_struct(sample) - 4);
    assert_int_equal(read_blob(sample, size, size), DX_BAD_TREE);
    assert_true(host_tree_console(sample, size, &uart));
    assert_true(uart.base == 0x10000000);
}

static void use_blob(const uint8_t *bytes, size_t length, size_t limit)
{
    struct machine_uart uart;
    uint8_t *copy = malloc(length == 0 ? 1 : length);
    memcpy(copy, bytes, length);
    enum dx_error error = host_tree_read(copy, limit, &machine, &refusal);
    assert_true(error != DX_OK || (machine.bank_count > 0 && machine.hart_count > 0 && machine.timebase_hz > 0));
    host_tree_console(copy, limit, &uart);
    free(copy);
}

static void test_truncated_everywhere(void **state)
{
    (void)state;
    size_t size = make_sample();
    for (size_t length = 0; length < size; length++) {
        assert_int_equal(read_blob(sample, length, length), DX_BAD_TREE);
        use_blob(sample, length, length);
    }
}

/* The header says less than there is: the blocks then lie outside, or the tree ends early. */
static void test_total_size_lies(void **state)
{
    (void)state;
    size_t size = make_sample();
    for (size_t total = 0; total < size; total++) {
        fdt_set_totalsize(sample, (uint32_t)total);
        use_blob(sample, MAX(total, sizeof(struct fdt_header)), size);
    }
}

static void test_every_byte_flipped(void **state)
{
    (void)state;
    static const uint8_t flips[] = {0x01, 0x80, 0xff};
    size_t size = make_sample();
    for (size_t at = 0; at < size; at++) {
        for (size_t i = 0; i < ARRAY_LENGTH(flips); i++) {
            sample[at] ^= flips[i];
            use_blob(sample, size, size);
            sample[at] ^= flips[i];
        }
    }
}

static void test_random_damage(void **state)
{
    (void)state;
    uint64_t seed = 20240607;
    size_t size = make_sample();
    for (int round = 0; round < 3000; round++) {
        make_sample();
        for (int i = 0; i < 8; i++) {
            /* mostly whole cells of the structure, with the values that do most harm */
            static const uint32_t values[] = {0, 1, 2, 3, 4, 9, 0x7fffffff, 0x80000000, 0xfffffff4, 0xffffffff};
            size_t at = 40 + (size_t)test_random(&seed) % (size - 44);
            fdt32_st(sample + (at & ~(size_t)3), values[test_random(&seed) % ARRAY_LENGTH(values)]);
        }
        use_blob(sample, size, size);
    }
}

static void test_deep_nesting(void **state)
{
    (void)state;
    static _Alignas(8) uint8_t deep[HOST_TREE_LIMIT];
    int levels = 0;
    assert_int_equal(fdt_create(deep, sizeof(deep)), 0);
    assert_int_equal(fdt_finish_reservemap(deep), 0);
    assert_int_equal(fdt_begin_node(deep, ""), 0);
    while (levels < 20000) {
        assert_int_equal(fdt_begin_node(deep, "n"), 0);
        assert_int_equal(fdt_property_string(deep, "compatible", "ns16550a"), 0);
        levels++;
    }
    assert_int_equal(fdt_property_u32(deep, "reg", 1), 0);
    for (; levels >= 0; levels--) {
        assert_int_equal(fdt_end_node(deep), 0);
    }
    assert_int_equal(fdt_finish(deep), 0);
    assert_int_equal(read_blob(deep, fdt_totalsize(deep), HOST_TREE_LIMIT), DX_MISSING);
    use_blob(deep, fdt_totalsize(deep), HOST_TREE_LIMIT);
}

static void test_values(void **state)
{
    (void)state;
    uint32_t cell = 7;
    uint64_t number = 7;
    size_t length;
    int root = 0;
    set_bytes("/", "three", "abc", 3);
    set_bytes("/", "list", "ab\0cde", 7);
    set_bytes("/", "empty", NULL, 0);
    assert_false(tree_u32(tree, root, "three", &cell));
    assert_false(tree_u32(tree, root, "none", &cell));
    assert_false(tree_number(tree, root, "three", &number));
    assert_false(tree_number(tree, root, "empty", &number));
    assert_true(cell == 7 && number == 7);
    assert_null(tree_string(tree, root, "three"));
    assert_null(tree_string(tree, root, "empty"));
    assert_string_equal(tree_string(tree, root, "list"), "ab");
    assert_non_null(tree_strings(tree, root, "list", &length));
    assert_int_equal(length, 7);
    assert_true(tree_lists(tree, root, "list", "cde"));
    assert_false(tree_lists(tree, root, "list", "cd"));
    assert_false(tree_lists(tree, root, "three", "abc"));
    assert_true(tree_cells("\1\2\3\4\5\6\7\10", 2) == 0x0102030405060708);
    assert_true(tree_cells("\1\2\3\4", 0) == 0);
}

#define TEST(name) cmocka_unit_test_setup(name, make_virt)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_virt_memory_and_chosen),
        TEST(test_virt_harts),
        TEST(test_virt_devices),
        TEST(test_virt_interrupts),
        TEST(test_banks_are_sorted_and_merged),
        TEST(test_bank_up_to_the_last_byte),
        TEST(test_bank_reg_of_wrong_length),
        TEST(test_too_many_banks),
        TEST(test_one_cell_root),
        TEST(test_reserved),
        TEST(test_reserved_refused),
        TEST(test_too_many_reserved),
        TEST(test_ranges_add),
        TEST(test_initrd_forms),
        TEST(test_bootargs_forms),
        TEST(test_long_seed_and_model),
        TEST(test_unusable_harts),
        TEST(test_isa_forms),
        TEST(test_isa_too_long),
        TEST(test_hart_numbers),
        TEST(test_too_many_harts),
        TEST(test_timebase),
        TEST(test_missing_parts),
        TEST(test_hart_without_timer),
        TEST(test_slots_keep_the_lists_order),
        TEST(test_thead_clint),
        TEST(test_aclint),
        TEST(test_aclint_names),
        TEST(test_bad_timers),
        TEST(test_too_many_timers),
        TEST(test_timer_for_too_many_harts),
        TEST(test_plic_forms),
        TEST(test_second_plic_is_ignored),
        TEST(test_bad_plic),
        TEST(test_translated_bus),
        TEST(test_bus_without_ranges),
        TEST(test_bus_ranges_that_wrap),
        TEST(test_nested_buses),
        TEST(test_virtio_slots),
        TEST(test_virtio_long_path),
        TEST(test_console_by_alias),
        TEST(test_console_falls_back),
        TEST(test_console_alias_of_itself),
        TEST(test_console_that_cannot_be_driven),
        TEST(test_console_interrupt_forms),
        TEST(test_syscon_forms),
        TEST(test_bad_syscon),
        TEST(test_sizes),
        TEST(test_bad_headers),
        TEST(test_console_of_damaged_tree),
        TEST(test_truncated_everywhere),
        TEST(test_total_size_lies),
        TEST(test_every_byte_flipped),
        TEST(test_random_damage),
        TEST(test_deep_nesting),
        TEST(test_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
