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

static void test_read_time(void **state)
{
    (void)state;
    unsigned long value = 0;
    assert_true(emulated_csr_read(0xc01, XLEN, NOW, &value));
    assert_true(value == (unsigned long)NOW);
    assert_true(emulated_csr_read(0xc01, 32, NOW, &value));
    assert_true(value == 0x9abcdef0UL);
    assert_true(emulated_csr_read(0xc81, 32, NOW, &value));
    assert_true(value == 0x12345678UL);
}

static void test_enable_bits(void **state)
{
    (void)state;
    assert_int_equal(emulated_csr_enable(0xc00), 0);
    assert_int_equal(emulated_csr_enable(0xc01), 1);
    assert_int_equal(emulated_csr_enable(0xc82), 2);
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
        cmocka_unit_test(test_read_time),
        cmocka_unit_test(test_enable_bits),
        cmocka_unit_test(test_nothing_else),
        cmocka_unit_test(test_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
