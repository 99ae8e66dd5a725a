/* SPDX-License-Identifier: MIT
 *
 * The disk: every request, good and bad, through rings; the disk's memory has red zones around it.
 */
#include "device/virtio_blk.h"

#include "virtio_driver.h"

#define SEED     UINT64_C(0x626c6b)
#define F_RO     (UINT64_C(1) << 5)
#define F_FLUSH  (UINT64_C(1) << 9)
#define F_ERASE  (UINT64_C(1) << 13 | UINT64_C(1) << 14)
#define FEATURES (VIRTIO_F_VERSION_1 | F_FLUSH)

enum { SIZE = 8, SECTORS = 300, BYTES = SECTORS * 512 };
enum { IN = 0, OUT = 1, FLUSH = 4, GET_ID = 8, DISCARD = 11, WRITE_ZEROES = 13 };
enum { OK = 0, IOERR = 1, UNSUPP = 2, UNTOUCHED = 0xaa };
/* Where the driver has a request's parts. */
#define HEADER (RAM_BASE + 0x800)
#define STATE  (RAM_BASE + 0x900)
#define DATA   (EDGE_2 + 0x1000)

static struct virtio_blk blk;
static uint8_t *disk;

static void make(bool read_only)
{
    virtio_blk_init(&blk, (gpa_t){DEVICE_BASE}, &world, line(), disk, BYTES, read_only, "disk0");
    drive(FEATURES | (read_only ? 0 : F_ERASE), SIZE);
}

static int setup(void **state)
{
    (void)state;
    world_make();
    disk = malloc(BYTES);
    assert_non_null(disk);
    for (unsigned n = 0; n < BYTES; n++) {
        disk[n] = (uint8_t)(n / 512 + n);
    }
    driven = &blk.virtio;
    make(false);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(disk);
    world_free();
    return 0;
}

static void put_header(uint32_t type, uint64_t sector)
{
    put(HEADER, type, 4);
    put(HEADER + 4, 0, 4);
    put(HEADER + 8, sector, 8);
}

/* One request, its data of length bytes to be read or written by the device; its status. */
static uint8_t request(uint32_t type, uint64_t sector, uint32_t length, unsigned flags)
{
    put_header(type, sector);
    put(STATE, UNTOUCHED, 1);
    describe(0, HEADER, 16, NEXT, length == 0 ? 2 : 1);
    describe(1, DATA, length, NEXT | flags, 2);
    describe(2, STATE, 1, WRITE, 0);
    offer(SIZE, 0);
    notify();
    return (uint8_t)get(STATE, 1);
}

static uint32_t written(void)
{
    assert_int_equal(used_head(SIZE, used_index() - 1U), 0);
    return used_length(SIZE, used_index() - 1U);
}

static void test_config(void **state)
{
    const struct {
        unsigned offset;
        uint32_t value;
    } rows[] = {{0, SECTORS},  {4, 0},        {8, 0},  {12, VIRTQUEUE_SIZE_MAX - 2},
                {16, 0},       {20, 512},     {24, 0}, {28, 0},
                {32, 0},       {36, SECTORS}, {40, 1}, {44, 1},
                {48, SECTORS}, {52, 1},       {56, 1}, {60, 0}};
    (void)state;
    for (unsigned n = 0; n < ARRAY_LENGTH(rows); n++) {
        assert_int_equal(read_register(CONFIG + rows[n].offset), rows[n].value);
    }
    assert_int_equal(read_register(DEVICE_ID), 2);
    write_register(DEVICE_FEATURES_SEL, 0);
    assert_int_equal(read_register(DEVICE_FEATURES), 1U << 2 | 1U << 6 | F_FLUSH | F_ERASE | 3U << 28);
    make(true);
    assert_int_equal(read_register(DEVICE_FEATURES), 1U << 2 | F_RO | 1U << 6 | F_FLUSH | 3U << 28);
}

static void test_read(void **state)
{
    (void)state;
    assert_int_equal(request(IN, 7, 1024, WRITE), OK);
    for (unsigned n = 0; n < 1024; n++) {
        assert_int_equal(get(DATA + n, 1), disk[7 * 512 + n]);
    }
    assert_int_equal(written(), 1025);
    assert_true(level);
    assert_int_equal(request(IN, SECTORS - 1, 512, WRITE), OK);
    assert_int_equal(get(DATA + 511, 1), disk[BYTES - 1]);
    assert_int_equal(request(IN, 0, 0, 0), OK);
    assert_int_equal(written(), 1);
}

