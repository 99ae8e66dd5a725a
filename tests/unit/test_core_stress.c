/* SPDX-License-Identifier: MIT
 *
 * Threads as harts, running the guests of a few capsules at random through the real trap handler: scheduler, vCPUs,
 * fences, timers, SBI, resets. Each guest checks what it relies on: it runs on one hart at a time, no fence that was
 * reported done is missing, and at the end everyone who is asked to still wakes up. Also meant for a thread sanitizer:
 * gcc -fsanitize=thread in place of the other sanitizers.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "core/capsule.h"
#include "core/fence.h"
#include "core/hart.h"
#include "core/log.h"
#include "core/scheduler.h"
#include "diosix/sbi.h"
#include "fake_arch.h"
#include "support.h"
#include "trap/trap.h"

enum { HARTS = 4, CAPSULES = 2, VCPUS = 4, RAM_BASE = 0x40000000, RAM_SIZE = 8192, HZ = 1000000, PATIENCE = 20 };
enum { WFI = 0x10500073, WFI_PLACE = 0x100, REG_WANTED = 20 /* s4: the version whose fence this vCPU waits for */ };

static struct capsule machines[CAPSULES];
static struct vcpu vcpus[CAPSULES][VCPUS];
static uint8_t ram[CAPSULES][RAM_SIZE];

/* The guests' page tables have versions; a hart's translations are of the version at its last fence. */
static atomic_ulong version[CAPSULES], completed[CAPSULES];
static atomic_uint in_guest[CAPSULES][VCPUS];
static atomic_ulong steps[CAPSULES][VCPUS];
static atomic_uint violations;
static const char *_Atomic violation;
static atomic_bool draining, over;
static atomic_bool drained[CAPSULES][VCPUS];

static struct hart stress_harts[HARTS];
static atomic_bool rung[HARTS];
static _Atomic uint64_t alarms[HARTS];
static _Thread_local unsigned self;
static _Thread_local unsigned long translations[CAPSULES];
static _Thread_local uint64_t seed;
static _Thread_local jmp_buf leave;

static void violated(const char *what)
{
    atomic_store(&violation, what);
    atomic_fetch_add(&violations, 1);
}

/* --- the fake machine --- */

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * HZ + (uint64_t)now.tv_nsec / 1000;
}

/* Where the core calls us the hart may lose its processor for a while: what lies between two steps becomes wide. */
static void shake(void)
{
    if (test_below(&seed, 8) == 0) {
        const struct timespec moment = {.tv_nsec = (long)test_below(&seed, 50000)};
        nanosleep(&moment, NULL);
    }
}

static void ring(struct hart *hart)
{
    shake();
    atomic_store(&rung[hart->index], true);
    shake();
}

static void ring_clear(struct hart *hart)
{
    atomic_store(&rung[hart->index], false);
}

static void timer_set(struct hart *hart, uint64_t deadline)
{
    atomic_store(&alarms[hart->index], deadline);
    shake();
}

static unsigned long pending(void)
{
    unsigned long bits = atomic_load(&rung[self]) ? BIT(IRQ_M_SOFT) : 0;
    return bits | (now_us() >= atomic_load(&alarms[self]) ? BIT(IRQ_M_TIMER) : 0);
}

static void wait(void)
{
    while (pending() == 0) {
        if (atomic_load(&over)) {
            longjmp(leave, 1);
        }
        const struct timespec moment = {.tv_nsec = 10000};
        nanosleep(&moment, NULL);
    }
}

/* A hart's fence drops the translations of every capsule. */
static void fenced(void)
{
    for (unsigned n = 0; n < CAPSULES; n++) {
        translations[n] = atomic_load(&version[n]);
    }
    shake();
}

static void enter(struct hart *hart, struct capsule *capsule)
{
    (void)hart;
    (void)capsule;
    shake();
}

static void prepare(struct capsule *capsule)
{
    console_port_reset(&capsule->console);
}

static const struct isolation_ops isolation = {.name = "stress", .enter = enter};

/* --- the guests --- */

