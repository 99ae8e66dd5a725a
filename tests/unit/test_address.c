/* SPDX-License-Identifier: MIT
 *
 * Range arithmetic at the ends of the address space, where sums would overflow, and byte by byte for all small ranges.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/address.h"

static const uint64_t top = UINT64_MAX;

static struct range range(uint64_t base, uint64_t size)
{
    return (struct range){.base = base, .size = size};
}

static void test_valid(void **state)
{
    (void)state;
    assert_true(range_valid(range(0, 0)));
    assert_true(range_valid(range(top, 0)));
    assert_true(range_valid(range(top, 1)));
    assert_false(range_valid(range(top, 2)));
    assert_true(range_valid(range(0, top)));
    assert_true(range_valid(range(1, top)));
    assert_false(range_valid(range(2, top)));
    assert_true(range_valid(range(0x80000000, 0x8000000)));
}

static void test_holds(void **state)
{
    struct range ram = range(0x80000000, 0x1000);

    (void)state;
    assert_true(range_holds(ram, 0x80000000, 0x1000));
    assert_true(range_holds(ram, 0x80000fff, 1));
    assert_true(range_holds(ram, 0x80001000, 0));
    assert_false(range_holds(ram, 0x80001001, 0));
    assert_false(range_holds(ram, 0x80000fff, 2));
    assert_false(range_holds(ram, 0x7fffffff, 1));
    assert_false(range_holds(ram, 0x7fffffff, 0x1000));
    assert_false(range_holds(ram, 0x80000000, 0x1001));
    /* the sum of address and length wraps */
    assert_false(range_holds(ram, 0x80000800, top));
    assert_false(range_holds(ram, 0x80000800, top - 0x80000800 + 1));
    assert_false(range_holds(ram, top, 2));
    assert_false(range_holds(ram, top - 0xff, 0x80000200));
    assert_true(range_holds(range(top, 1), top, 1));
    assert_true(range_holds_range(ram, range(0x80000100, 0x100)));
    assert_false(range_holds_range(ram, range(0x80000f01, 0x100)));
}

static void test_overlaps(void **state)
{
    (void)state;
    assert_false(range_overlaps(range(0x1000, 0x1000), range(0x2000, 0x1000)));
    assert_false(range_overlaps(range(0x2000, 0x1000), range(0x1000, 0x1000)));
    assert_true(range_overlaps(range(0x1000, 0x1001), range(0x2000, 0x1000)));
    assert_true(range_overlaps(range(0x2000, 0x1000), range(0x1000, 0x1001)));
    assert_true(range_overlaps(range(0, top), range(top - 1, 2)));
    assert_false(range_overlaps(range(0, top), range(top, 1)));
    assert_false(range_overlaps(range(0x1000, 0x1000), range(0x1800, 0)));
    assert_false(range_overlaps(range(0x1800, 0), range(0x1000, 0x1000)));
    assert_true(range_overlaps(range(top, 1), range(top - 5, 6)));
}

/* All small ranges, at the bottom and at the top of the address space, byte by byte. */
static void test_exhaustive_small(void **state)
{
    (void)state;
    for (uint64_t shift = 0; shift < 2; shift++) {
        uint64_t origin = shift == 0 ? 0 : top - 7; /* eight addresses */
        for (uint64_t code = 0; code < 9 * 9 * 9 * 9; code++) {
            uint64_t a = code % 9, a_size = code / 9 % 9, b = code / 81 % 9, b_size = code / 729;
            if (a + a_size > 8 || b + b_size > 8 || a == 8 || b == 8) {
                continue;
            }
            unsigned a_bits = ((1u << a_size) - 1) << a, b_bits = ((1u << b_size) - 1) << b;
            struct range ra = range(origin + a, a_size), rb = range(origin + b, b_size);
            assert_true(range_valid(ra));
            assert_int_equal(range_overlaps(ra, rb), (a_bits & b_bits) != 0);
            if (b_size > 0) {
                assert_int_equal(range_holds_range(ra, rb), (a_bits & b_bits) == b_bits);
                assert_true(range_last(rb) == origin + b + b_size - 1);
            } else {
                assert_int_equal(range_holds_range(ra, rb), b >= a && b <= a + a_size);
            }
        }
    }
}

static void test_alignment(void **state)
{
    (void)state;
    assert_true(align_down(0x1fff, 0x1000) == 0x1000);
    assert_true(align_up(0x1001, 0x1000) == 0x2000);
    assert_true(align_up(0x1000, 0x1000) == 0x1000);
    assert_true(align_up(0, 0x1000) == 0);
    assert_true(align_up(5, 1) == 5);
    assert_true(align_down(top, 1ull << 63) == 1ull << 63);
    assert_true(align_up(top - 0xfff, 0x1000) == top - 0xfff);
    assert_true(align_up(top - 0xffe, 0x1000) == top - 0xfff); /* saturates */
    assert_true(align_up(top, 1) == top);
    assert_true(align_up((1ull << 63) + 1, 1ull << 63) == 1ull << 63);
}

static void test_power_of_two(void **state)
{
    (void)state;
    assert_false(is_power_of_two(0));
    for (unsigned bit = 0; bit < 64; bit++) {
        assert_true(is_power_of_two(1ull << bit));
        assert_true(bit < 2 || !is_power_of_two((1ull << bit) - 1));
        assert_true(bit < 1 || !is_power_of_two((1ull << bit) + 1));
    }
}

static void test_pointer(void **state)
{
    int here;

    (void)state;
    assert_ptr_equal(hpa_pointer((hpa_t){(uintptr_t)&here}), &here);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid),     cmocka_unit_test(test_holds),
        cmocka_unit_test(test_overlaps),  cmocka_unit_test(test_exhaustive_small),
        cmocka_unit_test(test_alignment), cmocka_unit_test(test_power_of_two),
        cmocka_unit_test(test_pointer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