static void test_write(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 1024; n++) {
        put(DATA + n, 3 * n, 1);
    }
    const uint8_t before = disk[5 * 512 - 1], after = disk[7 * 512];
    assert_int_equal(request(OUT, 5, 1024, 0), OK);
    for (unsigned n = 0; n < 1024; n++) {
        assert_int_equal(disk[5 * 512 + n], (uint8_t)(3 * n));
    }
    assert_int_equal(disk[5 * 512 - 1], before);
    assert_int_equal(disk[7 * 512], after);
    assert_int_equal(written(), 1);
    assert_int_equal(request(OUT, SECTORS - 1, 512, 0), OK);
    assert_int_equal(request(FLUSH, 0, 0, 0), OK);
    assert_int_equal(written(), 1);
}

static void test_bounds(void **state)
{
    static const struct {
        uint64_t sector;
        uint32_t length;
    } rows[] = {{SECTORS, 512},
                {SECTORS - 1, 1024},
                {SECTORS + 1, 512},
                {UINT64_MAX, 512},
                {UINT64_MAX / 512 + 1, 512},
                {UINT64_C(1) << 55, 512},
                {UINT64_C(1) << 32, 512},
                {0, 511},
                {0, 513},
                {0, 1},
                {SECTORS - 1, 513}};
    (void)state;
    uint8_t *before = malloc(BYTES);
    assert_non_null(before);
    memcpy(before, disk, BYTES);
    for (unsigned n = 0; n < ARRAY_LENGTH(rows); n++) {
        put(DATA, 0x5a, 1);
        assert_int_equal(request(OUT, rows[n].sector, rows[n].length, 0), IOERR);
        assert_int_equal(written(), 1);
        assert_int_equal(request(IN, rows[n].sector, rows[n].length, WRITE), IOERR);
        assert_int_equal(written(), 0);
        assert_int_equal(get(DATA, 1), 0x5a);
    }
    assert_memory_equal(disk, before, BYTES);
    assert_false(needs_reset());
    free(before);
}

static void put_stretch(uint64_t sector, uint32_t sectors, uint32_t flags)
{
    put(DATA, sector, 8);
    put(DATA + 8, sectors, 4);
    put(DATA + 12, flags, 4);
}

static void test_erase(void **state)
{
    (void)state;
    for (uint32_t type = DISCARD; type <= WRITE_ZEROES; type += WRITE_ZEROES - DISCARD) {
        memset(disk, 0xff, BYTES);
        put_stretch(10, 4, 0);
        assert_int_equal(request(type, 99, 16, 0), OK);
        for (unsigned n = 0; n < BYTES; n++) {
            assert_int_equal(disk[n], n >= 10 * 512 && n < 14 * 512 ? 0 : 0xff);
        }
        put_stretch(0, SECTORS, 0); /* in several steps */
        assert_int_equal(request(type, 0, 16, 0), OK);
        assert_int_equal(disk[0], 0);
        assert_int_equal(disk[BYTES - 1], 0);
        static const struct {
            uint64_t sector;
            uint32_t sectors;
        } bad[] = {{SECTORS, 1}, {SECTORS - 1, 2}, {0, SECTORS + 1}, {UINT64_MAX, 1}, {1, UINT32_MAX}};
        disk[BYTES - 1] = 1;
        for (unsigned n = 0; n < ARRAY_LENGTH(bad); n++) {
            put_stretch(bad[n].sector, bad[n].sectors, 0);
            assert_int_equal(request(type, 0, 16, 0), IOERR);
        }
        put_stretch(0, 1, 1);
        assert_int_equal(request(type, 0, 16, 0), type == DISCARD ? UNSUPP : OK);
        put_stretch(0, 1, 2);
        assert_int_equal(request(type, 0, 16, 0), UNSUPP);
        put_stretch(0, 1, 0);
        assert_int_equal(request(type, 0, 32, 0), IOERR); /* max_discard_seg */
        assert_int_equal(request(type, 0, 15, 0), IOERR);
        assert_int_equal(request(type, 0, 0, 0), IOERR);
        assert_int_equal(disk[BYTES - 1], 1);
    }
    drive(FEATURES, SIZE);
    put_stretch(0, 1, 0);
    assert_int_equal(request(DISCARD, 0, 16, 0), UNSUPP); /* not negotiated */
    assert_int_equal(request(WRITE_ZEROES, 0, 16, 0), UNSUPP);
}

