/* SPDX-License-Identifier: MIT
 *
 * Limits to bytes and operations in a second.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/rate.h"

#define HZ UINT64_C(10000000)

/* How many requests of so many bytes go in so many seconds, by one who always wants more and waits as told. */
static uint64_t moved(struct rate *rate, uint64_t bytes, uint64_t seconds, uint64_t start)
{
    uint64_t count = 0;
    for (uint64_t now = start; now < start + seconds * HZ;) {
        const uint64_t wait = rate_wait(rate, now, HZ);
        now += wait;
        if (wait == 0) {
            rate_use(rate, bytes, now, HZ);
            count++;
        }
    }
    return count;
}

static void test_bytes(void **state)
{
    static const uint64_t sizes[] = {1, 512, 4096, 65536, 1 << 20};
    (void)state;
    for (unsigned n = 0; n < sizeof(sizes) / sizeof(sizes[0]); n++) {
        struct rate rate = {.limit = {.bytes = 100000}};
        const uint64_t got = moved(&rate, sizes[n], 100, 12345) * sizes[n];
        assert_in_range(got, 100 * 100000 - sizes[n], 100 * 100000 + 10000 + 2 * sizes[n]);
    }
}

static void test_operations(void **state)
{
    struct rate rate = {.limit = {.operations = 40}};
    (void)state;
    assert_in_range(moved(&rate, 1 << 30, 10, 0), 400, 405);
}

/* The narrower of the two counts. */
static void test_both(void **state)
{
    struct rate rate = {.limit = {.bytes = 1000000, .operations = 100}};
    (void)state;
    assert_in_range(moved(&rate, 512, 10, 0), 1000, 1012);
    rate = (struct rate){.limit = {.bytes = 1000000, .operations = 100}};
    assert_in_range(moved(&rate, 100000, 10, 0), 100, 103);
}

static void test_no_limit(void **state)
{
    struct rate rate = {.limit = {0, 0}};
    (void)state;
    for (unsigned n = 0; n < 1000; n++) {
        assert_int_equal(rate_wait(&rate, n, HZ), 0);
        rate_use(&rate, UINT32_MAX, n, HZ);
    }
}

/* Who rested has a tenth of a second's worth at once, not all that was left. */
static void test_rest(void **state)
{
    struct rate rate = {.limit = {.bytes = 1000}};
    uint64_t count = 0;
    (void)state;
    rate_use(&rate, 1, 0, HZ);
    while (rate_wait(&rate, 1000 * HZ, HZ) == 0) {
        rate_use(&rate, 10, 1000 * HZ, HZ);
        count++;
    }
    assert_in_range(count, 10, 11);
}

static void test_extremes(void **state)
{
    struct rate rate = {.limit = {.bytes = 1, .operations = UINT64_MAX}};
    (void)state;
    for (unsigned n = 0; n < 10; n++) {
        rate_use(&rate, UINT64_C(1) << 32, UINT64_MAX - 5, UINT32_MAX);
    }
    assert_int_equal(rate.bytes_until, UINT64_MAX);
    assert_int_equal(rate_wait(&rate, UINT64_MAX, HZ), 0);
    rate = (struct rate){.limit = {.bytes = 1}};
    rate_use(&rate, UINT64_C(1) << 32, 0, HZ);
    assert_int_equal(rate_wait(&rate, 0, HZ), (UINT64_C(1) << 32) * HZ - HZ / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),    cmocka_unit_test(test_operations), cmocka_unit_test(test_both),
        cmocka_unit_test(test_no_limit), cmocka_unit_test(test_rest),       cmocka_unit_test(test_extremes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
