/* SPDX-License-Identifier: MIT
 *
 * A virtio disk that is a stretch of the machine's, under a guest that writes what it likes; the disk answers in any
 * order, well or not, with a neighbour, a rate, stops and its death in between. The disk looks at what it is asked for
 * as closely as it can.
 */
#include "core/hart.h"
#include "device/virtio_blk.h"
#include "fake_arch.h"
#include "fuzz_driver.h"

enum { FIRST = 40, SECTORS = 9, STEPS = 400, SLOTS = 64, PIECES_LEAST = 4, HZ = 1000000 };

static struct virtio_blk blk;
static struct disk disk;
static struct capsule neighbour;
static struct disk_user rival;
static struct sent {
    struct disk_order order;
    struct range pieces[DISK_PIECES_MAX];
} sent[SLOTS];
static unsigned sent_count, capacity;
static bool line, is_rival_waiting, is_rival_promised;
static uint64_t order_of_answers = 1;

static void on_line(void *controller, uint32_t source, bool level)
{
    (void)controller;
    (void)source;
    line = level;
}

/* --- the disk --- */

static void count_room(void)
{
    disk.room = capacity > sent_count ? capacity - sent_count : 0;
}

/* All of it is in one piece of the capsule's RAM. */
static bool is_ours(const struct range *piece)
{
    for (unsigned n = 0; n < PIECES; n++) {
        if (range_holds((struct range){world.pieces[n].host.at, PIECE_SIZE}, piece->base, piece->size)) {
            return true;
        }
    }
    return false;
}

static void check_payload(const struct disk_order *order)
{
    uint64_t bytes = 0;
    assert(order->piece_count > 0 && order->piece_count <= disk.limits.pieces_max);
    for (uint32_t n = 0; n < order->piece_count; n++) {
        assert(order->pieces[n].size > 0 && order->pieces[n].size <= disk.limits.piece_longest);
        assert(is_ours(&order->pieces[n]));
        bytes += order->pieces[n].size;
    }
    assert(bytes % DISK_SECTOR == 0);
    assert(range_holds((struct range){FIRST, SECTORS}, order->sector, bytes / DISK_SECTOR));
}

static void check_order(const struct disk_order *order)
{
    const bool reads = order->operation == DISK_READ;
    assert(order->token < DISK_USER_REQUESTS_MAX);
    assert(reads || order->operation == DISK_FLUSH || blk.user.writes);
    if (reads || order->operation == DISK_WRITE) {
        check_payload(order);
        return;
    }
    assert(order->piece_count == 0);
    if (order->operation != DISK_FLUSH) {
        const bool discards = order->operation == DISK_DISCARD;
        assert(order->sectors > 0);
        assert(order->sectors <= (discards ? disk.limits.discard_most : disk.limits.zeroes_most));
        assert(range_holds((struct range){FIRST, SECTORS}, order->sector, order->sectors));
    }
}

static void on_send(struct disk *of, const struct disk_order *order)
{
    struct sent *next = &sent[sent_count++];
    assert(of == &disk && sent_count <= SLOTS && !disk_is_dead(&disk));
    next->order = *order;
    if (order->user == &blk.user) {
        check_order(order);
        memcpy(next->pieces, order->pieces != NULL ? order->pieces : next->pieces,
               order->piece_count * sizeof(next->pieces[0]));
    }
    count_room();
}

static bool on_watch(struct disk *of, uint64_t now)
{
    (void)of;
    (void)now;
    return true;
}

static const struct disk_ops ops = {.send = on_send, .watch = on_watch};

/* --- answers --- */

static uint8_t before[RAM_SIZE];

static void remember_ram(void)
{
    for (unsigned n = 0; n < PIECES; n++) {
        memcpy(before + (size_t)n * PIECE_SIZE, hpa_pointer(world.pieces[n].host), PIECE_SIZE);
    }
}

static void check_ram(void)
{
    for (unsigned n = 0; n < PIECES; n++) {
        assert(memcmp(before + (size_t)n * PIECE_SIZE, hpa_pointer(world.pieces[n].host), PIECE_SIZE) == 0);
    }
}

