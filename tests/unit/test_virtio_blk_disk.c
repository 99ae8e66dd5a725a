/* SPDX-License-Identifier: MIT
 *
 * The virtio disk that is a stretch of the machine's, in front of a fake disk, which answers when the test wants.
 */
#include "core/hart.h"
#include "device/virtio_blk.h"

#include "fake_arch.h"
#include "virtio_driver.h"

enum { SIZE = 64, FIRST = 1000, SECTORS = 300, SLOTS = 128, PIECES = 20 };
enum { IN = 0, OUT = 1, FLUSH = 4, GET_ID = 8, DISCARD = 11, WRITE_ZEROES = 13 };
enum { OK = 0, IOERR = 1, UNSUPP = 2, UNTOUCHED = 0xaa };
#define F_RO     (UINT64_C(1) << 5)
#define FEATURES (VIRTIO_F_VERSION_1 | UINT64_C(1) << 9 | UINT64_C(1) << 13 | UINT64_C(1) << 14)
/* Of request n: header, status, data. */
#define HEADER(n) (RAM_BASE + 0x800 + 32 * (uint64_t)(n))
#define STATE(n)  (RAM_BASE + 0x1000 + (uint64_t)(n))
#define DATA(n)   (EDGE_2 + 0x1000 + 512 * (uint64_t)(n))

static struct virtio_blk blk;
static struct disk disk;
/* What the disk has been asked for. */
static struct sent {
    struct disk_order order;
    struct range pieces[PIECES];
} sent[SLOTS];
static unsigned sent_count, capacity;

static void count_room(void)
{
    disk.room = capacity > sent_count ? capacity - sent_count : 0;
}

static void on_send(struct disk *of, const struct disk_order *order)
{
    assert_ptr_equal(of, &disk);
    assert_true(sent_count < SLOTS && order->piece_count <= PIECES);
    sent[sent_count].order = *order;
    if (order->piece_count != 0) {
        memcpy(sent[sent_count].pieces, order->pieces, order->piece_count * sizeof(order->pieces[0]));
    }
    sent_count++;
    count_room();
}

static bool on_watch(struct disk *of, uint64_t now)
{
    (void)of;
    (void)now;
    return true;
}

static const struct disk_ops ops = {.send = on_send, .watch = on_watch};

/* The n-th of what it has. */
static void answer(unsigned n, enum disk_answer answer)
{
    assert_true(n < sent_count);
    const struct disk_order order = sent[n].order;
    sent_count--;
    memmove(&sent[n], &sent[n + 1], (sent_count - n) * sizeof(sent[0]));
    count_room();
    disk_answered(order.user, order.token, answer);
    (void)disk_go_on(&disk);
}

static void make(bool writes)
{
    const struct disk_user *other;
    const struct disk_user user = {.disk = &disk, .first = FIRST, .sectors = SECTORS, .writes = writes};
    memset(&disk, 0, sizeof(disk));
    disk.ops = &ops;
    disk.path = "/fake";
    disk.slots = SLOTS;
    disk.room = SLOTS;
    disk.limits = (struct disk_limits){
        .sectors = FIRST + SECTORS + 50,
        .flush = true,
        .discard = true,
        .write_zeroes = true,
        .block_size = 512,
        .physical_exponent = 3,
        .pieces_max = PIECES,
        .piece_longest = 2048,
        .discard_most = 100,
        .zeroes_most = 50,
    };
    sent_count = 0;
    capacity = SLOTS;
    atomic_store(&world.state, CAPSULE_RUNNING);
    virtio_blk_init_disk(&blk, (gpa_t){DEVICE_BASE}, &world, line(), &user, "serial-of-disk");
    assert_int_equal(disk_attach(&blk.user, &other), DX_OK);
    driven = &blk.virtio;
    drive(FEATURES & ~(writes ? 0 : UINT64_C(3) << 13), SIZE);
}

static int setup(void **state)
{
    (void)state;
    clock_hz = 10000000;
    fake_arch.time = 0;
    world_make();
    make(true);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    while (sent_count > 0) {
        answer(0, DISK_FAILED);
    }
    disk_detach(&blk.user);
    timer_cancel(&disk.watch);
    world_free();
    return 0;
}

