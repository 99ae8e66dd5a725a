/* SPDX-License-Identifier: MIT
 *
 * How a disk is shared, with a fake driver that answers when the test wants. A client does what a virtio disk does: it
 * reserves, then looks whether there is something to ask for, then sends or gives the room back.
 */
#include "core/disk.h"

#include "core_world.h"

enum { SECTORS = 1000, SLOTS = 128, CLIENTS = 5, SECOND = HZ };

static struct disk disk;
static struct disk other_disks[2];

/* --- the driver --- */

static struct {
    struct disk_order orders[SLOTS];
    unsigned count, capacity, sends, watches;
    bool works;
} driver;

static void count_room(void)
{
    disk.room = driver.capacity - driver.count;
}

static void on_send(struct disk *of, const struct disk_order *order)
{
    assert_ptr_equal(of, &disk);
    assert_true(driver.count < driver.capacity);
    driver.orders[driver.count++] = *order;
    driver.sends++;
    count_room();
}

static bool on_watch(struct disk *of, uint64_t now)
{
    assert_ptr_equal(of, &disk);
    assert_int_equal(now, core.now);
    driver.watches++;
    return driver.works;
}

static const struct disk_ops ops = {.send = on_send, .watch = on_watch};

/* The n-th in flight; its place is free before it is told, as with the machine's driver. */
static void answer_alone(unsigned n, enum disk_answer answer)
{
    const struct disk_order order = driver.orders[n];
    assert_true(n < driver.count);
    memmove(&driver.orders[n], &driver.orders[n + 1], (--driver.count - n) * sizeof(order));
    count_room();
    disk_answered(order.user, order.token, answer);
}

/* Timers of all harts for so long. */
static void pass(uint64_t ticks)
{
    const unsigned before = core.actor;
    const uint64_t end = core.now + ticks;
    while (core.now < end) {
        core.now = MIN(core.now + 50, end);
        for (unsigned hart = 0; hart < hart_count; hart++) {
            act_as(hart);
            (void)timer_heap_run(&hart_this()->timers, core.now);
        }
    }
    act_as(before);
}

/* With what the driver does after answers. */
static void answer(unsigned n)
{
    answer_alone(n, DISK_DONE);
    while (disk_go_on(&disk)) {
        pass(100);
    }
}

/* --- the clients --- */

static struct client {
    struct disk_user user;
    struct capsule own, *capsule;
    uint32_t bytes, pieces; /* of a request */
    unsigned wanted;        /* requests */
    unsigned trifles;       /* before them, what needs no disk */
    unsigned step;          /* of them in one go */
    bool busy[DISK_USER_REQUESTS_MAX];
    unsigned answered, failed, told;
    uint64_t moved;
} clients[CLIENTS];

static uint32_t free_token(struct client *client)
{
    uint32_t token = 0;
    while (client->busy[token]) {
        token++;
        assert_true(token < DISK_USER_REQUESTS_MAX);
    }
    client->busy[token] = true;
    return token;
}

static void send(struct client *client)
{
    static const struct range pieces[DISK_PIECES_MAX];
    const struct disk_order order = {
        .user = &client->user,
        .token = free_token(client),
        .operation = DISK_READ,
        .pieces = pieces,
        .piece_count = client->pieces,
    };
    assert_true(disk_send(&order, client->bytes));
}

/* What room was reserved for. False: there was nothing. */
static bool use(struct client *client)
{
    const bool sends = client->trifles == 0 && client->wanted > 0 && !disk_is_dead(&disk);
    const bool any = client->trifles > 0 || client->wanted > 0;
    if (sends) {
        client->wanted--;
        send(client);
        return true;
    }
    disk_unreserve(&client->user);
    if (client->trifles > 0) {
        client->trifles--;
    } else if (client->wanted > 0) {
        client->wanted--;
        client->failed++;
    }
    return any;
}

/* True: there is more. */
static bool step(struct client *client)
{
    for (unsigned n = 0; n < client->step; n++) {
        if (!disk_reserve(&client->user) || !use(client)) {
            return false;
        }
    }
    return true;
}

