/* SPDX-License-Identifier: MIT
 *
 * The virtqueue against a driver that keeps no rule: each of them broken alone, at its edge and one short of it, then
 * random rings. RAM has red zones around it, so an access outside ends the test.
 */
#include "virtio_world.h"

#define SEED UINT64_C(0x71756575)

enum { SIZE = 8, RANDOM_ROUNDS = 20000 };

static struct virtqueue queue;
static struct virtqueue_chain chain;

static void make_queue(uint32_t size)
{
    virtqueue_reset(&queue, &world);
    queue.size = size;
    queue.descriptors.at = TABLE;
    queue.driver.at = AVAILABLE;
    queue.device.at = USED;
    virtqueue_enable(&queue);
}

static int setup(void **state)
{
    (void)state;
    world_make();
    make_queue(SIZE);
    assert_true(queue.ready);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_free();
    return 0;
}

static bool enables(uint32_t size, uint64_t descriptors, uint64_t driver, uint64_t device)
{
    virtqueue_reset(&queue, &world);
    queue.size = size;
    queue.descriptors.at = descriptors;
    queue.driver.at = driver;
    queue.device.at = device;
    virtqueue_enable(&queue);
    return queue.ready;
}

static void test_sizes(void **state)
{
    static const uint32_t bad[] = {0, 3, 7, 9, 127, 256, 0x8000, 0x10000, 0x80000000, UINT32_MAX};
    (void)state;
    for (uint32_t size = 1; size <= VIRTQUEUE_SIZE_MAX; size *= 2) {
        assert_true(enables(size, TABLE, AVAILABLE, USED));
    }
    for (unsigned n = 0; n < ARRAY_LENGTH(bad); n++) {
        assert_false(enables(bad[n], TABLE, AVAILABLE, USED));
    }
}

/* Each ring's last byte, its event field's included, may be RAM's last, and its first byte RAM's first. */
static void test_places(void **state)
{
    const uint64_t table = 16 * SIZE, driver = 6 + 2 * SIZE, device = 6 + 8 * SIZE;
    (void)state;
    assert_true(enables(SIZE, RAM_END - table, AVAILABLE, USED));
    assert_false(enables(SIZE, RAM_END - table + 16, AVAILABLE, USED));
    assert_true(enables(SIZE, TABLE, RAM_END - driver, USED));
    assert_false(enables(SIZE, TABLE, RAM_END - driver + 2, USED));
    assert_true(enables(SIZE, TABLE, AVAILABLE, RAM_END - align_up(device, 4)));
    assert_false(enables(SIZE, TABLE, AVAILABLE, RAM_END - align_down(device, 4)));
    assert_true(enables(SIZE, RAM_BASE, RAM_BASE, RAM_BASE));
    assert_false(enables(SIZE, RAM_BASE - 16, AVAILABLE, USED));
    assert_false(enables(SIZE, TABLE, RAM_BASE - 2, USED));
    assert_false(enables(SIZE, TABLE, AVAILABLE, RAM_BASE - 4));
    static const uint64_t nowhere[] = {0, UINT64_MAX - 15, UINT64_C(1) << 32 | TABLE, UINT64_C(1) << 63 | TABLE};
    for (unsigned n = 0; n < ARRAY_LENGTH(nowhere); n++) {
        assert_false(enables(SIZE, nowhere[n], AVAILABLE, USED));
        assert_false(enables(SIZE, TABLE, nowhere[n] & ~UINT64_C(1), USED));
        assert_false(enables(SIZE, TABLE, AVAILABLE, nowhere[n] & ~UINT64_C(3)));
    }
}

static void test_alignment(void **state)
{
    (void)state;
    for (unsigned off = 1; off < 16; off++) {
        assert_false(enables(SIZE, TABLE + off, AVAILABLE, USED));
        assert_int_equal(enables(SIZE, TABLE, AVAILABLE + off, USED), off % 2 == 0);
        assert_int_equal(enables(SIZE, TABLE, AVAILABLE, USED + off), off % 4 == 0);
    }
}

