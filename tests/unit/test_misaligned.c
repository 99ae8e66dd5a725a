/* SPDX-License-Identifier: MIT
 *
 * Misaligned loads and stores: every width at every place, faults at every byte, and instructions that changed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "trap/misaligned.h"

enum { MEMORY = 64, BASE = 0x10000, CAUSE_LOAD = 13, CAUSE_STORE = 15, RD = 10, RS1 = 11 };

static struct {
    uint8_t memory[MEMORY];
    unsigned long start; /* memory's address as the guest sees it; may wrap */
    unsigned good;       /* bytes of memory that do not fault */
    unsigned long x[32];
    uint64_t f[32];
    unsigned accesses, writes; /* of bytes; of registers */
} guest;

static bool load_byte(void *context, unsigned long address, uint8_t *byte, unsigned long *cause)
{
    assert_ptr_equal(context, &guest);
    guest.accesses++;
    if (address - guest.start >= guest.good) {
        *cause = CAUSE_LOAD;
        return false;
    }
    *byte = guest.memory[address - guest.start];
    return true;
}

static bool store_byte(void *context, unsigned long address, uint8_t byte, unsigned long *cause)
{
    assert_ptr_equal(context, &guest);
    guest.accesses++;
    if (address - guest.start >= guest.good) {
        *cause = CAUSE_STORE;
        return false;
    }
    guest.memory[address - guest.start] = byte;
    return true;
}

static unsigned long get_x(void *context, unsigned reg)
{
    assert_ptr_equal(context, &guest);
    assert_in_range(reg, 1, 31);
    return guest.x[reg];
}

static void set_x(void *context, unsigned reg, unsigned long value)
{
    assert_ptr_equal(context, &guest);
    assert_in_range(reg, 1, 31);
    guest.x[reg] = value;
    guest.writes++;
}

static uint64_t get_f(void *context, unsigned reg)
{
    assert_ptr_equal(context, &guest);
    return guest.f[reg];
}

static void set_f(void *context, unsigned reg, uint64_t bits)
{
    assert_ptr_equal(context, &guest);
    guest.f[reg] = bits;
    guest.writes++;
}

static const struct guest_accessor accessor = {
    .load_byte = load_byte,
    .store_byte = store_byte,
    .get_x = get_x,
    .set_x = set_x,
    .get_f = get_f,
    .set_f = set_f,
    .context = &guest,
};

static void reset_guest(void)
{
    memset(&guest, 0, sizeof(guest));
    guest.start = BASE;
    guest.good = MEMORY;
    for (unsigned i = 0; i < MEMORY; i++) {
        guest.memory[i] = (uint8_t)(0x81 + 7 * i); /* high bits set, and not */
    }
    for (unsigned i = 0; i < 32; i++) {
        guest.x[i] = (unsigned long)UINT64_C(0xf1e2d3c4b5a69788) + i;
        guest.f[i] = UINT64_C(0x0123456789abcdef) + i;
    }
}

static enum misaligned_result emulate(uint32_t bits, unsigned long trapped, struct guest_fault *fault)
{
    const struct instruction insn = decode(bits, XLEN);
    return misaligned_emulate(&insn, &accessor, trapped, fault);
}

/* The bytes as one number: RISC-V and every machine that runs these tests are little-endian. */
static uint64_t memory_value(unsigned at, unsigned width)
{
    uint64_t value = 0;
    memcpy(&value, guest.memory + at, width);
    return value;
}

static const struct load_row {
    uint32_t bits; /* to register RD from 3(RS1) */
    uint8_t width, xlen;
    bool fp, extends;
} load_rows[] = {
    {0x00359503, 2, 32, false, true},  /* lh */
    {0x0035d503, 2, 32, false, false}, /* lhu */
    {0x0035a503, 4, 32, false, true},  /* lw */
    {0x0035e503, 4, 64, false, false}, /* lwu */
    {0x0035b503, 8, 64, false, true},  /* ld */
    {0x0035a507, 4, 32, true, false},  /* flw */
    {0x0035b507, 8, 32, true, false},  /* fld: two words on RV32 */
};