/* As a driver's store does it, again until it is over. */
static void notify(struct client *client)
{
    for (unsigned n = 0; step(client); n++) {
        assert_true(n < 1000);
    }
}

static void on_done(struct disk_user *user, uint32_t token, enum disk_answer answer)
{
    struct client *client = CONTAINER_OF(user, struct client, user);
    assert_true(capsule_holds(client->capsule) > 0);
    assert_true(client->busy[token]);
    client->busy[token] = false;
    client->answered++;
    client->failed += answer == DISK_DONE ? 0 : 1;
    client->moved += answer == DISK_DONE ? client->bytes : 0;
}

static void on_room(struct disk_user *user)
{
    struct client *client = CONTAINER_OF(user, struct client, user);
    assert_true(++client->told < 1000000);
    if (step(client)) {
        disk_wait(user);
    }
}

static struct client *make_client(unsigned n, uint32_t bytes, unsigned wanted)
{
    const struct disk_user *rival;
    struct client *client = &clients[n];
    memset(client, 0, sizeof(*client));
    atomic_store(&client->own.state, CAPSULE_RUNNING);
    client->capsule = &client->own;
    client->user = (struct disk_user){
        .capsule = &client->own, .disk = &disk, .sectors = SECTORS, .done = on_done, .room = on_room};
    client->bytes = bytes;
    client->pieces = 1;
    client->wanted = wanted;
    client->step = 8;
    assert_int_equal(disk_attach(&client->user, &rival), DX_OK);
    return client;
}

static void begin(unsigned capacity)
{
    struct disk *next = disk.next;
    memset(&disk, 0, sizeof(disk));
    memset(&driver, 0, sizeof(driver));
    memset(clients, 0, sizeof(clients));
    disk = (struct disk){.ops = &ops, .path = "/soc/disk@1", .serial = "one", .slots = SLOTS, .next = next};
    driver.capacity = capacity;
    driver.works = true;
    count_room();
}

/* Nothing is promised, in flight or held; and all of it again by the sums. */
static void finish(void)
{
    while (driver.count > 0) {
        answer_alone(0, DISK_FAILED);
    }
    assert_int_equal(disk.reserved, 0);
    assert_int_equal(disk.in_flight, 0);
    for (unsigned n = 0; n < CLIENTS; n++) {
        if (clients[n].user.disk != NULL) {
            assert_int_equal(clients[n].user.in_flight, 0);
            assert_int_equal(clients[n].user.promised, 0);
            assert_int_equal(capsule_holds(&clients[n].own), 0);
            disk_detach(&clients[n].user);
            assert_null(atomic_load(&clients[n].user.later.heap));
        }
    }
    assert_int_equal(disk.user_count, 0);
    assert_null(disk.users);
    timer_cancel(&disk.watch);
}

/* --- names, stretches --- */

static void test_find(void **state)
{
    static struct disk_partition parts[] = {{"root", 10, 20}, {"home", 30, 40}, {"root", 70, 1}};
    (void)state;
    begin(1);
    assert_ptr_equal(disk_find("serial:one"), &disk);
    assert_ptr_equal(disk_find("serial:two"), &other_disks[0]);
    assert_ptr_equal(disk_find("path:/soc/disk@1"), &disk);
    assert_ptr_equal(disk_find("path:/soc/disk@3"), &other_disks[1]);
    static const char *const absent[] = {"serial:", "serial:on",       "serial:one ",       "serial:onee", "serial",
                                         "path:",   "path:/soc/disk@", "path:/soc/disk@11", "path",        "",
                                         "one",     "/soc/disk@1",     "Serial:one"};
    for (unsigned n = 0; n < ARRAY_LENGTH(absent); n++) {
        assert_null(disk_find(absent[n]));
    }
    assert_null(disk_partition(&disk, "root"));
    disk.partitions = parts;
    disk.partition_count = ARRAY_LENGTH(parts);
    assert_ptr_equal(disk_partition(&disk, "root"), &parts[0]);
    assert_ptr_equal(disk_partition(&disk, "home"), &parts[1]);
    assert_null(disk_partition(&disk, "hom"));
    assert_null(disk_partition(&disk, ""));
}

