/* SPDX-License-Identifier: MIT
 *
 * The machine's disks: driver and sharing, against a fake device.
 */
#include "gpt_table.h"
#include "host_device.h"

enum { SECTORS = 2048, USERS = 5 };

static struct machine_virtio slots[64], *slot; /* of the disk that is tested; the driver keeps pointers */
static struct disk *disk;

/* A user that always wants more, in requests of so many sectors, until it has had enough. */
static struct user {
    struct disk_user user;
    struct capsule capsule;
    uint32_t sectors, wanted;
    uint64_t bytes; /* answered */
    unsigned failed, told, answered;
    uint32_t next_token;
    uint8_t buffer[64 * 512];
} users[USERS];

static void ask_for_more(struct user *user)
{
    while (user->wanted > 0 && disk_reserve(&user->user)) {
        const struct range piece = {(uintptr_t)user->buffer, 512 * (uint64_t)user->sectors};
        const struct disk_order order = {
            .user = &user->user,
            .token = user->next_token++ % DISK_USER_REQUESTS_MAX,
            .operation = DISK_READ,
            .sector = 7,
            .pieces = &piece,
            .piece_count = 1,
        };
        user->wanted--;
        assert_true(disk_send(&order, piece.size));
    }
}

static void on_done(struct disk_user *disk_user, uint32_t token, enum disk_answer answer)
{
    struct user *user = CONTAINER_OF(disk_user, struct user, user);
    (void)token;
    assert_true(capsule_holds(&user->capsule) > 0);
    user->answered++;
    user->failed += answer == DISK_DONE ? 0 : 1;
    user->bytes += answer == DISK_DONE ? 512 * (uint64_t)user->sectors : 0;
}

static void on_room(struct disk_user *disk_user)
{
    struct user *user = CONTAINER_OF(disk_user, struct user, user);
    user->told++;
    if (disk_is_dead(disk)) {
        user->wanted = 0;
        return;
    }
    ask_for_more(user);
}

static void make_user(unsigned n, uint32_t sectors, uint32_t wanted)
{
    const struct disk_user *other;
    struct user *user = &users[n];
    memset(user, 0, sizeof(*user));
    atomic_store(&user->capsule.state, CAPSULE_RUNNING);
    user->user = (struct disk_user){
        .capsule = &user->capsule, .disk = disk, .sectors = SECTORS, .done = on_done, .room = on_room};
    user->sectors = sectors;
    user->wanted = wanted;
    assert_int_equal(disk_attach(&user->user, &other), DX_OK);
}

static bool probe(struct host_virtio *device)
{
    slot = slot == NULL ? slots : slot + 1;
    *slot = fake_slot;
    return host_virtio_probe(device, slot);
}

static bool start(bool modern)
{
    struct host_virtio device;
    if (!probe(&device)) {
        return false;
    }
    assert_int_equal(device.id, VIRTIO_ID_BLOCK);
    assert_int_equal(device.version, modern ? 2 : 1);
    const bool started = host_blk_start(&device);
    char source[80];
    (void)format(source, sizeof(source), "path:%s", slot->path);
    disk = disk_find(source);
    assert_int_equal(disk != NULL, started);
    return started;
}

static void interrupt(void)
{
    host_blk_serve(slot->interrupt);
    fake_pass(1 * FAKE_HZ); /* and what rested */
}

static int setup(void **state)
{
    (void)state;
    hart_ops.time = fake_time_passes;
    disk = NULL;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fake_arch.on_mmio_read = NULL;
    fake_arch.on_mmio_write = NULL;
    if (disk != NULL) {
        timer_cancel(&disk->watch);
    }
    return 0;
}