static void test_read_only(void **state)
{
    (void)state;
    make(true);
    uint8_t *before = malloc(BYTES);
    assert_non_null(before);
    memcpy(before, disk, BYTES);
    assert_int_equal(request(IN, 7, 1024, WRITE), OK);
    assert_int_equal(request(OUT, 0, 512, 0), IOERR);
    put_stretch(0, 1, 0);
    assert_int_equal(request(DISCARD, 0, 16, 0), UNSUPP);
    assert_int_equal(request(WRITE_ZEROES, 0, 16, 0), UNSUPP);
    assert_memory_equal(disk, before, BYTES);
    free(before);
}

static void test_serial(void **state)
{
    (void)state;
    assert_int_equal(request(GET_ID, 0, 20, WRITE), OK);
    assert_int_equal(written(), 21);
    for (unsigned n = 0; n < 20; n++) {
        assert_int_equal(get(DATA + n, 1), n < 5 ? (uint8_t) "disk0"[n] : 0);
    }
    assert_int_equal(request(GET_ID, 0, 19, WRITE), IOERR);
    assert_int_equal(request(GET_ID, 0, 100, WRITE), OK);
    assert_int_equal(written(), 20); /* a gap before the status */
    virtio_blk_init(&blk, (gpa_t){DEVICE_BASE}, &world, line(), disk, BYTES, false, "abcdefghijklmnopqrstuvwxyz");
    drive(FEATURES, SIZE);
    assert_int_equal(request(GET_ID, 0, 20, WRITE), OK);
    assert_int_equal(get(DATA + 19, 1), 't');
}

static void test_unknown(void **state)
{
    static const uint32_t types[] = {2, 3, 5, 7, 9, 10, 12, 14, 0x80000000, UINT32_MAX};
    (void)state;
    for (unsigned n = 0; n < ARRAY_LENGTH(types); n++) {
        assert_int_equal(request(types[n], 0, 512, WRITE), UNSUPP);
        assert_int_equal(written(), 0);
    }
    drive(VIRTIO_F_VERSION_1, SIZE);
    assert_int_equal(request(FLUSH, 0, 0, 0), UNSUPP); /* not negotiated */
    assert_false(needs_reset());
}

/* Without a whole header, or a place for the status, there is no answer. */
static void test_frames(void **state)
{
    (void)state;
    put_header(IN, 0);
    describe(0, HEADER, 15, NEXT, 2);
    describe(2, STATE, 1, WRITE, 0);
    offer(SIZE, 0);
    notify();
    assert_true(needs_reset());
    assert_int_equal(used_index(), 0);
    make(false);
    describe(0, HEADER, 16, 0, 0);
    offer(SIZE, 0);
    notify();
    assert_true(needs_reset());
    make(false);
    describe(0, STATE, 1, WRITE, 0);
    offer(SIZE, 0);
    notify();
    assert_true(needs_reset());
    make(false);
    put(AVAILABLE + 2, SIZE + 1, 2);
    notify();
    assert_true(needs_reset());
    assert_false(blk.busy);
}

/* Descriptors may divide a request anywhere. */
static void test_layouts(void **state)
{
    (void)state;
    put_header(IN, 3);
    describe(0, HEADER, 7, NEXT, 1);
    describe(1, HEADER + 7, 9, NEXT, 2);
    describe(2, DATA, 100, WRITE | NEXT, 3);
    describe(3, DATA + 100, 413, WRITE, 0); /* the status is its last byte */
    put(DATA + 512, UNTOUCHED, 1);
    offer(SIZE, 0);
    notify();
    assert_int_equal(get(DATA + 512, 1), OK);
    for (unsigned n = 0; n < 512; n++) {
        assert_int_equal(get(DATA + n, 1), disk[3 * 512 + n]);
    }
    put_header(OUT, 4);
    put_bytes(RAM_BASE + 0x1000, "x", 1);
    for (unsigned n = 0; n < 16; n++) { /* header and data in one descriptor */
        put(DATA + n, get(HEADER + n, 1), 1);
    }
    put(DATA + 16, 0x77, 1);
    describe(0, DATA, 528, NEXT, 1);
    describe(1, STATE, 1, WRITE, 0);
    offer(SIZE, 0);
    notify();
    assert_int_equal(get(STATE, 1), OK);
    assert_int_equal(disk[4 * 512], 0x77);
}

/* The whole disk at once, by buffers that all are the same 8 KiB: more than a step, so the store traps several times.
 */