static void test_empty(void **state)
{
    (void)state;
    assert_int_equal(virtqueue_take(&queue, &chain), QUEUE_EMPTY);
    assert_false(virtqueue_interrupts(&queue));
}

/* A chain of three across both edges: what it says, and the bytes through it. */
static void test_chain(void **state)
{
    uint8_t bytes[0x40], back[0x40];
    (void)state;
    for (unsigned n = 0; n < sizeof(bytes); n++) {
        bytes[n] = (uint8_t)(n + 1);
    }
    describe(5, EDGE_1 + 0x1000, 0x10, NEXT, 0);
    describe(0, EDGE_1 - 0x18, 0x8, NEXT, 7);
    describe(7, EDGE_2 + 0x800 - 7, 0x28, WRITE, 1);
    put_bytes(EDGE_1 + 0x1000, bytes, 0x10);
    put_bytes(EDGE_1 - 0x18, bytes + 0x10, 0x8);
    offer(SIZE, 5);
    assert_int_equal(virtqueue_take(&queue, &chain), QUEUE_CHAIN);
    assert_int_equal(chain.head, 5);
    assert_int_equal(chain.count, 3);
    assert_int_equal(chain.readable_count, 2);
    assert_int_equal(chain.readable, 0x18);
    assert_int_equal(chain.writable, 0x28);
    memset(back, 0xee, sizeof(back));
    virtqueue_read(&queue, &chain, 0, back, 0x18);
    assert_memory_equal(back, bytes, 0x18);
    assert_int_equal(back[0x18], 0xee);
    virtqueue_read(&queue, &chain, 0xe, back, 4);
    assert_memory_equal(back, bytes + 0xe, 4);
    virtqueue_write(&queue, &chain, 3, bytes, 0x25);
    assert_int_equal(get(EDGE_2 + 0x800 - 7 + 2, 1), 0);
    for (unsigned n = 0; n < 0x25; n++) {
        assert_int_equal(get(EDGE_2 + 0x800 - 7 + 3 + n, 1), bytes[n]);
    }
    assert_int_equal(get(EDGE_2 + 0x800 - 7 + 0x28, 1), 0);
    assert_int_equal(virtqueue_take(&queue, &chain), QUEUE_EMPTY);
}

/* Buffers that lie in two or all three places of the host, whole. */
static void test_across_pieces(void **state)
{
    static uint8_t bytes[RAM_SIZE], back[RAM_SIZE];
    uint64_t seed = SEED;
    (void)state;
    for (unsigned n = 0; n < sizeof(bytes); n++) {
        bytes[n] = (uint8_t)test_random(&seed);
    }
    const uint64_t from = RAM_BASE + 0x2000, to = EDGE_2 + 0x3000;
    describe(1, from, (uint32_t)(to - from), WRITE, 0);
    offer(SIZE, 1);
    assert_int_equal(virtqueue_take(&queue, &chain), QUEUE_CHAIN);
    virtqueue_write(&queue, &chain, 0, bytes, (size_t)(to - from));
    chain.readable = chain.writable; /* the same bytes, to be read */
    virtqueue_read(&queue, &chain, 1, back, (size_t)(to - from - 1));
    assert_memory_equal(back, bytes + 1, to - from - 1);
}

static void test_reads_beyond_are_our_fault(void **state)
{
    uint8_t bytes[32];
    (void)state;
    describe(1, EDGE_2 + 0x800, 16, NEXT, 2);
    describe(2, EDGE_2 + 0x900, 16, WRITE, 0);
    offer(SIZE, 1);
    assert_int_equal(virtqueue_take(&queue, &chain), QUEUE_CHAIN);
    assert_true(PANICS(virtqueue_read(&queue, &chain, 1, bytes, 16)));
    assert_true(PANICS(virtqueue_read(&queue, &chain, 17, bytes, 0)));
    assert_true(PANICS(virtqueue_write(&queue, &chain, 16, bytes, 1)));
    virtqueue_write(&queue, &chain, 16, bytes, 0);
}

