/* SPDX-License-Identifier: MIT
 *
 * Virtio disks of the machine: see host_blk.h. Each request in flight has a slot; a slot's header and status lie in
 * memory of their own, which the device reads and writes.
 */
#include "driver/host_blk.h"

#include <string.h>

#include "core/hart.h"
#include "core/log.h"
#include "core/memory.h"
#include "driver/gpt.h"

#define WANTED                                                                                                         \
    (VIRTIO_BLK_F_SIZE_MAX | VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_RO | VIRTIO_BLK_F_BLK_SIZE | VIRTIO_BLK_F_FLUSH |     \
     VIRTIO_BLK_F_TOPOLOGY | VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES)

enum {
    SLOTS = 128,
    BUFFERS_MAX = DISK_PIECES_MAX + 2,
    TAKE_MAX = 6,        /* answers before a rest */
    PIECES_UNSAID = 126, /* what a device takes that doesn't say */
    ANSWER_SECONDS = 5,  /* to wait at boot */
    DISKS_MAX = MACHINE_VIRTIO_MAX,
};

/* What the device reads and writes besides payload; one for each slot. */
struct wire {
    struct {
        uint32_t type;
        uint32_t reserved;
        uint64_t sector;
    } header;
    struct {
        uint64_t sector;
        uint32_t sectors;
        uint32_t flags;
    } stretch; /* of VIRTIO_BLK_DISCARD and VIRTIO_BLK_WRITE_ZEROES */
    uint8_t status;
    uint8_t unused[31];
};
static_assert(sizeof(struct wire) == 64, "none crosses a page");

struct slot {
    struct disk_user *user; /* NULL: free */
    uint32_t token;
    uint16_t head;  /* its chain's */
    bool late;      /* for take_late */
    uint64_t since; /* when it was sent */
};

struct host_blk {
    struct disk disk;
    struct host_virtio virtio;
    struct host_queue queue;
    struct wire *wires;
    struct slot slots[SLOTS];
    uint8_t free_slots[SLOTS]; /* the first slots_free */
    uint32_t slots_free;
    uint8_t slot_of[HOST_QUEUE_MAX];         /* by a chain's head, while it is in flight */
    struct host_buffer buffers[BUFFERS_MAX]; /* of the chain that is being made */
    struct host_pace pace;                   /* of answers */
    struct timer rest;                       /* armed: no interrupts are wanted, answers are taken when it fires */
    /* At boot: */
    uint8_t *page; /* what is asked for is written here by the device; NULL: there is no memory for it */
    bool mute;     /* it did not answer: it may still write to page */
};
static_assert(SLOTS <= UINT8_MAX, "slot_of");

static struct host_blk *disks[DISKS_MAX];
static unsigned disk_count;

static struct host_blk *blk_of(struct disk *disk)
{
    return CONTAINER_OF(disk, struct host_blk, disk);
}

/* --- requests ---------------------------------------------------------------------------------------------------- */

static uint32_t type_of(enum disk_operation operation)
{
    static const uint32_t types[] = {
        [DISK_READ] = VIRTIO_BLK_IN,
        [DISK_WRITE] = VIRTIO_BLK_OUT,
        [DISK_FLUSH] = VIRTIO_BLK_FLUSH,
        [DISK_DISCARD] = VIRTIO_BLK_DISCARD,
        [DISK_WRITE_ZEROES] = VIRTIO_BLK_WRITE_ZEROES,
    };
    return types[operation];
}

static struct host_buffer buffer_of(const void *place, size_t size, bool writable)
{
    return (struct host_buffer){{(uintptr_t)place, size}, writable};
}

/* Held: the disk's lock is, here and below where it is said. Adds a request's chain: header, payload or stretch,
 * status. Its head. */