static void test_start(void **state)
{
    (void)state;
    for (unsigned modern = 0; modern < 2; modern++) {
        fake_make(modern != 0, SECTORS);
        assert_true(start(modern != 0));
        assert_string_equal(disk->serial, "fake-1?");
        assert_int_equal(disk->limits.sectors, SECTORS);
        assert_int_equal(disk->limits.pieces_max, 126);
        assert_int_equal(disk->limits.discard_most, 1000);
        assert_true(disk->limits.flush && disk->limits.discard && disk->limits.zeroes_unmap && !disk->limits.read_only);
        assert_int_equal(disk->partition_count, 0);
        assert_int_equal(fake.accepted & UINT64_C(1) << 28, 0); /* what we don't use isn't asked for */
        assert_int_equal(fake.status, modern != 0 ? 15 : 7);
        assert_ptr_equal(disk_find("serial:"), NULL);
        assert_ptr_equal(disk_find("serial:fake-1"), NULL);
        assert_ptr_equal(disk_find("path:"), NULL);
    }
}

static void test_not_used(void **state)
{
    static const uint32_t bad[][2] = {{0, 0}, {20, 0}, {20, 511}, {20, 8192}, {12, 0}};
    (void)state;
    for (unsigned n = 0; n < ARRAY_LENGTH(bad); n++) {
        fake_make(true, SECTORS);
        memcpy(fake.config + bad[n][0], &bad[n][1], 4);
        assert_false(start(true));
        assert_int_equal(fake.status, 0);
    }
    fake_make(true, SECTORS);
    fake_slot.interrupt = 0;
    assert_false(start(true));
    fake_make(true, SECTORS);
    fake.status = 7;
    fake.resets = false;
    assert_false(start(true));
    fake_make(true, SECTORS);
    fake.features &= UINT32_MAX; /* no VERSION_1 */
    assert_false(start(true));
}

/* It has no serial number then, and no partitions; but whoever asks for it by path may try. */
static void test_mute_at_boot(void **state)
{
    (void)state;
    fake_make(false, SECTORS);
    fake.mute = true;
    assert_true(start(false));
    assert_string_equal(disk->serial, "");
}

/* A device that could answer later, to what it was asked at boot, does not: that memory is somebody else's then. */
static void test_late_at_boot(void **state)
{
    (void)state;
    for (unsigned modern = 0; modern < 2; modern++) {
        fake_make(modern != 0, SECTORS);
        fake.lazy = true;
        assert_true(start(modern != 0));
        assert_int_equal(fake.pending_count, 0);
        assert_string_equal(disk->serial, "");
        assert_int_equal(disk->partition_count, 0);
        make_user(0, 1, 5);
        ask_for_more(&users[0]);
        while (fake.pending_count > 0) {
            fake_answer(fake.pending_count - 1);
            interrupt();
        }
        assert_int_equal(users[0].answered, 5);
        assert_int_equal(users[0].failed, 0);
        disk_detach(&users[0].user);
    }
}

/* One that doesn't even reset is not used, and may write where it was told to for ever. */
static void test_stuck_at_boot(void **state)
{
    struct host_virtio device;
    uint8_t *pages[16];
    (void)state;
    fake_make(true, SECTORS);
    fake.lazy = true;
    assert_true(probe(&device));
    fake.resets = false;
    assert_false(host_blk_start(&device));
    assert_true(fake.pending_count > 0);
    for (unsigned n = 0; n < ARRAY_LENGTH(pages); n++) {
        pages[n] = memory_alloc(PAGE_SIZE);
        assert_non_null(pages[n]);
    }
    while (fake.pending_count > 0) {
        fake_answer(0);
    }
    for (unsigned n = 0; n < ARRAY_LENGTH(pages); n++) {
        for (unsigned at = 0; at < PAGE_SIZE; at++) {
            assert_int_equal(pages[n][at], 0);
        }
        memory_free(pages[n], PAGE_SIZE);
    }
}

