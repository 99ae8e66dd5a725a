/* SPDX-License-Identifier: MIT
 *
 * The machine's entropy devices, against a fake one.
 */
#include "driver/host_rng.h"
#include "host_device.h"

static struct machine_virtio slots[8], *slot = slots; /* of the device that is used; the driver keeps pointers */
static size_t mixed;
static unsigned mixes;

static void mix(const uint8_t *bytes, size_t length)
{
    assert_in_range(length, 0, HOST_RNG_BYTES);
    for (size_t n = 0; n < length; n++) {
        assert_int_equal(bytes[n], 0x40 + n);
    }
    mixed += length;
    mixes++;
}

static bool start(bool modern, uint32_t gives)
{
    struct host_virtio device;
    fake_make(modern, 0);
    fake.id = VIRTIO_ID_RNG;
    fake.gives = gives;
    mixed = 0;
    mixes = 0;
    *++slot = fake_slot;
    assert_true(host_virtio_probe(&device, slot));
    assert_int_equal(device.id, VIRTIO_ID_RNG);
    return host_rng_start(&device, mix);
}

static void test_not_used(void **state)
{
    (void)state;
    assert_false(start(true, 0)); /* it answers, with nothing */
    assert_int_equal(mixed, 0);
    assert_int_equal(fake.status, 0);
}

/* What it says beyond what it was asked for isn't believed; what it gives is asked for until it is enough; and again
 * every minute, once its interrupts are served. */
static void test_used(void **state)
{
    static const struct {
        bool modern;
        uint32_t gives;
        unsigned asked; /* at boot */
    } rows[] = {{true, 5000, 1}, {false, 20, 2}};
    (void)state;
    for (unsigned n = 0; n < ARRAY_LENGTH(rows); n++) {
        assert_true(start(rows[n].modern, rows[n].gives));
        assert_int_equal(mixes, rows[n].asked);
        assert_int_equal(fake.sent, rows[n].asked + 1);
        host_rng_serve(slot->interrupt + 1);
        assert_int_equal(mixes, rows[n].asked);
        host_rng_serve(slot->interrupt);
        assert_int_equal(mixes, rows[n].asked + 1);
        assert_int_equal(mixed, mixes * MIN(rows[n].gives, (uint32_t)HOST_RNG_BYTES));
        host_rng_serve(slot->interrupt); /* for nothing */
        assert_int_equal(mixes, rows[n].asked + 1);
        fake_pass((HOST_RNG_AGAIN - 1) * FAKE_HZ);
        assert_int_equal(fake.sent, rows[n].asked + 1);
        fake_pass(2 * FAKE_HZ);
        assert_int_equal(fake.sent, rows[n].asked + 2);
        host_rng_serve(slot->interrupt);
        assert_int_equal(mixes, rows[n].asked + 2);
        fake_pass((HOST_RNG_AGAIN + 1) * FAKE_HZ);
        assert_int_equal(fake.sent, rows[n].asked + 3);
    }
    assert_false(start(true, HOST_RNG_BYTES)); /* two are enough */
    assert_int_equal(fake.sent, 0);
}

static void test_no_interrupt(void **state)
{
    struct host_virtio device;
    (void)state;
    fake_make(true, 0);
    fake.id = VIRTIO_ID_RNG;
    fake_slot.interrupt = 0;
    assert_true(host_virtio_probe(&device, &fake_slot));
    assert_false(host_rng_start(&device, mix));
    assert_int_equal(fake.sent, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_used),
        cmocka_unit_test(test_no_interrupt),
        cmocka_unit_test(test_used),
    };
    return cmocka_run_group_tests(tests, fake_group_setup, NULL);
}
