/* SPDX-License-Identifier: MIT
 *
 * The split virtqueue: see virtqueue.h. Memory is ordered as virtio asks: avail.idx is read before the ring, a used
 * element is written before used.idx, and used.idx before the driver's wish for interrupts is read.
 */
#include "device/virtqueue.h"

#include <stdatomic.h>
#include <string.h>

#include "lib/virtio.h"

enum { RING_FLAGS = 0, RING_INDEX = 2, RING_ENTRIES = 4 };
enum { AVAILABLE_ENTRY = 2, USED_ENTRY = 8, USED_LENGTH = 4 };

/* --- the rings ------------------------------------------------------------------------------------------------ */

/* A number in a ring: virtqueue_enable has seen that the ring is aligned and in RAM, which stays where it is. */
static void *ring_place(const struct virtqueue *queue, gpa_t ring, uint32_t offset, uint32_t width)
{
    void *place = capsule_ram(queue->capsule, (gpa_t){ring.at + offset}, width);
    assert(place != NULL);
    return place;
}

static uint16_t ring_load(const struct virtqueue *queue, gpa_t ring, uint32_t offset)
{
    const uint16_t *place = ring_place(queue, ring, offset, sizeof(*place));
    return __atomic_load_n(place, __ATOMIC_RELAXED);
}

static void ring_store(const struct virtqueue *queue, gpa_t ring, uint32_t offset, uint16_t value)
{
    uint16_t *place = ring_place(queue, ring, offset, sizeof(*place));
    __atomic_store_n(place, value, __ATOMIC_RELAXED);
}

static void ring_store_long(const struct virtqueue *queue, gpa_t ring, uint32_t offset, uint32_t value)
{
    uint32_t *place = ring_place(queue, ring, offset, sizeof(*place));
    __atomic_store_n(place, value, __ATOMIC_RELAXED);
}

static uint32_t used_event_offset(const struct virtqueue *queue)
{
    return RING_ENTRIES + AVAILABLE_ENTRY * queue->size;
}

static uint32_t available_event_offset(const struct virtqueue *queue)
{
    return RING_ENTRIES + USED_ENTRY * queue->size;
}

void virtqueue_reset(struct virtqueue *queue, const struct capsule *capsule)
{
    memset(queue, 0, sizeof(*queue));
    queue->capsule = capsule;
}

/* The event field behind a ring belongs to it, negotiated or not. */
static bool ring_sound(const struct virtqueue *queue, gpa_t ring, uint64_t align, uint64_t size)
{
    return ring.at % align == 0 && range_holds(queue->capsule->ram, ring.at, size);
}

void virtqueue_enable(struct virtqueue *queue)
{
    const uint64_t event = sizeof(uint16_t);
    queue->ready = is_power_of_two(queue->size) && queue->size <= VIRTQUEUE_SIZE_MAX &&
                   ring_sound(queue, queue->descriptors, 16, sizeof(struct virtio_descriptor) * queue->size) &&
                   ring_sound(queue, queue->driver, 2, used_event_offset(queue) + event) &&
                   ring_sound(queue, queue->device, 4, available_event_offset(queue) + event);
    queue->taken = 0;
    queue->given = 0;
    queue->told = 0;
    queue->published = UINT16_MAX; /* what the driver left there counts for nothing */
}

/* --- chains --------------------------------------------------------------------------------------------------- */

/* Copies between RAM and one of to and from, the other of which is NULL. All bytes were found in RAM before. */
static void copy(const struct capsule *capsule, gpa_t address, void *to, const void *from, size_t length)
{
    for (size_t done = 0; done < length;) {
        uint64_t part = length - done;
        uint8_t *place = capsule_ram_part(capsule, (gpa_t){address.at + done}, &part);
        assert(place != NULL);
        if (to != NULL) {
            memmove((uint8_t *)to + done, place, (size_t)part); /* to may be the same guest's RAM */
        } else {
            memcpy(place, (const uint8_t *)from + done, (size_t)part);
        }
        done += (size_t)part;
    }
}

/* Where the next descriptor is looked for. */
struct table {
    gpa_t address;
    const uint8_t *place; /* of it in the host; NULL: it lies in several places */
    uint32_t entries;
    bool is_indirect;
    uint32_t next;
};