static void transfer(const struct sent *request)
{
    for (uint32_t n = 0; request->order.operation == DISK_READ && n < request->order.piece_count; n++) {
        memset(hpa_pointer((hpa_t){request->pieces[n].base}), 0x33, (size_t)request->pieces[n].size);
    }
}

/* To a device that doesn't work nothing comes back but payload. */
static void answer(uint64_t which, enum disk_answer result)
{
    static struct sent request;
    if (sent_count == 0 || disk_is_dead(&disk)) {
        return;
    }
    const unsigned n = (unsigned)(which % sent_count);
    request = sent[n];
    memmove(&sent[n], &sent[n + 1], (--sent_count - n) * sizeof(sent[0]));
    count_room();
    transfer(&request);
    const bool works = virtio_device_works(&blk.virtio, 0);
    remember_ram();
    disk_answered(request.order.user, request.order.token, result);
    if (!works) {
        check_ram();
    }
    (void)disk_go_on(&disk);
}

/* While a store isn't over the disk goes on. A dead one never does: the guest is stopped there, as its reset waits. */
static void answer_one(void)
{
    order_of_answers = order_of_answers * UINT64_C(6364136223846793005) + 1;
    answer(order_of_answers >> 33, (order_of_answers >> 40 & 7) == 0 ? DISK_FAILED : DISK_DONE);
}

static void pass(uint64_t ticks)
{
    fake_arch.time += ticks;
    (void)timer_heap_run(&hart_this()->timers, fake_arch.time);
}

/* --- others --- */

static void on_rival_done(struct disk_user *user, uint32_t token, enum disk_answer result)
{
    (void)user;
    (void)token;
    (void)result;
}

static void on_rival_room(struct disk_user *user)
{
    (void)user;
    is_rival_waiting = false;
}

static void rival_asks(void)
{
    const struct disk_order order = {.user = &rival, .operation = DISK_FLUSH};
    const bool granted = disk_reserve(&rival);
    is_rival_waiting = !granted;
    if (granted && disk_is_dead(&disk)) {
        disk_unreserve(&rival);
    } else if (granted) {
        assert(disk_send(&order, 0));
    }
}

/* Room that it turns out not to need; meanwhile the guest may ask for it. */
static void rival_hesitates(void)
{
    if (is_rival_promised) {
        disk_unreserve(&rival);
        is_rival_promised = false;
        return;
    }
    is_rival_promised = disk_reserve(&rival);
    is_rival_waiting = !is_rival_promised;
}

static uint32_t in_flight_of(const struct disk_user *user)
{
    uint32_t count = 0;
    for (unsigned n = 0; n < sent_count; n++) {
        count += sent[n].order.user == user ? 1 : 0;
    }
    return count;
}

/* The capsule's stop is being committed; while its devices are being silenced the neighbour's room comes free. Then it
 * begins anew. */
static void stop(void)
{
    if (capsule_holds(&world) == 0) {
        atomic_store(&world.state, CAPSULE_COMMITTING);
        answer_one();
        virtio_device_reset(&blk.virtio);
        atomic_store(&world.state, CAPSULE_RUNNING);
    }
}

/* A store that waits for a dead disk would never be over. */
static bool may_reset(void)
{
    return !disk_is_dead(&disk) || disk_user_in_flight(&blk.user) == 0;
}

static void registers(struct input *input, uint64_t offset)
{
    const uint64_t value = take(input, 4);
    if (offset != 0x70 || value != 0 || may_reset()) {
        put(&blk.virtio, offset, 4, value);
    }
}

static void events(struct input *input, uint64_t what)
{
    switch (what % 8) {
    case 0:
        rival_asks();
        break;
    case 1:
        stop();
        break;
    case 2:
        capacity = 1 + (unsigned)take(input, 1) % 4;
        count_room();
        break;
    case 3:
        atomic_store(&disk.dead, take(input, 1) == 0xdd);
        (void)disk_go_on(&disk);
        break;
    case 4:
        pass(take(input, 2) * 16);
        break;
    case 5:
        rival_hesitates();
        break;
    default:
        answer(take(input, 1), DISK_FAILED);
        break;
    }
}

