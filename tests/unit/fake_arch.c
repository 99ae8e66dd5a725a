/* SPDX-License-Identifier: MIT
 *
 * The fake processor of unit tests.
 */
#include "fake_arch.h"

#include <stdlib.h>
#include <string.h>

#include "core/hart.h"

static struct hart default_hart;

_Thread_local struct fake_arch fake_arch = {.hart = &default_hart.arch};

void fake_arch_reset(void)
{
    memset(&default_hart, 0, sizeof(default_hart));
    memset(&fake_arch, 0, sizeof(fake_arch));
    fake_arch.hart = &default_hart.arch;
}

/* --- harts --- */

struct arch_hart *arch_this_hart(void)
{
    return fake_arch.hart;
}

void arch_hart_probe(struct hart_features *features)
{
    *features = fake_arch.features;
}

const char *arch_hart_prepare(const struct hart_features *features)
{
    (void)features;
    return fake_arch.prepare_result;
}

void arch_hart_start_stack(struct arch_hart *hart, void (*function)(void *), void *argument)
{
    fake_arch.hart = hart;
    function(argument);
    arch_hart_halt();
}

void arch_hart_halt(void)
{
    if (fake_arch.halted == NULL) {
        abort();
    }
    longjmp(*fake_arch.halted, 1);
}

void arch_hart_wait(void)
{
    fake_arch.waits++;
    if (fake_arch.on_wait != NULL) {
        fake_arch.on_wait();
    }
}

unsigned long arch_hart_pending(void)
{
    return fake_arch.on_pending != NULL ? fake_arch.on_pending() : fake_arch.machine_pending;
}

void arch_hart_interrupt_enable(unsigned long bits, bool enable)
{
    fake_arch.machine_enabled = enable ? fake_arch.machine_enabled | bits : fake_arch.machine_enabled & ~bits;
}

/* --- the loaded vCPU --- */

void arch_enter(struct arch_context *context)
{
    fake_arch.entered = context;
    arch_hart_halt();
}

unsigned long arch_trap_value(void)
{
    return fake_arch.trap_value;
}

bool arch_trap_from_hs(const struct arch_context *context)
{
    (void)context;
    return fake_arch.trap_from_hs;
}

void arch_context_reset(struct arch_context *context, unsigned long entry, unsigned long a0, unsigned long a1)
{
    uint8_t *vector = context->vector;
    size_t vector_size = context->vector_size;
    bool is_virtual = context->is_virtual;
    bool own_hart = context->own_hart;

    memset(context, 0, sizeof(*context));
    context->vector = vector;
    context->vector_size = vector_size;
    context->is_virtual = is_virtual;
    context->own_hart = own_hart;
    if (vector != NULL) {
        memset(vector, 0, vector_size);
    }
    context->pc = entry;
    context->x[REG_A0] = a0;
    context->x[REG_A1] = a1;
    context->status = STATUS_MPP_S;
    context->stimecmp = UINT64_MAX;
    fake_arch.resets++;
}

void arch_context_save(struct arch_context *context, const struct hart_features *features)
{
    (void)features;
    context->sip = fake_arch.virtual_pending & (BIT(IRQ_S_SOFT) | BIT(IRQ_S_TIMER));
    context->sie = fake_arch.virtual_enabled;
    context->satp = fake_arch.satp;
    context->stimecmp = fake_arch.virtual_timer;
    fake_arch.satp = 0;
    fake_arch.virtual_timer = UINT64_MAX;
    fake_arch.loaded = NULL;
    fake_arch.saves++;
    if (fake_arch.on_save != NULL) {
        fake_arch.on_save();
    }
}

void arch_context_load(struct arch_context *context, const struct hart_features *features, bool resident)
{
    (void)features;
    fake_arch.loaded_resident = resident;
    fake_arch.virtual_pending = context->sip;
    fake_arch.virtual_enabled = context->sie;
    fake_arch.satp = context->satp;
    fake_arch.virtual_timer = context->stimecmp;
    fake_arch.loaded = context;
    fake_arch.loads++;
    if (!resident && fake_arch.on_fence_vma != NULL) {
        fake_arch.on_fence_vma();
    }
}

void arch_virtual_interrupt(unsigned long bit, bool pending)
{
    fake_arch.virtual_pending = pending ? fake_arch.virtual_pending | bit : fake_arch.virtual_pending & ~bit;
}

unsigned long arch_virtual_pending(void)
{
    return fake_arch.virtual_pending;
}

unsigned long arch_virtual_enabled(void)
{
    return fake_arch.virtual_enabled;
}

void arch_virtual_timer_set(uint64_t deadline)
{
    fake_arch.virtual_timer = deadline;
}

uint64_t arch_virtual_timer(void)
{
    return fake_arch.virtual_timer;
}

