/* SPDX-License-Identifier: MIT
 *
 * Bringing up the harts. Each has a stack with a guard page below it, and an emergency stack for its own faults.
 */
#include "boot/boot.h"

#include "core/log.h"
#include "core/memory.h"
#include "core/panic.h"
#include "core/scheduler.h"
#include "driver/clint.h"
#include "isolation/isolation.h"
#include "lib/format.h"

enum {
    STACK_SIZE = 4 * PAGE_SIZE,
    EMERGENCY_SIZE = PAGE_SIZE,
    REACTIONS_PER_SECOND = 100, /* in which a hart must see its own timer */
    PATIENCE_SECONDS = 3,       /* for harts that the tree names but that don't come */
};

/* entry.S's followers look here for themselves: {hart id, struct hart or NULL}. */
struct slot {
    unsigned long id;
    struct hart *hart;
};
struct slot boot_slots[MACHINE_HARTS_MAX];
extern atomic_uint boot_slot_count, boot_left;

struct hart boot_hart;
static struct range hypervisor_image;
static atomic_uint answers; /* harts that are prepared, or have said why not */
static atomic_bool closed;  /* who hasn't answered by now is too late */
static atomic_bool go;

static bool wait_until_at_least(atomic_uint *counter, uint32_t wanted)
{
    uint64_t start = clock_now();
    uint64_t patience = (uint64_t)boot_machine.timebase_hz * PATIENCE_SECONDS;
    while (atomic_load(counter) < wanted) {
        if (clock_now() - start > patience) {
            return false;
        }
    }
    return true;
}

bool boot_wait_for_harts(uint32_t others)
{
    return wait_until_at_least(&boot_left, others);
}

static void give_stacks(struct hart *hart)
{
    char *stack = memory_alloc(PAGE_SIZE + STACK_SIZE);
    char *emergency = memory_alloc(EMERGENCY_SIZE);
    if (stack == NULL || emergency == NULL) {
        halt_machine("Not enough memory for the harts' stacks");
    }
    hart->arch.guard = (unsigned long)(uintptr_t)stack;
    hart->arch.stack_top = hart->arch.guard + PAGE_SIZE + STACK_SIZE;
    hart->arch.emergency_top = (unsigned long)(uintptr_t)emergency + EMERGENCY_SIZE;
}

static struct hart *make_hart(uint32_t index)
{
    const struct machine_hart *tree = &boot_machine.harts[index];
    struct hart *hart = &boot_hart;
    if (tree->id != boot_hart.arch.id) {
        hart = memory_alloc(sizeof(*hart));
        if (hart == NULL) {
            halt_machine("Not enough memory for %u harts", (unsigned)boot_machine.hart_count);
        }
    }
    hart->arch.id = tree->id;
    hart->tree = tree;
    hart->timer_programmed = TIMER_NEVER;
    give_stacks(hart);
    return hart;
}

static void extension_letters(unsigned long misa, char letters[27])
{
    size_t length = 0;
    for (unsigned n = 0; n < 26; n++) {
        if ((misa & BIT(n)) != 0) {
            letters[length++] = (char)('a' + (int)n);
        }
    }
    letters[length] = '\0';
}

/* Waits for one of this hart's interrupts to be pending, or not to be; not for long. */
static bool becomes(unsigned interrupt, bool wanted)
{
    uint64_t start = clock_now();
    uint64_t patience = boot_machine.timebase_hz / REACTIONS_PER_SECOND + 2;
    while (((arch_hart_pending() & BIT(interrupt)) != 0) != wanted) {
        if (clock_now() - start > patience) {
            return false;
        }
    }
    return true;
}

/* Whether the timer and the bell that the tree names for this hart are its own. With another's it would hang sooner or
 * later, and that hart with it. */
static bool rings_itself(struct hart *hart)
{
    arch_hart_interrupt_enable(BIT(IRQ_M_TIMER), true);
    hart_ops.ring(hart);
    bool good = becomes(IRQ_M_SOFT, true);
    hart_ops.ring_clear(hart);
    good = good && becomes(IRQ_M_SOFT, false);
    hart_ops.timer_set(hart, 0);
    good = good && becomes(IRQ_M_TIMER, true);
    hart_ops.timer_set(hart, TIMER_NEVER);
    good = good && becomes(IRQ_M_TIMER, false);
    arch_hart_interrupt_enable(BIT(IRQ_M_TIMER), false);
    return good;
}

/* What probing found, for whoever wonders why a guest is not offered something. */
static void log_features(const struct hart *hart)
{
    const struct hart_features *f = &hart->features;
    const struct {
        const char *name;
        bool found;
    } rows[] = {
        {"sstc", f->sstc},         {"svadu", f->svadu},     {"svpbmt", f->svpbmt},       {"svinval", f->svinval},
        {"zicbom", f->zicbom},     {"zicboz", f->zicboz},   {"smstateen", f->smstateen}, {"smepmp", f->smepmp},
        {"zkr", f->zkr},           {"menvcfg", f->menvcfg}, {"henvcfg", f->henvcfg},     {"senvcfg", f->senvcfg},
        {"sscofpmf", f->sscofpmf}, {"time", f->time_csr},
    };
    char line[160] = "";
    size_t length = 0;
    for (size_t n = 0; n < ARRAY_LENGTH(rows); n++) {
        if (rows[n].found) {
            length += format(line + length, sizeof(line) - length, " %s", rows[n].name);
            assert(length < sizeof(line));
        }
    }
    log_debug("Has%s; %u PMP entries, ASID %u bits, VMID %u bits, stage-2 modes 0x%x, vectors of %u bytes", line,
              (unsigned)f->pmp.entries, f->asid_bits, f->vmid_bits, f->stage2_modes, f->vlenb);
}

