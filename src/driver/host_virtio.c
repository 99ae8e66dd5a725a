/* SPDX-License-Identifier: MIT
 *
 * The driver's side of virtio-mmio: see host_virtio.h.
 */
#include "driver/host_virtio.h"

#include <string.h>

#include "core/hart.h"
#include "core/memory.h"

enum {
    MAGIC_VALUE = 0x000,
    VERSION = 0x004,
    DEVICE_ID = 0x008,
    DEVICE_FEATURES = 0x010,
    DEVICE_FEATURES_SEL = 0x014,
    DRIVER_FEATURES = 0x020,
    DRIVER_FEATURES_SEL = 0x024,
    GUEST_PAGE_SIZE = 0x028, /* legacy */
    QUEUE_SEL = 0x030,
    QUEUE_NUM_MAX = 0x034,
    QUEUE_NUM = 0x038,
    QUEUE_ALIGN = 0x03c, /* legacy */
    QUEUE_PFN = 0x040,   /* legacy */
    QUEUE_READY = 0x044,
    QUEUE_NOTIFY = 0x050,
    INTERRUPT_STATUS = 0x060,
    INTERRUPT_ACK = 0x064,
    STATUS = 0x070,
    QUEUE_DESC = 0x080,
    QUEUE_DRIVER = 0x090,
    QUEUE_DEVICE = 0x0a0,
    CONFIG_GENERATION = 0x0fc,
    CONFIG = 0x100,
};
enum { LEGACY = 1, MODERN = 2 };
enum { NO_LINK = 0xffff, RESETS_PER_SECOND = 10, GENERATION_TRIES = 8 };

static uint32_t get(const struct host_virtio *device, uint32_t offset)
{
    return mmio_read32(device->where->base + offset);
}

static void set(const struct host_virtio *device, uint32_t offset, uint32_t value)
{
    mmio_write32(device->where->base + offset, value);
}

static void add_status(const struct host_virtio *device, uint32_t bits)
{
    set(device, STATUS, get(device, STATUS) | bits);
}

bool host_virtio_probe(struct host_virtio *device, const struct machine_virtio *where)
{
    *device = (struct host_virtio){.where = where};
    if (!arch_answers(where->base, 4) || get(device, MAGIC_VALUE) != VIRTIO_MMIO_MAGIC) {
        return false;
    }
    device->version = get(device, VERSION);
    device->id = get(device, DEVICE_ID);
    const bool known = device->version == LEGACY || device->version == MODERN;
    return known && device->id != 0 && host_virtio_reset(device);
}

/* The legacy version has no word for "done": its reset is over when the store is. */
bool host_virtio_reset(struct host_virtio *device)
{
    const uint64_t end = clock_now() + clock_hz / RESETS_PER_SECOND;
    set(device, STATUS, 0);
    while (get(device, STATUS) != 0) {
        if (clock_now() > end) {
            return false;
        }
    }
    return true;
}

static uint64_t offered(const struct host_virtio *device)
{
    uint64_t features = 0;
    for (uint32_t half = 0; half < (device->version == MODERN ? 2 : 1); half++) {
        set(device, DEVICE_FEATURES_SEL, half);
        features |= (uint64_t)get(device, DEVICE_FEATURES) << (32 * half);
    }
    return features;
}

bool host_virtio_begin(struct host_virtio *device, uint64_t wanted)
{
    const bool modern = device->version == MODERN;
    add_status(device, VIRTIO_ACKNOWLEDGE);
    add_status(device, VIRTIO_DRIVER);
    device->features = offered(device) & (wanted | (modern ? VIRTIO_F_VERSION_1 : 0));
    for (uint32_t half = 0; half < (modern ? 2 : 1); half++) {
        set(device, DRIVER_FEATURES_SEL, half);
        set(device, DRIVER_FEATURES, (uint32_t)(device->features >> (32 * half)));
    }
    if (!modern) {
        set(device, GUEST_PAGE_SIZE, PAGE_SIZE);
        return true;
    }
    add_status(device, VIRTIO_FEATURES_OK);
    return host_virtio_has(device, VIRTIO_F_VERSION_1) && (get(device, STATUS) & VIRTIO_FEATURES_OK) != 0;
}