/* Its partitions are read in segments that it takes. */
static void test_partitions(void **state)
{
    const uint32_t longest = 4096;
    (void)state;
    for (unsigned modern = 0; modern < 2; modern++) {
        fake_make(modern != 0, SECTORS);
        fake.features |= 2;
        memcpy(fake.config + 8, &longest, sizeof(longest));
        gpt_entry(fake.bytes + 2 * 512 + 5 * ENTRY, 100, 199, 'r');
        gpt_entry(fake.bytes + 2 * 512 + 127 * ENTRY, 200, SECTORS - 1, 'z'); /* the table's last bytes */
        gpt_header(fake.bytes, 512, 1, 2);
        gpt_protect(fake.bytes);
        assert_true(start(modern != 0));
        assert_int_equal(disk->limits.piece_longest, longest);
        assert_int_equal(disk->partition_count, 2);
        const struct disk_partition *last = disk_partition(disk, "z");
        assert_non_null(disk_partition(disk, "r"));
        assert_non_null(last);
        assert_int_equal(last->first, 200);
        assert_int_equal(last->sectors, SECTORS - 200);
    }
}

/* With room for one request at a time everybody's come to an end. */
static void test_small_queue(void **state)
{
    static const uint32_t sizes[] = {128, 4};
    (void)state;
    for (unsigned n = 0; n < ARRAY_LENGTH(sizes); n++) {
        fake_make(n == 0, SECTORS);
        fake.queue_max = sizes[n];
        assert_true(start(n == 0));
        fake.lazy = true;
        assert_int_equal(disk->room, 1);
        for (unsigned user = 0; user < USERS; user++) {
            make_user(user, 1 + user, 50);
            ask_for_more(&users[user]);
        }
        while (fake.pending_count > 0) {
            assert_int_equal(fake.pending_count, 1);
            fake_answer(0);
            interrupt();
        }
        for (unsigned user = 0; user < USERS; user++) {
            assert_int_equal(users[user].answered, 50);
            disk_detach(&users[user].user);
        }
    }
}

static void test_operations(void **state)
{
    uint8_t data[3 * 512];
    (void)state;
    for (unsigned modern = 0; modern < 2; modern++) {
        fake_make(modern != 0, SECTORS);
        assert_true(start(modern != 0));
        make_user(0, 1, 0);
        for (unsigned n = 0; n < sizeof(data); n++) {
            data[n] = (uint8_t)(n * 5);
        }
        const struct range pieces[] = {
            {(uintptr_t)data, 100}, {(uintptr_t)data + 100, 1000}, {(uintptr_t)data + 1100, 436}};
        struct disk_order order = {
            .user = &users[0].user, .operation = DISK_WRITE, .sector = 9, .pieces = pieces, .piece_count = 3};
        assert_true(disk_reserve(&users[0].user));
        assert_true(disk_send(&order, sizeof(data)));
        interrupt();
        assert_memory_equal(fake.bytes + 9 * 512, data, sizeof(data));
        memset(data, 0, sizeof(data));
        order.operation = DISK_READ;
        assert_true(disk_reserve(&users[0].user));
        assert_true(disk_send(&order, sizeof(data)));
        interrupt();
        assert_memory_equal(fake.bytes + 9 * 512, data, sizeof(data));
        order = (struct disk_order){.user = &users[0].user, .operation = DISK_DISCARD, .sector = 10, .sectors = 1};
        assert_true(disk_reserve(&users[0].user));
        assert_true(disk_send(&order, 512));
        order = (struct disk_order){.user = &users[0].user, .operation = DISK_FLUSH};
        assert_true(disk_reserve(&users[0].user));
        assert_true(disk_send(&order, 0));
        interrupt();
        assert_int_equal(fake.bytes[9 * 512 + 511], (uint8_t)(511 * 5));
        assert_int_equal(fake.bytes[10 * 512 + 1], 0);
        assert_int_equal(users[0].answered, 4);
        assert_int_equal(users[0].failed, 0);
        assert_int_equal(capsule_holds(&users[0].capsule), 0);
        assert_int_equal(disk->in_flight, 0);
        disk_detach(&users[0].user);
    }
}

