/* SPDX-License-Identifier: MIT
 *
 * virtio devices of a capsule: see virtio_parts.h. A disk's memory is taken when the capsule is made, filled in steps
 * before its first start, and scrubbed in steps before it is given back, all of it in time charged to the capsule.
 */
#include "control/virtio_parts.h"

#include <string.h>

#include "control/control_ports.h"
#include "control/launch.h"
#include "control/served.h"
#include "control/stretch.h"
#include "core/log.h"
#include "core/memory.h"
#include "device/virtio_blk.h"
#include "device/virtio_net.h"
#include "device/virtio_rng.h"

enum { SLOT_SIZE = 0x1000, IRQ_FIRST = 1, STEP = 64 * KIB };

static size_t model_size(enum device_type type, bool manager)
{
    static const size_t sizes[] = {
        [DEVICE_DISK] = sizeof(struct virtio_blk),         [DEVICE_RNG] = sizeof(struct virtio_rng),
        [DEVICE_CONSOLE] = sizeof(struct virtio_console),  [DEVICE_NET] = sizeof(struct virtio_net),
        [DEVICE_CONTROL] = sizeof(struct control_console),
    };
    return manager && type == DEVICE_CONSOLE ? sizeof(struct control_console) : sizes[type];
}

/* Without entropy that deserves the name a guest is better off knowing that there is none. */
static bool is_offered(const struct capsule_config *config, const struct device_config *wanted)
{
    if (wanted->type == DEVICE_RNG && !launch_has_entropy()) {
        log_alert("%s: %s: not offered, there is no entropy", config->name, wanted->name);
        return false;
    }
    return !wanted->for_capsules;
}

static enum dx_error make_disk(struct virtio_blk *blk, struct capsule *capsule, const struct device_config *wanted,
                               gpa_t base, struct irq_line irq, struct refusal *refusal)
{
    const char *served = config_served(wanted);
    struct disk_user user = {.disk = served == NULL ? disk_find(wanted->source)
                                                    : served_find(capsule->config.origin.creator, served)};
    const struct disk_user *other = NULL;
    struct range stretch = {0, 0};
    enum dx_error error = stretch_find(capsule->config.name, wanted, user.disk, &stretch, refusal);
    if (error != DX_OK) {
        if (user.disk != NULL) {
            disk_let_go(user.disk);
        }
        return error;
    }
    assert(user.disk != NULL);
    user.first = stretch.base;
    user.sectors = stretch.size;
    user.rate.limit = wanted->rate;
    user.writes = !wanted->read_only && !user.disk->limits.read_only;
    const char *serial = user.disk->serial[0] != '\0' ? user.disk->serial : wanted->name;
    virtio_blk_init_disk(blk, base, capsule, irq, &user, serial);
    error = disk_attach(&blk->user, &other);
    if (error != DX_OK) {
        blk->user.disk = NULL;
        disk_let_go(user.disk);
        return refuse(refusal, error, "%s: %s: capsule %s uses some of these sectors of %s, and not both only read",
                      capsule->config.name, wanted->name, other->capsule->config.name, wanted->source);
    }
    return DX_OK;
}

/* A locally administered one, if the manifest gives none: not the same at every boot. */
static void choose_address(const struct device_config *wanted, uint8_t address[NETWORK_ADDRESS])
{
    if (wanted->has_address) {
        memcpy(address, wanted->address, NETWORK_ADDRESS);
        return;
    }
    launch_random(address, NETWORK_ADDRESS);
    address[0] = (uint8_t)((address[0] & 0xfc) | 0x02);
}

static enum dx_error make_net(struct virtio_net *net, struct capsule *capsule, const struct device_config *wanted,
                              gpa_t base, struct irq_line irq, struct refusal *refusal)
{
    struct network_port port = {.network = network_find(wanted->network), .isolated = wanted->isolated};
    if (port.network == NULL) {
        return refuse(refusal, DX_NOT_FOUND, "%s: %s: network: there is no network %s", capsule->config.name,
                      wanted->name, wanted->network);
    }
    choose_address(wanted, port.address);
    virtio_net_init(net, base, capsule, irq, &port);
    net->rate.limit = wanted->rate;
    enum dx_error error = network_attach(&net->port);
    if (error != DX_OK) {
        net->port.network = NULL;
        return refuse(refusal, error,
                      error == DX_DUPLICATE ? "%s: %s: mac-address: another port of network %s has it"
                                            : "%s: %s: network: %s has no place for one more",
                      capsule->config.name, wanted->name, wanted->network);
    }
    return DX_OK;
}