void host_virtio_go(struct host_virtio *device)
{
    arch_fence_memory();
    add_status(device, VIRTIO_DRIVER_OK);
}

void host_virtio_acknowledge(const struct host_virtio *device)
{
    set(device, INTERRUPT_ACK, get(device, INTERRUPT_STATUS));
    arch_fence_memory();
}

uint8_t host_virtio_config8(const struct host_virtio *device, uint32_t offset)
{
    return mmio_read8(device->where->base + CONFIG + offset);
}

uint16_t host_virtio_config16(const struct host_virtio *device, uint32_t offset)
{
    return mmio_read16(device->where->base + CONFIG + offset);
}

uint32_t host_virtio_config32(const struct host_virtio *device, uint32_t offset)
{
    return get(device, CONFIG + offset);
}

/* In two halves, between which it may change. */
uint64_t host_virtio_config64(const struct host_virtio *device, uint32_t offset)
{
    uint64_t value = 0;
    for (unsigned n = 0; n < GENERATION_TRIES; n++) {
        const uint32_t before = device->version == MODERN ? get(device, CONFIG_GENERATION) : 0;
        value = get(device, CONFIG + offset) | (uint64_t)get(device, CONFIG + offset + 4) << 32;
        if (device->version != MODERN || get(device, CONFIG_GENERATION) == before) {
            break;
        }
    }
    return value;
}

/* --- queues ------------------------------------------------------------------------------------------------------- */

/* The legacy layout, which the newer version can have too: the used ring begins a page. */
static size_t used_offset(uint32_t size)
{
    return (size_t)align_up(sizeof(struct virtio_descriptor) * size + sizeof(uint16_t) * (3 + size), PAGE_SIZE);
}

static size_t rings_size(uint32_t size)
{
    return used_offset(size) + sizeof(uint16_t) * 3 + sizeof(uint64_t) * size;
}

static bool take_memory(struct host_queue *queue)
{
    if (queue->descriptors == NULL) {
        queue->descriptors = memory_alloc(rings_size(queue->size));
    }
    if (queue->descriptors == NULL) {
        return false;
    }
    uint8_t *rings = (uint8_t *)queue->descriptors;
    queue->available = (uint16_t *)(void *)(rings + sizeof(struct virtio_descriptor) * queue->size);
    queue->used = (uint16_t *)(void *)(rings + used_offset(queue->size));
    return true;
}

static void free_all(struct host_queue *queue)
{
    queue->free = queue->size;
    queue->first_free = 0;
    for (uint16_t n = 0; n < queue->size; n++) {
        queue->links[n] = n + 1 < queue->size ? (uint16_t)(n + 1) : NO_LINK;
        queue->lengths[n] = 0;
    }
}

/* Both sides begin at 0 again. */
static void clear_rings(struct host_queue *queue)
{
    memset(queue->available, 0, sizeof(uint16_t) * (3 + (size_t)queue->size));
    memset(queue->used, 0, sizeof(uint16_t) * 3 + sizeof(uint64_t) * queue->size);
    queue->given = 0;
    queue->taken = 0;
}

static void set_address(const struct host_virtio *device, uint32_t offset, const void *place)
{
    const uint64_t address = (uintptr_t)place;
    set(device, offset, (uint32_t)address);
    set(device, offset + 4, (uint32_t)(address >> 32));
}

static bool tell_rings(struct host_queue *queue)
{
    const struct host_virtio *device = queue->device;
    set(device, QUEUE_NUM, queue->size);
    const uint64_t page = (uintptr_t)queue->descriptors / PAGE_SIZE;
    if (device->version == LEGACY) {
        if (page > UINT32_MAX) {
            return false; /* higher than it can reach */
        }
        set(device, QUEUE_ALIGN, PAGE_SIZE);
        set(device, QUEUE_PFN, (uint32_t)page);
        return true;
    }
    set_address(device, QUEUE_DESC, queue->descriptors);
    set_address(device, QUEUE_DRIVER, queue->available);
    set_address(device, QUEUE_DEVICE, queue->used);
    set(device, QUEUE_READY, 1);
    return get(device, QUEUE_READY) == 1;
}