/* Offers request n, of three descriptors, without a notification. */
static void put_request(unsigned n, uint32_t type, uint64_t sector, uint32_t length, unsigned flags)
{
    const unsigned d = 3 * n;
    put(HEADER(n), type, 4);
    put(HEADER(n) + 8, sector, 8);
    put(STATE(n), UNTOUCHED, 1);
    describe(d, HEADER(n), 16, NEXT, length == 0 ? d + 2 : d + 1);
    describe(d + 1, DATA(n), length, NEXT | flags, d + 2);
    describe(d + 2, STATE(n), 1, WRITE, 0);
    offer(SIZE, d);
}

static uint8_t state_of(unsigned n)
{
    return (uint8_t)get(STATE(n), 1);
}

static unsigned holds(void)
{
    return capsule_holds(&world);
}

static void test_in_any_order(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 20; n++) {
        put_request(n, IN, n, 512, WRITE);
    }
    assert_int_equal(notify(), 3); /* in steps */
    assert_int_equal(sent_count, 20);
    assert_int_equal(holds(), 20);
    assert_int_equal(used_index(), 0);
    for (unsigned n = 0; n < 20; n++) {
        assert_int_equal(sent[n].order.sector, FIRST + n);
        assert_int_equal(sent[n].pieces[0].base, (uintptr_t)ram(DATA(n)));
        assert_int_equal(sent[n].pieces[0].size, 512);
    }
    answer(7, DISK_DONE);
    assert_int_equal(state_of(7), OK);
    assert_int_equal(used_head(SIZE, 0), 21);
    assert_int_equal(used_length(SIZE, 0), 513);
    assert_true(level);
    answer(0, DISK_FAILED);
    assert_int_equal(state_of(0), IOERR);
    assert_int_equal(used_length(SIZE, 1), 0);
    while (sent_count > 0) {
        answer(sent_count - 1, DISK_DONE);
    }
    assert_int_equal(used_index(), 20);
    assert_int_equal(holds(), 0);
}

/* Nothing that the guest writes after its notification changes what was asked of the disk. */
static void test_copied(void **state)
{
    (void)state;
    put_request(0, OUT, 5, 512, 0);
    notify();
    put(HEADER(0), IN, 4);
    put(HEADER(0) + 8, 77, 8);
    describe(1, 0x1000, 512, NEXT, 2);
    describe(2, RAM_BASE, 1, WRITE, 0);
    assert_int_equal(sent[0].order.operation, DISK_WRITE);
    assert_int_equal(sent[0].order.sector, FIRST + 5);
    answer(0, DISK_DONE);
    assert_int_equal(state_of(0), OK);
    assert_int_equal(used_length(SIZE, 0), 1);
}

/* Where RAM is in pieces the payload is too, and no piece is longer than the disk likes. */
static void test_pieces(void **state)
{
    (void)state;
    put_request(0, IN, 0, 8192, WRITE);
    describe(1, EDGE_1 - 512, 8192, NEXT | WRITE, 2);
    notify();
    assert_int_equal(sent[0].order.piece_count, 5);
    assert_int_equal(sent[0].pieces[0].size, 512);
    assert_int_equal(sent[0].pieces[1].base, (uintptr_t)ram(EDGE_1));
    assert_int_equal(sent[0].pieces[1].size, 2048);
    assert_int_equal(sent[0].pieces[4].size, 8192 - 512 - 3 * 2048);
    put_request(1, IN, 0, 512 * 22, WRITE);
    unsigned d = 3;
    for (unsigned n = 0; n < 22; n++) { /* too many */
        describe(d, n == 0 ? HEADER(1) : DATA(n), n == 0 ? 16 : 512, NEXT | (n == 0 ? 0 : WRITE), d + 1);
        d++;
    }
    describe(d, STATE(1), 1, WRITE, 0);
    notify();
    assert_int_equal(sent_count, 1);
    assert_int_equal(state_of(1), IOERR);
}