static void test_steps(void **state)
{
    enum { PART = 8192, PARTS = BYTES / PART };
    (void)state;
    drive(FEATURES, 32);
    put_header(IN, 0);
    describe(0, HEADER, 16, NEXT, 1);
    for (unsigned n = 1; n <= PARTS; n++) {
        describe(n, DATA, PART, WRITE | NEXT, n + 1);
    }
    describe(PARTS + 1, STATE, 1, WRITE, 0);
    put(STATE, UNTOUCHED, 1);
    offer(32, 0);
    assert_false(write_register(QUEUE_NOTIFY, 0));
    assert_int_equal(used_index(), 0);
    assert_int_equal(get(STATE, 1), UNTOUCHED);
    assert_false(level);
    assert_true(notify() >= PARTS * PART / (64 * KIB));
    assert_int_equal(get(STATE, 1), OK);
    assert_int_equal(used_length(32, 0), PARTS * PART + 1);
    for (unsigned n = 0; n < PART; n++) {
        assert_int_equal(get(DATA + n, 1), disk[(PARTS - 1) * PART + n]);
    }
}

/* Many small requests are not done in one step either. */
static void test_many_requests(void **state)
{
    (void)state;
    drive(FEATURES, VIRTQUEUE_SIZE_MAX);
    put_header(FLUSH, 0);
    describe(0, HEADER, 16, NEXT, 1);
    describe(1, STATE, 1, WRITE, 0);
    for (unsigned n = 0; n < VIRTQUEUE_SIZE_MAX; n++) {
        offer(VIRTQUEUE_SIZE_MAX, 0);
    }
    assert_false(write_register(QUEUE_NOTIFY, 0));
    assert_true(used_index() >= 8 && used_index() <= 32);
    assert_true(notify() >= 4);
    assert_int_equal(used_index(), VIRTQUEUE_SIZE_MAX);
}

/* Reset between two steps: nothing more is written, and the next request is served from its beginning. */
static void test_reset_in_between(void **state)
{
    (void)state;
    put_header(IN, 0);
    describe(0, HEADER, 16, NEXT, 1);
    for (unsigned n = 1; n < 6; n++) {
        describe(n, RAM_BASE + 0x6800, 0x3600, WRITE | NEXT, n + 1);
    }
    describe(6, RAM_BASE + 0x6800, 1536, WRITE | NEXT, 7);
    describe(7, STATE, 1, WRITE, 0);
    put(STATE, UNTOUCHED, 1);
    offer(SIZE, 0);
    assert_false(write_register(QUEUE_NOTIFY, 0));
    write_register(STATUS, 0);
    put(RAM_BASE + 0x6800, 0x5a, 1);
    assert_true(write_register(QUEUE_NOTIFY, 0));
    assert_int_equal(get(STATE, 1), UNTOUCHED);
    assert_int_equal(get(RAM_BASE + 0x6800, 1), 0x5a);
    assert_false(level);
    drive(FEATURES, SIZE);
    assert_int_equal(request(IN, 7, 1024, WRITE), OK);
    assert_int_equal(get(DATA, 1), disk[7 * 512]);
}

/* Requests of noise: the disk and RAM stay what they are, and so does the device. */
static void test_noise(void **state)
{
    uint64_t seed = SEED;
    (void)state;
    for (unsigned n = 0; n < 20000; n++) {
        if (n % 64 == 0 || needs_reset()) {
            drive(FEATURES | F_ERASE, SIZE);
        }
        put_header(test_below(&seed, 15), test_below(&seed, SECTORS + 3));
        put_stretch(test_below(&seed, SECTORS + 3), test_below(&seed, SECTORS + 3), test_below(&seed, 3));
        describe(0, HEADER, 16 - (test_below(&seed, 50) == 0), NEXT, 1 + test_below(&seed, 2));
        describe(1, DATA, test_below(&seed, 3) == 0 ? 16 : 512 * test_below(&seed, 16),
                 NEXT | (test_below(&seed, 2) != 0 ? WRITE : 0), 2);
        describe(2, STATE, 1 + test_below(&seed, 2) * 512, WRITE, 0);
        offer(SIZE, test_below(&seed, 100) == 0 ? 1 : 0);
        notify();
        assert_false(blk.busy);
    }
}

#define BLK_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BLK_TEST(test_config),
        BLK_TEST(test_read),
        BLK_TEST(test_write),
        BLK_TEST(test_bounds),
        BLK_TEST(test_erase),
        BLK_TEST(test_serial),
        BLK_TEST(test_read_only),
        BLK_TEST(test_unknown),
        BLK_TEST(test_frames),
        BLK_TEST(test_steps),
        BLK_TEST(test_many_requests),
        BLK_TEST(test_layouts),
        BLK_TEST(test_reset_in_between),
        BLK_TEST(test_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