/* The rest of the chain is in a table of its own: once, and nothing comes after it. Its WRITE flag means nothing. */
static bool enter_indirect(const struct virtqueue *queue, struct table *table,
                           const struct virtio_descriptor *descriptor)
{
    const uint32_t entries = descriptor->length / (uint32_t)sizeof(*descriptor);
    if (!queue->indirect || table->is_indirect || (descriptor->flags & VIRTIO_DESCRIPTOR_NEXT) != 0) {
        return false;
    }
    if (entries == 0 || descriptor->length % sizeof(*descriptor) != 0 || entries > queue->size ||
        !range_holds(queue->capsule->ram, descriptor->address, descriptor->length)) {
        return false;
    }
    *table = (struct table){
        .address = {descriptor->address},
        .place = capsule_ram(queue->capsule, (gpa_t){descriptor->address}, descriptor->length),
        .entries = entries,
        .is_indirect = true,
    };
    return true;
}

/* Our copy of the next one. */
static void read_descriptor(const struct virtqueue *queue, const struct table *table,
                            struct virtio_descriptor *descriptor)
{
    const size_t offset = (size_t)table->next * sizeof(*descriptor);
    if (table->place != NULL) {
        memcpy(descriptor, table->place + offset, sizeof(*descriptor));
    } else {
        copy(queue->capsule, (gpa_t){table->address.at + offset}, descriptor, NULL, sizeof(*descriptor));
    }
}

static bool add_segment(const struct virtqueue *queue, struct virtqueue_chain *chain,
                        const struct virtio_descriptor *descriptor)
{
    const bool writable = (descriptor->flags & VIRTIO_DESCRIPTOR_WRITE) != 0;
    if (chain->count == queue->size || descriptor->length == 0 ||
        !range_holds(queue->capsule->ram, descriptor->address, descriptor->length)) {
        return false;
    }
    if (!writable && chain->writable != 0) {
        return false;
    }
    chain->segments[chain->count++] = (struct virtqueue_segment){{descriptor->address}, descriptor->length};
    if (writable) {
        chain->writable += descriptor->length;
    } else {
        chain->readable += descriptor->length;
        chain->readable_count = chain->count;
    }
    return chain->readable + chain->writable <= UINT32_MAX;
}

/* Follows a chain from its head. Each turn adds a segment, of which there are no more than the queue has entries, or
 * enters the one indirect table: so a loop ends too. */
static bool walk(const struct virtqueue *queue, struct virtqueue_chain *chain)
{
    const uint64_t size = (uint64_t)queue->size * sizeof(struct virtio_descriptor);
    struct table table = {
        .address = queue->descriptors,
        .place = capsule_ram(queue->capsule, queue->descriptors, size),
        .entries = queue->size,
        .next = chain->head,
    };
    struct virtio_descriptor descriptor;
    for (;;) {
        if (table.next >= table.entries) {
            return false;
        }
        read_descriptor(queue, &table, &descriptor);
        if ((descriptor.flags & VIRTIO_DESCRIPTOR_INDIRECT) != 0) {
            if (!enter_indirect(queue, &table, &descriptor)) {
                return false;
            }
            continue;
        }
        if (!add_segment(queue, chain, &descriptor)) {
            return false;
        }
        if ((descriptor.flags & VIRTIO_DESCRIPTOR_NEXT) == 0) {
            return true;
        }
        table.next = descriptor.next;
    }
}

/* How many chains wait. If none does, the driver is asked to notify of the next; one that came just before it could
 * read that is seen here. */
static uint16_t waiting(struct virtqueue *queue)
{
    uint16_t index = ring_load(queue, queue->driver, RING_INDEX);
    if (index == queue->taken && queue->event_index && queue->published != queue->taken) {
        queue->published = queue->taken;
        ring_store(queue, queue->device, available_event_offset(queue), queue->published);
        atomic_thread_fence(memory_order_seq_cst);
        index = ring_load(queue, queue->driver, RING_INDEX);
    }
    return (uint16_t)(index - queue->taken);
}

uint32_t virtqueue_waiting(struct virtqueue *queue)
{
    return queue->ready ? MIN((uint32_t)waiting(queue), queue->size) : 0;
}

enum virtqueue_taken virtqueue_take(struct virtqueue *queue, struct virtqueue_chain *chain)
{
    const uint16_t count = waiting(queue);
    if (count == 0) {
        return QUEUE_EMPTY;
    }
    if (count > queue->size) {
        return QUEUE_BROKEN;
    }
    atomic_thread_fence(memory_order_acquire);
    chain->head = ring_load(queue, queue->driver, RING_ENTRIES + AVAILABLE_ENTRY * (queue->taken % queue->size));
    chain->count = 0;
    chain->readable_count = 0;
    chain->readable = 0;
    chain->writable = 0;
    if (!walk(queue, chain)) {
        return QUEUE_BROKEN;
    }
    queue->taken++;
    return QUEUE_CHAIN;
}

