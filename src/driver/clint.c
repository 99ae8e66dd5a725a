/* SPDX-License-Identifier: MIT
 *
 * CLINT and ACLINT. Each hart's registers are found once and kept by hart index.
 */
#include "driver/clint.h"

static struct {
    const struct machine *machine;
    uint64_t mtime;
    bool split_writes;
    uint64_t msip[MACHINE_HARTS_MAX];
    uint64_t mtimecmp[MACHINE_HARTS_MAX];
} clint;

static uint64_t read_mtime(void)
{
    if (XLEN == 64 && !clint.split_writes) {
        return *(volatile uint64_t *)(uintptr_t)clint.mtime;
    }
    uint32_t high;
    uint32_t low;
    do {
        high = mmio_read32(clint.mtime + 4);
        low = mmio_read32(clint.mtime);
    } while (high != mmio_read32(clint.mtime + 4));
    return (uint64_t)high << 32 | low;
}

static void ring(struct hart *hart)
{
    mmio_write32(clint.msip[hart->index], 1);
}

static void ring_clear(struct hart *hart)
{
    mmio_write32(clint.msip[hart->index], 0);
}

static void timer_set(struct hart *hart, uint64_t deadline)
{
    uint64_t place = clint.mtimecmp[hart->index];
    if (XLEN == 64 && !clint.split_writes) {
        *(volatile uint64_t *)(uintptr_t)place = deadline;
        return;
    }
    mmio_write32(place + 4, UINT32_MAX); /* no earlier deadline shows in between */
    mmio_write32(place, (uint32_t)deadline);
    mmio_write32(place + 4, (uint32_t)(deadline >> 32));
}

bool clint_init(const struct machine *machine, bool time_csr)
{
    clint.machine = machine;
    for (size_t n = 0; n < machine->clint_count; n++) {
        clint.split_writes |= machine->clints[n].split_writes;
        if (clint.mtime == 0) {
            clint.mtime = machine->clints[n].mtime;
        }
    }
    hart_ops.ring = ring;
    hart_ops.ring_clear = ring_clear;
    hart_ops.timer_set = timer_set;
    hart_ops.time = time_csr ? NULL : read_mtime;
    return time_csr || clint.mtime != 0;
}

static void find_slot(const struct machine_clint *block, struct hart *hart)
{
    for (uint32_t slot = 0; slot < block->slots; slot++) {
        if (block->ids[slot] != hart->arch.id) {
            continue;
        }
        if (block->msip != 0) {
            clint.msip[hart->index] = block->msip + 4 * (uint64_t)slot;
        }
        if (block->mtimecmp != 0) {
            clint.mtimecmp[hart->index] = block->mtimecmp + 8 * (uint64_t)slot;
        }
    }
}

bool clint_hart_init(struct hart *hart)
{
    for (size_t n = 0; n < clint.machine->clint_count; n++) {
        find_slot(&clint.machine->clints[n], hart);
    }
    return clint.msip[hart->index] != 0 && clint.mtimecmp[hart->index] != 0;
}