static void step(struct input *input, uint16_t *available)
{
    const uint64_t what = take(input, 1);
    switch (what % 8) {
    case 0:
        registers(input, (what & 8) != 0 ? take(input, 1) & ~3ULL : take(input, 2) % VIRTIO_WINDOW_SIZE & ~3ULL);
        break;
    case 1:
        events(input, what >> 3);
        break;
    case 2:
        answer(what >> 3, DISK_DONE);
        break;
    case 3:
        if (may_reset()) {
            drive(&blk.virtio, (unsigned)(what >> 4 & 3));
            *available = 0;
        }
        break;
    case 4:
        describe(input);
        break;
    case 5:
        offer(input, available);
        put(&blk.virtio, 0x50, 4, 0);
        break;
    case 6:
        store(take(input, 2), take(input, 8), 8);
        break;
    default:
        request(input);
        break;
    }
}

static void check(void)
{
    const uint64_t status = get(&blk.virtio, 0x70, 4);
    const uint32_t ours = in_flight_of(&blk.user);
    assert((status & 4) == 0 || (status & 8) != 0);
    assert(line == (get(&blk.virtio, 0x60, 4) != 0));
    assert(!blk.busy);
    assert(disk.reserved == rival.promised && disk.in_flight == sent_count);
    assert(blk.user.in_flight == ours && blk.user.promised == 0);
    assert(capsule_holds(&world) == ours && capsule_holds(&neighbour) == sent_count - ours);
}

static void make(struct input *input)
{
    const struct irq_line irq = {on_line, NULL, 1};
    const uint64_t kind = take(input, 1);
    const struct disk_user *other;
    disk = (struct disk){.ops = &ops, .path = "/fuzz", .slots = SLOTS, .room = SLOTS};
    disk.limits = (struct disk_limits){
        .sectors = FIRST + SECTORS + 10,
        .flush = true,
        .discard = true,
        .write_zeroes = true,
        .block_size = DISK_SECTOR,
        .pieces_max = PIECES_LEAST + (uint32_t)(kind >> 4),
        .piece_longest = PAGE_SIZE,
        .discard_most = 5,
        .zeroes_most = 3,
    };
    struct disk_user user = {.disk = &disk, .first = FIRST, .sectors = SECTORS, .writes = (kind & 1) == 0};
    user.rate.limit.operations = (kind & 2) != 0 ? 2000 : 0;
    sent_count = 0;
    capacity = SLOTS;
    memset(&neighbour, 0, sizeof(neighbour));
    atomic_store(&neighbour.state, CAPSULE_RUNNING);
    atomic_store(&world.state, CAPSULE_RUNNING);
    virtio_blk_init_disk(&blk, (gpa_t){DEVICE_BASE}, &world, irq, &user, "fuzz");
    enum dx_error error = disk_attach(&blk.user, &other);
    rival = (struct disk_user){
        .capsule = &neighbour, .disk = &disk, .sectors = FIRST, .done = on_rival_done, .room = on_rival_room};
    is_rival_waiting = is_rival_promised = false;
    error = error == DX_OK ? disk_attach(&rival, &other) : error;
    assert(error == DX_OK);
}

/* Once all is answered, and time has passed for those who have a rate, nobody waits for room. */
static void finish(void)
{
    if (is_rival_promised) {
        rival_hesitates();
    }
    atomic_store(&disk.dead, false);
    capacity = SLOTS;
    count_room();
    for (unsigned n = 0; n < 100 || sent_count > 0; n++) {
        assert(n < 100000);
        pass(HZ / 100);
        answer_one();
    }
    assert(!is_rival_waiting && !blk.user.waiting);
    check();
    virtio_device_reset(&blk.virtio);
    disk_detach(&blk.user);
    disk_detach(&rival);
    timer_cancel(&disk.watch);
    assert(timer_heap_next(&hart_this()->timers) == TIMER_NEVER);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct input input = {bytes, length};
    uint16_t available = 0;
    clock_hz = HZ;
    world_make();
    line = false;
    meanwhile = answer_one;
    order_of_answers = length;
    make(&input);
    for (unsigned n = 0; n < STEPS && input.left > 0; n++) {
        step(&input, &available);
        check();
    }
    finish();
    world_free();
    return 0;
}