/* Sectors belong to one writer or to any number of readers. */
static void test_overlap(void **state)
{
    static const struct {
        uint64_t first, sectors;
        bool writes, clashes;
    } rows[] = {
        {100, 10, true, true},  {100, 10, false, true},
        {90, 10, true, false},  {90, 11, true, true},
        {110, 1, true, false},  {109, 1, true, true},
        {0, 1000, false, true}, {105, 1, false, true},
        {0, 100, false, false}, {110, UINT64_MAX - 110, true, false},
    };
    (void)state;
    begin(4);
    const struct disk_user *rival = NULL;
    struct disk_user writer = {.disk = &disk, .first = 100, .sectors = 10, .writes = true};
    assert_int_equal(disk_attach(&writer, &rival), DX_OK);
    assert_null(rival);
    for (unsigned n = 0; n < ARRAY_LENGTH(rows); n++) {
        struct disk_user user = {
            .disk = &disk, .first = rows[n].first, .sectors = rows[n].sectors, .writes = rows[n].writes};
        assert_int_equal(disk_attach(&user, &rival), rows[n].clashes ? DX_OVERLAP : DX_OK);
        assert_ptr_equal(rival, rows[n].clashes ? &writer : NULL);
        assert_int_equal(disk.user_count, rows[n].clashes ? 1 : 2);
        disk_detach(&user); /* also of one that was refused */
        assert_int_equal(disk.user_count, 1);
    }
    disk_detach(&writer);
    struct disk_user readers[3];
    for (unsigned n = 0; n < ARRAY_LENGTH(readers); n++) {
        readers[n] = (struct disk_user){.disk = &disk, .first = 99 + n, .sectors = 10};
        assert_int_equal(disk_attach(&readers[n], &rival), DX_OK);
    }
    assert_int_equal(disk_attach(&writer, &rival), DX_OVERLAP);
    disk_detach(&readers[1]); /* from the middle */
    disk_detach(&readers[0]);
    disk_detach(&readers[2]);
    assert_int_equal(disk_attach(&writer, &rival), DX_OK);
    disk_detach(&writer);
    finish();
}

/* --- counts --- */

static void test_counts(void **state)
{
    (void)state;
    begin(2);
    struct client *a = make_client(0, 512, 0);
    struct client *b = make_client(1, 512, 0);
    assert_true(disk_reserve(&a->user));
    assert_int_equal(disk.reserved, 1);
    assert_int_equal(a->user.promised, 1);
    disk_unreserve(&a->user);
    assert_int_equal(disk.reserved, 0);
    assert_true(disk_reserve(&a->user));
    assert_true(disk_reserve(&b->user));
    assert_false(disk_reserve(&b->user)); /* all is promised */
    assert_true(b->user.waiting);
    send(a);
    assert_int_equal(capsule_holds(&a->own), 1);
    assert_int_equal(disk_user_in_flight(&a->user), 1);
    assert_int_equal(disk.in_flight, 1);
    assert_int_equal(disk.reserved, 1);
    disk_unreserve(&b->user);
    answer(0);
    assert_int_equal(a->answered, 1);
    assert_int_equal(b->told, 1);
    assert_int_equal(disk.in_flight, 0);
    assert_int_equal(disk_user_in_flight(&a->user), 0);
    assert_int_equal(capsule_holds(&a->own), 0);
    finish();
}

/* What can only be a mistake of ours is noticed. */
static void test_asserts(void **state)
{
    (void)state;
    begin(2);
    struct client *a = make_client(0, 512, 0);
    assert_true(PANICS(disk_unreserve(&a->user)));
    spinlock_release(&disk.lock);
    assert_true(disk_reserve(&a->user));
    assert_true(PANICS(disk_detach(&a->user)));
    spinlock_release(&disk.lock);
    send(a);
    assert_true(PANICS(disk_detach(&a->user)));
    spinlock_release(&disk.lock);
    finish();
}

