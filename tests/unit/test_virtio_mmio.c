/* SPDX-License-Identifier: MIT
 *
 * virtio-mmio's registers: what a driver reads, what it may write when, and that nothing else has an effect.
 */
#include "described.h"
#include "virtio_driver.h"

#define SEED UINT64_C(0x6d6d696f)

enum { SIZE = 8, ALL = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK };
#define TOY_FEATURES (UINT64_C(1) << 0 | UINT64_C(1) << 40)

/* A device that gives each chain back as it came, one for each step. */
static struct toy {
    struct virtio_device virtio;
    struct virtqueue queue;
    struct virtqueue_chain chain;
    unsigned works, resets;
    bool breaks;
} toy;
static const uint8_t config[] = {0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77};

static bool toy_work(struct virtio_device *virtio, struct virtqueue *queue)
{
    assert_ptr_equal(virtio, &toy.virtio);
    assert_true(virtio->device.lock.next != virtio->device.lock.serving);
    toy.works++;
    const enum virtqueue_taken taken = virtqueue_take(queue, &toy.chain);
    if (taken == QUEUE_EMPTY) {
        return false;
    }
    if (taken == QUEUE_BROKEN || toy.breaks) {
        virtio_device_break(virtio);
        return true;
    }
    virtqueue_give(queue, &toy.chain, 7);
    return true;
}

static void toy_reset(struct virtio_device *virtio)
{
    assert_ptr_equal(virtio, &toy.virtio);
    toy.resets++;
}

static const struct virtio_device_ops ops = {
    .name = "toy", .id = VIRTIO_ID_RNG, .queue_count = 1, .work = toy_work, .reset = toy_reset};