static void test_refused(void **state)
{
    static const struct {
        uint32_t type;
        uint64_t sector;
        uint32_t length;
        uint8_t status;
    } rows[] = {
        {IN, SECTORS, 512, IOERR},
        {IN, SECTORS - 1, 1024, IOERR},
        {IN, UINT64_MAX, 512, IOERR},
        {IN, UINT64_MAX - FIRST, 512, IOERR},
        {IN, 0, 511, IOERR},
        {OUT, SECTORS, 512, IOERR},
        {OUT, UINT64_MAX - FIRST + 1, 512, IOERR},
        {99, 0, 512, UNSUPP},
    };
    (void)state;
    for (unsigned n = 0; n < ARRAY_LENGTH(rows); n++) {
        put_request(0, rows[n].type, rows[n].sector, rows[n].length, rows[n].type == OUT ? 0 : WRITE);
        notify();
        assert_int_equal(state_of(0), rows[n].status);
        assert_int_equal(sent_count, 0);
        assert_int_equal(holds(), 0);
        assert_int_equal(disk.reserved, 0);
    }
}

static void test_read_only(void **state)
{
    (void)state;
    disk_detach(&blk.user);
    make(false);
    write_register(DEVICE_FEATURES_SEL, 0);
    assert_int_equal(read_register(DEVICE_FEATURES) & (F_RO | UINT64_C(3) << 13), F_RO);
    put_request(0, OUT, 0, 512, 0);
    put_request(1, IN, 0, 512, WRITE);
    put_request(2, DISCARD, 0, 16, 0);
    notify();
    assert_int_equal(state_of(0), IOERR);
    assert_int_equal(state_of(2), UNSUPP);
    assert_int_equal(sent_count, 1);
}

static void put_stretch(unsigned n, uint64_t sector, uint32_t sectors, uint32_t flags)
{
    put(DATA(n), sector, 8);
    put(DATA(n) + 8, sectors, 4);
    put(DATA(n) + 12, flags, 4);
}

static void test_other_operations(void **state)
{
    (void)state;
    put_request(0, DISCARD, 0, 16, 0);
    put_stretch(0, 10, 100, 0);
    put_request(1, DISCARD, 0, 16, 0);
    put_stretch(1, 10, 101, 0);
    put_request(2, WRITE_ZEROES, 0, 16, 0);
    put_stretch(2, SECTORS - 50, 50, 1);
    put_request(3, WRITE_ZEROES, 0, 16, 0);
    put_stretch(3, SECTORS - 49, 50, 0);
    put_request(4, FLUSH, 0, 0, 0);
    put_request(5, GET_ID, 0, 20, WRITE);
    notify();
    notify();
    assert_int_equal(sent_count, 3);
    assert_int_equal(sent[0].order.operation, DISK_DISCARD);
    assert_int_equal(sent[0].order.sector, FIRST + 10);
    assert_int_equal(sent[0].order.sectors, 100);
    assert_int_equal(sent[1].order.operation, DISK_WRITE_ZEROES);
    assert_true(sent[1].order.unmap);
    assert_int_equal(sent[2].order.operation, DISK_FLUSH);
    assert_int_equal(state_of(1), IOERR);
    assert_int_equal(state_of(3), IOERR);
    assert_int_equal(state_of(4), UNTOUCHED);
    assert_int_equal(state_of(5), OK);
    assert_int_equal(get(DATA(5), 1), 's');
    assert_int_equal(get(DATA(5) + 13, 1), 'k');
    answer(2, DISK_DONE);
    assert_int_equal(state_of(4), OK);
}

/* The store isn't over before the last answer, and none of the answers is told to the driver, whose rings may be gone.
 */