void virtqueue_give(struct virtqueue *queue, const struct virtqueue_chain *chain, uint32_t written)
{
    virtqueue_give_head(queue, chain->head, written);
}

void virtqueue_give_head(struct virtqueue *queue, uint16_t head, uint32_t written)
{
    virtqueue_give_all(queue, &head, &written, 1);
}

void virtqueue_give_all(struct virtqueue *queue, const uint16_t *heads, const uint32_t *written, unsigned count)
{
    for (unsigned n = 0; n < count; n++) {
        const uint32_t entry = RING_ENTRIES + USED_ENTRY * (queue->given % queue->size);
        ring_store_long(queue, queue->device, entry, heads[n]);
        ring_store_long(queue, queue->device, entry + USED_LENGTH, written[n]);
        queue->given++;
    }
    atomic_thread_fence(memory_order_release);
    ring_store(queue, queue->device, RING_INDEX, queue->given);
}

void virtqueue_untake(struct virtqueue *queue, unsigned count)
{
    queue->taken = (uint16_t)(queue->taken - count);
}

bool virtqueue_interrupts(struct virtqueue *queue)
{
    const uint16_t news = (uint16_t)(queue->given - queue->told);
    queue->told = queue->given;
    if (news == 0) {
        return false;
    }
    atomic_thread_fence(memory_order_seq_cst);
    if (!queue->event_index) {
        return (ring_load(queue, queue->driver, RING_FLAGS) & VIRTIO_AVAILABLE_NO_INTERRUPT) == 0;
    }
    const uint16_t event = ring_load(queue, queue->driver, used_event_offset(queue));
    return (uint16_t)(queue->given - event - 1) < news;
}

/* --- bytes ---------------------------------------------------------------------------------------------------- */

static void copy_segments(const struct capsule *capsule, const struct virtqueue_segment *segment, uint64_t offset,
                          uint8_t *to, const uint8_t *from, size_t length)
{
    for (; length > 0; segment++) {
        if (offset >= segment->length) {
            offset -= segment->length;
            continue;
        }
        const size_t part = (size_t)MIN((uint64_t)length, segment->length - offset);
        copy(capsule, (gpa_t){segment->address.at + offset}, to, from, part);
        to = to == NULL ? NULL : to + part;
        from = from == NULL ? NULL : from + part;
        length -= part;
        offset = 0;
    }
}

void virtqueue_read(const struct virtqueue *queue, const struct virtqueue_chain *chain, uint64_t offset, void *to,
                    size_t length)
{
    assert(offset <= chain->readable && length <= chain->readable - offset);
    copy_segments(queue->capsule, chain->segments, offset, to, NULL, length);
}

void virtqueue_write(const struct virtqueue *queue, const struct virtqueue_chain *chain, uint64_t offset,
                     const void *from, size_t length)
{
    assert(offset <= chain->writable && length <= chain->writable - offset);
    copy_segments(queue->capsule, &chain->segments[chain->readable_count], offset, NULL, from, length);
}

/* Adds the places of one segment's part; false: there are too many. */
static bool add_places(const struct capsule *capsule, gpa_t address, uint64_t length, uint32_t longest,
                       struct range *places, uint32_t most, uint32_t *count)
{
    for (uint64_t part = 0; length > 0; length -= part) {
        part = MIN(length, (uint64_t)longest);
        const void *place = capsule_ram_part(capsule, address, &part);
        assert(place != NULL);
        if (*count == most) {
            return false;
        }
        places[(*count)++] = (struct range){(uintptr_t)place, part};
        address.at += part;
    }
    return true;
}

uint32_t virtqueue_places(const struct virtqueue *queue, const struct virtqueue_chain *chain, bool writable,
                          uint64_t offset, uint64_t length, uint32_t longest, struct range *places, uint32_t most)
{
    const struct virtqueue_segment *segment = &chain->segments[writable ? chain->readable_count : 0];
    const uint64_t all = writable ? chain->writable : chain->readable;
    uint32_t count = 0;
    assert(offset <= all && length <= all - offset);
    for (; length > 0; segment++) {
        if (offset >= segment->length) {
            offset -= segment->length;
            continue;
        }
        const uint64_t part = MIN(length, segment->length - offset);
        if (!add_places(queue->capsule, (gpa_t){segment->address.at + offset}, part, longest, places, most, &count)) {
            return 0;
        }
        length -= part;
        offset = 0;
    }
    return count;
}

gpa_t virtqueue_last_byte(const struct virtqueue_chain *chain)
{
    const struct virtqueue_segment *last = &chain->segments[chain->count - 1];
    assert(chain->writable != 0);
    return (gpa_t){last->address.at + last->length - 1};
}
