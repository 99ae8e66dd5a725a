/* SPDX-License-Identifier: MIT
 *
 * A virtio disk that is a stretch of the machine's: requests on their way out, and answers on their way back. Answers
 * come on whichever hart the machine's interrupt goes to.
 */
#include <string.h>

#include "device/virtio_blk.h"

static struct virtio_blk *blk_of(struct disk_user *user)
{
    return CONTAINER_OF(user, struct virtio_blk, user);
}

static enum disk_operation operation_of(uint32_t type)
{
    switch (type) {
    case VIRTIO_BLK_IN:
        return DISK_READ;
    case VIRTIO_BLK_OUT:
        return DISK_WRITE;
    case VIRTIO_BLK_FLUSH:
        return DISK_FLUSH;
    case VIRTIO_BLK_DISCARD:
        return DISK_DISCARD;
    default:
        return DISK_WRITE_ZEROES;
    }
}

/* One without a byte or a sector is done already. */
bool virtio_blk_is_sent(const struct virtio_blk *blk)
{
    const bool is_ours = blk->type == VIRTIO_BLK_GET_ID || blk->status != VIRTIO_BLK_OK;
    return !is_ours && (blk->length != 0 || blk->type == VIRTIO_BLK_FLUSH);
}

/* Where the payload lies; false: in more places than the disk takes at once. */
static bool find_places(struct virtio_blk *blk, struct disk_order *order)
{
    const bool reads = blk->type == VIRTIO_BLK_IN;
    const struct disk_limits *limits = &blk->user.disk->limits;
    if (!reads && blk->type != VIRTIO_BLK_OUT) {
        return true;
    }
    order->pieces = blk->places;
    order->piece_count = virtqueue_places(&blk->virtio.queues[0], &blk->chain, reads, reads ? 0 : VIRTIO_BLK_HEADER,
                                          blk->length, limits->piece_longest, blk->places, limits->pieces_max);
    return order->piece_count != 0;
}

/* What the disk itself would refuse, or what it must not even see. */
static bool is_within_limits(const struct virtio_blk *blk)
{
    const struct disk_limits *limits = &blk->user.disk->limits;
    const uint64_t sectors = blk->length / DISK_SECTOR;
    if (disk_is_dead(blk->user.disk)) {
        return false;
    }
    if (blk->type == VIRTIO_BLK_DISCARD) {
        return sectors <= limits->discard_most;
    }
    return blk->type != VIRTIO_BLK_WRITE_ZEROES || sectors <= limits->zeroes_most;
}

/* Bytes that will have been written if it goes well, from the first on without a gap; the status is the last. */
static uint32_t written_by(const struct virtio_blk *blk)
{
    const uint64_t data = blk->type == VIRTIO_BLK_IN ? blk->length : 0;
    const bool reaches_status = data + VIRTIO_BLK_STATUS_BYTES == blk->chain.writable;
    return (uint32_t)(reaches_status ? blk->chain.writable : data);
}

/* A flight that is free: one is, since no more are promised to a user than it has. */
static uint32_t take_flight(struct virtio_blk *blk)
{
    uint32_t token = 0;
    while (blk->flights[token].busy) {
        token++;
        assert(token < DISK_USER_REQUESTS_MAX);
    }
    blk->flights[token] = (struct virtio_blk_flight){
        .busy = true,
        .head = blk->chain.head,
        .status = virtqueue_last_byte(&blk->chain),
        .written = written_by(blk),
        .type = blk->type,
        .length = blk->length,
    };
    return token;
}

bool virtio_blk_send(struct virtio_blk *blk)
{
    struct disk_order order = {
        .user = &blk->user,
        .operation = operation_of(blk->type),
        .sector = blk->user.first + blk->at / DISK_SECTOR,
        .sectors = (uint32_t)(blk->length / DISK_SECTOR),
        .unmap = blk->unmap,
    };
    if (!is_within_limits(blk) || !find_places(blk, &order)) {
        blk->status = VIRTIO_BLK_IOERR;
        blk->length = 0;
        return false;
    }
    order.token = take_flight(blk);
    if (!disk_send(&order, blk->length)) {
        blk->flights[order.token].busy = false;
        blk->status = VIRTIO_BLK_IOERR;
        blk->length = 0;
        return false;
    }
    return true;
}

/* Its status is written where it was to go when the request was taken: RAM is where it was. */
static void answer(struct virtio_blk *blk, const struct virtio_blk_flight *flight, enum disk_answer answer)
{
    uint8_t *status = capsule_ram(blk->virtio.capsule, flight->status, VIRTIO_BLK_STATUS_BYTES);
    const bool good = answer == DISK_DONE;
    assert(status != NULL);
    *status = good ? VIRTIO_BLK_OK : VIRTIO_BLK_IOERR;
    virtqueue_give_head(&blk->virtio.queues[0], flight->head, good ? flight->written : 0);
    virtio_blk_count(blk, flight->type, good, flight->length);
    virtio_device_interrupt(&blk->virtio);
}

/* A device that waits for its reset has no rings that could be written to. */
static void on_done(struct disk_user *user, uint32_t token, enum disk_answer result)
{
    struct virtio_blk *blk = blk_of(user);
    spinlock_take(&blk->virtio.device.lock);
    const struct virtio_blk_flight flight = blk->flights[token];
    blk->flights[token].busy = false;
    assert(flight.busy);
    if (virtio_device_works(&blk->virtio, 0)) {
        answer(blk, &flight, result);
    }
    spinlock_release(&blk->virtio.device.lock);
}

static void on_room(struct disk_user *user)
{
    struct virtio_blk *blk = blk_of(user);
    spinlock_take(&blk->virtio.device.lock);
    if (virtio_device_works(&blk->virtio, 0)) {
        if (virtio_blk_step(blk)) {
            disk_wait(user);
        }
        virtio_device_interrupt(&blk->virtio);
    }
    spinlock_release(&blk->virtio.device.lock);
}

void virtio_blk_listen(struct virtio_blk *blk)
{
    blk->user.done = on_done;
    blk->user.room = on_room;
}
