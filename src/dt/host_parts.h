/* SPDX-License-Identifier: MIT
 *
 * How the files that read the host's tree share the work; for dt/host_*.c only.
 */
#ifndef DT_HOST_PARTS_H
#define DT_HOST_PARTS_H

#include "dt/host_tree.h"
#include "dt/tree_walk.h"

/* An interrupt as the tree tells it. The controllers need not be known yet. */
struct host_wire {
    uint32_t controller; /* phandle; 0: none is named */
    uint32_t number;
};

/* What is known so far while a tree is being read. */
struct host_reader {
    const void *blob; /* checked in full */
    struct machine *machine;
    struct refusal *refusal;
    uint32_t plic_phandle; /* 0: no PLIC was met, or nothing can refer to it */
    struct host_wire virtio_wires[MACHINE_VIRTIO_MAX];
    int poweroff_node, reboot_node; /* syscon-poweroff and -reboot, or −1; resolved when all nodes are known */
};

/* Adds a range to a sorted list without overlaps, merging it with what it meets. Empty ranges are dropped. False if
 * the list is full. The range must be valid. */
bool host_ranges_add(struct range *list, size_t *count, size_t max, struct range range);

/* /cpus: the harts and the timebase. Must come before the devices, which refer to harts. */
enum dx_error host_harts_read(struct host_reader *reader);
/* Puts a hart's interrupt controller's phandle in words of the machine: its index, or −1. */
int host_hart_by_intc(const struct machine *machine, uint32_t phandle);

/* Every device that the hypervisor knows, by its compatible property; then what needs all of them. */
enum dx_error host_device_read(struct host_reader *reader, const struct tree_walk *walk);
void host_devices_finish(struct host_reader *reader);

/* dt/host_interrupts.c: rows of the table in dt/host_devices.c. */
enum clint_kind { CLINT_SIFIVE, CLINT_THEAD, ACLINT_MTIMER, ACLINT_MTIMER_THEAD, ACLINT_MSWI };
enum dx_error host_clint_read(struct host_reader *reader, const struct tree_walk *walk, unsigned kind);
enum dx_error host_plic_read(struct host_reader *reader, const struct tree_walk *walk, unsigned unused);

/* dt/host_console.c: finds the console; *node is its offset. False, and kind MACHINE_UART_NONE, if there is none. */
bool host_console_find(const void *blob, struct machine_uart *uart, int *node);
/* The first interrupt of the device where the walk stands. */
struct host_wire host_wire_read(const struct tree_walk *walk);
/* The PLIC's source that the wire leads to, or 0. */
static inline uint32_t host_wire_source(const struct host_reader *reader, struct host_wire wire)
{
    return reader->plic_phandle != 0 && wire.controller == reader->plic_phandle ? wire.number : 0;
}

#endif
