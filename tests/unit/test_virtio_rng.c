/* SPDX-License-Identifier: MIT
 *
 * The entropy device: bytes where there is room, never more than there is, and none for a driver that gives some.
 */
#include "device/virtio_rng.h"

#include "virtio_driver.h"

enum { SIZE = 32 };
#define DATA (EDGE_2 + 0x1000)

static struct virtio_rng rng;
static uint8_t next_byte;

static void count_up(uint8_t *bytes, size_t length)
{
    assert_true(length >= 1 && length <= VIRTIO_RNG_BYTES);
    for (size_t n = 0; n < length; n++) {
        bytes[n] = ++next_byte;
    }
}

static int setup(void **state)
{
    (void)state;
    world_make();
    next_byte = 0;
    driven = &rng.virtio;
    virtio_rng_init(&rng, (gpa_t){DEVICE_BASE}, &world, line(), count_up);
    drive(VIRTIO_F_VERSION_1, SIZE);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_free();
    return 0;
}

static void test_bytes(void **state)
{
    (void)state;
    assert_int_equal(read_register(DEVICE_ID), 4);
    describe(0, DATA, 10, WRITE | NEXT, 1);
    describe(1, DATA + 0x100, 5, WRITE, 0);
    offer(SIZE, 0);
    assert_int_equal(notify(), 1);
    assert_int_equal(used_length(SIZE, 0), 15);
    assert_int_equal(get(DATA + 9, 1), 10);
    assert_int_equal(get(DATA + 10, 1), 0);
    assert_int_equal(get(DATA + 0x100, 1), 11);
    assert_int_equal(get(DATA + 0x104, 1), 15);
    assert_int_equal(get(DATA + 0x105, 1), 0);
    assert_true(level);
}

static void test_no_more_than(void **state)
{
    (void)state;
    describe(0, DATA, 0x1000, WRITE, 0);
    offer(SIZE, 0);
    notify();
    assert_int_equal(used_length(SIZE, 0), VIRTIO_RNG_BYTES);
    assert_int_equal(get(DATA + VIRTIO_RNG_BYTES - 1, 1), (uint8_t)VIRTIO_RNG_BYTES);
    assert_int_equal(get(DATA + VIRTIO_RNG_BYTES, 1), 0);
}

static void test_steps(void **state)
{
    (void)state;
    describe(0, DATA, 1, WRITE, 0);
    for (unsigned n = 0; n < SIZE; n++) {
        offer(SIZE, 0);
    }
    assert_false(write_register(QUEUE_NOTIFY, 0));
    assert_int_equal(used_index(), 16);
    notify();
    assert_int_equal(used_index(), SIZE);
}

static void test_readable(void **state)
{
    (void)state;
    describe(0, DATA, 1, NEXT, 1);
    describe(1, DATA, 1, WRITE, 0);
    offer(SIZE, 0);
    notify();
    assert_true(needs_reset());
    assert_int_equal(next_byte, 0);
    drive(VIRTIO_F_VERSION_1, SIZE);
    offer(SIZE, SIZE);
    notify();
    assert_true(needs_reset());
    assert_int_equal(used_index(), 0);
}

#define RNG_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RNG_TEST(test_bytes),
        RNG_TEST(test_no_more_than),
        RNG_TEST(test_steps),
        RNG_TEST(test_readable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
