/* SPDX-License-Identifier: MIT
 *
 * The disk's requests. Each is a header, data and a status byte, wherever the driver's descriptors divide them. The
 * header is read once; what its data would be is checked before the first byte moves.
 */
#include "device/virtio_blk.h"

#include <string.h>

/* What a trap may cost: so many bytes moved, where each request counts as some more. A place that is handed to the
 * machine's disk costs as much as so many bytes. */
enum { STEP_BYTES = 64 * KIB, REQUEST_COST = 4 * KIB, PLACE_COST = 1 * KIB };

struct header {
    uint32_t type;
    uint32_t reserved;
    uint64_t sector;
};
static_assert(sizeof(struct header) == VIRTIO_BLK_HEADER, "as virtio has it in memory");

/* Of VIRTIO_BLK_DISCARD and VIRTIO_BLK_WRITE_ZEROES: one for each request. */
struct stretch {
    uint64_t sector;
    uint32_t sectors;
    uint32_t flags;
};
static_assert(sizeof(struct stretch) == 16, "as virtio has it in memory");
enum { STRETCH_UNMAP = 1 };

static struct virtio_blk *blk_of(struct virtio_device *virtio)
{
    return CONTAINER_OF(virtio, struct virtio_blk, virtio);
}

static struct virtqueue *queue_of(struct virtio_blk *blk)
{
    return &blk->virtio.queues[0];
}

/* --- what a request asks for ------------------------------------------------------------------------------------ */

/* Whether the disk has them; notes the place and the number of bytes. */
static bool place(struct virtio_blk *blk, uint64_t sector, uint64_t length)
{
    const uint64_t sectors = blk->size / VIRTIO_BLK_SECTOR;
    if (length % VIRTIO_BLK_SECTOR != 0 || sector > sectors || length / VIRTIO_BLK_SECTOR > sectors - sector) {
        return false;
    }
    blk->at = sector * VIRTIO_BLK_SECTOR;
    blk->length = length;
    return true;
}

static uint8_t plan_stretch(struct virtio_blk *blk)
{
    const bool zeroes = blk->type == VIRTIO_BLK_WRITE_ZEROES;
    struct stretch stretch;
    if (!virtio_device_has(&blk->virtio, zeroes ? VIRTIO_BLK_F_WRITE_ZEROES : VIRTIO_BLK_F_DISCARD)) {
        return VIRTIO_BLK_UNSUPP;
    }
    if (blk->chain.readable != sizeof(struct header) + sizeof(stretch)) {
        return VIRTIO_BLK_IOERR;
    }
    virtqueue_read(queue_of(blk), &blk->chain, sizeof(struct header), &stretch, sizeof(stretch));
    if ((stretch.flags & ~(uint32_t)(zeroes ? STRETCH_UNMAP : 0)) != 0) {
        return VIRTIO_BLK_UNSUPP;
    }
    blk->unmap = (stretch.flags & STRETCH_UNMAP) != 0;
    return place(blk, stretch.sector, (uint64_t)stretch.sectors * VIRTIO_BLK_SECTOR) ? VIRTIO_BLK_OK : VIRTIO_BLK_IOERR;
}

/* Sets at and length, if the answer is VIRTIO_BLK_OK. */
static uint8_t plan(struct virtio_blk *blk, const struct header *header)
{
    const bool read_only = (blk->virtio.offered & VIRTIO_BLK_F_RO) != 0;
    switch (header->type) {
    case VIRTIO_BLK_IN:
        return place(blk, header->sector, blk->chain.writable - VIRTIO_BLK_STATUS_BYTES) ? VIRTIO_BLK_OK
                                                                                         : VIRTIO_BLK_IOERR;
    case VIRTIO_BLK_OUT:
        return !read_only && place(blk, header->sector, blk->chain.readable - sizeof(*header)) ? VIRTIO_BLK_OK
                                                                                               : VIRTIO_BLK_IOERR;
    case VIRTIO_BLK_FLUSH:
        return virtio_device_has(&blk->virtio, VIRTIO_BLK_F_FLUSH) ? VIRTIO_BLK_OK : VIRTIO_BLK_UNSUPP;
    case VIRTIO_BLK_GET_ID:
        blk->length = VIRTIO_BLK_ID_SIZE;
        return blk->chain.writable >= VIRTIO_BLK_ID_SIZE + VIRTIO_BLK_STATUS_BYTES ? VIRTIO_BLK_OK : VIRTIO_BLK_IOERR;
    case VIRTIO_BLK_DISCARD:
    case VIRTIO_BLK_WRITE_ZEROES:
        return plan_stretch(blk);
    default:
        return VIRTIO_BLK_UNSUPP;
    }
}

