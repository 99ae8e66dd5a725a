/* SPDX-License-Identifier: MIT
 *
 * The transport's registers. What is written at a moment when virtio doesn't allow it is ignored.
 */
#include "device/virtio_mmio.h"

#include <string.h>

#include "device/tree_node.h"

enum {
    VERSION = 2,
    VENDOR = 0x64696f73,
    INTERRUPT_USED = 1 << 0,
    INTERRUPT_CONFIG = 1 << 1,
    CONFIG_OFFSET = 0x100,
};

static struct virtio_device *virtio_of(struct device *device)
{
    return CONTAINER_OF(device, struct virtio_device, device);
}

static bool has_status(const struct virtio_device *virtio, uint32_t bits)
{
    return (virtio->status & bits) == bits;
}

static void interrupt(struct virtio_device *virtio, uint32_t reason)
{
    virtio->interrupts |= reason;
    irq_line_set(&virtio->irq, true);
}

void virtio_device_break(struct virtio_device *device)
{
    device->status |= VIRTIO_NEEDS_RESET;
    interrupt(device, INTERRUPT_CONFIG);
}

/* --- features and status ---------------------------------------------------------------------------------------- */

/* 32 of 64 bits; what lies beyond them doesn't exist. */
static uint64_t offered_read(struct device *device, uint32_t index)
{
    const struct virtio_device *virtio = virtio_of(device);
    (void)index;
    return virtio->offered_select < 2 ? virtio->offered >> (32 * virtio->offered_select) & UINT32_MAX : 0;
}

static void offered_select_write(struct device *device, uint32_t index, uint64_t value)
{
    (void)index;
    virtio_of(device)->offered_select = (uint32_t)value;
}

static void accepted_select_write(struct device *device, uint32_t index, uint64_t value)
{
    (void)index;
    virtio_of(device)->accepted_select = (uint32_t)value;
}

static void accepted_write(struct device *device, uint32_t index, uint64_t value)
{
    struct virtio_device *virtio = virtio_of(device);
    (void)index;
    if (!has_status(virtio, VIRTIO_DRIVER) || has_status(virtio, VIRTIO_FEATURES_OK)) {
        return;
    }
    if (virtio->accepted_select < 2) {
        const unsigned shift = 32 * virtio->accepted_select;
        virtio->accepted = (virtio->accepted & ~((uint64_t)UINT32_MAX << shift)) | value << shift;
    }
}

static bool features_good(const struct virtio_device *virtio)
{
    return (virtio->accepted & ~virtio->offered) == 0 && virtio_device_has(virtio, VIRTIO_F_VERSION_1);
}

static void reset(struct virtio_device *virtio)
{
    virtio->status = 0;
    virtio->resetting = false;
    virtio->accepted = 0;
    virtio->offered_select = 0;
    virtio->accepted_select = 0;
    virtio->queue_select = 0;
    virtio->interrupts = 0;
    for (uint32_t n = 0; n < virtio->ops->queue_count; n++) {
        virtqueue_reset(&virtio->queues[n], virtio->capsule);
    }
    assert(virtio->ops->busy == NULL || !virtio->ops->busy(virtio));
    if (virtio->ops->reset != NULL) {
        virtio->ops->reset(virtio);
    }
    irq_line_set(&virtio->irq, false);
}

void virtio_device_reset(struct virtio_device *device)
{
    spinlock_take(&device->device.lock);
    reset(device);
    spinlock_release(&device->device.lock);
}

static uint64_t status_read(struct device *device, uint32_t index)
{
    (void)index;
    return virtio_of(device)->status;
}

