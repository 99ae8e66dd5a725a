/* SPDX-License-Identifier: MIT
 *
 * A vCPU's state beyond the registers that trap.S keeps: saved when it leaves a hart, loaded when it comes. Every CSR
 * that S-mode can reach is here, fixed by hart.c's policy, or refused by hardware. Floating-point and vector registers
 * are always moved, whatever FS and VS say, since a guest can change both itself.
 */
#include <string.h>

#include "arch/riscv/csr.h"

/* fp.S and vector.S */
void fp_save_d(uint64_t *f);
void fp_load_d(const uint64_t *f);
void fp_save_s(uint64_t *f);
void fp_load_s(const uint64_t *f);
void vector_save(uint8_t *area);
void vector_load(const uint8_t *area);
void vector_set_type(unsigned long vl, unsigned long vtype);

/* mstatus.SXL and UXL as this hart has them: read-only or to be left alone (RV64 only). */
static unsigned long width_fields(void)
{
    return XLEN == 64 ? csr_read(mstatus) & (unsigned long)(0xfULL << 32) : 0;
}

void arch_context_reset(struct arch_context *context, unsigned long entry, unsigned long a0, unsigned long a1)
{
    uint8_t *vector = context->vector;
    size_t vector_size = context->vector_size;
    *context = (struct arch_context){
        .x = {[REG_A0] = a0, [REG_A1] = a1},
        .pc = entry,
        .status = MSTATUS_MPP_SUPERVISOR | MSTATUS_MPIE | MSTATUS_TW | width_fields(),
        .scounteren = COUNTER_TIME, /* as other firmware leaves it: Linux doesn't set it for its programs */
        .stimecmp = UINT64_MAX,
        .vtype = BIT(XLEN - 1), /* vill, as after reset */
        .vector = vector,
        .vector_size = vector_size,
    };
    if (vector != NULL) {
        memset(vector, 0, vector_size);
    }
}

static void save_registers(struct arch_context *context, const struct hart_features *features)
{
    if (features->fp_single) {
        csr_set(mstatus, MSTATUS_FS);
        context->fcsr = csr_read(fcsr);
        if (features->fp_double) {
            fp_save_d(context->f);
        } else {
            fp_save_s(context->f);
        }
    }
    if (features->vector) {
        csr_set(mstatus, MSTATUS_VS);
        context->vstart = csr_read(CSR_VSTART);
        context->vl = csr_read(CSR_VL);
        context->vtype = csr_read(CSR_VTYPE);
        context->vcsr = csr_read(CSR_VCSR);
        vector_save(context->vector);
    }
}

static void load_registers(const struct arch_context *context, const struct hart_features *features)
{
    if (features->fp_single) {
        csr_set(mstatus, MSTATUS_FS);
        if (features->fp_double) {
            fp_load_d(context->f);
        } else {
            fp_load_s(context->f);
        }
        csr_write(fcsr, context->fcsr);
    }
    if (features->vector) {
        csr_set(mstatus, MSTATUS_VS);
        vector_load(context->vector);
        vector_set_type(context->vl, context->vtype);
        csr_write(CSR_VCSR, context->vcsr);
        csr_write(CSR_VSTART, context->vstart);
    }
}

/* Rare parts of the state: no hart that we know has all of them. */
static void save_extra(struct arch_context *context, const struct hart_features *features)
{
    if (features->extra[EXTRA_JVT]) {
        context->extra[EXTRA_JVT] = csr_read(CSR_JVT);
    }
    if (features->extra[EXTRA_SCONTEXT]) {
        context->extra[EXTRA_SCONTEXT] = csr_read(CSR_SCONTEXT);
    }
    if (features->extra[EXTRA_SRMCFG]) {
        context->extra[EXTRA_SRMCFG] = csr_read(CSR_SRMCFG);
    }
}

static void load_extra(const struct arch_context *context, const struct hart_features *features)
{
    if (features->extra[EXTRA_JVT]) {
        csr_write(CSR_JVT, context->extra[EXTRA_JVT]);
    }
    if (features->extra[EXTRA_SCONTEXT]) {
        csr_write(CSR_SCONTEXT, context->extra[EXTRA_SCONTEXT]);
    }
    if (features->extra[EXTRA_SRMCFG]) {
        csr_write(CSR_SRMCFG, context->extra[EXTRA_SRMCFG]);
    }
}