/* What chain the driver offers at 0; fills in whatever it is made of. */
static enum virtqueue_taken taken(void)
{
    offer(SIZE, 0);
    return virtqueue_take(&queue, &chain);
}

#define BROKEN()                                                                                                       \
    do {                                                                                                               \
        assert_int_equal(taken(), QUEUE_BROKEN);                                                                       \
        assert_int_equal(virtqueue_take(&queue, &chain), QUEUE_BROKEN);                                                \
        make_queue(SIZE);                                                                                              \
        put(AVAILABLE + 2, 0, 2);                                                                                      \
    } while (0)

#define GOOD()                                                                                                         \
    do {                                                                                                               \
        assert_int_equal(taken(), QUEUE_CHAIN);                                                                        \
        assert_int_equal(virtqueue_take(&queue, &chain), QUEUE_EMPTY);                                                 \
    } while (0)

static void test_index_jumps(void **state)
{
    (void)state;
    describe(0, EDGE_2 + 0x800, 1, 0, 0);
    for (unsigned n = 0; n < SIZE; n++) {
        put(AVAILABLE + 4 + 2 * n, 0, 2);
    }
    put(AVAILABLE + 2, SIZE, 2);
    for (unsigned n = 0; n < SIZE; n++) {
        assert_int_equal(virtqueue_take(&queue, &chain), QUEUE_CHAIN);
    }
    assert_int_equal(virtqueue_take(&queue, &chain), QUEUE_EMPTY);
    put(AVAILABLE + 2, SIZE - 1, 2); /* backwards */
    assert_int_equal(virtqueue_take(&queue, &chain), QUEUE_BROKEN);
    put(AVAILABLE + 2, 2 * SIZE + 1, 2);
    assert_int_equal(virtqueue_take(&queue, &chain), QUEUE_BROKEN);
    put(AVAILABLE + 2, SIZE, 2);
    assert_int_equal(virtqueue_take(&queue, &chain), QUEUE_EMPTY);
}

/* avail.idx, used.idx and the places in the rings wrap at their ends. */
static void test_wraps(void **state)
{
    (void)state;
    describe(3, EDGE_2 + 0x800, 1, 0, 0);
    for (unsigned n = 0; n < 0x10000 + 3; n++) {
        offer(SIZE, 3);
        assert_int_equal(virtqueue_take(&queue, &chain), QUEUE_CHAIN);
        virtqueue_give(&queue, &chain, n);
        assert_int_equal(used_index(), (uint16_t)(n + 1));
        assert_int_equal(used_head(SIZE, n), 3);
        assert_int_equal(used_length(SIZE, n), n);
        assert_int_equal(virtqueue_take(&queue, &chain), QUEUE_EMPTY);
    }
}

static void test_heads(void **state)
{
    (void)state;
    describe(SIZE - 1, EDGE_2 + 0x800, 1, 0, 0);
    describe(SIZE, EDGE_2 + 0x800, 1, 0, 0); /* it is in RAM, but not the table's */
    offer(SIZE, SIZE - 1);
    assert_int_equal(virtqueue_take(&queue, &chain), QUEUE_CHAIN);
    offer(SIZE, SIZE);
    assert_int_equal(virtqueue_take(&queue, &chain), QUEUE_BROKEN);
    make_queue(SIZE);
    put(AVAILABLE + 2, 0, 2);
    offer(SIZE, UINT16_MAX);
    assert_int_equal(virtqueue_take(&queue, &chain), QUEUE_BROKEN);
}

static void test_next(void **state)
{
    (void)state;
    describe(SIZE, EDGE_2 + 0x800, 1, 0, 0);
    describe(0, EDGE_2 + 0x800, 1, NEXT, SIZE);
    BROKEN();
    describe(0, EDGE_2 + 0x800, 1, NEXT, UINT16_MAX);
    BROKEN();
    describe(0, EDGE_2 + 0x800, 1, 0, SIZE); /* without the flag next means nothing */
    GOOD();
}