static void check_load(const struct load_row *row, unsigned at)
{
    struct guest_fault fault;
    reset_guest();
    guest.x[RS1] = BASE + at - 3;
    const uint64_t raw = memory_value(at, row->width);
    assert_int_equal(emulate(row->bits, BASE + at, &fault), MISALIGNED_DONE);
    assert_int_equal(guest.accesses, row->width);
    assert_int_equal(guest.writes, 1);
    if (row->fp) {
        assert_true(guest.f[RD] == (row->width == 4 ? raw | UINT64_C(0xffffffff) << 32 : raw));
        return;
    }
    const uint64_t above = row->width == 8 ? 0 : UINT64_MAX << (8 * row->width);
    const bool negative = row->extends && (raw >> (8 * row->width - 1) & 1) != 0;
    assert_true(guest.x[RD] == (unsigned long)(negative ? raw | above : raw));
}

static void test_loads(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(load_rows); i++) {
        for (unsigned at = 0; load_rows[i].xlen <= XLEN && at < 16; at++) {
            check_load(&load_rows[i], at);
        }
    }
}

static const struct store_row {
    uint32_t bits; /* of register RD to −1(RS1) */
    uint8_t width, xlen;
    bool fp;
} store_rows[] = {
    {0xfea59fa3, 2, 32, false}, /* sh */
    {0xfea5afa3, 4, 32, false}, /* sw */
    {0xfea5bfa3, 8, 64, false}, /* sd */
    {0xfea5afa7, 4, 32, true},  /* fsw */
    {0xfea5bfa7, 8, 32, true},  /* fsd */
};

static void check_store(const struct store_row *row, unsigned at)
{
    struct guest_fault fault;
    reset_guest();
    guest.x[RS1] = BASE + at + 1;
    uint8_t want[MEMORY];
    memcpy(want, guest.memory, MEMORY);
    const uint64_t value = row->fp ? guest.f[RD] : guest.x[RD];
    memcpy(want + at, &value, row->width);
    assert_int_equal(emulate(row->bits, BASE + at, &fault), MISALIGNED_DONE);
    assert_memory_equal(guest.memory, want, MEMORY);
    assert_int_equal(guest.writes, 0);
}

static void test_stores(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(store_rows); i++) {
        for (unsigned at = 0; store_rows[i].xlen <= XLEN && at < 16; at++) {
            check_store(&store_rows[i], at);
        }
    }
}

/* Each byte of a load may fault: no register changes, and the guest hears of that very byte. */
static void test_load_faults(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(load_rows); i++) {
        for (unsigned good = 0; load_rows[i].xlen <= XLEN && good < load_rows[i].width; good++) {
            struct guest_fault fault = {0};
            reset_guest();
            guest.good = 5 + good;
            guest.x[RS1] = BASE + 2;
            const unsigned long before = guest.x[RD];
            assert_int_equal(emulate(load_rows[i].bits, BASE + 5, &fault), MISALIGNED_FAULT);
            assert_true(fault.cause == CAUSE_LOAD && fault.value == BASE + 5 + good);
            assert_int_equal(guest.writes, 0);
            assert_true(guest.x[RD] == before);
        }
    }
}

/* A store that faults leaves what comes from the faulting byte on alone. */
static void test_store_faults(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(store_rows); i++) {
        for (unsigned good = 0; store_rows[i].xlen <= XLEN && good < store_rows[i].width; good++) {
            struct guest_fault fault = {0};
            reset_guest();
            guest.good = 5 + good;
            guest.x[RS1] = BASE + 6;
            uint8_t before[MEMORY];
            memcpy(before, guest.memory, MEMORY);
            assert_int_equal(emulate(store_rows[i].bits, BASE + 5, &fault), MISALIGNED_FAULT);
            assert_true(fault.cause == CAUSE_STORE && fault.value == BASE + 5 + good);
            assert_memory_equal(guest.memory, before, 5);
            assert_memory_equal(guest.memory + guest.good, before + guest.good, MEMORY - guest.good);
            assert_int_equal(guest.accesses, good + 1);
        }
    }
}