/* Whatever order the answers have, and whatever else stands in the used ring. */
static void test_any_order(void **state)
{
    uint64_t seed = 77;
    (void)state;
    fake_make(true, SECTORS);
    fake.lazy = false;
    assert_true(start(true));
    fake.lazy = true;
    for (unsigned n = 0; n < USERS; n++) {
        make_user(n, 1 + n, 400);
        ask_for_more(&users[n]);
    }
    while (fake.pending_count > 0) {
        const uint16_t foreign = (uint16_t)test_below(&seed, 70000);
        fake_answer(test_below(&seed, fake.pending_count));
        if (test_below(&seed, 8) == 0 && fake.given % 2 == 0) {
            fake_give(foreign < FAKE_QUEUE ? foreign + UINT32_C(0x10000) : UINT32_C(0xffffffff), 1);
        }
        if (test_below(&seed, 4) == 0) {
            interrupt();
        }
        if (fake.pending_count == 0) {
            interrupt();
        }
    }
    for (unsigned n = 0; n < USERS; n++) {
        assert_int_equal(users[n].answered, 400);
        assert_int_equal(capsule_holds(&users[n].capsule), 0);
        disk_detach(&users[n].user);
    }
}

/* Bytes are shared equally among those who always want more, whatever the size of their requests. */
static void test_fair(void **state)
{
    static const uint32_t sizes[USERS] = {64, 64, 16, 64, 32};
    (void)state;
    fake_make(false, SECTORS);
    assert_true(start(false));
    fake.lazy = true;
    for (unsigned n = 0; n < USERS; n++) {
        make_user(n, sizes[n], UINT32_MAX);
    }
    for (unsigned n = 0; n < USERS; n++) {
        ask_for_more(&users[n]);
    }
    for (unsigned n = 0; n < 20000; n++) {
        fake_answer(0);
        host_blk_serve(slot->interrupt);
        fake_arch.time += FAKE_HZ / 10000; /* a rest, if there is one */
        (void)timer_heap_run(&hart_this()->timers, fake_arch.time);
    }
    const uint64_t least = MIN(users[0].user.used, users[4].user.used);
    for (unsigned n = 0; n < USERS; n++) {
        assert_in_range(users[n].user.used, least * 95 / 100, least * 105 / 100);
        users[n].wanted = 0;
        assert_true(users[n].user.in_flight <= 128 / USERS);
    }
    while (fake.pending_count > 0) {
        fake_answer(0);
        interrupt();
    }
    /* Who comes back begins where the others are. */
    users[1].wanted = 1000;
    ask_for_more(&users[1]);
    while (fake.pending_count > 0) {
        fake_answer(0);
        interrupt();
    }
    users[0].wanted = 1;
    ask_for_more(&users[0]);
    assert_true(users[0].user.used + 10 * (64 * 512 + 16 * KIB) > disk->served);
    fake_answer(0);
    interrupt();
    for (unsigned n = 0; n < USERS; n++) {
        disk_detach(&users[n].user);
    }
}

static void test_failures(void **state)
{
    (void)state;
    fake_make(true, SECTORS);
    assert_true(start(true));
    make_user(0, 4, 3);
    fake.answer = 1;
    ask_for_more(&users[0]);
    interrupt();
    assert_int_equal(users[0].failed, 3);
    disk_detach(&users[0].user);
}

/* A device that answers as fast as it is served, however few each time, does not keep the hart: it is left alone after
 * some, doesn't interrupt meanwhile, and loses nothing. */