void arch_context_save(struct arch_context *context, const struct hart_features *features)
{
    context->satp = csr_read(satp);
    csr_write(satp, 0); /* first: nothing may walk this guest's tables under another's rules */
    context->sie = csr_read(sie);
    csr_write(sie, 0);
    context->sip = csr_read(mip) & (BIT(IRQ_S_SOFT) | BIT(IRQ_S_TIMER));
    context->stvec = csr_read(stvec);
    context->sscratch = csr_read(sscratch);
    context->sepc = csr_read(sepc);
    context->scause = csr_read(scause);
    context->stval = csr_read(stval);
    context->scounteren = csr_read(scounteren);
    if (features->senvcfg) {
        context->senvcfg = csr_read(CSR_SENVCFG);
    }
    if (features->sstc) {
        context->stimecmp = arch_virtual_timer();
        arch_virtual_timer_set(UINT64_MAX);
    }
    save_extra(context, features);
    save_registers(context, features);
}

/* A store-conditional that drops whatever reservation the last guest held. */
static void drop_reservation(void)
{
    static uint32_t word;
    unsigned long result;
    __asm__ volatile("sc.w %0, zero, (%1)" : "=r"(result) : "r"(&word) : "memory");
}

static void load_csrs(const struct arch_context *context, const struct hart_features *features)
{
    csr_write(stvec, context->stvec);
    csr_write(sscratch, context->sscratch);
    csr_write(sepc, context->sepc);
    csr_write(scause, context->scause);
    csr_write(stval, context->stval);
    csr_write(scounteren, context->scounteren);
    if (features->senvcfg) {
        csr_write(CSR_SENVCFG, context->senvcfg);
    }
}

void arch_context_load(struct arch_context *context, const struct hart_features *features, bool resident)
{
    if (!resident) {
        arch_fence_vma();
        load_csrs(context, features);
        load_extra(context, features);
        load_registers(context, features);
    }
    drop_reservation();
    csr_clear(mip, DELEGATED_INTERRUPTS); /* the external one is raised by vcpu_fold */
    csr_set(mip, context->sip);
    csr_write(sie, context->sie);
    if (features->sstc) {
        arch_virtual_timer_set(context->stimecmp);
    }
    csr_write(satp, context->satp);
}

void arch_virtual_interrupt(unsigned long bit, bool pending)
{
    if (pending) {
        csr_set(mip, bit);
    } else {
        csr_clear(mip, bit);
    }
}

unsigned long arch_virtual_pending(void)
{
    return csr_read(mip) & DELEGATED_INTERRUPTS;
}

unsigned long arch_virtual_enabled(void)
{
    return csr_read(sie);
}

void arch_virtual_timer_set(uint64_t deadline)
{
    if (XLEN == 64) {
        csr_write(CSR_STIMECMP, deadline);
        return;
    }
    /* High half first to its maximum, so that no earlier deadline shows in between. */
    csr_write(CSR_STIMECMPH, ~0UL);
    csr_write(CSR_STIMECMP, deadline & UINT32_MAX);
    csr_write(CSR_STIMECMPH, deadline >> 32);
}

uint64_t arch_virtual_timer(void)
{
    uint64_t low = csr_read(CSR_STIMECMP);
    if (XLEN == 64) {
        return low;
    }
    return low | (uint64_t)csr_read(CSR_STIMECMPH) << 32;
}

void arch_reflect(struct arch_context *context, unsigned long cause, unsigned long value)
{
    unsigned long status = context->status;
    csr_write(scause, cause);
    csr_write(sepc, context->pc);
    csr_write(stval, value);
    bool from_supervisor = (status & STATUS_MPP) == STATUS_MPP_S;
    bool enabled = (status & STATUS_SIE) != 0;
    status &= ~(unsigned long)(STATUS_SPP | STATUS_SPIE | STATUS_SIE | STATUS_MPP);
    status |= STATUS_MPP_S;
    status |= from_supervisor ? STATUS_SPP : 0;
    status |= enabled ? STATUS_SPIE : 0;
    context->status = status;
    context->pc = csr_read(stvec) & ~3UL;
}

unsigned long arch_virtual_satp(void)
{
    return csr_read(satp);
}

bool arch_virtual_counter_open(unsigned counter, bool user)
{
    return !user || (csr_read(scounteren) & BIT(counter)) != 0;
}

/* Moves through the save area: rare (a misaligned access that hardware doesn't do). */
uint64_t arch_fp_read(unsigned reg)
{
    uint64_t f[32] = {0};
    csr_set(mstatus, MSTATUS_FS);
    if ((csr_read(misa) & MISA_BIT('D')) != 0) {
        fp_save_d(f);
    } else {
        fp_save_s(f);
    }
    return f[reg % 32];
}

void arch_fp_write(unsigned reg, uint64_t bits)
{
    uint64_t f[32] = {0};
    csr_set(mstatus, MSTATUS_FS);
    if ((csr_read(misa) & MISA_BIT('D')) != 0) {
        fp_save_d(f);
        f[reg % 32] = bits;
        fp_load_d(f);
    } else {
        fp_save_s(f);
        f[reg % 32] = bits;
        fp_load_s(f);
    }
}
