/* SPDX-License-Identifier: MIT
 *
 * The device bus: finds the device and the register that a guest's access means, and runs the handler under the
 * device's lock. Addresses and widths come from a guest; anything that isn't exactly a register reads 0 and writes
 * nothing.
 */
#include "core/device.h"

/* Where a device at base belongs in the ascending list: the number of devices below or at it. */
static size_t position_for(const struct device_bus *bus, uint64_t base)
{
    size_t low = 0;
    size_t high = bus->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (bus->devices[middle]->window.base <= base) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

enum dx_error device_bus_add(struct device_bus *bus, struct device *device)
{
    size_t position = position_for(bus, device->window.base);

    assert(range_valid(device->window) && device->window.size != 0);
    if (bus->count == DEVICE_BUS_MAX) {
        return DX_TOO_MANY;
    }
    if (position > 0 && range_overlaps(bus->devices[position - 1]->window, device->window)) {
        return DX_OVERLAP;
    }
    if (position < bus->count && range_overlaps(bus->devices[position]->window, device->window)) {
        return DX_OVERLAP;
    }

    for (size_t i = bus->count; i > position; i--) {
        bus->devices[i] = bus->devices[i - 1];
    }
    bus->devices[position] = device;
    bus->count++;
    return DX_OK;
}

struct device *device_bus_find(const struct device_bus *bus, gpa_t address, unsigned width)
{
    size_t position = position_for(bus, address.at);
    struct device *device;

    if (position == 0) {
        return NULL;
    }
    device = bus->devices[position - 1];
    return range_holds(device->window, address.at, width) ? device : NULL;
}

/* One past the last byte that a row's registers take up. */
static uint64_t row_end(const struct device_register *row)
{
    uint64_t end = (uint64_t)row->offset + row->width;

    return row->count > 1 ? end + (uint64_t)(row->count - 1) * row->stride : end;
}

/* Whether one of the row's registers lies at exactly offset (which isn't below the row's), and which. */
static bool row_index(const struct device_register *row, uint64_t offset, uint32_t *index)
{
    uint64_t delta = offset - row->offset;

    if (delta == 0) {
        *index = 0;
        return true;
    }
    if (row->count <= 1 || offset >= row_end(row)) {
        return false;
    }
    *index = (uint32_t)delta / row->stride; /* below row_end: fits 32 bits */
    return (uint32_t)delta % row->stride == 0;
}

/* The register that an access of width bytes at offset means, or NULL. */
static const struct device_register *find_register(const struct device_class *class, uint64_t offset, unsigned width,
                                                   uint32_t *index)
{
    const struct device_register *rows = class->registers;
    size_t low = 0;
    size_t high = class->register_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (rows[middle].offset <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    /* Rows may interleave (a threshold and a claim register every 4 KiB): then an earlier one may be meant. */
    while (low > 0) {
        low--;
        if (rows[low].width == width && row_index(&rows[low], offset, index)) {
            return &rows[low];
        }
        if (low > 0 && row_end(&rows[low - 1]) <= offset) {
            break;
        }
    }
    return NULL;
}

uint64_t device_read(struct device *device, gpa_t address, unsigned width)
{
    uint32_t index = 0;
    const struct device_register *row;
    uint64_t value;

    assert(range_holds(device->window, address.at, width));
    row = find_register(device->class, address.at - device->window.base, width, &index);
    if (row == NULL || (row->access & REG_R) == 0 || row->read == NULL) {
        return 0;
    }

    spinlock_take(&device->lock);
    value = row->read(device, index);
    spinlock_release(&device->lock);
    return width < 8 ? value & ((UINT64_C(1) << (width * 8)) - 1) : value;
}

bool device_write(struct device *device, gpa_t address, unsigned width, uint64_t value)
{
    uint32_t index = 0;
    const struct device_register *row;

    assert(range_holds(device->window, address.at, width));
    row = find_register(device->class, address.at - device->window.base, width, &index);
    if (row == NULL || (row->access & REG_W) == 0 || row->write == NULL) {
        return true;
    }

    /* A handler sees only the bytes that were stored, whatever else the guest's register held. */
    if (width < 8) {
        value &= (UINT64_C(1) << (width * 8)) - 1;
    }
    spinlock_take(&device->lock);
    device->again = false;
    row->write(device, index, value);
    const bool done = !device->again;
    spinlock_release(&device->lock);
    return done;
}

void device_bus_reset(struct device_bus *bus)
{
    for (size_t i = 0; i < bus->count; i++) {
        struct device *device = bus->devices[i];

        if (device->class->reset != NULL) {
            spinlock_take(&device->lock);
            device->class->reset(device);
            spinlock_release(&device->lock);
        }
    }
}