/* Nobody has more in flight than his share, or than he has names for. */
static void test_share_of_slots(void **state)
{
    static const unsigned shares[CLIENTS] = {32, 32, 10, 8, 6};
    (void)state;
    begin(SLOTS);
    disk.slots = 32;
    for (unsigned n = 0; n < CLIENTS; n++) {
        make_client(n, 512, 100);
        disk.slots = n < 2 ? 64 : 32;
        notify(&clients[0]);
        assert_int_equal(clients[0].user.in_flight, shares[n]);
        while (driver.count > 0) {
            answer_alone(0, DISK_DONE); /* nobody is told */
        }
        clients[0].user.waiting = false;
    }
    disk.slots = 3; /* fewer than users: one each */
    clients[0].wanted = 5;
    notify(&clients[0]);
    assert_int_equal(clients[0].user.in_flight, 1);
    finish();
}

/* --- turns --- */

/* Runs until so many have been answered; all of the first `count` clients want more all the time. */
static void compete(unsigned count, unsigned answers, uint64_t *seed)
{
    for (unsigned n = 0; n < count; n++) {
        notify(&clients[n]);
    }
    for (unsigned n = 0; n < answers; n++) {
        assert_true(driver.count > 0);
        answer(test_below(seed, driver.count));
    }
}

/* Everybody gets the same within a few requests, where each counts for 16 KiB and its bytes. */
static void test_equal(void **state)
{
    static const uint32_t bytes[CLIENTS] = {512, 128 * KIB, 4 * KIB, 64 * KIB, 32 * KIB};
    uint64_t seed = 31;
    (void)state;
    for (unsigned capacity = 1; capacity <= 5; capacity++) {
        for (unsigned count = 2; count <= CLIENTS; count++) {
            begin(capacity);
            for (unsigned n = 0; n < count; n++) {
                make_client(n, bytes[n], UINT32_MAX);
            }
            compete(count, 20000, &seed);
            for (unsigned n = 1; n < count; n++) {
                const uint64_t first = clients[0].moved + clients[0].answered * (uint64_t)(16 * KIB);
                const uint64_t mine = clients[n].moved + clients[n].answered * (uint64_t)(16 * KIB);
                assert_in_range(mine, first * 98 / 100, first * 102 / 100);
            }
            for (unsigned n = 0; n < count; n++) {
                clients[n].wanted = 0;
            }
            finish();
        }
    }
}

/* Who was away starts where the others are, be it long or at his first request. */
static void test_away(void **state)
{
    uint64_t seed = 5;
    (void)state;
    begin(2);
    make_client(0, 16 * KIB, UINT32_MAX);
    make_client(1, 16 * KIB, 3);
    make_client(2, 16 * KIB, 0);
    compete(3, 3000, &seed);
    assert_int_equal(clients[1].answered, 3);
    for (unsigned n = 0; n < 3; n++) {
        clients[n].answered = 0;
        clients[n].wanted = UINT32_MAX;
    }
    compete(3, 300, &seed);
    for (unsigned n = 0; n < 3; n++) {
        assert_in_range(clients[n].answered, 95, 105);
        clients[n].wanted = 0;
    }
    finish();
}

/* --- nobody is forgotten --- */

/* After a while nobody waits for what is there. */
static void check_nobody_waits(void)
{
    pass(SECOND / 1000);
    if (disk.in_flight != 0) {
        return;
    }
    for (unsigned n = 0; n < CLIENTS; n++) {
        assert_false(clients[n].user.waiting);
        assert_int_equal(clients[n].wanted, 0);
    }
}

/* Another hart's client asks while the only room is promised to one that then doesn't need it. */
static void test_room_given_back(void **state)
{
    (void)state;
    begin(1);
    struct client *a = make_client(0, 512, 0);
    struct client *b = make_client(1, 512, 1);
    assert_true(disk_reserve(&a->user));
    act_as(1);
    notify(b);
    act_as(0);
    assert_int_equal(b->wanted, 1);
    assert_false(use(a));
    check_nobody_waits();
    assert_int_equal(driver.count, 1);
    answer(0);
    assert_int_equal(b->answered, 1);
    finish();
}