static void test_reset_waits(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 3; n++) {
        put_request(n, IN, n, 512, WRITE);
    }
    notify();
    assert_false(write_register(STATUS, 0));
    assert_int_not_equal(read_register(STATUS), 0);
    put_request(3, IN, 3, 512, WRITE);
    notify();
    assert_int_equal(sent_count, 3);
    for (unsigned n = 0; n < 3; n++) {
        assert_false(write_register(STATUS, 0));
        answer(0, DISK_DONE);
    }
    assert_true(write_register(STATUS, 0));
    assert_int_equal(read_register(STATUS), 0);
    assert_int_equal(used_index(), 0);
    assert_int_equal(state_of(0), UNTOUCHED);
    drive(FEATURES, SIZE);
    put_request(0, IN, 0, 512, WRITE);
    notify();
    answer(0, DISK_DONE);
    assert_int_equal(state_of(0), OK);
}

static void test_broken_in_flight(void **state)
{
    (void)state;
    put_request(0, IN, 0, 512, WRITE);
    notify();
    put(AVAILABLE + 2, 0x7000, 2);
    notify();
    assert_true(needs_reset());
    answer(0, DISK_DONE);
    assert_int_equal(used_index(), 0);
    assert_int_equal(state_of(0), UNTOUCHED);
    assert_int_equal(holds(), 0);
    assert_true(write_register(STATUS, 0));
}

/* What there is no room for stays in the ring, and goes on when there is. */
static void test_no_room(void **state)
{
    (void)state;
    disk.room = 2;
    disk.slots = 2;
    for (unsigned n = 0; n < 5; n++) {
        put_request(n, IN, n, 512, WRITE);
    }
    notify();
    assert_int_equal(sent_count, 2);
    for (unsigned n = 0; n < 5; n++) {
        answer(0, DISK_DONE);
        assert_int_equal(used_index(), n + 1);
    }
    assert_int_equal(sent_count, 0);
    assert_int_equal(disk.reserved, 0);
}

/* A stop that waits for what is in flight is committed by the last answer. */
static void test_pinned(void **state)
{
    (void)state;
    put_request(0, IN, 0, 512, WRITE);
    put_request(1, IN, 1, 512, WRITE);
    notify();
    assert_int_equal(holds(), 2);
    answer(1, DISK_DONE);
    assert_int_equal(holds(), 1);
    answer(0, DISK_DONE);
    assert_int_equal(holds(), 0);
}

/* In logical blocks; the stretch begins 1000 sectors behind a physical block's beginning: 1000 is a multiple of 8. */
static void test_config(void **state)
{
    (void)state;
    assert_int_equal(read_register(CONFIG), SECTORS);
    assert_int_equal(read_register(CONFIG + 12), PIECES - 3); /* RAM's edges */
    assert_int_equal(read_register(CONFIG + 20), 512);
    assert_int_equal(read_register(CONFIG + 24), 3);
    assert_int_equal(read_register(CONFIG + 36), 100);
    assert_int_equal(read_register(CONFIG + 48), 50);
}

/* --- what guests and harts do meanwhile --- */

/* Another capsule's, that has the disk's only room. */
static struct capsule neighbour;
static struct disk_user rival;

static void on_rival_done(struct disk_user *user, uint32_t token, enum disk_answer result)
{
    (void)user;
    (void)token;
    (void)result;
}

static void on_rival_room(struct disk_user *user)
{
    (void)user;
}

static void add_rival(void)
{
    const struct disk_user *other;
    memset(&neighbour, 0, sizeof(neighbour));
    atomic_store(&neighbour.state, CAPSULE_RUNNING);
    rival = (struct disk_user){
        .capsule = &neighbour, .disk = &disk, .sectors = FIRST, .done = on_rival_done, .room = on_rival_room};
    assert_int_equal(disk_attach(&rival, &other), DX_OK);
}

static bool rival_asks(void)
{
    const struct disk_order order = {.user = &rival, .operation = DISK_FLUSH};
    const bool granted = disk_reserve(&rival);
    if (granted) {
        assert_true(disk_send(&order, 0));
    }
    return granted;
}

/* A stop is committed on one hart while another tells of room: devices find nothing in flight when they are silenced.
 */
static void test_silenced(void **state)
{
    (void)state;
    add_rival();
    capacity = 1;
    count_room();
    assert_true(rival_asks());
    put_request(0, IN, 0, 512, WRITE);
    notify();
    assert_int_equal(sent_count, 1);
    atomic_store(&world.state, CAPSULE_COMMITTING | CAPSULE_HOLD);
    answer(0, DISK_DONE);
    assert_int_equal(sent_count, 0);
    virtio_device_reset(&blk.virtio);
    assert_int_equal(holds(), 1);
    disk_detach(&rival);
}