static int setup(void **state)
{
    (void)state;
    world_make();
    memset(&toy, 0, sizeof(toy));
    level = false;
    driven = &toy.virtio;
    virtio_device_init(&toy.virtio, &ops, &toy.queue, (gpa_t){DEVICE_BASE}, &world, line(), TOY_FEATURES);
    toy.virtio.config = config;
    toy.virtio.config_size = sizeof(config);
    describe(0, EDGE_2 + 0x800, 1, 0, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_free();
    return 0;
}

static void test_identity(void **state)
{
    (void)state;
    assert_int_equal(read_register(MAGIC_VALUE), 0x74726976);
    assert_int_equal(read_register(VERSION), 2);
    assert_int_equal(read_register(DEVICE_ID), 4);
    assert_int_not_equal(read_register(VENDOR_ID), 0);
    assert_int_equal(read_register(0x0b0), UINT32_MAX); /* no shared memory */
    assert_int_equal(read_register(0x0b4), UINT32_MAX);
    assert_int_equal(read_register(0x0b8), UINT32_MAX);
    assert_int_equal(read_register(0x0bc), UINT32_MAX);
    assert_int_equal(read_register(0x0fc), 0);
}

static uint64_t offered(void)
{
    write_register(DEVICE_FEATURES_SEL, 1);
    const uint64_t high = read_register(DEVICE_FEATURES);
    write_register(DEVICE_FEATURES_SEL, 0);
    return high << 32 | read_register(DEVICE_FEATURES);
}

static void test_offered_features(void **state)
{
    (void)state;
    assert_int_equal(offered(), TOY_FEATURES | VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC);
    static const uint32_t beyond[] = {2, 3, 32, 64, UINT32_MAX};
    for (unsigned n = 0; n < ARRAY_LENGTH(beyond); n++) {
        write_register(DEVICE_FEATURES_SEL, beyond[n]);
        assert_int_equal(read_register(DEVICE_FEATURES), 0);
    }
}

/* What FEATURES_OK reads back as when the driver accepts these. */
static bool accepts(uint64_t features)
{
    write_register(STATUS, 0);
    write_register(STATUS, VIRTIO_ACKNOWLEDGE);
    write_register(STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    accept(features);
    write_register(STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
    return (read_register(STATUS) & VIRTIO_FEATURES_OK) != 0;
}

static void test_accepted_features(void **state)
{
    (void)state;
    assert_true(accepts(VIRTIO_F_VERSION_1));
    assert_true(accepts(offered()));
    assert_false(accepts(0));
    assert_false(accepts(offered() & ~VIRTIO_F_VERSION_1));
    for (unsigned bit = 0; bit < 64; bit++) {
        const uint64_t feature = UINT64_C(1) << bit;
        assert_int_equal(accepts(VIRTIO_F_VERSION_1 | feature), (offered() & feature) != 0);
    }
    assert_true(accepts(VIRTIO_F_VERSION_1));
    accept(offered()); /* too late */
    assert_int_equal(toy.virtio.accepted, VIRTIO_F_VERSION_1);
    write_register(STATUS, 0);
    assert_int_equal(toy.virtio.accepted, 0);
    write_register(STATUS, VIRTIO_ACKNOWLEDGE);
    accept(VIRTIO_F_VERSION_1); /* too early */
    assert_int_equal(toy.virtio.accepted, 0);
    write_register(STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    write_register(DRIVER_FEATURES_SEL, 2);
    write_register(DRIVER_FEATURES, UINT32_MAX); /* there are none */
    assert_int_equal(toy.virtio.accepted, 0);
}

static void test_status_order(void **state)
{
    (void)state;
    write_register(STATUS, VIRTIO_DRIVER);
    assert_int_equal(read_register(STATUS), 0);
    write_register(STATUS, VIRTIO_DRIVER_OK);
    assert_int_equal(read_register(STATUS), 0);
    write_register(STATUS, VIRTIO_ACKNOWLEDGE | 0x10 | 0x20 | VIRTIO_NEEDS_RESET | 0x100);
    assert_int_equal(read_register(STATUS), VIRTIO_ACKNOWLEDGE);
    write_register(STATUS, VIRTIO_FEATURES_OK);
    write_register(STATUS, VIRTIO_DRIVER_OK);
    assert_int_equal(read_register(STATUS), VIRTIO_ACKNOWLEDGE);
    write_register(STATUS, VIRTIO_DRIVER); /* sets one, clears none */
    assert_int_equal(read_register(STATUS), VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    write_register(STATUS, VIRTIO_DRIVER_OK | VIRTIO_FEATURES_OK); /* no features yet */
    assert_int_equal(read_register(STATUS), VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    accept(VIRTIO_F_VERSION_1);
    write_register(STATUS, VIRTIO_DRIVER_OK);
    assert_int_equal(read_register(STATUS), VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    write_register(STATUS, VIRTIO_FEATURES_OK);
    write_register(STATUS, VIRTIO_DRIVER_OK);
    assert_int_equal(read_register(STATUS), ALL);
    write_register(STATUS, VIRTIO_ACKNOWLEDGE);
    assert_int_equal(read_register(STATUS), ALL);
    write_register(STATUS, VIRTIO_FAILED);
    assert_int_equal(read_register(STATUS), ALL | VIRTIO_FAILED);
    toy.resets = 0;
    write_register(STATUS, 0);
    assert_int_equal(read_register(STATUS), 0);
    assert_int_equal(toy.resets, 1);
}

static void to_setup(void)
{
    assert_true(accepts(VIRTIO_F_VERSION_1));
}

static void test_queue_setup(void **state)
{
    (void)state;
    to_setup();
    assert_int_equal(read_register(QUEUE_NUM_MAX), VIRTQUEUE_SIZE_MAX);
    assert_int_equal(read_register(QUEUE_READY), 0);
    set_queue(SIZE);
    assert_int_equal(read_register(QUEUE_READY), 1);
    const struct virtqueue before = toy.virtio.queues[0];
    assert_int_equal(before.descriptors.at, TABLE);
    write_register(QUEUE_NUM, 16); /* too late, all of them */
    write_register(QUEUE_DESC, 0);
    write_register(QUEUE_DRIVER + 4, 1);
    write_register(QUEUE_DEVICE, 0);
    write_register(QUEUE_READY, 1);
    assert_memory_equal(&toy.virtio.queues[0], &before, sizeof(before));
    write_register(QUEUE_READY, 0);
    assert_int_equal(read_register(QUEUE_READY), 0);
    write_register(QUEUE_READY, 2); /* neither */
    assert_int_equal(read_register(QUEUE_READY), 0);
    write_register(QUEUE_NUM, 3);
    write_register(QUEUE_READY, 1);
    assert_int_equal(read_register(QUEUE_READY), 0);
    set_queue(16);
    assert_int_equal(read_register(QUEUE_READY), 1);
    write_register(STATUS, VIRTIO_DRIVER_OK);
    write_register(QUEUE_READY, 0); /* only a reset stops it now */
    assert_int_equal(read_register(QUEUE_READY), 1);
    write_register(STATUS, 0);
    assert_int_equal(read_register(QUEUE_READY), 0);
    assert_int_equal(toy.virtio.queues[0].size, 0);
}

static void test_queue_setup_needs_features(void **state)
{
    (void)state;
    set_queue(SIZE);
    assert_int_equal(read_register(QUEUE_READY), 0);
    assert_int_equal(toy.virtio.queues[0].size, 0);
    assert_int_equal(toy.virtio.queues[0].descriptors.at, 0);
    to_setup();
    write_register(STATUS, VIRTIO_FAILED);
    set_queue(SIZE);
    assert_int_equal(read_register(QUEUE_READY), 0);
    to_setup();
    write_register(STATUS, VIRTIO_DRIVER_OK);
    set_queue(SIZE);
    assert_int_equal(read_register(QUEUE_READY), 0);
}

static void test_high_halves(void **state)
{
    (void)state;
    to_setup();
    write_register(QUEUE_NUM, SIZE);
    write_register(QUEUE_DESC + 4, 0x12345678);
    write_register(QUEUE_DESC, 0x9abcdef0);
    assert_int_equal(toy.virtio.queues[0].descriptors.at, UINT64_C(0x123456789abcdef0));
    write_register(QUEUE_DRIVER, UINT32_MAX);
    write_register(QUEUE_DRIVER + 4, 1);
    assert_int_equal(toy.virtio.queues[0].driver.at, UINT64_C(0x1ffffffff));
    write_register(QUEUE_READY, 1);
    assert_int_equal(read_register(QUEUE_READY), 0);
}

static void test_other_queues(void **state)
{
    static const uint32_t others[] = {1, 2, 0x10000, UINT32_MAX};
    (void)state;
    drive(VIRTIO_F_VERSION_1, SIZE);
    const struct virtqueue before = toy.virtio.queues[0];
    for (unsigned n = 0; n < ARRAY_LENGTH(others); n++) {
        write_register(QUEUE_SEL, others[n]);
        assert_int_equal(read_register(QUEUE_NUM_MAX), 0);
        assert_int_equal(read_register(QUEUE_READY), 0);
        write_register(QUEUE_NUM, SIZE);
        write_register(QUEUE_DESC, 0);
        write_register(QUEUE_READY, 1);
        assert_int_equal(read_register(QUEUE_READY), 0);
        write_register(QUEUE_NOTIFY, others[n]);
    }
    assert_int_equal(toy.works, 0);
    assert_memory_equal(&toy.virtio.queues[0], &before, sizeof(before));
}

static void test_notify(void **state)
{
    (void)state;
    drive(VIRTIO_F_VERSION_1, SIZE);
    offer(SIZE, 0);
    offer(SIZE, 0);
    assert_false(write_register(QUEUE_NOTIFY, 0)); /* a step each, and one to find nothing */
    assert_int_equal(used_index(), 1);
    assert_true(level);
    assert_int_equal(read_register(INTERRUPT_STATUS), 1);
    write_register(INTERRUPT_ACK, 2 | 0xfffffffc); /* not ours */
    assert_true(level);
    write_register(INTERRUPT_ACK, 1);
    assert_false(level);
    assert_int_equal(read_register(INTERRUPT_STATUS), 0);
    assert_int_equal(notify(), 2);
    assert_int_equal(used_index(), 2);
    assert_int_equal(used_length(SIZE, 1), 7);
    assert_true(level);
    assert_int_equal(toy.works, 3);
}

static void test_notify_when_not_ready(void **state)
{
    (void)state;
    offer(SIZE, 0);
    assert_true(write_register(QUEUE_NOTIFY, 0));
    to_setup();
    assert_true(write_register(QUEUE_NOTIFY, 0));
    set_queue(SIZE);
    assert_true(write_register(QUEUE_NOTIFY, 0)); /* no DRIVER_OK */
    drive(VIRTIO_F_VERSION_1, 3);                 /* no queue */
    assert_true(write_register(QUEUE_NOTIFY, 0));
    drive(VIRTIO_F_VERSION_1, SIZE);
    write_register(STATUS, VIRTIO_FAILED);
    assert_true(write_register(QUEUE_NOTIFY, 0));
    assert_int_equal(toy.works, 0);
    assert_false(level);
}

/* After a broken rule there is silence, then a reset that mends everything. */
static void test_broken(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        drive(VIRTIO_F_VERSION_1, SIZE);
        toy.breaks = true;
        offer(SIZE, 0);
        toy.works = 0;
        assert_true(write_register(QUEUE_NOTIFY, 0));
        assert_true(needs_reset());
        assert_int_equal(read_register(INTERRUPT_STATUS), 2);
        assert_true(level);
        toy.breaks = false;
        assert_true(write_register(QUEUE_NOTIFY, 0));
        write_register(STATUS, ALL);
        assert_true(needs_reset());
        assert_int_equal(toy.works, 1);
        assert_int_equal(used_index(), 0);
        write_register(STATUS, 0);
        assert_false(level);
        assert_int_equal(read_register(INTERRUPT_STATUS), 0);
        drive(VIRTIO_F_VERSION_1, SIZE);
        offer(SIZE, 0);
        notify();
        assert_int_equal(used_index(), 1);
    }
}

static void test_queue_gets_features(void **state)
{
    (void)state;
    drive(VIRTIO_F_VERSION_1, SIZE);
    assert_false(toy.virtio.queues[0].event_index || toy.virtio.queues[0].indirect);
    drive(VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX, SIZE);
    assert_true(toy.virtio.queues[0].event_index && !toy.virtio.queues[0].indirect);
    drive(VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC, SIZE);
    assert_true(!toy.virtio.queues[0].event_index && toy.virtio.queues[0].indirect);
}

static uint64_t config_at(unsigned offset, unsigned width)
{
    return device_read(&toy.virtio.device, (gpa_t){DEVICE_BASE + CONFIG + offset}, width);
}

static void test_config(void **state)
{
    (void)state;
    assert_int_equal(config_at(0, 1), 0x11);
    assert_int_equal(config_at(6, 1), 0x77);
    assert_int_equal(config_at(7, 1), 0);
    assert_int_equal(config_at(2, 2), 0x4433);
    assert_int_equal(config_at(6, 2), 0x77);
    assert_int_equal(config_at(4, 4), 0x776655);
    assert_int_equal(config_at(0, 4), 0x44332211);
    assert_int_equal(config_at(0xefc, 4), 0);
    assert_int_equal(config_at(0xeff, 1), 0);
    assert_int_equal(config_at(0, 8), 0);
    assert_int_equal(config_at(1, 2), 0);
    assert_int_equal(config_at(2, 4), 0);
    device_write(&toy.virtio.device, (gpa_t){DEVICE_BASE + CONFIG}, 1, 0xff);
    device_write(&toy.virtio.device, (gpa_t){DEVICE_BASE + CONFIG}, 4, 0xffffffff);
    assert_int_equal(config_at(0, 4), 0x44332211);
}

/* Registers are read and written by 32 bits, and only where they are. */
static void test_widths(void **state)
{
    (void)state;
    to_setup();
    for (unsigned offset = 0; offset < CONFIG; offset++) {
        for (unsigned width = 1; width <= 8; width *= 2) {
            if (width == 4 && offset % 4 == 0) {
                continue;
            }
            assert_int_equal(device_read(&toy.virtio.device, (gpa_t){DEVICE_BASE + offset}, width), 0);
            const struct toy before = toy;
            device_write(&toy.virtio.device, (gpa_t){DEVICE_BASE + offset}, width, 0);
            assert_int_equal(read_register(STATUS), before.virtio.status);
        }
    }
}

/* Any sequence of accesses: the state stays within what it may be, and the device can be had back. */
static void test_noise(void **state)
{
    uint64_t seed = SEED;
    (void)state;
    for (unsigned n = 0; n < 200000; n++) {
        const unsigned offset = test_below(&seed, 0x110);
        const unsigned width = 1U << test_below(&seed, 4);
        const uint64_t value = test_below(&seed, 2) != 0 ? test_below(&seed, 16) : test_random(&seed);
        if (test_below(&seed, 50) == 0) {
            drive(VIRTIO_F_VERSION_1, SIZE);
            offer(SIZE, test_below(&seed, SIZE + 1));
        }
        (void)device_read(&toy.virtio.device, (gpa_t){DEVICE_BASE + offset}, width);
        device_write(&toy.virtio.device, (gpa_t){DEVICE_BASE + offset}, width, value);
        const uint32_t status = read_register(STATUS);
        assert_true((status & VIRTIO_DRIVER_OK) == 0 || (status & VIRTIO_FEATURES_OK) != 0);
        assert_true((status & VIRTIO_FEATURES_OK) == 0 || (toy.virtio.accepted & ~toy.virtio.offered) == 0);
        assert_int_equal(level, read_register(INTERRUPT_STATUS) != 0);
    }
    drive(VIRTIO_F_VERSION_1, SIZE);
    offer(SIZE, 0);
    notify();
    assert_int_equal(used_index(), 1);
}

static void test_describes_itself(void **state)
{
    static uint64_t tree[DESCRIBED_SIZE / 8];
    const char *const path = "/soc/virtio_mmio@10001000";
    struct tree_context context = {.plic_phandle = 9};
    (void)state;
    assert_int_equal(described(&toy.virtio.device, tree, sizeof(tree), &context), 0);
    assert_int_equal(described_cell(tree, path, "reg", 1), DEVICE_BASE);
    assert_int_equal(described_cell(tree, path, "reg", 3), VIRTIO_WINDOW_SIZE);
    assert_true(described_has_string(tree, path, "compatible", "virtio,mmio"));
    assert_int_equal(described_cell(tree, path, "interrupts", 0), 1);
    assert_int_equal(described_cell(tree, path, "interrupt-parent", 0), 9);
    described_needs_room(&toy.virtio.device, &context);
}

static void test_bus_reset(void **state)
{
    struct device_bus bus = {.count = 0};
    (void)state;
    assert_int_equal(device_bus_add(&bus, &toy.virtio.device), DX_OK);
    drive(VIRTIO_F_VERSION_1, SIZE);
    offer(SIZE, 0);
    notify();
    assert_true(level);
    toy.resets = 0;
    device_bus_reset(&bus);
    assert_int_equal(toy.resets, 1);
    assert_int_equal(read_register(STATUS), 0);
    assert_false(level);
}

#define MMIO_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MMIO_TEST(test_identity),
        MMIO_TEST(test_offered_features),
        MMIO_TEST(test_accepted_features),
        MMIO_TEST(test_status_order),
        MMIO_TEST(test_queue_setup),
        MMIO_TEST(test_queue_setup_needs_features),
        MMIO_TEST(test_high_halves),
        MMIO_TEST(test_other_queues),
        MMIO_TEST(test_notify),
        MMIO_TEST(test_notify_when_not_ready),
        MMIO_TEST(test_broken),
        MMIO_TEST(test_queue_gets_features),
        MMIO_TEST(test_config),
        MMIO_TEST(test_widths),
        MMIO_TEST(test_noise),
        MMIO_TEST(test_describes_itself),
        MMIO_TEST(test_bus_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