static uint16_t add_chain(struct host_blk *blk, struct wire *wire, const struct disk_order *order)
{
    struct host_buffer *buffers = blk->buffers;
    uint16_t count = 0;
    wire->header.type = type_of(order->operation);
    wire->header.reserved = 0;
    wire->header.sector = order->piece_count != 0 ? order->sector : 0;
    wire->status = UINT8_MAX;
    buffers[count++] = buffer_of(&wire->header, sizeof(wire->header), false);
    for (uint32_t n = 0; n < order->piece_count; n++) {
        buffers[count++] = (struct host_buffer){order->pieces[n], order->operation == DISK_READ};
    }
    if (order->operation == DISK_DISCARD || order->operation == DISK_WRITE_ZEROES) {
        wire->stretch.sector = order->sector;
        wire->stretch.sectors = order->sectors;
        wire->stretch.flags = order->unmap ? 1 : 0;
        buffers[count++] = buffer_of(&wire->stretch, sizeof(wire->stretch), false);
    }
    buffers[count++] = buffer_of(&wire->status, sizeof(wire->status), true);
    return host_queue_add(&blk->queue, buffers, count);
}

/* Held. */
static void count_room(struct host_blk *blk)
{
    blk->disk.room = MIN(blk->slots_free, blk->queue.free / (blk->disk.limits.pieces_max + 2));
}

/* Held. */
static void send(struct disk *disk, const struct disk_order *order)
{
    struct host_blk *blk = blk_of(disk);
    assert(blk->slots_free > 0 && order->piece_count <= disk->limits.pieces_max);
    const uint8_t number = blk->free_slots[--blk->slots_free];
    const uint16_t head = add_chain(blk, &blk->wires[number], order);
    blk->slots[number] = (struct slot){.user = order->user, .token = order->token, .head = head, .since = clock_now()};
    blk->slot_of[head] = number;
    count_room(blk);
    host_queue_publish(&blk->queue);
}

/* Held. Frees the slot; whose it was. */
static struct slot free_slot(struct host_blk *blk, uint8_t number)
{
    const struct slot slot = blk->slots[number];
    blk->slots[number].user = NULL;
    blk->free_slots[blk->slots_free++] = number;
    count_room(blk);
    return slot;
}

/* One answer of the device's, if there is one; whose it is. */
static bool take_answer(struct host_blk *blk, struct slot *slot, enum disk_answer *answer)
{
    uint16_t head;
    uint32_t written;
    spinlock_take(&blk->disk.lock);
    const bool any = !blk->disk.dead && host_queue_take(&blk->queue, &head, &written);
    if (any) {
        const uint8_t number = blk->slot_of[head];
        const uint8_t status = *(volatile uint8_t *)&blk->wires[number].status;
        *answer = status == VIRTIO_BLK_OK ? DISK_DONE : DISK_FAILED;
        *slot = free_slot(blk, number);
    }
    spinlock_release(&blk->disk.lock);
    return any;
}

/* True: there may be more, or others may go on. */
static bool take_answers(struct host_blk *blk)
{
    struct slot slot;
    enum disk_answer answer;
    while (blk->pace.left > 0 && take_answer(blk, &slot, &answer)) {
        disk_answered(slot.user, slot.token, answer);
        blk->pace.left--;
    }
    return disk_go_on(&blk->disk) || blk->pace.left == 0;
}

static void set_quiet(struct host_blk *blk, bool quiet)
{
    spinlock_take(&blk->disk.lock);
    host_queue_quiet(&blk->queue, quiet);
    spinlock_release(&blk->disk.lock);
}

static void serve(struct host_blk *blk);

static void rested(struct timer *timer)
{
    struct host_blk *blk = CONTAINER_OF(timer, struct host_blk, rest);
    set_quiet(blk, false);
    serve(blk);
}

/* What is left is taken after a rest, in which the device doesn't interrupt: others of this hart come first. */
static void serve(struct host_blk *blk)
{
    host_pace_begin(&blk->pace, TAKE_MAX);
    const bool more = take_answers(blk);
    host_pace_end(&blk->pace);
    if (more) {
        set_quiet(blk, true);
        blk->rest.fire = rested;
        timer_arm(&hart_this()->timers, &blk->rest, blk->pace.until);
    }
}