/* The same right after a request, while the watch is armed on another hart, a second from now. */
static void test_room_given_back_while_watched(void **state)
{
    (void)state;
    begin(1);
    struct client *a = make_client(0, 512, 1);
    struct client *b = make_client(1, 512, 1);
    notify(a);
    answer(0);
    assert_ptr_equal(atomic_load(&disk.watch.heap), &core.harts[0].timers);
    act_as(2);
    assert_true(disk_reserve(&a->user));
    act_as(1);
    notify(b);
    act_as(2);
    assert_false(use(a));
    act_as(0);
    check_nobody_waits();
    assert_int_equal(driver.count, 1);
    answer(0);
    finish();
}

/* Many harts: between a reservation and its use others do something. */
static void test_any_interleaving(void **state)
{
    uint64_t seed = 99;
    (void)state;
    for (unsigned round = 0; round < 400; round++) {
        bool reserved[CLIENTS] = {false};
        begin(1 + round % 4);
        for (unsigned n = 0; n < CLIENTS; n++) {
            make_client(n, 512 + 4096 * n, 0)->step = 1 + test_below(&seed, 4);
        }
        for (unsigned turn = 0; turn < 200; turn++) {
            const unsigned n = test_below(&seed, CLIENTS);
            struct client *client = &clients[n];
            act_as(test_below(&seed, HARTS));
            switch (test_below(&seed, 8)) {
            case 0:
            case 1:
                client->wanted += test_below(&seed, 4);
                client->trifles += test_below(&seed, 3) == 0 ? test_below(&seed, 12) : 0;
                reserved[n] = reserved[n] || disk_reserve(&client->user);
                break;
            case 2:
            case 3:
            case 4:
                if (reserved[n]) {
                    reserved[n] = false;
                    if (use(client)) {
                        notify(client);
                    }
                }
                break;
            default:
                if (driver.count > 0 && !reserved[0] && !reserved[1] && !reserved[2] && !reserved[3] && !reserved[4]) {
                    answer(test_below(&seed, driver.count));
                }
                break;
            }
        }
        for (unsigned n = 0; n < CLIENTS; n++) {
            if (reserved[n] && use(&clients[n])) {
                notify(&clients[n]);
            }
        }
        for (unsigned n = 0; n < CLIENTS; n++) {
            act_as(n % HARTS);
            notify(&clients[n]); /* it has asked; from here on it only waits */
        }
        act_as(0);
        for (check_nobody_waits(); driver.count > 0; check_nobody_waits()) {
            answer(test_below(&seed, driver.count));
        }
        check_nobody_waits();
        finish();
    }
}

/* What takes more than one step goes on, in turn with the others. */
static void test_wait(void **state)
{
    (void)state;
    begin(1);
    struct client *a = make_client(0, 512, 1);
    struct client *b = make_client(1, 512, 0);
    notify(a);
    disk_forget(&a->user); /* it has no more */
    b->trifles = 100;
    b->wanted = 2;
    notify(b);
    assert_true(b->user.waiting);
    answer(0);
    assert_int_equal(b->trifles, 0);
    assert_in_range(b->told, 100 / 8, 100 / 8 + 2);
    assert_int_equal(driver.count, 1);
    answer(0);
    answer(0);
    assert_int_equal(b->answered, 2);
    finish();
}

/* Who waited for his rate, and then has more to do than one step takes, without anything in flight. */
static void test_wait_after_rate(void **state)
{
    (void)state;
    begin(4);
    struct client *a = make_client(0, 512, 2);
    a->user.rate.limit.bytes = 100;
    notify(a);
    answer(0);
    assert_int_equal(a->wanted, 1);
    a->trifles = 50;
    pass(SECOND * 6);
    assert_int_equal(a->trifles, 0);
    assert_int_equal(driver.count, 1);
    answer(0);
    finish();
}