/* On the hart itself. False, with the reason in the log, if it can't run guests. */
static bool prepare(struct hart *hart)
{
    struct refusal refusal;
    char letters[27];
    hart_ops.timer_set(hart, TIMER_NEVER);
    hart_ops.ring_clear(hart);
    const char *wrong = hart->features.supervisor ? arch_hart_prepare(&hart->features) : "misa.S";
    if (wrong != NULL) {
        log_alert("Hart %lu is not used: its %s does not take what guests need", hart->arch.id, wrong);
        return false;
    }
    if (!rings_itself(hart)) {
        log_alert("Hart %lu is not used: the timer or software interrupt that the tree names for it is not its own",
                  hart->arch.id);
        return false;
    }
    struct range guard = {hart->arch.guard, PAGE_SIZE};
    if (isolation_hart_prepare(hart, guard, hypervisor_image, &refusal) != DX_OK) {
        log_alert("Hart %lu is not used: %s (%s; %s)", hart->arch.id, refusal.text, error_cause(refusal.error),
                  error_cure(refusal.error));
        return false;
    }
    extension_letters(hart->features.misa, letters);
    log_info("Physical CPU core ready to roll, type: %d-bit RISC-V, ext: %s", (int)XLEN, letters);
    log_features(hart);
    return true;
}

/* Which struct hart has which number: only those that came and passed. */
static void count_harts(void)
{
    for (size_t n = 0; n < ARRAY_LENGTH(boot_slots); n++) {
        struct hart *hart = boot_slots[n].hart;
        if (hart != NULL && atomic_load(&hart->online)) {
            hart->index = hart_count;
            harts[hart_count++] = hart;
        }
    }
    if (hart_count == 0) {
        halt_machine("No hart of this machine can confine a capsule: nothing can run");
    }
    for (uint32_t n = 0; n < hart_count; n++) {
        if (!clint_hart_init(harts[n])) {
            halt_machine("Hart %lu has no timer or no software interrupt in the device tree", harts[n]->arch.id);
        }
    }
}

void boot_start_harts(struct range image)
{
    uint32_t others = 0;
    hypervisor_image = image;
    for (uint32_t n = 0; n < boot_machine.hart_count; n++) {
        boot_slots[n].id = boot_machine.harts[n].id;
        if (boot_machine.harts[n].usable) {
            boot_slots[n].hart = make_hart(n);
            boot_slots[n].hart->index = n; /* until count_harts: as far as clint.c is concerned */
            if (!clint_hart_init(boot_slots[n].hart)) {
                boot_slots[n].hart = NULL;
                log_alert("Hart %lu is not used: the tree names no timer for it", boot_slots[n].id);
                continue;
            }
            others += boot_slots[n].hart != &boot_hart ? 1 : 0;
        }
    }
    arch_fence_memory();
    atomic_store(&boot_slot_count, (unsigned)boot_machine.hart_count);
    if (boot_hart.tree != NULL) {
        atomic_store(&boot_hart.online, prepare(&boot_hart));
    }
    bool all = wait_until_at_least(&answers, others);
    atomic_store(&closed, true);
    if (!all) {
        log_alert("Only %u of %u harts came up", (unsigned)atomic_load(&answers) + 1, (unsigned)others + 1);
    }
    count_harts();
}

static void (*start_server)(void);

static _Noreturn void run(void *argument)
{
    arch_hart_environment(&hart_this()->features);
    boot_test_isolation(hart_this());
    hart_this()->up_since = clock_now();
    if (hart_this() == hart_server) {
        start_server();
    }
    arch_enter(scheduler_next(argument));
}

/* On the boot hart's own stack, with its guard page below. */
static _Noreturn void run_first(void *argument)
{
    boot_fault(*(const enum boot_fault *)argument);
    run(&boot_hart);
}

_Noreturn void boot_run(enum boot_fault fault, struct hart *device_server, void (*start_devices)(void))
{
    static enum boot_fault first;
    first = fault;
    hart_server = device_server;
    start_server = start_devices;
    atomic_store(&go, true);
    for (uint32_t n = 0; n < hart_count; n++) {
        if (harts[n] != &boot_hart) {
            hart_ring(harts[n]);
        }
    }
    if (!atomic_load(&boot_hart.online)) {
        arch_hart_halt();
    }
    arch_hart_start_stack(&boot_hart.arch, run_first, &first);
}

_Noreturn void boot_secondary(struct hart *hart)
{
    if (atomic_load(&closed)) {
        arch_hart_halt();
    }
    arch_hart_probe(&hart->features);
    bool usable = prepare(hart);
    atomic_store(&hart->online, usable);
    atomic_fetch_add(&answers, 1);
    if (!usable) {
        arch_hart_halt();
    }
    while (!atomic_load(&go)) {
        arch_hart_wait();
    }
    if (hart->index >= hart_count || harts[hart->index] != hart) {
        arch_hart_halt(); /* it answered while the others were being counted, and has no number */
    }
    hart_serve(hart);
    run(hart);
}