static void test_loops(void **state)
{
    (void)state;
    describe(0, EDGE_2 + 0x800, 1, NEXT, 0);
    BROKEN();
    for (unsigned n = 0; n < SIZE; n++) {
        describe(n, EDGE_2 + 0x800, 1, NEXT, n + 1 < SIZE ? n + 1 : 3);
    }
    BROKEN();
    describe(SIZE - 1, EDGE_2 + 0x800, 1, 0, 0); /* all of the table: the longest chain there is */
    GOOD();
    assert_int_equal(chain.count, SIZE);
}

static void test_buffers(void **state)
{
    static const struct {
        uint64_t address;
        uint32_t length;
        bool good;
    } rows[] = {
        {RAM_BASE, 1, true},
        {RAM_BASE, RAM_SIZE, true},
        {RAM_END - 1, 1, true},
        {RAM_BASE, 0, false},
        {RAM_BASE, RAM_SIZE + 1, false},
        {RAM_END - 1, 2, false},
        {RAM_END, 1, false},
        {RAM_BASE - 1, 1, false},
        {RAM_BASE - 1, 2, false},
        {0, 1, false},
        {0x10001000, 4, false},
        {RAM_BASE | UINT64_C(1) << 32, 1, false},
        {UINT64_MAX, 1, false},
        {UINT64_MAX, 2, false},
        {UINT64_MAX - RAM_SIZE, UINT32_MAX, false},
        {RAM_BASE, UINT32_MAX, false},
    };
    (void)state;
    for (unsigned n = 0; n < ARRAY_LENGTH(rows); n++) {
        for (unsigned flags = 0; flags <= WRITE; flags += WRITE) {
            describe(0, rows[n].address, rows[n].length, flags, 0);
            if (rows[n].good) {
                GOOD();
            } else {
                BROKEN();
            }
        }
    }
}

static void test_readable_comes_first(void **state)
{
    (void)state;
    describe(0, EDGE_2 + 0x800, 1, NEXT | WRITE, 1);
    describe(1, EDGE_2 + 0x800, 1, WRITE, 0);
    GOOD();
    describe(1, EDGE_2 + 0x800, 1, 0, 0);
    BROKEN();
}

static void use_indirect(bool negotiated)
{
    make_queue(SIZE);
    queue.indirect = negotiated;
    put(AVAILABLE + 2, 0, 2);
}

#define BROKEN_INDIRECT()                                                                                              \
    do {                                                                                                               \
        assert_int_equal(taken(), QUEUE_BROKEN);                                                                       \
        use_indirect(true);                                                                                            \
    } while (0)

static void test_indirect(void **state)
{
    (void)state;
    for (unsigned n = 0; n < SIZE + 1; n++) {
        describe_at(INDIRECT, n, EDGE_2 + 0x800, 4, (n < SIZE - 1 ? NEXT : 0) | (n < 2 ? 0 : WRITE), n + 1);
    }
    describe(0, INDIRECT, 16 * SIZE, INDIRECTLY, 0);
    use_indirect(false);
    assert_int_equal(taken(), QUEUE_BROKEN);
    use_indirect(true);
    GOOD();
    assert_int_equal(chain.head, 0);
    assert_int_equal(chain.count, SIZE);
    assert_int_equal(chain.readable, 8);
    assert_int_equal(chain.writable, 4 * (SIZE - 2));
    describe(0, INDIRECT, 16 * SIZE, INDIRECTLY | WRITE, 0); /* the flag is ignored */
    GOOD();
    describe(0, INDIRECT, 16 * SIZE, INDIRECTLY | NEXT, 1);
    BROKEN_INDIRECT();
    describe(0, INDIRECT, 16 * (SIZE + 1), INDIRECTLY, 0);
    BROKEN_INDIRECT();
    describe(0, INDIRECT, 0, INDIRECTLY, 0);
    BROKEN_INDIRECT();
    describe(0, INDIRECT, 16 * SIZE - 1, INDIRECTLY, 0);
    BROKEN_INDIRECT();
    describe(0, INDIRECT, 16 * (SIZE - 1), INDIRECTLY, 0); /* the chain goes on where its table ends */
    BROKEN_INDIRECT();
    describe(0, RAM_END - 16 * SIZE + 1, 16 * SIZE, INDIRECTLY, 0);
    BROKEN_INDIRECT();
    describe(0, RAM_BASE - 16, 16, INDIRECTLY, 0);
    BROKEN_INDIRECT();
    describe_at(INDIRECT, 1, INDIRECT, 16, INDIRECTLY, 0); /* nested */
    describe(0, INDIRECT, 32, INDIRECTLY, 0);
    BROKEN_INDIRECT();
}