/* A bit is only set after the one before it, and none is cleared but by a reset. */
static void status_write(struct device *device, uint32_t index, uint64_t value)
{
    static const struct {
        uint32_t bit, before;
    } steps[] = {
        {VIRTIO_ACKNOWLEDGE, 0},
        {VIRTIO_DRIVER, VIRTIO_ACKNOWLEDGE},
        {VIRTIO_FEATURES_OK, VIRTIO_DRIVER},
        {VIRTIO_DRIVER_OK, VIRTIO_FEATURES_OK},
        {VIRTIO_FAILED, 0},
    };
    struct virtio_device *virtio = virtio_of(device);
    (void)index;
    if (value == 0) {
        virtio->resetting = virtio->ops->busy != NULL && virtio->ops->busy(virtio);
        device->again = virtio->resetting; /* a store that is over when nothing is on its way any more */
        if (!virtio->resetting) {
            reset(virtio);
        }
        return;
    }
    for (unsigned n = 0; n < ARRAY_LENGTH(steps); n++) {
        const bool allowed =
            has_status(virtio, steps[n].before) && (steps[n].bit != VIRTIO_FEATURES_OK || features_good(virtio));
        if ((value & steps[n].bit) != 0 && allowed) {
            virtio->status |= steps[n].bit;
        }
    }
}

/* --- queues ----------------------------------------------------------------------------------------------------- */

/* The selected queue, or NULL. */
static struct virtqueue *selected(struct virtio_device *virtio)
{
    return virtio->queue_select < virtio->ops->queue_count ? &virtio->queues[virtio->queue_select] : NULL;
}

/* Features are settled and no queue works yet. */
static bool in_setup(const struct virtio_device *virtio)
{
    return has_status(virtio, VIRTIO_FEATURES_OK) &&
           (virtio->status & (VIRTIO_DRIVER_OK | VIRTIO_NEEDS_RESET | VIRTIO_FAILED)) == 0;
}

/* The selected queue if it may be changed now, or NULL. */
static struct virtqueue *changeable(struct virtio_device *virtio)
{
    struct virtqueue *queue = selected(virtio);
    return queue != NULL && in_setup(virtio) && !queue->ready ? queue : NULL;
}

static void queue_select_write(struct device *device, uint32_t index, uint64_t value)
{
    (void)index;
    virtio_of(device)->queue_select = (uint32_t)value;
}

static uint64_t queue_size_max_read(struct device *device, uint32_t index)
{
    (void)index;
    return selected(virtio_of(device)) != NULL ? VIRTQUEUE_SIZE_MAX : 0;
}

static void queue_size_write(struct device *device, uint32_t index, uint64_t value)
{
    struct virtqueue *queue = changeable(virtio_of(device));
    (void)index;
    if (queue != NULL) {
        queue->size = (uint32_t)value;
    }
}

static uint64_t queue_ready_read(struct device *device, uint32_t index)
{
    const struct virtqueue *queue = selected(virtio_of(device));
    (void)index;
    return queue != NULL && queue->ready;
}

/* With rings that aren't good it stays 0. */
static void queue_ready_write(struct device *device, uint32_t index, uint64_t value)
{
    struct virtio_device *virtio = virtio_of(device);
    struct virtqueue *queue = selected(virtio);
    (void)index;
    if (queue == NULL || !in_setup(virtio)) {
        return;
    }
    if (value == 0) {
        queue->ready = false;
    } else if (value == 1 && !queue->ready) {
        queue->event_index = virtio_device_has(virtio, VIRTIO_F_EVENT_IDX);
        queue->indirect = virtio_device_has(virtio, VIRTIO_F_INDIRECT_DESC);
        virtqueue_enable(queue);
    }
}

static void set_half(gpa_t *address, uint32_t half, uint64_t value)
{
    const unsigned shift = 32 * half;
    address->at = (address->at & ~((uint64_t)UINT32_MAX << shift)) | value << shift;
}

/* Where a ring is, low half and high half; 64 bits on RV32 too. */
static void queue_descriptors_write(struct device *device, uint32_t index, uint64_t value)
{
    struct virtqueue *queue = changeable(virtio_of(device));
    if (queue != NULL) {
        set_half(&queue->descriptors, index, value);
    }
}

static void queue_driver_write(struct device *device, uint32_t index, uint64_t value)
{
    struct virtqueue *queue = changeable(virtio_of(device));
    if (queue != NULL) {
        set_half(&queue->driver, index, value);
    }
}