void host_blk_serve(uint32_t source)
{
    for (unsigned n = 0; n < disk_count; n++) {
        if (disks[n]->virtio.where->interrupt == source) {
            host_virtio_acknowledge(&disks[n]->virtio);
            if (!timer_is_armed(&disks[n]->rest)) {
                serve(disks[n]);
            }
        }
    }
}

/* --- a device that is late
 * -------------------------------------------------------------------------------------------- */

static bool is_late(const struct slot *slot, uint64_t now)
{
    return slot->user != NULL && now > slot->since + (uint64_t)DISK_PATIENCE_SECONDS * clock_hz;
}

/* Held. Whether there is any. */
static bool mark_late(struct host_blk *blk, uint64_t now)
{
    bool any = false;
    for (unsigned n = 0; n < SLOTS; n++) {
        blk->slots[n].late = is_late(&blk->slots[n], now);
        any |= blk->slots[n].late;
    }
    return any;
}

/* Held. The device is reset and has forgotten everything: what is not late is asked of it again. */
static bool ask_again(struct host_blk *blk)
{
    for (unsigned n = 0; n < SLOTS; n++) {
        if (blk->slots[n].late) {
            host_queue_drop(&blk->queue, blk->slots[n].head);
        }
    }
    if (!host_virtio_begin(&blk->virtio, WANTED) || !host_queue_resume(&blk->queue)) {
        return false;
    }
    host_virtio_go(&blk->virtio);
    host_queue_publish(&blk->queue);
    return true;
}

/* Held. It was reset and could not be made to work again: it does nothing any more, and is asked for nothing. */
static void give_up(struct host_blk *blk)
{
    atomic_store(&blk->disk.dead, true);
    for (unsigned n = 0; n < SLOTS; n++) {
        blk->slots[n].late = true;
    }
}

static bool take_late(struct host_blk *blk, struct slot *slot)
{
    bool any = false;
    spinlock_take(&blk->disk.lock);
    for (unsigned n = 0; n < SLOTS && !any; n++) {
        if (blk->slots[n].user != NULL && blk->slots[n].late) {
            *slot = free_slot(blk, (uint8_t)n);
            any = true;
        }
    }
    spinlock_release(&blk->disk.lock);
    return any;
}

static bool watch(struct disk *disk, uint64_t now)
{
    struct host_blk *blk = blk_of(disk);
    struct slot slot;
    spinlock_take(&disk->lock);
    const bool late = !disk->dead && mark_late(blk, now);
    const bool reset = late && host_virtio_reset(&blk->virtio);
    const bool works = !late || (reset && ask_again(blk));
    if (reset && !works) {
        give_up(blk);
    }
    spinlock_release(&disk->lock);
    if (late && reset) { /* nothing is written any more for those that were late */
        log_alert("Disk %s: it did not answer in %d s: reset", disk->path, (int)DISK_PATIENCE_SECONDS);
        while (take_late(blk, &slot)) {
            disk_answered(slot.user, slot.token, DISK_FAILED);
        }
    }
    return works;
}

static const struct disk_ops ops = {.send = send, .watch = watch};

/* --- boot
 * ------------------------------------------------------------------------------------------------------------- */

/* One request with nobody waiting for others; true if it was answered well, with so many bytes in page. What isn't
 * answered in time stays in the queue: nothing more is asked until restart. */
static bool ask(struct host_blk *blk, uint32_t type, uint64_t sector, uint32_t length)
{
    struct wire *wire = &blk->wires[0];
    const uint64_t end = clock_now() + (uint64_t)ANSWER_SECONDS * clock_hz;
    uint16_t head;
    uint32_t written;
    if (blk->page == NULL || blk->mute) {
        return false;
    }
    *wire = (struct wire){.header = {.type = type, .sector = sector}, .status = UINT8_MAX};
    const struct host_buffer buffers[] = {buffer_of(&wire->header, sizeof(wire->header), false),
                                          buffer_of(blk->page, length, true),
                                          buffer_of(&wire->status, sizeof(wire->status), true)};
    (void)host_queue_add(&blk->queue, buffers, ARRAY_LENGTH(buffers));
    host_queue_publish(&blk->queue);
    while (!host_queue_take(&blk->queue, &head, &written)) {
        if (clock_now() > end) {
            blk->mute = true;
            return false;
        }
    }
    host_virtio_acknowledge(&blk->virtio);
    return *(volatile uint8_t *)&wire->status == VIRTIO_BLK_OK;
}