static void test_fast_device(void **state)
{
    unsigned served = 0;
    (void)state;
    fake_make(true, SECTORS);
    assert_true(start(true));
    fake.lazy = true;
    make_user(0, 1, UINT32_MAX);
    ask_for_more(&users[0]);
    while ((*fake_ring(1) & 1) == 0) { /* it may interrupt */
        fake_answer(0);
        host_blk_serve(slot->interrupt);
        assert_in_range(++served, 1, 20);
    }
    const unsigned answered = users[0].answered;
    assert_in_range(answered, 2, 20);
    fake_answer(0);
    host_blk_serve(slot->interrupt); /* it was on its way already */
    assert_int_equal(users[0].answered, answered);
    fake_arch.time += FAKE_HZ / 10000;
    (void)timer_heap_run(&hart_this()->timers, fake_arch.time);
    assert_int_equal(users[0].answered, answered + 1);
    assert_int_equal(*fake_ring(1) & 1, 0);
    users[0].wanted = 0;
    while (fake.pending_count > 0) {
        fake_answer(0);
        interrupt();
    }
    disk_detach(&users[0].user);
}

/* More answers than are taken at once: the rest comes without another interrupt. */
static void test_many_answers(void **state)
{
    (void)state;
    fake_make(true, SECTORS);
    assert_true(start(true));
    fake.lazy = true;
    make_user(0, 1, 20);
    make_user(1, 1, 20);
    ask_for_more(&users[0]);
    ask_for_more(&users[1]);
    assert_int_equal(fake.pending_count, 40);
    while (fake.pending_count > 0) {
        fake_answer(0);
    }
    host_blk_serve(slot->interrupt);
    assert_true(users[0].answered + users[1].answered < 40);
    for (unsigned n = 0; n < 64; n++) {
        fake_arch.time += FAKE_HZ / 1000;
        (void)timer_heap_run(&hart_this()->timers, fake_arch.time);
    }
    assert_int_equal(users[0].answered + users[1].answered, 40);
    disk_detach(&users[0].user);
    disk_detach(&users[1].user);
}

/* What is late fails, once the device can't write any more; the rest is asked for again, and nothing twice. */
static void test_late(void **state)
{
    (void)state;
    for (unsigned modern = 0; modern < 2; modern++) {
        fake_make(modern != 0, SECTORS);
        assert_true(start(modern != 0));
        fake.lazy = true;
        make_user(0, 1, 1);
        make_user(1, 1, 3);
        ask_for_more(&users[0]);
        fake_pass(20 * FAKE_HZ);
        ask_for_more(&users[1]);
        const unsigned resets = fake.resets_seen;
        fake_pass(11 * FAKE_HZ);
        assert_int_equal(fake.resets_seen, resets + 1);
        assert_int_equal(users[0].failed, 1);
        assert_int_equal(users[1].answered, 0);
        assert_int_equal(fake.pending_count, 3);
        while (fake.pending_count > 0) {
            fake_answer(fake.pending_count - 1);
        }
        interrupt();
        assert_int_equal(users[1].answered, 3);
        assert_int_equal(users[1].failed, 0);
        assert_int_equal(disk->in_flight, 0);
        assert_int_equal(capsule_holds(&users[0].capsule), 0);
        users[0].wanted = 40;
        ask_for_more(&users[0]);
        while (fake.pending_count > 0) {
            fake_answer(0);
            interrupt();
        }
        assert_int_equal(users[0].answered, 41);
        disk_detach(&users[0].user);
        disk_detach(&users[1].user);
    }
}

/* It resets, but is then not what it was: it does nothing any more, so all that it had fails and nobody stays pinned.
 */
static void test_does_not_come_back(void **state)
{
    (void)state;
    for (unsigned modern = 0; modern < 2; modern++) {
        fake_make(modern != 0, SECTORS);
        assert_true(start(modern != 0));
        fake.lazy = true;
        make_user(0, 1, 1);
        make_user(1, 1, 3);
        ask_for_more(&users[0]);
        fake_pass(20 * FAKE_HZ);
        ask_for_more(&users[1]);
        if (modern != 0) {
            fake.features &= UINT32_MAX; /* no VERSION_1 */
        } else {
            fake.queue_max = 16;
        }
        fake_pass(11 * FAKE_HZ);
        assert_true(disk_is_dead(disk));
        assert_int_equal(users[0].failed, 1);
        assert_int_equal(users[1].failed, 3);
        assert_int_equal(disk->in_flight, 0);
        for (unsigned n = 0; n < 2; n++) {
            assert_int_equal(capsule_holds(&users[n].capsule), 0);
            disk_detach(&users[n].user);
        }
    }
}