static void queue_device_write(struct device *device, uint32_t index, uint64_t value)
{
    struct virtqueue *queue = changeable(virtio_of(device));
    if (queue != NULL) {
        set_half(&queue->device, index, value);
    }
}

static bool works(const struct virtio_device *virtio)
{
    return !virtio->resetting && has_status(virtio, VIRTIO_DRIVER_OK) &&
           (virtio->status & (VIRTIO_NEEDS_RESET | VIRTIO_FAILED)) == 0;
}

bool virtio_device_works(const struct virtio_device *device, uint32_t queue)
{
    return device->queues[queue].ready && works(device);
}

void virtio_device_interrupt(struct virtio_device *device)
{
    for (uint32_t n = 0; n < device->ops->queue_count; n++) {
        if (device->queues[n].ready && virtqueue_interrupts(&device->queues[n])) {
            interrupt(device, INTERRUPT_USED);
        }
    }
}

static void notify_write(struct device *device, uint32_t index, uint64_t value)
{
    struct virtio_device *virtio = virtio_of(device);
    (void)index;
    if (value >= virtio->ops->queue_count || !virtio_device_works(virtio, (uint32_t)value)) {
        return;
    }
    device->again = virtio->ops->work(virtio, &virtio->queues[value]) && works(virtio);
    virtio_device_interrupt(virtio);
}

/* --- the rest --------------------------------------------------------------------------------------------------- */

static uint64_t magic_read(struct device *device, uint32_t index)
{
    (void)device;
    (void)index;
    return VIRTIO_MMIO_MAGIC;
}

static uint64_t version_read(struct device *device, uint32_t index)
{
    (void)device;
    (void)index;
    return VERSION;
}

static uint64_t id_read(struct device *device, uint32_t index)
{
    (void)index;
    return virtio_of(device)->ops->id;
}

static uint64_t vendor_read(struct device *device, uint32_t index)
{
    (void)device;
    (void)index;
    return VENDOR;
}

static uint64_t interrupts_read(struct device *device, uint32_t index)
{
    (void)index;
    return virtio_of(device)->interrupts;
}

static void interrupts_write(struct device *device, uint32_t index, uint64_t value)
{
    struct virtio_device *virtio = virtio_of(device);
    (void)index;
    virtio->interrupts &= (uint32_t)~value;
    irq_line_set(&virtio->irq, virtio->interrupts != 0);
}

/* There is no shared memory, which is said by all ones. */
static uint64_t shared_memory_read(struct device *device, uint32_t index)
{
    (void)device;
    (void)index;
    return UINT32_MAX;
}

/* The configuration never changes. */
static uint64_t generation_read(struct device *device, uint32_t index)
{
    (void)device;
    (void)index;
    return 0;
}

static uint64_t config_bytes(struct device *device, size_t offset, unsigned width)
{
    const struct virtio_device *virtio = virtio_of(device);
    uint64_t value = 0;
    for (unsigned n = 0; n < width; n++) {
        const uint64_t byte = offset + n < virtio->config_size ? virtio->config[offset + n] : 0;
        value |= byte << (8 * n);
    }
    return value;
}

static uint64_t config_read_1(struct device *device, uint32_t index)
{
    return config_bytes(device, index, 1);
}

static uint64_t config_read_2(struct device *device, uint32_t index)
{
    return config_bytes(device, (size_t)index * 2, 2);
}

static uint64_t config_read_4(struct device *device, uint32_t index)
{
    return config_bytes(device, (size_t)index * 4, 4);
}

static void virtio_reset(struct device *device)
{
    reset(virtio_of(device));
}

static int virtio_describe(const struct device *device, void *tree, struct tree_context *context)
{
    static const char compatible[] = "virtio,mmio";
    const struct virtio_device *virtio = (const struct virtio_device *)(const void *)device;
    struct tree_node node = {.tree = tree};

    tree_node_begin_device(&node, "virtio_mmio", device);
    tree_node_strings(&node, "compatible", compatible, sizeof(compatible));
    tree_node_interrupt(&node, &virtio->irq, context);
    tree_node_end(&node);
    return node.error;
}