/* The next chain becomes the request; false if it has no room for a header or a status. */
static bool begin(struct virtio_blk *blk)
{
    struct header header;
    if (blk->chain.readable < sizeof(header) || blk->chain.writable < VIRTIO_BLK_STATUS_BYTES) {
        return false;
    }
    virtqueue_read(queue_of(blk), &blk->chain, 0, &header, sizeof(header));
    blk->busy = true;
    blk->type = header.type;
    blk->at = 0;
    blk->length = 0;
    blk->done = 0;
    blk->status = plan(blk, &header);
    if (blk->status != VIRTIO_BLK_OK) {
        blk->length = 0;
    }
    return true;
}

/* --- doing it --------------------------------------------------------------------------------------------------- */

/* So many bytes of it, from where the request is. */
static void tell_serial(struct virtio_blk *blk, size_t bytes)
{
    virtqueue_write(queue_of(blk), &blk->chain, blk->done, blk->serial + (size_t)blk->done, bytes);
    blk->done += bytes;
}

/* The next so many bytes of the request. */
static void move(struct virtio_blk *blk, size_t bytes)
{
    if (blk->type == VIRTIO_BLK_GET_ID) {
        tell_serial(blk, bytes);
        return;
    }
    uint8_t *sectors = blk->memory + (size_t)(blk->at + blk->done);
    switch (blk->type) {
    case VIRTIO_BLK_IN:
        virtqueue_write(queue_of(blk), &blk->chain, blk->done, sectors, bytes);
        break;
    case VIRTIO_BLK_OUT:
        virtqueue_read(queue_of(blk), &blk->chain, sizeof(struct header) + blk->done, sectors, bytes);
        break;
    default: /* VIRTIO_BLK_DISCARD, VIRTIO_BLK_WRITE_ZEROES: no other has a length */
        memset(sectors, 0, bytes);
        break;
    }
    blk->done += bytes;
}

void virtio_blk_count(struct virtio_blk *blk, uint32_t type, bool good, uint64_t bytes)
{
    blk->counts.requests++;
    blk->counts.failed += good ? 0 : 1;
    blk->counts.read += good && type == VIRTIO_BLK_IN ? bytes : 0;
    blk->counts.written += good && type == VIRTIO_BLK_OUT ? bytes : 0;
}

/* The status is the last byte that can be written. What is told to have been written is what was, from the first byte
 * on without a gap. */
static void finish(struct virtio_blk *blk)
{
    const uint64_t data = blk->chain.writable - VIRTIO_BLK_STATUS_BYTES;
    const bool writes = blk->type == VIRTIO_BLK_IN || blk->type == VIRTIO_BLK_GET_ID;
    uint64_t written = writes ? blk->done : 0;
    virtqueue_write(queue_of(blk), &blk->chain, data, &blk->status, VIRTIO_BLK_STATUS_BYTES);
    if (written == data) {
        written += VIRTIO_BLK_STATUS_BYTES;
    }
    virtqueue_give(queue_of(blk), &blk->chain, (uint32_t)written);
    virtio_blk_count(blk, blk->type, blk->status == VIRTIO_BLK_OK, blk->done);
    blk->busy = false;
}

/* The next request is that which is being worked on; false: there is none, or the driver broke a rule. */
static bool next(struct virtio_blk *blk)
{
    const enum virtqueue_taken taken = virtqueue_take(queue_of(blk), &blk->chain);
    if (taken == QUEUE_EMPTY) {
        return false;
    }
    if (taken == QUEUE_BROKEN || !begin(blk)) {
        virtio_device_break(&blk->virtio);
        return false;
    }
    return true;
}