/* A table that lies across an edge, and one behind direct descriptors, which count with it. */
static void test_indirect_places(void **state)
{
    const uint64_t across = EDGE_2 - 0x28;
    (void)state;
    use_indirect(true);
    queue.device.at = USED + 0x1000;
    for (unsigned n = 0; n < SIZE; n++) {
        describe_at(across, n, EDGE_2 + 0x800 + n, 1, n < SIZE - 1 ? NEXT : 0, n + 1);
    }
    describe(0, across, 16 * SIZE, INDIRECTLY, 0);
    GOOD();
    for (unsigned n = 0; n < SIZE; n++) {
        assert_int_equal(chain.segments[n].address.at, EDGE_2 + 0x800 + n);
    }
    describe(0, EDGE_2 + 0x800, 1, NEXT, 1);
    describe(1, across, 16 * SIZE, INDIRECTLY, 0);
    BROKEN_INDIRECT(); /* one more than the queue has entries */
    describe_at(across, SIZE - 2, EDGE_2 + 0x800, 1, 0, 0);
    GOOD();
    assert_int_equal(chain.count, SIZE);
}

/* 2^32 bytes and more can't be told in the used ring. */
static void test_long_chains(void **state)
{
    (void)state;
    world.ram.size = UINT64_C(1) << 33; /* nobody touches it */
    world.pieces[2].size = world.ram.size - world.pieces[2].offset;
    describe(0, RAM_BASE, UINT32_MAX, NEXT, 1);
    describe(1, RAM_BASE, 1, WRITE, 0);
    BROKEN();
    describe(0, RAM_BASE, UINT32_MAX - 1, NEXT, 1);
    GOOD();
}

static void test_interrupts_by_flag(void **state)
{
    (void)state;
    describe(0, EDGE_2 + 0x800, 1, 0, 0);
    GOOD();
    virtqueue_give(&queue, &chain, 0);
    assert_true(virtqueue_interrupts(&queue));
    assert_false(virtqueue_interrupts(&queue)); /* told already */
    put(AVAILABLE, 1, 2);
    GOOD();
    virtqueue_give(&queue, &chain, 0);
    assert_false(virtqueue_interrupts(&queue));
    put(AVAILABLE, 0, 2);
    assert_false(virtqueue_interrupts(&queue));
}

/* used_event e: told when used.idx steps over it, from e to e + 1. */
static void test_interrupts_by_event(void **state)
{
    const uint64_t used_event = AVAILABLE + 4 + 2 * SIZE;
    (void)state;
    queue.event_index = true;
    put(AVAILABLE, 1, 2); /* means nothing then */
    describe(0, EDGE_2 + 0x800, 1, 0, 0);
    for (unsigned n = 0; n < 20; n++) {
        GOOD();
        put(used_event, n % 3 == 0 ? n : n + 1, 2);
        virtqueue_give(&queue, &chain, 0);
        assert_int_equal(virtqueue_interrupts(&queue), n % 3 == 0);
    }
    for (unsigned n = 20; n < 25; n++) { /* several at once */
        GOOD();
        virtqueue_give(&queue, &chain, 0);
    }
    put(used_event, 22, 2);
    assert_true(virtqueue_interrupts(&queue));
    GOOD();
    virtqueue_give(&queue, &chain, 0);
    assert_false(virtqueue_interrupts(&queue));
    put(used_event, UINT16_MAX, 2);
    assert_false(virtqueue_interrupts(&queue));
}