void arch_reflect(struct arch_context *context, unsigned long cause, unsigned long value)
{
    fake_arch.reflections++;
    fake_arch.reflected_cause = cause;
    fake_arch.reflected_value = value;
    context->scause = cause;
    context->stval = value;
    context->sepc = context->pc;
    context->pc = context->stvec;
}

unsigned long arch_virtual_satp(void)
{
    return fake_arch.satp;
}

unsigned long arch_virtual_status(const struct arch_context *context)
{
    return context->is_virtual ? context->vsstatus : context->status;
}

bool arch_virtual_counter_open(unsigned counter, bool user)
{
    (void)counter;
    return user ? fake_arch.user_may_read_time : fake_arch.supervisor_may_read_time;
}

uint64_t arch_fp_read(unsigned reg)
{
    return fake_arch.fp[reg];
}

void arch_fp_write(struct arch_context *context, unsigned reg, uint64_t bits)
{
    unsigned long *status = context->is_virtual ? &context->vsstatus : &context->status;
    *status |= STATUS_FS_DIRTY;
    fake_arch.fp[reg] = bits;
}

/* --- memory protection and fences --- */

static void changed(const char *what)
{
    if (fake_arch.on_change != NULL) {
        fake_arch.on_change(what);
    }
}

void arch_pmp_load(const struct hart_features *features, const struct pmp_image *image, const struct pmp_image *old)
{
    (void)features;
    (void)old;
    fake_arch.pmp = *image;
    fake_arch.pmp_loads++;
    changed("pmp");
}

void arch_pmp_read(const struct hart_features *features, struct pmp_image *image)
{
    (void)features;
    *image = fake_arch.pmp;
}

bool arch_supervisor_can_load(hpa_t address)
{
    return fake_arch.supervisor_can_load_at != NULL ? fake_arch.supervisor_can_load_at(address)
                                                    : fake_arch.supervisor_can_load;
}

bool arch_virtual_can_load(gpa_t address)
{
    return fake_arch.virtual_can_load_at != NULL ? fake_arch.virtual_can_load_at(address) : fake_arch.virtual_can_load;
}

void arch_stage2_load(unsigned long hgatp)
{
    fake_arch.stage2 = hgatp;
    fake_arch.stage2_loads++;
    changed("stage2");
}

unsigned long arch_stage2_read(void)
{
    return fake_arch.stage2;
}

/* The fields lie where hardware has them (privileged specification, 18.2.10). */
unsigned long arch_stage2_word(unsigned mode, unsigned vmid, hpa_t root)
{
    const unsigned mode_shift = XLEN == 64 ? 60 : 31;
    const unsigned vmid_shift = XLEN == 64 ? 44 : 22;
    return (unsigned long)mode << mode_shift | (unsigned long)vmid << vmid_shift | (unsigned long)(root.at >> 12);
}

void arch_fence_stage2(void)
{
    fake_arch.fences_stage2++;
    changed("fence_stage2");
}

void arch_fence_vma(void)
{
    fake_arch.fences_vma++;
    if (fake_arch.on_fence_vma != NULL) {
        fake_arch.on_fence_vma();
    }
}

void arch_fence_i(void)
{
    fake_arch.fences_i++;
}

void arch_fence_memory(void)
{
    fake_arch.fences_memory++;
}

/* Natively an address is one or it isn't: callers are tested with real ones. */
bool arch_answers(uint64_t address, unsigned bytes)
{
    (void)bytes;
    return address != 0;
}

static uint32_t read_register(uint64_t address, unsigned bytes)
{
    uint32_t value = 0;
    if (fake_arch.on_mmio_read != NULL) {
        return fake_arch.on_mmio_read(address, bytes);
    }
    memcpy(&value, (const void *)(uintptr_t)address, bytes);
    return value;
}

static void write_register(uint64_t address, unsigned bytes, uint32_t value)
{
    if (fake_arch.on_mmio_write != NULL) {
        fake_arch.on_mmio_write(address, bytes, value);
        return;
    }
    memcpy((void *)(uintptr_t)address, &value, bytes);
}

uint32_t mmio_read32(uint64_t address)
{
    return read_register(address, 4);
}

uint16_t mmio_read16(uint64_t address)
{
    return (uint16_t)read_register(address, 2);
}

uint8_t mmio_read8(uint64_t address)
{
    return (uint8_t)read_register(address, 1);
}

void mmio_write32(uint64_t address, uint32_t value)
{
    write_register(address, 4, value);
}

void mmio_write8(uint64_t address, uint8_t value)
{
    write_register(address, 1, value);
}

/* --- time and entropy --- */

uint64_t arch_time(void)
{
    return fake_arch.time;
}

unsigned long arch_cycles(void)
{
    return fake_arch.cycles;
}

bool arch_entropy(uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length && !fake_arch.entropy_fails; i++) {
        bytes[i] = fake_arch.entropy_next++;
    }
    return !fake_arch.entropy_fails;
}

void arch_hart_environment(const struct hart_features *features)
{
    (void)features;
}
