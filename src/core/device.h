/* SPDX-License-Identifier: MIT
 *
 * What a guest sees as a device: a window of guest-physical addresses, a table of registers, and a writer of the
 * device's own node in the guest's tree. The bus finds the device, checks width and direction against the table,
 * and takes the device's lock around each handler, so handlers hold it and must not block.
 */
#ifndef CORE_DEVICE_H
#define CORE_DEVICE_H

#include "lib/address.h"
#include "lib/spinlock.h"

struct device;

enum register_access { REG_R = 1, REG_W = 2, REG_RW = 3 };

/* One register (count 0 or 1), or count equal ones stride bytes apart. Rows of the same count and stride may
 * interleave, as the threshold and claim registers of a PLIC's contexts do. A missing read handler reads 0, a
 * missing write handler ignores. index is 0 … count − 1. Only accesses of exactly width bytes at exactly the
 * register's offset reach a handler; all others inside the window read 0 and write nothing. */
struct device_register {
    const char *name;
    uint32_t offset;
    uint32_t count;
    uint32_t stride;
    uint8_t width; /* bytes: 1, 2, 4 or 8 */
    uint8_t access;
    uint64_t (*read)(struct device *device, uint32_t index);
    void (*write)(struct device *device, uint32_t index, uint64_t value);
};

/* What the guest tree's writer tells a device about its surroundings. */
struct tree_context {
    uint32_t plic_phandle;      /* of the capsule's interrupt controller */
    uint32_t vcpu_phandle_base; /* vCPU n's interrupt controller is vcpu_phandle_base + n */
    uint32_t vcpus;
    uint32_t next_phandle; /* a device may take one and count up */
};

struct device_class {
    const char *name;
    const struct device_register *registers; /* ascending offsets, no byte in two registers of one width */
    size_t register_count;
    void (*reset)(struct device *device); /* to power-on state; called with the device's lock held */
    /* Adds the device's node to the tree being written with libfdt's sequential-write calls (fdt_begin_node …),
     * inside /soc with two address and two size cells. Returns 0 or libfdt's negative error. */
    int (*describe)(const struct device *device, void *tree, struct tree_context *context);
};

/* First member of every device model; models get themselves back with CONTAINER_OF. */
struct device {
    const struct device_class *class;
    struct range window; /* guest-physical */
    struct spinlock lock;
    bool again; /* a write handler may set it: there is more to do for this store than one step, so it is to be made
                 * again; the lock guards it */
};

/* An interrupt line into a controller, handed to a device when it is made. Idempotent; any lock of the device
 * may be held. A line with set == NULL leads nowhere. */
struct irq_line {
    void (*set)(void *controller, uint32_t source, bool level);
    void *controller;
    uint32_t source;
};

static inline void irq_line_set(const struct irq_line *line, bool level)
{
    if (line->set != NULL) {
        line->set(line->controller, line->source, level);
    }
}

enum { DEVICE_BUS_MAX = 16 }; /* 5 of every capsule machine, and as many slots as it has for virtio */

/* A capsule's devices. Filled while the capsule is made; constant afterwards, so look-ups need no lock. */
struct device_bus {
    struct device *devices[DEVICE_BUS_MAX];
    size_t count;
};

/* DX_OK, DX_TOO_MANY, or DX_OVERLAP if the window meets another device's. */
[[nodiscard]] enum dx_error device_bus_add(struct device_bus *bus, struct device *device);

/* The device whose window holds the width bytes at address, or NULL. */
struct device *device_bus_find(const struct device_bus *bus, gpa_t address, unsigned width);

/* One access of 1, 2, 4 or 8 bytes that lies wholly in the device's window. Takes the device's lock. A write returns
 * false if it is not over: the guest's instruction is then to be executed again. */
uint64_t device_read(struct device *device, gpa_t address, unsigned width);
bool device_write(struct device *device, gpa_t address, unsigned width, uint64_t value);

/* Resets every device of the bus. No vCPU of the capsule may be running. */
void device_bus_reset(struct device_bus *bus);

#endif