static_assert(offsetof(struct virtio_device, device) == 0, "virtio_describe");

#define R(at, what, handler)                                                                                           \
    {                                                                                                                  \
        .name = (what), .offset = (at), .width = 4, .access = REG_R, .read = (handler)                                 \
    }
#define W(at, what, handler)                                                                                           \
    {                                                                                                                  \
        .name = (what), .offset = (at), .width = 4, .access = REG_W, .write = (handler)                                \
    }
#define RW(at, what, reader, writer)                                                                                   \
    {                                                                                                                  \
        .name = (what), .offset = (at), .width = 4, .access = REG_RW, .read = (reader), .write = (writer)              \
    }
#define HALVES(at, what, handler)                                                                                      \
    {                                                                                                                  \
        .name = (what), .offset = (at), .width = 4, .count = 2, .stride = 4, .access = REG_W, .write = (handler)       \
    }
#define CONFIG(bytes, handler)                                                                                         \
    {                                                                                                                  \
        .name = "Config", .offset = CONFIG_OFFSET, .width = (bytes), .count = VIRTIO_CONFIG_SIZE / (bytes),            \
        .stride = (bytes), .access = REG_R, .read = (handler)                                                          \
    }

static const struct device_register registers[] = {
    R(0x000, "MagicValue", magic_read),
    R(0x004, "Version", version_read),
    R(0x008, "DeviceID", id_read),
    R(0x00c, "VendorID", vendor_read),
    R(0x010, "DeviceFeatures", offered_read),
    W(0x014, "DeviceFeaturesSel", offered_select_write),
    W(0x020, "DriverFeatures", accepted_write),
    W(0x024, "DriverFeaturesSel", accepted_select_write),
    W(0x030, "QueueSel", queue_select_write),
    R(0x034, "QueueNumMax", queue_size_max_read),
    W(0x038, "QueueNum", queue_size_write),
    RW(0x044, "QueueReady", queue_ready_read, queue_ready_write),
    W(0x050, "QueueNotify", notify_write),
    R(0x060, "InterruptStatus", interrupts_read),
    W(0x064, "InterruptACK", interrupts_write),
    RW(0x070, "Status", status_read, status_write),
    HALVES(0x080, "QueueDesc", queue_descriptors_write),
    HALVES(0x090, "QueueDriver", queue_driver_write),
    HALVES(0x0a0, "QueueDevice", queue_device_write),
    R(0x0b0, "SHMLenLow", shared_memory_read),
    R(0x0b4, "SHMLenHigh", shared_memory_read),
    R(0x0b8, "SHMBaseLow", shared_memory_read),
    R(0x0bc, "SHMBaseHigh", shared_memory_read),
    R(0x0fc, "ConfigGeneration", generation_read),
    CONFIG(1, config_read_1),
    CONFIG(2, config_read_2),
    CONFIG(4, config_read_4),
};

static const struct device_class virtio_class = {
    .name = "virtio_mmio",
    .registers = registers,
    .register_count = ARRAY_LENGTH(registers),
    .reset = virtio_reset,
    .describe = virtio_describe,
};

void virtio_device_init(struct virtio_device *device, const struct virtio_device_ops *ops, struct virtqueue *queues,
                        gpa_t base, const struct capsule *capsule, struct irq_line irq, uint64_t features)
{
    memset(device, 0, sizeof(*device));
    assert(ops->queue_count >= 1);
    device->queues = queues;
    device->device.class = &virtio_class;
    device->device.window = (struct range){base.at, VIRTIO_WINDOW_SIZE};
    device->ops = ops;
    device->capsule = capsule;
    device->irq = irq;
    device->offered = features | VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC;
    for (uint32_t n = 0; n < ops->queue_count; n++) {
        virtqueue_reset(&device->queues[n], capsule);
    }
}