/* A page at a time: every device that is used takes segments of that length. */
static bool read_blocks(void *context, uint64_t sector, void *to, uint32_t length)
{
    struct host_blk *blk = context;
    for (uint32_t done = 0; done < length;) {
        const uint32_t part = MIN(length - done, (uint32_t)PAGE_SIZE);
        if (!ask(blk, VIRTIO_BLK_IN, sector + done / DISK_SECTOR, part)) {
            return false;
        }
        memcpy((uint8_t *)to + done, blk->page, part);
        done += part;
    }
    return true;
}

/* For the user, a serial number is a name: what can't be typed isn't part of it. */
static void read_serial(struct host_blk *blk)
{
    char *serial = blk->disk.serial;
    if (!ask(blk, VIRTIO_BLK_GET_ID, 0, DISK_SERIAL_MAX)) {
        return;
    }
    for (unsigned n = 0; n < DISK_SERIAL_MAX && blk->page[n] != 0; n++) {
        serial[n] = blk->page[n] > ' ' && blk->page[n] <= '~' ? (char)blk->page[n] : '?';
    }
}

static void read_sizes(struct disk_limits *limits, const struct host_virtio *v)
{
    limits->sectors = host_virtio_config64(v, VIRTIO_BLK_CAPACITY);
    limits->read_only = host_virtio_has(v, VIRTIO_BLK_F_RO);
    limits->flush = host_virtio_has(v, VIRTIO_BLK_F_FLUSH);
    limits->block_size =
        host_virtio_has(v, VIRTIO_BLK_F_BLK_SIZE) ? host_virtio_config32(v, VIRTIO_BLK_BLK_SIZE) : DISK_SECTOR;
    if (host_virtio_has(v, VIRTIO_BLK_F_TOPOLOGY)) {
        limits->physical_exponent = host_virtio_config8(v, VIRTIO_BLK_PHYSICAL_BLOCK_EXP);
        limits->alignment_offset = host_virtio_config8(v, VIRTIO_BLK_ALIGNMENT_OFFSET);
        limits->io_least = host_virtio_config16(v, VIRTIO_BLK_MIN_IO_SIZE);
        limits->io_best = host_virtio_config32(v, VIRTIO_BLK_OPT_IO_SIZE);
    }
}

static void read_limits(struct host_blk *blk)
{
    struct disk_limits *limits = &blk->disk.limits;
    const struct host_virtio *v = &blk->virtio;
    const uint32_t pieces =
        host_virtio_has(v, VIRTIO_BLK_F_SEG_MAX) ? host_virtio_config32(v, VIRTIO_BLK_SEG_MAX) : PIECES_UNSAID;
    read_sizes(limits, v);
    limits->pieces_max = MIN(MIN(pieces, (uint32_t)DISK_PIECES_MAX), (uint32_t)blk->queue.size - 2);
    limits->piece_longest =
        host_virtio_has(v, VIRTIO_BLK_F_SIZE_MAX) ? host_virtio_config32(v, VIRTIO_BLK_SIZE_MAX) : UINT32_MAX;
    limits->discard = host_virtio_has(v, VIRTIO_BLK_F_DISCARD) && !limits->read_only;
    limits->write_zeroes = host_virtio_has(v, VIRTIO_BLK_F_WRITE_ZEROES) && !limits->read_only;
    if (limits->discard) {
        limits->discard_most = host_virtio_config32(v, VIRTIO_BLK_MAX_DISCARD_SECTORS);
        limits->discard_alignment = host_virtio_config32(v, VIRTIO_BLK_DISCARD_SECTOR_ALIGNMENT);
    }
    if (limits->write_zeroes) {
        limits->zeroes_most = host_virtio_config32(v, VIRTIO_BLK_MAX_WRITE_ZEROES_SECTORS);
        limits->zeroes_unmap = host_virtio_config8(v, VIRTIO_BLK_WRITE_ZEROES_MAY_UNMAP) != 0;
    }
}