static enum dx_error take(struct virtio_part *part, const struct capsule *capsule, const struct device_config *wanted,
                          struct refusal *refusal)
{
    part->size = model_size(wanted->type, capsule->config.manager);
    part->device = memory_alloc(part->size);
    if (part->device == NULL) {
        return refuse(refusal, DX_NO_MEMORY, "%s: %s: no memory for the device", capsule->config.name, wanted->name);
    }
    const uint64_t size = align_up(wanted->data.length, PAGE_SIZE);
    if (size != 0 && !memory_take_high(size, PAGE_SIZE, &part->disk)) {
        part->disk.size = 0;
        return refuse(refusal, DX_NO_MEMORY, "%s: %s: no memory for a disk of %llu KiB", capsule->config.name,
                      wanted->name, (unsigned long long)(size / KIB));
    }
    return DX_OK;
}

static struct control_console *control_of(struct virtio_device *device)
{
    struct virtio_console *console = CONTAINER_OF(device, struct virtio_console, virtio);
    return CONTAINER_OF(console, struct control_console, console);
}

static enum dx_error make(struct virtio_part *part, struct capsule *capsule, const struct device_config *wanted,
                          gpa_t base, struct irq_line irq, struct refusal *refusal)
{
    enum dx_error error = take(part, capsule, wanted, refusal);
    if (error != DX_OK) {
        return error;
    }
    switch (wanted->type) {
    case DEVICE_DISK:
        if (wanted->source != NULL) {
            error =
                make_disk(CONTAINER_OF(part->device, struct virtio_blk, virtio), capsule, wanted, base, irq, refusal);
            break;
        }
        virtio_blk_init(CONTAINER_OF(part->device, struct virtio_blk, virtio), base, capsule, irq,
                        hpa_pointer((hpa_t){part->disk.base}), wanted->data.length, wanted->read_only, wanted->name);
        break;
    case DEVICE_NET:
        error = make_net(CONTAINER_OF(part->device, struct virtio_net, virtio), capsule, wanted, base, irq, refusal);
        break;
    case DEVICE_RNG:
        virtio_rng_init(CONTAINER_OF(part->device, struct virtio_rng, virtio), base, capsule, irq, launch_random);
        break;
    case DEVICE_CONTROL:
        control_console_init(control_of(part->device), base, capsule, irq, NULL);
        break;
    case DEVICE_CONSOLE:
        if (capsule->config.manager) {
            control_console_init(control_of(part->device), base, capsule, irq, &capsule->console);
            break;
        }
        virtio_console_init(CONTAINER_OF(part->device, struct virtio_console, virtio), base, capsule, irq,
                            &capsule->console, NULL, NULL);
        break;
    }
    if (error != DX_OK) {
        return error;
    }
    error = device_bus_add(&capsule->bus, &part->device->device);
    return error == DX_OK ? DX_OK : refuse(refusal, error, "%s: device %s", capsule->config.name, wanted->name);
}

/* Last, when nothing can be refused any more: from here on others find the ports, and memory that others may find can't
 * be given back at once. */
static void open_ports(struct virtio_parts *parts)
{
    for (unsigned slot = 0; slot < CAPSULE_DEVICES_MAX; slot++) {
        struct virtio_device *device = parts->slots[slot].device;
        if (device != NULL && device->ops->id == VIRTIO_ID_NET) {
            network_open(&CONTAINER_OF(device, struct virtio_net, virtio)->port);
        }
    }
}

enum dx_error virtio_parts_create(struct virtio_parts *parts, struct capsule *capsule, gpa_t base, struct plic *plic,
                                  struct refusal *refusal)
{
    const struct capsule_config *config = &capsule->config;
    for (uint32_t slot = 0; slot < config->device_count; slot++) {
        const struct device_config *wanted = &config->devices[slot];
        if (!is_offered(config, wanted)) {
            continue;
        }
        const gpa_t place = {base.at + (uint64_t)slot * SLOT_SIZE};
        const struct irq_line irq = {plic_line_set, plic, IRQ_FIRST + slot};
        enum dx_error error = make(&parts->slots[slot], capsule, wanted, place, irq, refusal);
        if (error != DX_OK) {
            return error;
        }
        if (wanted->type == DEVICE_CONSOLE) {
            parts->console = CONTAINER_OF(parts->slots[slot].device, struct virtio_console, virtio);
        }
    }
    open_ports(parts);
    return DX_OK;
}

/* The next step's bytes of the disk at the cursor, which goes on. */
static uint8_t *next_step(struct virtio_parts *parts, uint64_t *length)
{
    const struct range disk = parts->slots[parts->cursor].disk;
    uint8_t *bytes = hpa_pointer((hpa_t){disk.base + parts->offset});
    *length = MIN(disk.size - parts->offset, (uint64_t)STEP);
    parts->offset += *length;
    return bytes;
}