static struct arch_context *sbi(struct arch_context *context, unsigned long extension, unsigned long function,
                                unsigned long a0, unsigned long a1)
{
    context->x[REG_A7] = extension;
    context->x[REG_A6] = function;
    context->x[REG_A0] = a0;
    context->x[REG_A1] = a1;
    context->x[REG_A1 + 1] = 0;
    return trap_handle(context, CAUSE_ECALL_S);
}

static struct arch_context *fence_all(struct vcpu *vcpu)
{
    struct arch_context *context = &vcpu->context;
    unsigned n = vcpu->capsule->id;
    context->x[REG_WANTED] = atomic_fetch_add(&version[n], 1) + 1;
    return sbi(context, SBI_EXT_RFENCE, SBI_RFENCE_SFENCE_VMA, 0, ~0ul);
}

/* Also in the middle of things: after any trap this may be a new life of the same vCPU, which begins with none. */
static void enable_interrupts(void)
{
    fake_arch.virtual_enabled = BIT(IRQ_S_SOFT) | BIT(IRQ_S_TIMER) | BIT(IRQ_S_EXTERNAL);
}

/* Traps on a WFI, which is only believed if it stands at pc: each vCPU has its own, which a reset wipes out. */
static struct arch_context *trap_wfi(struct arch_context *context)
{
    struct vcpu *vcpu = (struct vcpu *)(void *)context;
    const uint32_t instruction = WFI;
    gpa_t place = {RAM_BASE + WFI_PLACE + vcpu->id * sizeof(instruction)};
    memcpy(capsule_ram(vcpu->capsule, place, sizeof(instruction)), &instruction, sizeof(instruction));
    context->pc = (unsigned long)place.at;
    fake_arch.trap_value = instruction;
    enable_interrupts();
    return trap_handle(context, CAUSE_ILLEGAL);
}

/* A call to set the timer, then another trap; unless the hart went on with another vCPU after the first. */
static struct arch_context *wfi(struct arch_context *context, bool never)
{
    uint64_t deadline = never ? UINT64_MAX : now_us() + test_below(&seed, 300);
    struct arch_context *after =
        sbi(context, SBI_EXT_TIME, SBI_TIME_SET_TIMER, (unsigned long)deadline, (unsigned long)(deadline >> 32));
    if (after != context) {
        return after;
    }
    return trap_wfi(context);
}

static struct arch_context *sleep_until_timer(struct arch_context *context)
{
    return wfi(context, false);
}

static struct arch_context *suspend(struct arch_context *context)
{
    uint64_t deadline = now_us() + test_below(&seed, 300);
    struct arch_context *after =
        sbi(context, SBI_EXT_TIME, SBI_TIME_SET_TIMER, (unsigned long)deadline, (unsigned long)(deadline >> 32));
    if (after != context) {
        return after;
    }
    enable_interrupts();
    return sbi(context, SBI_EXT_HSM, SBI_HSM_SUSPEND, (unsigned long)test_below(&seed, 2) << 31, RAM_BASE + 0x20);
}

/* What a guest does next; every path ends in a trap, whose context is what runs here then. */
static struct arch_context *act(struct vcpu *vcpu)
{
    struct arch_context *context = &vcpu->context;
    struct vcpu *other = &vcpus[test_below(&seed, CAPSULES)][test_below(&seed, VCPUS)];
    switch (test_below(&seed, 64)) {
    case 0 ... 19:
        return fence_all(vcpu);
    case 20 ... 31:
        return sbi(context, SBI_EXT_IPI, SBI_IPI_SEND, test_below(&seed, 1 << VCPUS), 0);
    case 32 ... 35:
        return vcpu->id == 0 ? sleep_until_timer(context) : trap_wfi(context);
    case 36 ... 43:
        return sbi(context, SBI_EXT_HSM, SBI_HSM_START, test_below(&seed, VCPUS), RAM_BASE + 2 * test_below(&seed, 9));
    case 44 ... 45:
        return vcpu->id == 0 ? sleep_until_timer(context) : sbi(context, SBI_EXT_HSM, SBI_HSM_STOP, 0, 0);
    case 46 ... 47:
        return suspend(context);
    case 48 ... 51:
        vcpu_set_external(other, test_below(&seed, 2) != 0);
        break;
    case 52 ... 53:
        vcpu_unblock(other); /* as a console that found room may, long after it was asked */
        break;
    case 54:
        if (test_below(&seed, 4) == 0) {
            return sbi(context, SBI_EXT_SRST, SBI_SRST_RESET, SBI_SRST_COLD_REBOOT, 0);
        }
        break;
    default:
        return sleep_until_timer(context);
    }
    return trap_handle(context, BIT(XLEN - 1) | IRQ_M_SOFT);
}