/* A request of a disk of the machine's; none is begun that could not be sent. */
static bool disk_step(struct virtio_blk *blk)
{
    for (uint64_t left = STEP_BYTES; left > 0;) {
        if (!disk_reserve(&blk->user)) {
            return false; /* it will be told of room */
        }
        if (!next(blk)) {
            disk_unreserve(&blk->user);
            return false;
        }
        const bool sent = virtio_blk_is_sent(blk) && virtio_blk_send(blk);
        if (sent) {
            blk->busy = false;
        } else {
            disk_unreserve(&blk->user);
            tell_serial(blk, (size_t)blk->length); /* nothing else has a length and isn't sent */
            finish(blk);
        }
        left -= MIN(left, (uint64_t)blk->chain.count * PLACE_COST + REQUEST_COST);
    }
    return true;
}

static bool memory_step(struct virtio_blk *blk)
{
    for (uint64_t left = STEP_BYTES; left > 0;) {
        if (!blk->busy && !next(blk)) {
            return false;
        }
        const uint64_t bytes = MIN(left, blk->length - blk->done);
        move(blk, (size_t)bytes);
        if (blk->done == blk->length) {
            finish(blk);
        }
        left -= MIN(left, bytes + REQUEST_COST);
    }
    return true;
}

bool virtio_blk_step(struct virtio_blk *blk)
{
    return blk->memory == NULL ? disk_step(blk) : memory_step(blk);
}

static bool blk_work(struct virtio_device *virtio, struct virtqueue *queue)
{
    (void)queue;
    return virtio_blk_step(blk_of(virtio));
}

static bool blk_busy(struct virtio_device *virtio)
{
    struct virtio_blk *blk = blk_of(virtio);
    return blk->user.disk != NULL && disk_user_in_flight(&blk->user) != 0;
}

static void blk_reset(struct virtio_device *virtio)
{
    struct virtio_blk *blk = blk_of(virtio);
    blk->busy = false;
    if (blk->user.disk != NULL) {
        disk_forget(&blk->user);
    }
}

static const struct virtio_device_ops blk_ops = {
    .name = "virtio_blk",
    .id = VIRTIO_ID_BLOCK,
    .queue_count = 1,
    .work = blk_work,
    .busy = blk_busy,
    .reset = blk_reset,
};

static void set_32(uint8_t *config, size_t offset, uint32_t value)
{
    memcpy(config + offset, &value, sizeof(value));
}

/* Of logical blocks before the stretch's first that begins a physical one. */
static uint8_t alignment(const struct disk_limits *limits, uint64_t first)
{
    const uint64_t physical = UINT64_C(1) << limits->physical_exponent;
    const uint64_t before = first * DISK_SECTOR / limits->block_size;
    return (uint8_t)((limits->alignment_offset - before) & (physical - 1));
}