/* Requests that wait when the disk dies fail; those that it has keep the capsule. */
static void test_dies(void **state)
{
    (void)state;
    capacity = 2;
    count_room();
    for (unsigned n = 0; n < 20; n++) {
        put_request(n, n % 2 == 0 ? IN : OUT, n, 512, n % 2 == 0 ? WRITE : 0);
    }
    notify();
    assert_int_equal(sent_count, 2);
    atomic_store(&disk.dead, true);
    for (unsigned n = 0; disk_go_on(&disk); n++) {
        assert_true(n < 100);
    }
    assert_int_equal(used_index(), 18);
    for (unsigned n = 0; n < 20; n++) {
        assert_int_equal(state_of(n), n < 2 ? UNTOUCHED : IOERR);
    }
    assert_int_equal(holds(), 2);
    assert_int_equal(disk.reserved, 0);
    put_request(20, FLUSH, 0, 0, 0);
    put_request(0, IN, 0, 512, WRITE);
    notify();
    assert_int_equal(state_of(20), IOERR);
    assert_int_equal(state_of(0), IOERR);
    assert_int_equal(sent_count, 2);
}

/* More than a user may have in flight: the rest follows, each as one is answered. */
static void test_most_in_flight(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 21; n++) {
        put_request(n, FLUSH, 0, 0, 0);
    }
    notify();
    assert_int_equal(sent_count, 21);
    for (unsigned round = 0; round < 3; round++) { /* the same chains once more: heads may be in flight twice */
        for (unsigned n = 0; n < 21; n++) {
            offer(SIZE, 3 * n);
        }
        notify();
        assert_int_equal(sent_count, DISK_USER_REQUESTS_MAX);
        assert_int_equal(holds(), DISK_USER_REQUESTS_MAX);
        for (unsigned n = 0; n < 21; n++) {
            answer(sent_count / 2, DISK_DONE);
        }
    }
    while (sent_count > 0) {
        answer(0, DISK_DONE);
    }
    assert_int_equal(used_index(), 84);
    assert_false(needs_reset());
}

/* All bytes of RAM, to be compared later. */
static uint8_t before[RAM_SIZE];

static void remember_ram(void)
{
    for (unsigned n = 0; n < 3; n++) {
        memcpy(before + (size_t)world.pieces[n].offset, hpa_pointer(world.pieces[n].host),
               (size_t)world.pieces[n].size);
    }
}

static void check_ram(void)
{
    for (unsigned n = 0; n < 3; n++) {
        assert_memory_equal(before + (size_t)world.pieces[n].offset, hpa_pointer(world.pieces[n].host),
                            (size_t)world.pieces[n].size);
    }
}

/* A driver that broke a rule, or is resetting, sees no byte of what comes back afterwards. */
static void test_no_byte_afterwards(void **state)
{
    (void)state;
    for (unsigned how = 0; how < 3; how++) {
        for (unsigned n = 0; n < 6; n++) {
            put_request(n, n == 3 ? FLUSH : IN, n, n == 3 ? 0 : 512, WRITE);
        }
        notify();
        assert_int_equal(sent_count, 6);
        level = false;
        if (how == 0) {
            put(AVAILABLE + 2, 0x7000, 2);
            notify();
            assert_true(needs_reset());
        } else if (how == 1) {
            write_register(STATUS, VIRTIO_FAILED);
        } else {
            assert_false(write_register(STATUS, 0));
        }
        level = false;
        remember_ram();
        while (sent_count > 0) {
            answer(sent_count - 1, sent_count % 2 == 0 ? DISK_FAILED : DISK_DONE);
        }
        check_ram();
        assert_false(level);
        assert_int_equal(holds(), 0);
        assert_true(write_register(STATUS, 0));
        drive(FEATURES, SIZE);
    }
}