/* One go sends a bounded number of pieces, if answers will bring it here again. */
static void test_bounded(void **state)
{
    (void)state;
    begin(64);
    for (unsigned n = 0; n < CLIENTS; n++) {
        make_client(n, 512, 1)->pieces = 30;
        clients[n].user.waiting = true;
    }
    assert_false(disk_go_on(&disk));
    assert_int_equal(driver.count, 2);
    while (driver.count > 0) {
        answer(0);
    }
    for (unsigned n = 0; n < CLIENTS; n++) {
        assert_int_equal(clients[n].answered, 1);
    }
    finish();
}

/* Somebody who is due on this hart comes first; the rest is for a moment later. */
static void test_wanted(void **state)
{
    (void)state;
    begin(4);
    struct client *a = make_client(0, 512, 1);
    a->user.waiting = true;
    fake_arch.machine_pending = BIT(IRQ_M_SOFT);
    assert_true(disk_go_on(&disk));
    assert_int_equal(a->told, 0);
    fake_arch.machine_pending = 0;
    struct timer due = {.deadline = 0};
    (void)timer_arm(&hart_this()->timers, &due, core.now);
    assert_true(disk_go_on(&disk));
    timer_cancel(&due);
    assert_false(disk_go_on(&disk));
    assert_int_equal(a->told, 1);
    answer(0);
    finish();
}

/* Who is being reset is told of nothing. */
static void test_forget(void **state)
{
    (void)state;
    begin(1);
    struct client *a = make_client(0, 512, 2);
    struct client *b = make_client(1, 512, 2);
    notify(a);
    notify(b);
    assert_true(b->user.waiting);
    disk_forget(&b->user);
    answer(0);
    answer(0);
    assert_int_equal(b->told, 0);
    b->user.turn = true; /* as if the reset came while it is being told */
    disk_forget(&b->user);
    assert_false(b->user.turn);
    a->user.rate.limit.operations = 1;
    a->wanted = 3;
    notify(a);
    answer(0);
    assert_non_null(atomic_load(&a->user.later.heap));
    disk_forget(&a->user);
    assert_null(atomic_load(&a->user.later.heap));
    finish();
}

/* --- rates --- */

static void test_rate(void **state)
{
    (void)state;
    begin(4);
    struct client *slow = make_client(0, 1024, UINT32_MAX);
    struct client *free = make_client(1, 1024, UINT32_MAX);
    slow->user.rate.limit = (struct rate_limit){.bytes = 100 * 1024};
    notify(slow);
    notify(free);
    for (unsigned n = 0; n < 10 * 1000; n++) {
        if (driver.count > 0) {
            answer(0);
        }
        pass(SECOND / 1000);
    }
    assert_in_range(slow->answered, 995, 1015);
    assert_in_range(free->answered, 8900, 9010);
    slow->wanted = free->wanted = 0;
    finish();
}

/* --- a disk that is late or dead --- */

static void test_watch(void **state)
{
    (void)state;
    begin(2);
    struct client *a = make_client(0, 512, 1);
    assert_null(atomic_load(&disk.watch.heap));
    notify(a);
    pass(SECOND * 9 / 10);
    assert_int_equal(driver.watches, 0);
    pass(SECOND * 5);
    assert_int_equal(driver.watches, 5);
    answer(0);
    pass(SECOND * 5);
    assert_in_range(driver.watches, 5, 6);
    const unsigned before = driver.watches;
    assert_null(atomic_load(&disk.watch.heap));
    a->wanted = 1;
    act_as(3);
    notify(a);
    act_as(0);
    pass(SECOND * 2);
    assert_int_equal(driver.watches, before + 2);
    assert_false(disk_is_dead(&disk));
    finish();
}

/* No room, and nobody may have more: all of them are told all the same, and what they ask for fails. What the device
 * has stays pinned. */