static void test_x0(void **state)
{
    (void)state;
    struct guest_fault fault = {0};
    reset_guest();
    guest.x[RS1] = BASE + 1;
    assert_int_equal(emulate(0x0005a003, BASE + 1, &fault), MISALIGNED_DONE); /* lw x0,0(a1) */
    assert_int_equal(guest.accesses, 4);                                      /* made, though its value is not kept */
    assert_int_equal(guest.writes, 0);
    assert_int_equal(emulate(0x0005a023, BASE + 1, &fault), MISALIGNED_DONE); /* sw x0,0(a1) */
    assert_int_equal(memory_value(1, 4), 0);
    /* x0 as the base: the guest's memory lies at the bottom. */
    guest.start = 0;
    assert_int_equal(emulate(0x00302503, 3, &fault), MISALIGNED_DONE); /* lw a0,3(x0) */
    /* A faulting load to x0 faults too. */
    guest.good = 2;
    assert_int_equal(emulate(0x00102003, 1, &fault), MISALIGNED_FAULT); /* lw x0,1(x0) */
    assert_true(fault.value == 2);
}

/* f0 is a register like any other. */
static void test_f0(void **state)
{
    (void)state;
    struct guest_fault fault = {0};
    reset_guest();
    guest.x[RS1] = BASE + 1;
    const uint64_t want = memory_value(1, 8);
    assert_int_equal(emulate(0x0005b007, BASE + 1, &fault), MISALIGNED_DONE); /* fld ft0,0(a1) */
    assert_true(guest.f[0] == want);
}

static void test_compressed(void **state)
{
    (void)state;
    struct guest_fault fault = {0};
    reset_guest();
    guest.x[8] = BASE + 1;
    const unsigned long want = (unsigned long)(int32_t)(uint32_t)memory_value(5, 4);
    assert_int_equal(emulate(0x4048, BASE + 5, &fault), MISALIGNED_DONE); /* c.lw a0,4(s0) */
    assert_true(guest.x[10] == want);
}

static void test_address_wraps(void **state)
{
    (void)state;
    struct guest_fault fault = {0};
    reset_guest();
    guest.start = 0UL - 2;
    guest.x[RS1] = 0UL - 5;
    const unsigned long want = (unsigned long)(int32_t)(uint32_t)memory_value(0, 4);
    assert_int_equal(emulate(0x0035a503, 0UL - 2, &fault), MISALIGNED_DONE); /* lw a0,3(a1) */
    assert_true(guest.x[RD] == want);
    guest.good = 2;
    assert_int_equal(emulate(0x0035a503, 0UL - 2, &fault), MISALIGNED_FAULT);
    assert_true(fault.value == 0);
}

/* Another vCPU rewrote the instruction or it reads as something else: nothing is touched. */
static void test_changed(void **state)
{
    (void)state;
    struct guest_fault fault = {0};
    reset_guest();
    guest.x[RS1] = BASE + 1;
    assert_int_equal(emulate(0x0005a503, BASE + 2, &fault), MISALIGNED_CHANGED);
    assert_int_equal(emulate(0x00a5a023, BASE + 2, &fault), MISALIGNED_CHANGED);
    static const uint32_t others[] = {0x1005a52f, 0x00b6252f, 0x10500073, 0xc0102573, 0x00000000, 0xffffffff};
    for (size_t i = 0; i < ARRAY_LENGTH(others); i++) {
        assert_int_equal(emulate(others[i], BASE + 1, &fault), MISALIGNED_UNKNOWN);
    }
    assert_int_equal(guest.accesses, 0);
    assert_int_equal(guest.writes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loads),       cmocka_unit_test(test_stores),
        cmocka_unit_test(test_load_faults), cmocka_unit_test(test_store_faults),
        cmocka_unit_test(test_x0),          cmocka_unit_test(test_f0),
        cmocka_unit_test(test_compressed),  cmocka_unit_test(test_address_wraps),
        cmocka_unit_test(test_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