/* Whenever it is found empty, the driver was asked to tell of the very next chain; whatever it had written there. */
static void test_asks_to_be_notified(void **state)
{
    const uint64_t available_event = USED + 4 + 8 * SIZE;
    (void)state;
    queue.event_index = true;
    put(available_event, 0x1234, 2);
    assert_int_equal(virtqueue_take(&queue, &chain), QUEUE_EMPTY);
    assert_int_equal(get(available_event, 2), 0);
    describe(0, EDGE_2 + 0x800, 1, 0, 0);
    for (unsigned n = 1; n < 10; n++) {
        GOOD();
        assert_int_equal(get(available_event, 2), n);
    }
    queue.event_index = false;
    put(available_event, 0x1234, 2);
    GOOD();
    assert_int_equal(get(available_event, 2), 0x1234);
}

/* The driver's copies of our indices are never read back. */
static void test_shadows(void **state)
{
    (void)state;
    describe(0, EDGE_2 + 0x800, 1, 0, 0);
    GOOD();
    put(USED + 2, 0x7777, 2);
    virtqueue_give(&queue, &chain, 5);
    assert_int_equal(used_index(), 1);
    assert_int_equal(used_length(SIZE, 0), 5);
}

/* Rings full of noise, with sizes and addresses that are often good: what comes out is bounded and in RAM. */
static void test_noise(void **state)
{
    uint64_t seed = SEED;
    (void)state;
    for (unsigned round = 0; round < RANDOM_ROUNDS; round++) {
        const uint32_t size = UINT32_C(1) << test_below(&seed, 8);
        make_queue(size);
        queue.indirect = test_below(&seed, 2) != 0;
        queue.event_index = test_below(&seed, 2) != 0;
        for (unsigned n = 0; n < MIN(size, 16); n++) {
            const uint64_t address = RAM_BASE - 64 + test_below(&seed, (uint32_t)RAM_SIZE + 128);
            describe(n, address, test_below(&seed, 300), test_below(&seed, 8), test_below(&seed, size + 1));
        }
        put(AVAILABLE + 2, test_below(&seed, size + 2), 2);
        put(AVAILABLE + 4, test_below(&seed, MIN(size, 16) + 1), 2);
        if (virtqueue_take(&queue, &chain) != QUEUE_CHAIN) {
            continue;
        }
        uint64_t sum = 0;
        assert_true(chain.count >= 1 && chain.count <= size && chain.readable_count <= chain.count);
        for (unsigned n = 0; n < chain.count; n++) {
            assert_true(range_holds(world.ram, chain.segments[n].address.at, chain.segments[n].length));
            sum += chain.segments[n].length;
        }
        assert_int_equal(sum, chain.readable + chain.writable);
        virtqueue_give(&queue, &chain, (uint32_t)chain.writable);
        (void)virtqueue_interrupts(&queue);
    }
}

#define QUEUE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUEUE_TEST(test_sizes),
        QUEUE_TEST(test_places),
        QUEUE_TEST(test_alignment),
        QUEUE_TEST(test_empty),
        QUEUE_TEST(test_chain),
        QUEUE_TEST(test_across_pieces),
        QUEUE_TEST(test_reads_beyond_are_our_fault),
        QUEUE_TEST(test_index_jumps),
        QUEUE_TEST(test_wraps),
        QUEUE_TEST(test_heads),
        QUEUE_TEST(test_next),
        QUEUE_TEST(test_loops),
        QUEUE_TEST(test_buffers),
        QUEUE_TEST(test_readable_comes_first),
        QUEUE_TEST(test_indirect),
        QUEUE_TEST(test_indirect_places),
        QUEUE_TEST(test_long_chains),
        QUEUE_TEST(test_interrupts_by_flag),
        QUEUE_TEST(test_interrupts_by_event),
        QUEUE_TEST(test_asks_to_be_notified),
        QUEUE_TEST(test_shadows),
        QUEUE_TEST(test_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