static void test_dead(void **state)
{
    (void)state;
    begin(2);
    struct client *a = make_client(0, 512, 1);
    struct client *b = make_client(1, 512, 40);
    struct client *c = make_client(2, 512, 20);
    struct client *paced = make_client(3, 512, 20);
    paced->user.rate.limit.operations = 1;
    paced->user.rate.operations_until = core.now + 100 * (uint64_t)SECOND;
    notify(a);
    notify(b);
    notify(c);
    notify(paced);
    assert_int_equal(driver.count, 2);
    disk.slots = 3; /* b has its share already */
    driver.works = false;
    pass(SECOND * 2);
    assert_true(disk_is_dead(&disk));
    assert_int_equal(b->failed, 39);
    assert_int_equal(c->failed, 20);
    assert_int_equal(a->answered + b->answered, 0);
    assert_int_equal(capsule_holds(&a->own), 1);
    assert_int_equal(capsule_holds(&b->own), 1);
    assert_int_equal(capsule_holds(&c->own), 0);
    assert_null(atomic_load(&disk.watch.heap));
    a->wanted = 7; /* later too */
    notify(a);
    assert_int_equal(a->failed, 7);
    pass(SECOND * 100);
    assert_int_equal(paced->failed, 20);
    assert_int_equal(driver.sends, 2);
    assert_int_equal(disk.reserved, 0);
    assert_int_equal(log_count("does not answer"), 1);
    finish();
}

/* Room that was promised just before: what it was for is not sent, and pins nobody. */
static void test_dies_after_promise(void **state)
{
    (void)state;
    begin(2);
    struct client *a = make_client(0, 512, 1);
    struct client *b = make_client(1, 512, 0);
    const struct disk_order order = {.user = &b->user, .operation = DISK_FLUSH};
    notify(a);
    assert_true(disk_reserve(&b->user));
    driver.works = false;
    pass(SECOND * 2);
    assert_true(disk_is_dead(&disk));
    assert_false(disk_send(&order, 0));
    assert_int_equal(driver.sends, 1);
    assert_int_equal(capsule_holds(&b->own), 0);
    disk_unreserve(&b->user);
    finish();
}

/* A hart that is dedicated to a capsule watches no disk, and does nothing for others who wait. */
static void test_watched_by_server(void **state)
{
    struct hart *others = harts[1];
    (void)state;
    begin(1);
    hart_server = others;
    struct client *a = make_client(0, 512, 2);
    struct client *b = make_client(1, 512, 1);
    notify(a);
    notify(b);
    assert_ptr_equal(atomic_load(&disk.watch.heap), &others->timers);
    assert_true(b->user.waiting);
    a->user.rate.limit.operations = 1;
    a->user.rate.operations_until = core.now + SECOND;
    answer_alone(0, DISK_DONE);
    a->wanted = 1;
    notify(a);
    assert_ptr_equal(atomic_load(&a->user.later.heap), &hart_this()->timers);
    const unsigned told = b->told;
    core.now += SECOND * 2;
    (void)timer_heap_run(&hart_this()->timers, core.now); /* a goes on, and b is left to the other hart */
    assert_true(a->told > 0);
    assert_int_equal(b->told, told);
    assert_ptr_equal(atomic_load(&disk.watch.heap), &others->timers);
    core.now += SECOND * 2;
    (void)timer_heap_run(&others->timers, core.now);
    while (driver.count > 0) {
        answer_alone(0, DISK_DONE);
        (void)disk_go_on(&disk);
    }
    assert_int_equal(b->answered, 1);
    timer_cancel(&disk.watch);
    hart_server = NULL;
    finish();
}

/* --- stops --- */

static struct client *make_client_of(unsigned n, struct capsule *capsule, unsigned wanted)
{
    struct client *client = make_client(n, 512, wanted);
    client->capsule = client->user.capsule = capsule;
    return client;
}

