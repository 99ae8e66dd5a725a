/* SPDX-License-Identifier: MIT
 *
 * The host's PLIC.
 */
#include "driver/host_plic.h"

enum {
    ENABLES = 0x2000,
    ENABLES_STRIDE = 0x80,
    CONTEXTS = 0x200000,
    CONTEXTS_STRIDE = 0x1000,
    CLAIM = 4,
    SERVE_MAX = 16, /* interrupts in one go: what is left interrupts again */
};

static uint64_t base;
static uint64_t own_enables, own_context;

static void shut(const struct machine *machine, uint32_t context)
{
    for (uint32_t word = 0; word <= machine->plic.sources / 32; word++) {
        mmio_write32(machine->plic.base + ENABLES + (uint64_t)ENABLES_STRIDE * context + 4 * (uint64_t)word, 0);
    }
}

bool host_plic_init(const struct machine *machine, const struct hart *hart)
{
    if (machine->plic.base == 0) {
        return false;
    }
    for (uint32_t context = 0; context < machine->plic.contexts; context++) {
        shut(machine, context);
    }
    int index = machine_hart_index(machine, hart->arch.id);
    if (index < 0 || machine->plic.m_context[index] < 0) {
        return false;
    }
    uint64_t context = (uint64_t)machine->plic.m_context[index];
    base = machine->plic.base;
    own_enables = base + ENABLES + ENABLES_STRIDE * context;
    own_context = base + CONTEXTS + CONTEXTS_STRIDE * context;
    mmio_write32(own_context, 0); /* threshold: everything with a priority */
    return true;
}

void host_plic_enable(uint32_t source)
{
    uint64_t word = own_enables + 4 * (uint64_t)(source / 32);
    mmio_write32(base + 4 * (uint64_t)source, 1);
    mmio_write32(word, mmio_read32(word) | (uint32_t)1 << (source % 32));
}

void host_plic_serve(void (*handle)(uint32_t source))
{
    for (unsigned n = 0; n < SERVE_MAX; n++) {
        uint32_t source = mmio_read32(own_context + CLAIM);
        if (source == 0) {
            return;
        }
        handle(source);
        mmio_write32(own_context + CLAIM, source);
        if (hart_is_wanted()) {
            return; /* devices can be faster than they are served */
        }
    }
}
