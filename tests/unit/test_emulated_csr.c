/* SPDX-License-Identifier: MIT
 *
 * Which trapped CSR instructions may be emulated, and what they read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "trap/emulated_csr.h"

#define NOW UINT64_C(0x123456789abcdef0)

/* Each emulated CSR: what it reads at NOW on either word size, and scounteren's bit. */
static const struct {
    uint16_t csr;
    unsigned enable;
    bool on_64;
    uint64_t value_32, value_64;
    const char *name;
} csr_rows[] = {
    {0xc00, 0, true, 0x9abcdef0, NOW, "cycle"},   {0xc01, 1, true, 0x9abcdef0, NOW, "time"},
    {0xc02, 2, true, 0x9abcdef0, NOW, "instret"}, {0xc80, 0, false, 0x12345678, 0, "cycleh"},
    {0xc81, 1, false, 0x12345678, 0, "timeh"},    {0xc82, 2, false, 0x12345678, 0, "instreth"},
};

static void check_read(size_t row, unsigned xlen, bool exists, uint64_t want)
{
    unsigned long value = 42;
    const bool read = emulated_csr_read(csr_rows[row].csr, xlen, NOW, &value);
    if (read != exists || value != (exists ? (unsigned long)want : 42)) {
        fail_msg("%s on RV%u: 0x%lx", csr_rows[row].name, xlen, value);
    }
}

static void test_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(csr_rows); i++) {
        check_read(i, 32, true, csr_rows[i].value_32);
        check_read(i, 64, csr_rows[i].on_64, csr_rows[i].value_64); /* natively at 32 bits: its low half */
        assert_int_equal(emulated_csr_enable(csr_rows[i].csr), csr_rows[i].enable);
    }
}

/* The halves join without a gap where the low one wraps. */
static void test_halves_join(void **state)
{
    (void)state;
    static const uint64_t times[] = {0, UINT32_MAX, UINT64_C(1) << 32, (UINT64_C(1) << 32) + 1, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LENGTH(times); i++) {
        for (uint16_t csr = 0xc00; csr <= 0xc02; csr++) {
            unsigned long low = 0;
            unsigned long high = 0;
            assert_true(emulated_csr_read(csr, 32, times[i], &low));
            assert_true(emulated_csr_read((uint16_t)(csr + 0x80), 32, times[i], &high));
            assert_true(((uint64_t)high << 32 | low) == times[i]);
        }
    }
}

static void test_nothing_else(void **state)
{
    (void)state;
    for (unsigned csr = 0; csr < 4096; csr++) {
        unsigned long value = 42;
        const bool want_64 = csr >= 0xc00 && csr <= 0xc02;
        const bool want_32 = want_64 || (csr >= 0xc80 && csr <= 0xc82);
        assert_int_equal(emulated_csr_read((uint16_t)csr, 32, NOW, &value), want_32);
        value = 42;
        assert_int_equal(emulated_csr_read((uint16_t)csr, 64, NOW, &value), want_64);
        assert_true(want_64 || value == 42);
    }
}

/* Every CSR in every form: one of ours, and no write. */
static void test_every_form(void **state)
{
    (void)state;
    for (uint32_t form = 0; form < 4096 * 8 * 32; form++) {
        const uint32_t csr = form >> 8;
        const uint32_t funct3 = form >> 5 & 7;
        const uint32_t source = form & 31;
        const uint32_t bits = csr << 20 | source << 15 | funct3 << 12 | 10 << 7 | 0x73;
        const bool reads = (funct3 & 3) >= 2 && source == 0;
        const bool ours_64 = csr >= 0xc00 && csr <= 0xc02;
        const bool ours_32 = ours_64 || (csr >= 0xc80 && csr <= 0xc82);
        const struct instruction on_32 = decode(bits, 32);
        const struct instruction on_64 = decode(bits, 64);
        if (emulated_csr_allowed(&on_32, 32) != (reads && ours_32) ||
            emulated_csr_allowed(&on_64, 64) != (reads && ours_64)) {
            fail_msg("%08x", (unsigned)bits);
        }
    }
}

static const struct {
    uint32_t bits;
    bool on_32, on_64;
    const char *text;
} allowed_rows[] = {
    {0xc0102573, true, true, "rdtime a0"},
    {0xc0102073, true, true, "csrrs x0,time,x0"},
    {0xc0103573, true, true, "csrrc a0,time,x0"},
    {0xc0106573, true, true, "csrrsi a0,time,0"},
    {0xc0107573, true, true, "csrrci a0,time,0"},
    {0xc8102573, true, false, "rdtimeh a0"},
    {0xc0159573, false, false, "csrrw a0,time,a1"},
    {0xc0101573, false, false, "csrrw a0,time,x0"},
    {0xc0101073, false, false, "csrrw x0,time,x0"},
    {0xc0105573, false, false, "csrrwi a0,time,0"},
    {0xc015a573, false, false, "csrrs a0,time,a1"},
    {0xc010e573, false, false, "csrrsi a0,time,1"},
    {0xc0002573, true, true, "rdcycle a0"},
    {0xc0202573, true, true, "rdinstret a0"},
    {0xc8002573, true, false, "rdcycleh a0"},
    {0xc8202573, true, false, "rdinstreth a0"},
    {0xc0302573, false, false, "csrr a0,hpmcounter3"},
    {0x30002573, false, false, "csrr a0,mstatus"},
    {0x10002573, false, false, "csrr a0,sstatus"},
    {0x10500073, false, false, "wfi"},
    {0x00052503, false, false, "lw a0,0(a0)"},
    {0x00000000, false, false, "illegal"},
};

static void test_allowed(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(allowed_rows); i++) {
        const struct instruction on_32 = decode(allowed_rows[i].bits, 32);
        const struct instruction on_64 = decode(allowed_rows[i].bits, 64);
        if (emulated_csr_allowed(&on_32, 32) != allowed_rows[i].on_32 ||
            emulated_csr_allowed(&on_64, 64) != allowed_rows[i].on_64) {
            fail_msg("%s", allowed_rows[i].text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),     cmocka_unit_test(test_halves_join), cmocka_unit_test(test_nothing_else),
        cmocka_unit_test(test_every_form), cmocka_unit_test(test_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