/* What is so strange that a guest's sectors would not be the disk's. */
static bool sane(const struct disk_limits *limits)
{
    return limits->sectors != 0 && limits->sectors <= UINT64_MAX / DISK_SECTOR && is_power_of_two(limits->block_size) &&
           limits->block_size >= DISK_SECTOR && limits->block_size <= PAGE_SIZE && limits->pieces_max > 0 &&
           limits->piece_longest >= PAGE_SIZE && limits->physical_exponent < 16;
}

static bool start(struct host_blk *blk)
{
    if (!host_virtio_begin(&blk->virtio, WANTED) || !host_queue_begin(&blk->queue, &blk->virtio, 0)) {
        return false;
    }
    blk->wires = memory_alloc(SLOTS * sizeof(struct wire));
    if (blk->wires == NULL || blk->queue.size < 4) {
        return false;
    }
    host_virtio_go(&blk->virtio);
    read_limits(blk);
    return sane(&blk->disk.limits);
}

/* It forgets what it was asked, and its queue is empty again. */
static bool restart(struct host_blk *blk)
{
    if (!host_virtio_reset(&blk->virtio) || !host_virtio_begin(&blk->virtio, WANTED) ||
        !host_queue_begin(&blk->queue, &blk->virtio, 0)) {
        return false;
    }
    host_virtio_go(&blk->virtio);
    return true;
}

/* What is only known by asking. False: it does not answer, and can't be made to forget. Then page is never given back.
 */
static bool learn(struct host_blk *blk)
{
    struct disk *disk = &blk->disk;
    blk->page = memory_alloc(PAGE_SIZE);
    read_serial(blk);
    const struct gpt_source source = {read_blocks, blk, disk->limits.block_size, disk->limits.sectors};
    disk->partitions = gpt_read(&source, &disk->partition_count);
    if (blk->mute && !restart(blk)) {
        return false;
    }
    if (blk->page != NULL) {
        memory_free(blk->page, PAGE_SIZE);
        blk->page = NULL;
    }
    return true;
}

static void publish(struct host_blk *blk)
{
    struct disk *disk = &blk->disk;
    disk->ops = &ops;
    disk->path = blk->virtio.where->path;
    disk->slots = SLOTS;
    blk->slots_free = 0;
    for (unsigned n = SLOTS; n > 0; n--) {
        blk->free_slots[blk->slots_free++] = (uint8_t)(n - 1);
    }
    count_room(blk);
    disks[disk_count++] = blk;
    disk_add(disk);
    log_info("Disk %s%s%s: %llu MiB%s, %u partitions", disk->path, disk->serial[0] != '\0' ? ", serial " : "",
             disk->serial, (unsigned long long)(disk->limits.sectors * DISK_SECTOR / MIB),
             disk->limits.read_only ? ", read-only" : "", (unsigned)disk->partition_count);
}

bool host_blk_start(const struct host_virtio *device)
{
    struct host_blk *blk = memory_alloc(sizeof(*blk));
    if (blk == NULL) {
        log_alert("Disk %s is not used: no memory", device->where->path);
        return false;
    }
    blk->virtio = *device;
    if (disk_count == DISKS_MAX || device->where->interrupt == 0 || !start(blk) || !learn(blk)) {
        log_alert("Disk %s is not used: it has no interrupt, or does not do what a virtio disk does",
                  device->where->path);
        (void)host_virtio_reset(&blk->virtio);
        return false;
    }
    publish(blk);
    return true;
}