static void describe_disk(struct virtio_blk *blk, const struct disk_limits *limits, uint64_t first)
{
    const uint64_t sectors = blk->size / VIRTIO_BLK_SECTOR;
    const uint32_t edges = (uint32_t)blk->virtio.capsule->piece_count;
    const uint32_t most =
        MIN((uint32_t)VIRTQUEUE_SIZE_MAX - 2, limits->pieces_max - MIN(edges, limits->pieces_max - 1));
    uint8_t *config = blk->config;
    set_32(config, VIRTIO_BLK_CAPACITY, (uint32_t)sectors);
    set_32(config, VIRTIO_BLK_CAPACITY + 4, (uint32_t)(sectors >> 32));
    set_32(config, VIRTIO_BLK_SIZE_MAX, (blk->virtio.offered & VIRTIO_BLK_F_SIZE_MAX) != 0 ? limits->piece_longest : 0);
    set_32(config, VIRTIO_BLK_SEG_MAX, most); /* header and status need one each */
    set_32(config, VIRTIO_BLK_BLK_SIZE, limits->block_size);
    config[VIRTIO_BLK_PHYSICAL_BLOCK_EXP] = limits->physical_exponent;
    config[VIRTIO_BLK_ALIGNMENT_OFFSET] = alignment(limits, first);
    memcpy(config + VIRTIO_BLK_MIN_IO_SIZE, &limits->io_least, sizeof(limits->io_least));
    set_32(config, VIRTIO_BLK_OPT_IO_SIZE, limits->io_best);
    set_32(config, VIRTIO_BLK_MAX_DISCARD_SECTORS, limits->discard_most);
    set_32(config, VIRTIO_BLK_MAX_DISCARD_SEG, 1);
    set_32(config, VIRTIO_BLK_DISCARD_SECTOR_ALIGNMENT, limits->discard_alignment);
    set_32(config, VIRTIO_BLK_MAX_WRITE_ZEROES_SECTORS, limits->zeroes_most);
    set_32(config, VIRTIO_BLK_MAX_WRITE_ZEROES_SEG, 1);
    config[VIRTIO_BLK_WRITE_ZEROES_MAY_UNMAP] = limits->zeroes_unmap && limits->write_zeroes ? 1 : 0;
}

static uint64_t features_of(const struct disk_limits *limits, bool writes)
{
    uint64_t features = VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_BLK_SIZE;
    features |= limits->piece_longest != UINT32_MAX ? VIRTIO_BLK_F_SIZE_MAX : 0;
    features |= limits->flush ? VIRTIO_BLK_F_FLUSH : 0;
    features |=
        limits->physical_exponent != 0 || limits->io_least != 0 || limits->io_best != 0 ? VIRTIO_BLK_F_TOPOLOGY : 0;
    features |= limits->discard && writes ? VIRTIO_BLK_F_DISCARD : 0;
    features |= limits->write_zeroes && writes ? VIRTIO_BLK_F_WRITE_ZEROES : 0;
    return features | (writes ? 0 : VIRTIO_BLK_F_RO);
}

static void init(struct virtio_blk *blk, gpa_t base, const struct capsule *capsule, struct irq_line irq,
                 const struct disk_limits *limits, bool writes)
{
    memset(blk, 0, sizeof(*blk));
    virtio_device_init(&blk->virtio, &blk_ops, blk->queues, base, capsule, irq, features_of(limits, writes));
    blk->virtio.config = blk->config;
    blk->virtio.config_size = sizeof(blk->config);
}

void virtio_blk_init(struct virtio_blk *blk, gpa_t base, const struct capsule *capsule, struct irq_line irq,
                     uint8_t *memory, uint64_t size, bool read_only, const char *serial)
{
    const uint32_t most = (uint32_t)MIN(size / VIRTIO_BLK_SECTOR, (uint64_t)UINT32_MAX);
    const struct disk_limits limits = {
        .flush = true,
        .discard = true,
        .write_zeroes = true,
        .block_size = VIRTIO_BLK_SECTOR,
        .pieces_max = UINT32_MAX,
        .piece_longest = UINT32_MAX,
        .discard_most = most,
        .discard_alignment = 1,
        .zeroes_most = most,
        .zeroes_unmap = true,
    };
    assert(size % VIRTIO_BLK_SECTOR == 0 && memory != NULL);
    init(blk, base, capsule, irq, &limits, !read_only);
    blk->memory = memory;
    blk->size = size;
    memcpy(blk->serial, serial, strnlen(serial, sizeof(blk->serial)));
    describe_disk(blk, &limits, 0);
}

void virtio_blk_init_disk(struct virtio_blk *blk, gpa_t base, struct capsule *capsule, struct irq_line irq,
                          const struct disk_user *user, const char *serial)
{
    const struct disk_limits *limits = &user->disk->limits;
    init(blk, base, capsule, irq, limits, user->writes);
    blk->user = *user;
    blk->user.capsule = capsule;
    virtio_blk_listen(blk);
    blk->size = user->sectors * DISK_SECTOR;
    memcpy(blk->serial, serial, strnlen(serial, sizeof(blk->serial)));
    describe_disk(blk, limits, user->first);
}