bool host_queue_begin(struct host_queue *queue, const struct host_virtio *device, uint16_t index)
{
    set(device, QUEUE_SEL, index);
    uint32_t size = MIN(get(device, QUEUE_NUM_MAX), (uint32_t)HOST_QUEUE_MAX);
    while (size != 0 && !is_power_of_two(size)) {
        size &= size - 1;
    }
    queue->device = device;
    queue->index = index;
    queue->size = (uint16_t)size;
    if (size == 0 || !take_memory(queue)) {
        return false;
    }
    free_all(queue);
    clear_rings(queue);
    return tell_rings(queue);
}

static void offer(struct host_queue *queue, uint16_t head)
{
    __atomic_store_n(&queue->available[2 + queue->given % queue->size], head, __ATOMIC_RELAXED);
    queue->given++;
}

bool host_queue_resume(struct host_queue *queue)
{
    set(queue->device, QUEUE_SEL, queue->index);
    if (get(queue->device, QUEUE_NUM_MAX) < queue->size) {
        return false;
    }
    clear_rings(queue);
    for (uint16_t n = 0; n < queue->size; n++) {
        if (queue->lengths[n] != 0) {
            offer(queue, n);
        }
    }
    return tell_rings(queue);
}

uint16_t host_queue_add(struct host_queue *queue, const struct host_buffer *buffers, uint16_t count)
{
    assert(count > 0 && count <= queue->free);
    const uint16_t head = queue->first_free;
    uint16_t entry = head;
    for (uint16_t n = 0; n < count; n++) {
        const uint16_t next = queue->links[entry];
        queue->descriptors[entry] = (struct virtio_descriptor){
            .address = buffers[n].memory.base,
            .length = (uint32_t)buffers[n].memory.size,
            .flags = (uint16_t)((buffers[n].writable ? VIRTIO_DESCRIPTOR_WRITE : 0) |
                                (n + 1 < count ? VIRTIO_DESCRIPTOR_NEXT : 0)),
            .next = n + 1 < count ? next : 0,
        };
        entry = next;
    }
    queue->first_free = entry;
    queue->free = (uint16_t)(queue->free - count);
    queue->lengths[head] = count;
    offer(queue, head);
    return head;
}

void host_queue_publish(struct host_queue *queue)
{
    arch_fence_memory();
    __atomic_store_n(&queue->available[1], queue->given, __ATOMIC_RELAXED);
    arch_fence_memory();
    if ((__atomic_load_n(&queue->used[0], __ATOMIC_RELAXED) & VIRTIO_USED_NO_NOTIFY) == 0) {
        set(queue->device, QUEUE_NOTIFY, queue->index);
    }
}

void host_queue_quiet(struct host_queue *queue, bool quiet)
{
    *(volatile uint16_t *)&queue->available[0] = quiet ? VIRTIO_AVAILABLE_NO_INTERRUPT : 0;
    arch_fence_memory(); /* before the used ring is read */
}

/* Gives the entries of a chain back. */
static void free_chain(struct host_queue *queue, uint16_t head)
{
    uint16_t last = head;
    for (uint16_t n = 1; n < queue->lengths[head]; n++) {
        last = queue->links[last];
    }
    queue->links[last] = queue->first_free;
    queue->first_free = head;
    queue->free = (uint16_t)(queue->free + queue->lengths[head]);
    queue->lengths[head] = 0;
}

void host_queue_drop(struct host_queue *queue, uint16_t head)
{
    free_chain(queue, head);
}

bool host_queue_take(struct host_queue *queue, uint16_t *head, uint32_t *written)
{
    while (__atomic_load_n(&queue->used[1], __ATOMIC_RELAXED) != queue->taken) {
        arch_fence_memory();
        const uint32_t *element =
            (const uint32_t *)(const void *)(queue->used + 2) + (size_t)2 * (queue->taken % queue->size);
        const uint32_t id = __atomic_load_n(&element[0], __ATOMIC_RELAXED);
        *written = __atomic_load_n(&element[1], __ATOMIC_RELAXED);
        queue->taken++;
        if (id < queue->size && queue->lengths[id] != 0) {
            *head = (uint16_t)id;
            free_chain(queue, (uint16_t)id);
            return true;
        }
    }
    return false;
}