/* Moves the cursor to a disk that isn't done; false if there is none. */
static bool find_step(struct virtio_parts *parts)
{
    while (parts->cursor < CAPSULE_DEVICES_MAX && parts->offset == parts->slots[parts->cursor].disk.size) {
        parts->cursor++;
        parts->offset = 0;
    }
    return parts->cursor < CAPSULE_DEVICES_MAX;
}

bool virtio_parts_fill(struct virtio_parts *parts, const struct capsule_config *config)
{
    if (!parts->filled && find_step(parts)) {
        const struct blob *data = &config->devices[parts->cursor].data;
        const size_t offset = (size_t)parts->offset;
        uint64_t length;
        uint8_t *bytes = next_step(parts, &length);
        const size_t copied = MIN((size_t)length, data->length - offset);
        memcpy(bytes, data->bytes + offset, copied);
        memset(bytes + copied, 0, (size_t)length - copied);
        return false;
    }
    parts->filled = true;
    return true;
}

/* Once: the cursor is that of filling until the first step. */
/* Its clients are gone, and what they were sending goes by itself. */
static bool control_holds(const struct virtio_parts *parts)
{
    for (unsigned slot = 0; slot < CAPSULE_DEVICES_MAX; slot++) {
        struct virtio_device *device = parts->slots[slot].device;
        if (device != NULL && device->ops != NULL && device->ops->id == VIRTIO_ID_CONSOLE &&
            device->capsule->config.manager && control_console_holds(control_of(device))) {
            return true;
        }
    }
    return false;
}

bool virtio_parts_scrub(struct virtio_parts *parts)
{
    if (control_holds(parts)) {
        return false;
    }
    if (!parts->scrubbing) {
        parts->scrubbing = true;
        parts->cursor = 0;
        parts->offset = 0;
    }
    if (!find_step(parts)) {
        return true;
    }
    uint64_t length;
    uint8_t *bytes = next_step(parts, &length);
    memset(bytes, 0, (size_t)length);
    return false;
}

void virtio_parts_silence(struct virtio_parts *parts)
{
    for (unsigned slot = 0; slot < CAPSULE_DEVICES_MAX; slot++) {
        if (parts->slots[slot].device != NULL) {
            virtio_device_reset(parts->slots[slot].device);
        }
    }
}

bool virtio_parts_stats(const struct virtio_parts *parts, uint32_t index, struct device_stats *out)
{
    struct virtio_device *device = parts->slots[index].device;
    if (device == NULL || device->ops == NULL) {
        return false;
    }
    if (device->ops->id == VIRTIO_ID_BLOCK) {
        out->disk = CONTAINER_OF(device, struct virtio_blk, virtio)->counts;
    } else if (device->ops->id == VIRTIO_ID_NET) {
        out->frames = CONTAINER_OF(device, struct virtio_net, virtio)->port.counts;
    } else {
        return false;
    }
    return true;
}

static void detach(struct virtio_device *device)
{
    if (device->ops->id == VIRTIO_ID_BLOCK) {
        struct virtio_blk *blk = CONTAINER_OF(device, struct virtio_blk, virtio);
        if (blk->user.disk != NULL) {
            disk_detach(&blk->user);
        }
    } else if (device->ops->id == VIRTIO_ID_NET) {
        struct virtio_net *net = CONTAINER_OF(device, struct virtio_net, virtio);
        if (net->port.network != NULL) {
            network_detach(&net->port);
        }
    } else if (device->ops->id == VIRTIO_ID_CONSOLE && device->capsule->config.manager) {
        control_console_end(control_of(device));
    }
}

void virtio_parts_detach(struct virtio_parts *parts)
{
    for (unsigned slot = 0; slot < CAPSULE_DEVICES_MAX; slot++) {
        struct virtio_device *device = parts->slots[slot].device;
        if (device != NULL && device->ops != NULL) { /* none: it could not be made */
            detach(device);
        }
    }
}

/* Nobody can mean the device any more. */
static void let_go(struct virtio_device *device)
{
    if (device->ops != NULL && device->ops->id == VIRTIO_ID_BLOCK) {
        struct virtio_blk *blk = CONTAINER_OF(device, struct virtio_blk, virtio);
        if (blk->user.disk != NULL) {
            disk_let_go(blk->user.disk);
        }
    }
}

void virtio_parts_destroy(struct virtio_parts *parts)
{
    virtio_parts_detach(parts); /* of a capsule that could not be made in whole */
    parts->console = NULL;
    for (unsigned slot = 0; slot < CAPSULE_DEVICES_MAX; slot++) {
        struct virtio_part *part = &parts->slots[slot];
        if (part->device != NULL) {
            let_go(part->device);
            memory_free(part->device, part->size);
        }
        if (part->disk.size != 0) {
            memory_give(part->disk);
        }
        *part = (struct virtio_part){.device = NULL};
    }
}