/* A request that was sent while the watch was on its way to look is younger than the moment that it looks for. */
static void test_younger_than_now(void **state)
{
    (void)state;
    fake_make(true, SECTORS);
    assert_true(start(true));
    fake.lazy = true;
    make_user(0, 1, 1);
    ask_for_more(&users[0]);
    const unsigned resets = fake.resets_seen;
    assert_true(disk->ops->watch(disk, fake_arch.time - 1000000));
    assert_int_equal(fake.resets_seen, resets);
    fake_answer(0);
    interrupt();
    disk_detach(&users[0].user);
}

/* Nobody knows what it may still write: whoever asked it for something stays pinned, everybody else is told. */
static void test_dead(void **state)
{
    (void)state;
    fake_make(true, SECTORS);
    assert_true(start(true));
    fake.lazy = true;
    make_user(0, 1, 1);
    make_user(1, 1, 40);
    ask_for_more(&users[0]);
    ask_for_more(&users[1]);
    assert_true(users[1].user.waiting);
    fake.resets = false;
    fake_pass(31 * FAKE_HZ);
    assert_true(disk_is_dead(disk));
    assert_int_equal(users[0].answered, 0);
    assert_int_equal(capsule_holds(&users[0].capsule), 1);
    fake_answer(0);
    host_blk_serve(slot->interrupt);
    assert_int_equal(users[0].answered, 0);
}

static void test_overlap(void **state)
{
    const struct disk_user *other = NULL;
    (void)state;
    fake_make(true, SECTORS);
    assert_true(start(true));
    make_user(0, 1, 0); /* all of it, to read */
    struct disk_user writer = {.disk = disk, .first = 100, .sectors = 1, .writes = true};
    assert_int_equal(disk_attach(&writer, &other), DX_OVERLAP);
    assert_ptr_equal(other, &users[0].user);
    writer.writes = false;
    assert_int_equal(disk_attach(&writer, &other), DX_OK);
    disk_detach(&users[0].user);
    struct disk_user beside = {.disk = disk, .first = 101, .sectors = 10, .writes = true};
    assert_int_equal(disk_attach(&beside, &other), DX_OK);
    disk_detach(&writer);
    disk_detach(&beside);
    assert_int_equal(disk->user_count, 0);
}

/* A limit is kept, and who waits for his rate keeps nobody else waiting. */
static void test_rate(void **state)
{
    (void)state;
    fake_make(true, SECTORS);
    assert_true(start(true));
    make_user(0, 1, UINT32_MAX);
    make_user(1, 1, 500);
    users[0].user.rate.limit = (struct rate_limit){.operations = 100};
    ask_for_more(&users[0]);
    ask_for_more(&users[1]);
    for (unsigned n = 0; n < 10000; n++) {
        host_blk_serve(slot->interrupt);
        fake_arch.time += FAKE_HZ / 1000;
        (void)timer_heap_run(&hart_this()->timers, fake_arch.time);
    }
    assert_int_equal(users[1].answered, 500);
    assert_in_range(users[0].answered, 990, 1030);
    users[0].wanted = 0;
    disk_detach(&users[0].user);
    disk_detach(&users[1].user);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_start, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_used, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mute_at_boot, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late_at_boot, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stuck_at_boot, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partitions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_small_queue, setup, teardown),
        cmocka_unit_test_setup_teardown(test_operations, setup, teardown),
        cmocka_unit_test_setup_teardown(test_any_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fair, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failures, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fast_device, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late, setup, teardown),
        cmocka_unit_test_setup_teardown(test_does_not_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_younger_than_now, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dead, setup, teardown),
        cmocka_unit_test_setup_teardown(test_overlap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rate, setup, teardown),
    };
    return cmocka_run_group_tests(tests, fake_group_setup, NULL);
}