/* A guest's instructions between two traps: nothing may be as it was before a fence that is done. */
static void instructions(struct vcpu *vcpu, unsigned n)
{
    if (atomic_exchange(&in_guest[n][vcpu->id], 1) != 0) {
        violated("a vCPU runs twice");
    }
    if (atomic_load(&vcpu->fences_outstanding) != 0) {
        violated("a vCPU runs while it waits for a fence");
    }
    /* If it asked for a fence, it runs again because that is done. */
    unsigned long wanted = vcpu->context.x[REG_WANTED];
    unsigned long done = atomic_load(&completed[n]);
    while (wanted > done && !atomic_compare_exchange_weak(&completed[n], &done, wanted)) {
    }
    for (unsigned look = test_below(&seed, 8); look > 0; look--) {
        if (atomic_load(&completed[n]) > translations[n]) {
            violated("a fence is missing");
        }
        shake();
    }
    enable_interrupts();
    fake_arch.virtual_pending &= ~BIT(IRQ_S_SOFT);
    atomic_fetch_add(&steps[n][vcpu->id], 1);
    atomic_store(&in_guest[n][vcpu->id], 0);
}

/* In the end everybody sleeps without a timer; who is sent an interrupt then must wake and say so. */
static struct arch_context *drain(struct vcpu *vcpu)
{
    atomic_store(&drained[vcpu->capsule->id][vcpu->id], true);
    vcpu_set_external(vcpu, false);
    return wfi(&vcpu->context, true);
}

static void *hart_main(void *argument)
{
    struct hart *hart = argument;
    self = hart->index;
    seed = 0x9e3779b97f4a7c15 + self;
    fake_arch = (struct fake_arch){
        .hart = &hart->arch, .on_wait = wait, .on_pending = pending, .on_fence_vma = fenced, .on_save = shake};
    if (setjmp(leave) != 0) {
        return NULL;
    }
    struct arch_context *context = scheduler_next(hart);
    for (;;) {
        struct vcpu *vcpu = (struct vcpu *)(void *)context;
        if (vcpu != hart->current) {
            violated("a hart runs what it hasn't loaded");
        }
        instructions(vcpu, vcpu->capsule->id);
        if (pending() != 0) {
            context = trap_handle(context, BIT(XLEN - 1) | IRQ_M_SOFT);
        } else {
            context = atomic_load(&draining) ? drain(vcpu) : act(vcpu);
        }
    }
}

/* --- the test --- */

static void make(unsigned n)
{
    struct capsule *capsule = &machines[n];
    capsule->id = n;
    capsule->config.vcpus = VCPUS;
    capsule->ram = (struct range){RAM_BASE, RAM_SIZE};
    capsule->pieces[0] = (struct ram_piece){.size = RAM_SIZE, .host = {(uintptr_t)ram[n]}};
    capsule->piece_count = 1;
    capsule->isolation = &isolation;
    capsule->prepare = prepare;
    capsule->plan.entry = RAM_BASE;
    capsule->vcpus = vcpus[n];
    capsule->vcpu_stride = sizeof(struct vcpu);
    console_port_init(&capsule->console, "stress");
    for (uint32_t id = 0; id < VCPUS; id++) {
        vcpus[n][id] = (struct vcpu){.capsule = capsule, .id = id, .deadline = TIMER_NEVER};
        atomic_store(&vcpus[n][id].hsm, SBI_HSM_STOPPED);
    }
    capsule->next = capsules;
    capsules = capsule;
}

static void nap(void)
{
    const struct timespec time = {.tv_nsec = 100000000}; /* a tenth of a second */
    nanosleep(&time, NULL);
}