/* The last answer commits it. */
static void test_stop_waits(void **state)
{
    (void)state;
    begin(4);
    struct capsule *capsule = run_capsule(0, 1);
    struct client *a = make_client_of(0, capsule, 2);
    notify(a);
    assert_true(capsule_stop(capsule, STOP_POWER_OFF, "%s", ""));
    assert_null(next(0));
    assert_int_equal(capsule_state(capsule), CAPSULE_STOPPING);
    answer(1);
    assert_int_equal(capsule_state(capsule), CAPSULE_STOPPING);
    answer(0);
    assert_int_equal(capsule_state(capsule), CAPSULE_STOPPED);
    assert_int_equal(a->answered, 2);
    finish();
}

/* What is left in the rings of a capsule that is being stopped is not waited for, and can't come in between once its
 * devices are being silenced. */
static void test_stopping_sends_nothing(void **state)
{
    static const enum capsule_state states[] = {CAPSULE_STOPPING, CAPSULE_COMMITTING, CAPSULE_STOPPED,
                                                CAPSULE_CRASHED,  CAPSULE_DESTROYING, CAPSULE_LOADED};
    (void)state;
    for (unsigned n = 0; n < ARRAY_LENGTH(states); n++) {
        begin(1);
        struct client *a = make_client(0, 512, 1);
        struct client *b = make_client(1, 512, 5);
        struct client *c = make_client(2, 512, 1);
        notify(a);
        notify(b);
        notify(c);
        atomic_store(&b->own.state, states[n] | CAPSULE_HOLD); /* somebody else's, so that this one commits nothing */
        answer(0);
        assert_int_equal(b->told, 0);
        assert_int_equal(driver.count, 1);
        assert_ptr_equal(driver.orders[0].user, &c->user);
        answer(0);
        assert_int_equal(atomic_load(&b->own.state), states[n] | CAPSULE_HOLD);
        atomic_store(&b->own.state, CAPSULE_RUNNING);
        b->user.rate.limit.operations = 10;
        b->wanted = 5;
        notify(b);
        while (driver.count > 0) {
            answer(0);
        }
        assert_non_null(atomic_load(&b->user.later.heap));
        atomic_store(&b->own.state, states[n] | CAPSULE_HOLD);
        const unsigned told = b->told;
        pass(SECOND);
        assert_int_equal(b->told, told);
        atomic_store(&b->own.state, CAPSULE_STOPPED);
        finish();
    }
}

/* A pause leaves the disk alone: what was asked for is done. */
static void test_paused_goes_on(void **state)
{
    (void)state;
    begin(1);
    struct client *a = make_client(0, 512, 3);
    notify(a);
    atomic_store(&a->own.state, CAPSULE_PAUSED | CAPSULE_HOLD);
    answer(0);
    answer(0);
    answer(0);
    assert_int_equal(a->answered, 3);
    atomic_store(&a->own.state, CAPSULE_RUNNING);
    finish();
}

static int group_setup(void **state)
{
    (void)state;
    other_disks[0] = (struct disk){.path = "/soc/disk@2", .serial = "two"};
    other_disks[1] = (struct disk){.path = "/soc/disk@3"};
    disk_add(&disk);
    disk_add(&other_disks[0]);
    disk_add(&other_disks[1]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CORE_TEST(test_find),
        CORE_TEST(test_overlap),
        CORE_TEST(test_counts),
        CORE_TEST(test_asserts),
        CORE_TEST(test_share_of_slots),
        CORE_TEST(test_equal),
        CORE_TEST(test_away),
        CORE_TEST(test_room_given_back),
        CORE_TEST(test_room_given_back_while_watched),
        CORE_TEST(test_any_interleaving),
        CORE_TEST(test_wait),
        CORE_TEST(test_wait_after_rate),
        CORE_TEST(test_bounded),
        CORE_TEST(test_wanted),
        CORE_TEST(test_forget),
        CORE_TEST(test_rate),
        CORE_TEST(test_watch),
        CORE_TEST(test_dead),
        CORE_TEST(test_dies_after_promise),
        CORE_TEST(test_watched_by_server),
        CORE_TEST(test_stop_waits),
        CORE_TEST(test_stopping_sends_nothing),
        CORE_TEST(test_paused_goes_on),
    };
    return cmocka_run_group_tests(tests, group_setup, NULL);
}
