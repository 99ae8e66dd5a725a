/* SPDX-License-Identifier: MIT
 *
 * A vCPU's state beyond the registers that trap.S keeps: saved when it leaves a hart, loaded when it comes. Every CSR
 * that S-mode can reach is here, fixed by hart.c's policy, or refused by hardware. Floating-point and vector registers
 * are always moved, whatever FS and VS say, since a guest can change both itself.
 */
#include <string.h>

#include "arch/riscv/csr.h"
#include "arch/riscv/hypervisor.h"

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

/* What mret finds. In S-mode WFI traps by TW, and the guest's own FS and VS stand here; in VS-mode it traps by
 * hstatus.VTW, and FS and VS are on here since vsstatus has the guest's. */
static unsigned long status_for(bool is_virtual, bool own_hart)
{
    unsigned long status = MSTATUS_MPP_SUPERVISOR | MSTATUS_MPIE | width_fields();
    const unsigned long wfi = own_hart ? 0 : MSTATUS_TW;
    return status | (is_virtual ? MSTATUS_MPV | MSTATUS_FS | MSTATUS_VS : wfi);
}

void arch_context_reset(struct arch_context *context, unsigned long entry, unsigned long a0, unsigned long a1)
{
    uint8_t *vector = context->vector;
    size_t vector_size = context->vector_size;
    bool is_virtual = context->is_virtual;
    bool own_hart = context->own_hart;
    *context = (struct arch_context){
        .x = {[REG_A0] = a0, [REG_A1] = a1},
        .pc = entry,
        .status = status_for(is_virtual, own_hart),
        .status_high = is_virtual ? MSTATUSH_MPV : 0,
        .is_virtual = is_virtual,
        .own_hart = own_hart,
        .vsstatus = XLEN == 64 ? (unsigned long)(2ULL << 32) : 0, /* UXL: 64 bits */
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
    if (features->extra[EXTRA_SISELECT]) {
        context->extra[EXTRA_SISELECT] = guest_csr_read(context->is_virtual, CSR_SISELECT);
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
    if (features->extra[EXTRA_SISELECT]) {
        guest_csr_write(context->is_virtual, CSR_SISELECT, context->extra[EXTRA_SISELECT]);
    }
}

/* The pending bits that we inject and, of the software interrupt, the guest changes; by S-mode's numbers. */
static unsigned long injected(bool vs)
{
    return vs ? csr_read(CSR_HVIP) >> 1 : csr_read(mip);
}

static void inject(bool vs, unsigned long pending)
{
    if (vs) {
        csr_write(CSR_HVIP, pending << 1);
        return;
    }
    csr_clear(mip, DELEGATED_INTERRUPTS);
    csr_set(mip, pending);
}

void arch_context_save(struct arch_context *context, const struct hart_features *features)
{
    const bool vs = context->is_virtual;
    context->satp = guest_csr_read(vs, GUEST_SATP);
    guest_csr_write(vs, GUEST_SATP, 0); /* first: nothing may walk this guest's tables under another's rules */
    context->sie = guest_csr_read(vs, GUEST_SIE);
    guest_csr_write(vs, GUEST_SIE, 0);
    context->sip = injected(vs) & (BIT(IRQ_S_SOFT) | BIT(IRQ_S_TIMER));
    if (vs) {
        context->vsstatus = guest_csr_read(true, GUEST_SSTATUS);
    }
    context->stvec = guest_csr_read(vs, GUEST_STVEC);
    context->sscratch = guest_csr_read(vs, GUEST_SSCRATCH);
    context->sepc = guest_csr_read(vs, GUEST_SEPC);
    context->scause = guest_csr_read(vs, GUEST_SCAUSE);
    context->stval = guest_csr_read(vs, GUEST_STVAL);
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
    const bool vs = context->is_virtual;
    if (vs) {
        guest_csr_write(true, GUEST_SSTATUS, context->vsstatus);
    }
    guest_csr_write(vs, GUEST_STVEC, context->stvec);
    guest_csr_write(vs, GUEST_SSCRATCH, context->sscratch);
    guest_csr_write(vs, GUEST_SEPC, context->sepc);
    guest_csr_write(vs, GUEST_SCAUSE, context->scause);
    guest_csr_write(vs, GUEST_STVAL, context->stval);
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
    if (context->is_virtual) {
        hypervisor_trap_wfi(!context->own_hart);
    }
    drop_reservation();
    inject(context->is_virtual, context->sip); /* the external one is raised by vcpu_fold */
    guest_csr_write(context->is_virtual, GUEST_SIE, context->sie);
    if (features->sstc) {
        arch_virtual_timer_set(context->stimecmp);
    }
    guest_csr_write(context->is_virtual, GUEST_SATP, context->satp);
}

void arch_virtual_interrupt(unsigned long bit, bool pending)
{
    if (guests_are_virtual()) {
        if (pending) {
            csr_set(CSR_HVIP, bit << 1);
        } else {
            csr_clear(CSR_HVIP, bit << 1);
        }
    } else if (pending) {
        csr_set(mip, bit);
    } else {
        csr_clear(mip, bit);
    }
}

unsigned long arch_virtual_pending(void)
{
    /* hip has hvip and vstimecmp together; not vsip, in which QEMU 7.2 shows the software interrupt only */
    return (guests_are_virtual() ? csr_read(CSR_HIP) >> 1 : csr_read(mip)) & DELEGATED_INTERRUPTS;
}

unsigned long arch_virtual_enabled(void)
{
    return guest_csr_read(guests_are_virtual(), GUEST_SIE);
}

void arch_virtual_timer_set(uint64_t deadline)
{
    guest_timer_set(guests_are_virtual(), deadline);
}

uint64_t arch_virtual_timer(void)
{
    const bool vs = guests_are_virtual();
    uint64_t low = guest_csr_read(vs, CSR_STIMECMP);
    if (XLEN == 64) {
        return low;
    }
    return low | (uint64_t)guest_csr_read(vs, CSR_STIMECMPH) << 32;
}

void arch_reflect(struct arch_context *context, unsigned long cause, unsigned long value)
{
    const bool vs = context->is_virtual;
    guest_csr_write(vs, GUEST_SCAUSE, cause);
    guest_csr_write(vs, GUEST_SEPC, context->pc);
    guest_csr_write(vs, GUEST_STVAL, value);
    bool from_supervisor = (context->status & STATUS_MPP) == STATUS_MPP_S;
    context->status |= STATUS_MPP_S; /* MPP is U or S: never both bits */
    unsigned long status = arch_virtual_status(context);
    bool enabled = (status & STATUS_SIE) != 0;
    status &= ~(unsigned long)(STATUS_SPP | STATUS_SPIE | STATUS_SIE);
    status |= from_supervisor ? STATUS_SPP : 0;
    status |= enabled ? STATUS_SPIE : 0;
    if (vs) {
        guest_csr_write(true, GUEST_SSTATUS, status);
    } else {
        context->status = status;
    }
    context->pc = guest_csr_read(vs, GUEST_STVEC) & ~3UL;
}

unsigned long arch_virtual_satp(void)
{
    return guest_csr_read(guests_are_virtual(), GUEST_SATP);
}

unsigned long arch_virtual_status(const struct arch_context *context)
{
    return context->is_virtual ? guest_csr_read(true, GUEST_SSTATUS) : context->status;
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

void arch_fp_write(struct arch_context *context, unsigned reg, uint64_t bits)
{
    uint64_t f[32] = {0};
    if (context->is_virtual) {
        guest_csr_write(true, GUEST_SSTATUS, arch_virtual_status(context) | STATUS_FS_DIRTY);
    } else {
        context->status |= STATUS_FS_DIRTY;
    }
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
