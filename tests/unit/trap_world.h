/* SPDX-License-Identifier: MIT
 *
 * What the tests of the trap handlers share: a guest in Bare or paged mode whose instructions lie in its RAM, and traps
 * from it.
 */
#ifndef UNIT_TRAP_WORLD_H
#define UNIT_TRAP_WORLD_H

#include "core_world.h"
#include "isolation/guest_walk.h"
#include "trap/trap.h"

enum { CODE = RAM_BASE + 0x2000, DEVICE = 0x10000000, DEVICE_SIZE = 0x1000, TABLES = 0x10000 };

static struct vcpu *guest;

/* A device of one 8-byte-strided register of each width, which remembers what was done to it. */
static struct {
    struct device device;
    unsigned reads, writes;
    uint64_t written, answer;
    unsigned again; /* so many stores are to be made once more */
} box;

static uint64_t box_read(struct device *device, uint32_t index)
{
    (void)device;
    (void)index;
    box.reads++;
    return box.answer;
}

static void box_write(struct device *device, uint32_t index, uint64_t value)
{
    (void)index;
    box.writes++;
    box.written = value;
    device->again = box.again > 0;
    box.again -= device->again ? 1 : 0;
}

static const struct device_register box_registers[] = {
    {.name = "byte", .offset = 0, .width = 1, .access = REG_RW, .read = box_read, .write = box_write},
    {.name = "half", .offset = 8, .width = 2, .access = REG_RW, .read = box_read, .write = box_write},
    {.name = "word", .offset = 16, .width = 4, .access = REG_RW, .read = box_read, .write = box_write},
    {.name = "double", .offset = 24, .width = 8, .access = REG_RW, .read = box_read, .write = box_write},
};
static const struct device_class box_class = {
    .name = "box", .registers = box_registers, .register_count = ARRAY_LENGTH(box_registers)};

static inline uint8_t *guest_byte(uint64_t address)
{
    return core.ram[0] + (address - RAM_BASE);
}

/* Puts an instruction of 2 or 4 bytes where the guest's pc is, and the pc there. */
static inline void code_at(uint64_t address, uint32_t bits)
{
    guest->context.pc = (unsigned long)address;
    memcpy(guest_byte(address), &bits, (bits & 3) == 3 ? 4 : 2);
}

static inline void code(uint32_t bits)
{
    code_at(CODE, bits);
}

/* The guest traps; it must be what runs afterwards. */
static inline void trap(unsigned long cause, unsigned long value)
{
    fake_arch.trap_value = value;
    assert_ptr_equal(trap_handle(&guest->context, cause), guest);
}

static inline void assert_reflected(unsigned long cause, unsigned long value)
{
    assert_int_equal(fake_arch.reflections, 1);
    assert_int_equal(fake_arch.reflected_cause, cause);
    assert_int_equal(fake_arch.reflected_value, value);
    fake_arch.reflections = 0;
}

static inline void assert_went_on(unsigned length)
{
    assert_int_equal(fake_arch.reflections, 0);
    assert_int_equal(guest->context.pc, CODE + length);
}

/* The last level's entry that map_page wrote for this address. */
static inline void clear_in_page(uint64_t virtual, uint64_t bits)
{
    const unsigned levels = XLEN == 64 ? 3 : 2;
    const uint64_t index = virtual >> 12 & (XLEN == 64 ? 0x1ff : 0x3ff);
    unsigned long entry;
    uint8_t *place = guest_byte(RAM_BASE + TABLES + (levels - 1) * 4096 + index * sizeof(long));
    memcpy(&entry, place, sizeof(entry));
    entry &= ~(unsigned long)bits;
    memcpy(place, &entry, sizeof(entry));
}

/* One page of the guest's, virtual to guest-physical, by tables in its RAM: Sv39, or Sv32 at 32 bits. Three levels
 * (two) of tables from RAM_BASE + TABLES on. rights: V is added. */
enum { PTE_V = 1, PTE_R = 2, PTE_W = 4, PTE_X = 8, PTE_U = 16, PTE_A = 64, PTE_D = 128 };

static inline void put_entry(uint64_t address, uint64_t value)
{
    memcpy(guest_byte(address), &value, sizeof(long));
}

static inline void map_page(uint64_t virtual, uint64_t physical, unsigned rights)
{
    const unsigned levels = XLEN == 64 ? 3 : 2;
    const unsigned bits = XLEN == 64 ? 9 : 10;
    uint64_t table = RAM_BASE + TABLES;
    for (unsigned level = levels - 1; level > 0; level--) {
        uint64_t index = virtual >> (12 + level * bits) & ((1u << bits) - 1);
        put_entry(table + index * sizeof(long), (table + 4096) >> 12 << 10 | PTE_V);
        table += 4096;
    }
    uint64_t index = virtual >> 12 & ((1u << bits) - 1);
    put_entry(table + index * sizeof(long), physical >> 12 << 10 | rights | PTE_V | PTE_A | PTE_D);
}

static inline void paging_on(void)
{
    const unsigned long mode = XLEN == 64 ? 8ul << (XLEN - 4) : 1ul << (XLEN - 1);
    fake_arch.satp = mode | (RAM_BASE + TABLES) >> 12;
}

static inline int trap_setup(void **state)
{
    setup(state);
    guest = run_capsule(0, 1)->vcpus;
    memset(&box, 0, sizeof(box));
    box.device.class = &box_class;
    box.device.window = (struct range){DEVICE, DEVICE_SIZE};
    assert_int_equal(device_bus_add(&guest->capsule->bus, &box.device), DX_OK);
    guest->context.status = STATUS_MPP_S;
    guest->context.stvec = RAM_BASE + 0x100;
    guest->context.pc = CODE;
    return 0;
}

#define TRAP_TEST(test) cmocka_unit_test_setup_teardown(test, trap_setup, teardown)

#endif