/* Every vCPU that is started answers an interrupt in the end. It comes from a hart that has a guest of its own to run,
 * and so leaves the one that it wakes to others. */
static bool everyone_answers(void)
{
    static struct vcpu own;
    static struct hart busy = {.index = HARTS, .current = &own};
    fake_arch.hart = &busy.arch;
    bool all = true;
    for (unsigned n = 0; n < CAPSULES; n++) {
        for (unsigned id = 0; id < VCPUS; id++) {
            struct vcpu *vcpu = &vcpus[n][id];
            if (atomic_load(&vcpu->hsm) != SBI_HSM_STOPPED && !atomic_load(&drained[n][id])) {
                vcpu_post(vcpu, EVENT_IPI);
                all = false;
            }
        }
    }
    return all;
}

/* Where those stand who do not. */
static void print_stuck(void)
{
    for (unsigned n = 0; n < CAPSULES; n++) {
        for (unsigned id = 0; id < VCPUS; id++) {
            const struct vcpu *vcpu = &vcpus[n][id];
            if (atomic_load(&vcpu->hsm) != SBI_HSM_STOPPED && !atomic_load(&drained[n][id])) {
                printf("# capsule %u vCPU %u: run %u, hsm %u, pending 0x%x, fences %u, sie 0x%lx\n", n, id,
                       atomic_load(&vcpu->run), atomic_load(&vcpu->hsm), atomic_load(&vcpu->pending),
                       atomic_load(&vcpu->fences_outstanding), vcpu->context.sie);
            }
        }
    }
    for (unsigned n = 0; n < HARTS; n++) {
        printf("# hart %u: idle %u, rung %u, current %s\n", n, atomic_load(&stress_harts[n].idle),
               atomic_load(&rung[n]), stress_harts[n].current != NULL ? "yes" : "no");
    }
}

static void test_stress(void **state)
{
    (void)state;
    pthread_t threads[HARTS];
    const char *seconds = getenv("STRESS_SECONDS");
    unsigned deciseconds = seconds != NULL ? (unsigned)atoi(seconds) * 10 : 20;
    hart_ops = (struct hart_ops){.ring = ring, .ring_clear = ring_clear, .timer_set = timer_set, .time = now_us};
    log_set_level(LOG_ALERT);
    scheduler_init(HZ);
    hart_count = hart_kind_count[HART_PMP] = HARTS;
    for (unsigned n = 0; n < HARTS; n++) {
        stress_harts[n].index = n;
        stress_harts[n].timer_programmed = TIMER_NEVER;
        atomic_store(&alarms[n], TIMER_NEVER);
        atomic_store(&stress_harts[n].online, true);
        harts[n] = &stress_harts[n];
    }
    for (unsigned n = 0; n < CAPSULES; n++) {
        make(n);
        capsule_start(&machines[n]);
    }
    for (unsigned n = 0; n < HARTS; n++) {
        assert_int_equal(pthread_create(&threads[n], NULL, hart_main, &stress_harts[n]), 0);
    }
    for (unsigned n = 0; n < deciseconds && atomic_load(&violations) == 0; n++) {
        nap();
    }
    atomic_store(&draining, true);
    bool all = false;
    for (unsigned n = 0; n < PATIENCE * 10 && !all; n++) {
        nap();
        all = everyone_answers();
    }
    if (!all) {
        print_stuck();
    }
    atomic_store(&over, true);
    if (all) { /* else a hart may be stuck for good */
        for (unsigned n = 0; n < HARTS; n++) {
            assert_int_equal(pthread_join(threads[n], NULL), 0);
        }
    }
    assert_null(atomic_load(&violation));
    assert_true(all);
    for (unsigned n = 0; n < CAPSULES; n++) {
        assert_true(atomic_load(&steps[n][0]) > 10);
        assert_true(atomic_load(&completed[n]) > 10);
        printf("# capsule %u: %lu fences, %lu steps of vCPU 0\n", n, atomic_load(&completed[n]),
               atomic_load(&steps[n][0]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_stress)};
    return cmocka_run_group_tests_name("core stress", tests, NULL, NULL);
}