/* Header, payload and status wherever the descriptors divide them, and across RAM's edges. The table's first entries
 * are not used: the header lies there. */
static void test_odd_chains(void **state)
{
    (void)state;
    put(EDGE_1 - 9, OUT, 4); /* header and payload in one descriptor, the header across an edge */
    put(EDGE_1 - 9 + 8, 3, 8);
    describe(10, EDGE_1 - 9, 16 + 100, NEXT, 11);
    describe(11, EDGE_2 - 12, 412, NEXT, 12);
    describe(12, STATE(0), 1, WRITE, 0);
    offer(SIZE, 10);
    put(HEADER(1), IN, 4);
    put(HEADER(1) + 8, 1, 8);
    describe(13, HEADER(1), 16, NEXT, 14); /* payload and status in one */
    describe(14, DATA(1), 500, NEXT | WRITE, 15);
    describe(15, DATA(2), 525, WRITE, 0);
    put(DATA(2) + 524, UNTOUCHED, 1);
    offer(SIZE, 13);
    notify();
    assert_int_equal(sent_count, 2);
    assert_int_equal(sent[0].order.sector, FIRST + 3);
    assert_int_equal(sent[0].order.piece_count, 3);
    assert_int_equal(sent[0].pieces[0].base, (uintptr_t)ram(EDGE_1 + 7));
    assert_int_equal(sent[0].pieces[0].size, 100);
    assert_int_equal(sent[0].pieces[1].base, (uintptr_t)ram(EDGE_2 - 12));
    assert_int_equal(sent[0].pieces[1].size, 12);
    assert_int_equal(sent[0].pieces[2].base, (uintptr_t)ram(EDGE_2));
    assert_int_equal(sent[0].pieces[2].size, 400);
    assert_int_equal(sent[1].order.piece_count, 2);
    assert_int_equal(sent[1].pieces[0].size, 500);
    assert_int_equal(sent[1].pieces[1].base, (uintptr_t)ram(DATA(2)));
    assert_int_equal(sent[1].pieces[1].size, 524);
    answer(1, DISK_DONE);
    assert_int_equal(get(DATA(2) + 524, 1), OK);
    assert_int_equal(used_length(SIZE, 0), 1025);
    answer(0, DISK_DONE);
    assert_int_equal(used_length(SIZE, 1), 1);
}

/* Chains without a header or a status: nothing of the room that was reserved for them is kept. */
static void test_malformed(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 3; n++) {
        put_request(0, IN, 0, 512, WRITE);
        describe(0, HEADER(0), n == 0 ? 15 : 16, NEXT, n == 1 ? 3 : 1);
        describe(2, STATE(0), 1, n == 2 ? NEXT : WRITE, SIZE);
        describe(3, DATA(0), 512, 0, 0);
        notify();
        assert_true(needs_reset());
        assert_int_equal(disk.reserved, 0);
        assert_int_equal(sent_count, 0);
        assert_int_equal(holds(), 0);
        drive(FEATURES, SIZE);
    }
}

/* What is told to have been written is what was, from the first byte on. */
static void test_used_length(void **state)
{
    (void)state;
    put_request(0, FLUSH, 0, 0, 0);
    describe(2, DATA(0), 20, WRITE, 0); /* the status is the last of 20 */
    put_request(1, OUT, 0, 512, 0);
    describe(5, DATA(2), 1, NEXT | WRITE, 30);
    describe(30, STATE(1), 1, WRITE, 0);
    put_request(2, FLUSH, 0, 0, 0);
    notify();
    assert_int_equal(sent_count, 3);
    for (unsigned n = 0; n < 3; n++) {
        answer(0, DISK_DONE);
        assert_int_equal(used_length(SIZE, n), n < 2 ? 0 : 1);
    }
    assert_int_equal(get(DATA(0) + 19, 1), OK);
    assert_int_equal(state_of(1), OK);
}

/* A driver that keeps to seg_max and size_max is never refused for its segments. */
static void test_longest_segments(void **state)
{
    (void)state;
    assert_int_equal(read_register(DEVICE_FEATURES) & 2, 2);
    const uint32_t longest = read_register(CONFIG + 8);
    const uint32_t most = read_register(CONFIG + 12);
    assert_int_equal(longest, disk.limits.piece_longest);
    assert_true(most * longest / 512 <= SECTORS);
    put_request(0, IN, 0, 512, WRITE);
    for (unsigned n = 0; n < most; n++) { /* across an edge, then behind it */
        describe(1 + n, n == 0 ? EDGE_1 - 512 : DATA(0), longest, NEXT | WRITE, 2 + n);
    }
    describe(1 + most, STATE(0), 1, WRITE, 0);
    notify();
    assert_int_equal(sent_count, 1);
    assert_int_equal(sent[0].order.piece_count, most + 1);
    answer(0, DISK_DONE);
}

/* --- event indices --- */

enum { USED_EVENT = 4 + 2 * SIZE, AVAILABLE_EVENT = 4 + 8 * SIZE };

/* As a driver that negotiated them: it notifies if the device wants to be told of this one. */
static void offer_and_notify(unsigned n)
{
    const uint16_t old = available_index();
    offer(SIZE, 3 * n);
    const uint16_t event = (uint16_t)get(USED + AVAILABLE_EVENT, 2);
    if (event == old) {
        notify();
    }
}

/* No interrupt but for the one that was asked for. */
static void test_used_event(void **state)
{
    (void)state;
    drive(FEATURES | VIRTIO_F_EVENT_IDX, SIZE);
    for (unsigned n = 0; n < 6; n++) {
        put_request(n, IN, n, 512, WRITE);
    }
    notify();
    put(AVAILABLE + USED_EVENT, 3, 2);
    for (unsigned n = 0; n < 6; n++) {
        answer(0, DISK_DONE);
        assert_int_equal(level, n == 3);
        write_register(INTERRUPT_ACK, 3);
    }
}

/* Whatever comes in between, a driver that keeps to event indices never waits for ever; room is scarce, and another
 * user wants some too. */
static void test_no_lost_wakeup(void **state)
{
    uint64_t seed = 12;
    (void)state;
    add_rival();
    drive(FEATURES | VIRTIO_F_EVENT_IDX, SIZE);
    bool busy[20] = {false};
    uint16_t seen = 0;
    for (unsigned turn = 0; turn < 30000; turn++) {
        capacity = 1 + test_below(&seed, 3);
        count_room();
        const unsigned n = test_below(&seed, 20);
        switch (test_below(&seed, 4)) {
        case 0:
            if (!busy[n]) {
                const bool reads = test_below(&seed, 2) == 0;
                busy[n] = true;
                put_request(n, test_below(&seed, 8) == 0 ? GET_ID : reads ? IN : OUT, n, 512, reads ? WRITE : 0);
                put(AVAILABLE + 2, (uint16_t)(available_index() - 1), 2);
                offer_and_notify(n);
            }
            break;
        case 1:
            (void)rival_asks();
            break;
        default:
            if (sent_count > 0) {
                answer(test_below(&seed, sent_count), test_below(&seed, 9) == 0 ? DISK_FAILED : DISK_DONE);
            }
            break;
        }
        for (; seen != used_index(); seen++) {
            const unsigned done = used_head(SIZE, seen) / 3;
            assert_true(done < 20 && busy[done]);
            assert_int_not_equal(state_of(done), UNTOUCHED);
            busy[done] = false;
        }
    }
    while (sent_count > 0) {
        answer(0, DISK_DONE);
    }
    assert_int_equal(used_index(), available_index());
    assert_false(needs_reset());
    disk_detach(&rival);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_in_any_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_copied, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read_only, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_operations, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reset_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broken_in_flight, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pinned, setup, teardown),
        cmocka_unit_test_setup_teardown(test_config, setup, teardown),
        cmocka_unit_test_setup_teardown(test_silenced, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_most_in_flight, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_byte_afterwards, setup, teardown),
        cmocka_unit_test_setup_teardown(test_odd_chains, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_used_length, setup, teardown),
        cmocka_unit_test_setup_teardown(test_longest_segments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_used_event, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_lost_wakeup, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
