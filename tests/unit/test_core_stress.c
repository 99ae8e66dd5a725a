/* SPDX-License-Identifier: MIT
 *
 * Threads as harts, running the guests of a few capsules at random through the real trap handler: scheduler, vCPUs,
 * fences, timers, SBI, resets. Operators, several at once, start, stop, kill, restart, pause, resume, destroy and make
 * capsules meanwhile, of different shares, priorities and harts. Each guest checks what it relies on: it runs on one
 * hart at a time, no fence that was reported done is missing, and at the end everyone who is asked to still wakes up,
 * and nothing of what was counted is left over. Also meant for a thread sanitizer: gcc -fsanitize=thread in place of
 * the other sanitizers. STRESS_SECONDS: how long.
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

#include "core/affinity.h"
#include "core/capsules.h"
#include "core/fence.h"
#include "core/hart.h"
#include "core/life.h"
#include "core/log.h"
#include "core/placement.h"
#include "core/reaper.h"
#include "core/scheduler.h"
#include "diosix/sbi.h"
#include "fake_arch.h"
#include "support.h"
#include "trap/trap.h"

enum { HARTS = 4, CAPSULES = 6, VCPUS = 4, RAM_BASE = 0x40000000, RAM_SIZE = 160 * KIB, HZ = 1000000, PATIENCE = 30 };
enum { SPEED = 20 /* of the machine's clock: what takes seconds of patience is over soon */ };
enum { WFI = 0x10500073, WFI_PLACE = 0x100, REG_WANTED = 20 /* s4: the version whose fence this vCPU waits for */ };

/* What the capsules are: each has a place of its own, and its number. */
static const struct shape {
    const char *name;
    uint32_t vcpus, priority, weight;
    enum restart_policy restart;
    uint8_t harts[8]; /* cells */
    size_t harts_length;
    bool dedicated;
} shapes[CAPSULES] = {
    {.name = "wide", .vcpus = 4, .priority = 1, .weight = 50, .restart = RESTART_ALWAYS},
    {.name = "other", .vcpus = 4, .priority = 1, .weight = 150, .restart = RESTART_ON_FAILURE},
    {.name = "pinned", .vcpus = 2, .priority = 2, .weight = 100, .harts = {0, 0, 0, 0, 0, 0, 0, 1}, .harts_length = 8},
    {.name = "low", .vcpus = 2, .weight = 1, .restart = RESTART_ALWAYS},
    {.name = "alone2",
     .vcpus = 1,
     .priority = 1,
     .weight = 100,
     .harts = {0, 0, 0, 2},
     .harts_length = 4,
     .dedicated = true},
    {.name = "alone3", .vcpus = 1, .weight = 100, .harts = {0, 0, 0, 3}, .harts_length = 4, .dedicated = true},
};

/* Its memory is really given back when it is destroyed, so that an address sanitizer sees who touches it then. */
struct guest {
    struct capsule capsule;
    unsigned place;
    struct vcpu vcpus[VCPUS];
    uint8_t ram[RAM_SIZE];
};
static atomic_bool taken[CAPSULES];
static atomic_uint made, gone, requests[CAPSULE_REQUESTS];

/* The guests' page tables have versions; a hart's translations are of the version at its last fence. */
static atomic_ulong version[CAPSULES], completed[CAPSULES];
static atomic_uint in_guest[CAPSULES][VCPUS];
static atomic_ulong steps[CAPSULES][VCPUS];
static atomic_uint violations;
static const char *_Atomic violation;
static atomic_bool operating, creating, draining, over;
static atomic_bool drained[CAPSULES][VCPUS];

static struct hart stress_harts[HARTS];
static atomic_bool rung[HARTS], poked[HARTS], operators[HARTS];
static _Atomic uint64_t alarms[HARTS];
static _Thread_local unsigned self;
static _Thread_local unsigned long translations[CAPSULES];
static _Thread_local uint64_t seed;
static _Thread_local jmp_buf leave;
static _Thread_local bool calm; /* never loses its processor on purpose */

static unsigned number_of(const struct capsule *capsule)
{
    return CONTAINER_OF_CONST(capsule, struct guest, capsule)->place;
}

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
    return ((uint64_t)now.tv_sec * HZ + (uint64_t)now.tv_nsec / 1000) * SPEED;
}

/* Where the core calls us the hart may lose its processor for a while: what lies between two steps becomes wide. */
static void shake(void)
{
    if (!calm && test_below(&seed, 8) == 0) {
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
    bits |= atomic_load(&poked[self]) ? BIT(IRQ_M_EXTERNAL) : 0;
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

/* --- capsules come and go --- */

static bool prepare(struct capsule *capsule)
{
    console_port_reset(&capsule->console);
    for (uint32_t id = 0; id < capsule->config.vcpus; id++) {
        atomic_store(&drained[number_of(capsule)][id], false);
    }
    shake();
    return true;
}

/* Nobody may have a pointer to it any more, and nothing of it may be anywhere. */
static void discard(struct capsule *capsule)
{
    struct guest *guest = CONTAINER_OF(capsule, struct guest, capsule);
    const unsigned place = guest->place;
    if (capsule_holds(capsule) != 0 || capsule_state(capsule) != CAPSULE_DESTROYING ||
        atomic_load(&capsule->life.timer.heap) != NULL) {
        violated("a capsule is destroyed and still held");
    }
    for (uint32_t id = 0; id < capsule->config.vcpus; id++) {
        if (atomic_load(&guest->vcpus[id].run) != RUN_OFF || atomic_load(&guest->vcpus[id].timer.heap) != NULL) {
            violated("a capsule is destroyed and a vCPU is not off");
        }
    }
    for (size_t n = 0; n < RAM_SIZE; n++) {
        if (guest->ram[n] != 0) {
            violated("RAM is given back as it was");
            break;
        }
    }
    memset(guest, 0xa5, sizeof(*guest));
    free(guest);
    atomic_fetch_add(&gone, 1);
    atomic_store(&taken[place], false);
}

static const struct capsule_hooks hooks = {.prepare = prepare, .discard = discard};
static const struct isolation_ops isolation = {.name = "stress", .enter = enter};

static void shape(struct capsule *capsule, const struct shape *as)
{
    capsule->config = (struct capsule_config){.vcpus = as->vcpus,
                                              .priority = as->priority,
                                              .weight = as->weight,
                                              .restart = as->restart,
                                              .dedicated = as->dedicated};
    if (as->harts_length != 0) {
        capsule->config.harts = (struct blob){as->harts, as->harts_length};
    }
    snprintf(capsule->config.name, sizeof(capsule->config.name), "%s", as->name);
}

static struct guest *build(unsigned place)
{
    struct guest *guest = calloc(1, sizeof(*guest));
    struct capsule *capsule = &guest->capsule;
    guest->place = place;
    shape(capsule, &shapes[place]);
    capsule->ram = (struct range){RAM_BASE, RAM_SIZE};
    capsule->pieces[0] = (struct ram_piece){.size = RAM_SIZE, .host = {(uintptr_t)guest->ram}};
    capsule->piece_count = 1;
    capsule->isolation = &isolation;
    capsule->hooks = &hooks;
    capsule->life.due = TIMER_NEVER;
    capsule->plan.entry = RAM_BASE;
    capsule->vcpus = guest->vcpus;
    capsule->vcpu_stride = sizeof(struct vcpu);
    console_port_init(&capsule->console, capsule->config.name);
    for (uint32_t id = 0; id < VCPUS; id++) {
        struct vcpu *vcpu = &guest->vcpus[id];
        *vcpu = (struct vcpu){.capsule = capsule, .id = id, .deadline = TIMER_NEVER};
        vcpu->context.own_hart = capsule->config.dedicated;
        atomic_store(&vcpu->hsm, SBI_HSM_STOPPED);
    }
    return guest;
}

/* As control/launch.c does it; only one at a time. */
static void create(unsigned place)
{
    struct refusal refusal;
    if (atomic_exchange(&taken[place], true)) {
        return;
    }
    struct guest *guest = build(place);
    if (affinity_check(&guest->capsule, &refusal) != DX_OK) {
        free(guest);
        atomic_store(&taken[place], false);
        return;
    }
    capsules_add(&guest->capsule);
    atomic_fetch_add(&made, 1);
    shake();
    if (guest->capsule.config.dedicated) {
        affinity_apply_all();
    }
    capsule_start(&guest->capsule);
}

/* Any of them, as long as this hart doesn't pass the reaper; NULL at times. */
static struct capsule *any_capsule(void)
{
    struct capsule *capsule = capsule_after(0);
    for (unsigned n = test_below(&seed, CAPSULES); n > 0 && capsule != NULL; n--) {
        capsule = capsule_after(capsule->id);
    }
    return capsule;
}

static void request_something(void)
{
    static const enum capsule_request often[] = {REQUEST_START,  REQUEST_START,   REQUEST_START,  REQUEST_START,
                                                 REQUEST_RESUME, REQUEST_RESUME,  REQUEST_RESUME, REQUEST_PAUSE,
                                                 REQUEST_PAUSE,  REQUEST_RESTART, REQUEST_KILL,   REQUEST_STOP,
                                                 REQUEST_STOP,   REQUEST_DESTROY, REQUEST_DESTROY};
    struct refusal refusal;
    struct capsule *capsule = any_capsule();
    if (capsule != NULL) {
        const enum capsule_request request = often[test_below(&seed, ARRAY_LENGTH(often))];
        shake();
        if (capsule_request(capsule, request, "stress", &refusal) == DX_OK) {
            atomic_fetch_add(&requests[request], 1);
        }
    }
}

/* This hart's external interrupt: an operator types. */
static void operate(void)
{
    atomic_store(&operators[self], true);
    atomic_store(&poked[self], false);
    for (unsigned n = test_below(&seed, 8); n > 0 && atomic_load(&operating); n--) {
        request_something();
    }
    if (atomic_load(&operating) && test_below(&seed, 2) == 0 && !atomic_exchange(&creating, true)) {
        create(test_below(&seed, CAPSULES));
        atomic_store(&creating, false);
    }
    atomic_store(&operators[self], false);
}

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
    unsigned n = number_of(vcpu->capsule);
    context->x[REG_WANTED] = atomic_fetch_add(&version[n], 1) + 1;
    return sbi(context, SBI_EXT_RFENCE, SBI_RFENCE_SFENCE_VMA, 0, ~0ul);
}

/* Also in the middle of things: after any trap this may be a new life of the same vCPU, which begins with none. */
static void enable_interrupts(void)
{
    fake_arch.virtual_enabled = BIT(IRQ_S_SOFT) | BIT(IRQ_S_TIMER) | BIT(IRQ_S_EXTERNAL);
}

/* Traps on a WFI, which is only believed if it stands at pc: each vCPU has its own, which a reset wipes out. On a hart
 * of its own it sleeps there. */
static struct arch_context *trap_wfi(struct arch_context *context)
{
    if (context->own_hart) {
        enable_interrupts();
        wait();
        return trap_handle(context, BIT(XLEN - 1) | IRQ_M_SOFT);
    }
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
    uint64_t deadline = never ? UINT64_MAX : now_us() + test_below(&seed, 300 * SPEED);
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
    uint64_t deadline = now_us() + test_below(&seed, 300 * SPEED);
    struct arch_context *after =
        sbi(context, SBI_EXT_TIME, SBI_TIME_SET_TIMER, (unsigned long)deadline, (unsigned long)(deadline >> 32));
    if (after != context) {
        return after;
    }
    enable_interrupts();
    return sbi(context, SBI_EXT_HSM, SBI_HSM_SUSPEND, (unsigned long)test_below(&seed, 2) << 31, RAM_BASE + 0x20);
}

/* Of any capsule. */
static struct vcpu *any_vcpu(struct vcpu *otherwise)
{
    struct capsule *capsule = any_capsule();
    return capsule == NULL ? otherwise : capsule_vcpu(capsule, test_below(&seed, capsule->config.vcpus));
}

/* What a guest does next; every path ends in a trap, whose context is what runs here then. */
static struct arch_context *act(struct vcpu *vcpu)
{
    struct arch_context *context = &vcpu->context;
    struct vcpu *other = any_vcpu(vcpu);
    switch (test_below(&seed, 64)) {
    case 0 ... 19:
        return fence_all(vcpu);
    case 20 ... 31:
        return sbi(context, SBI_EXT_IPI, SBI_IPI_SEND, test_below(&seed, 1 << vcpu->capsule->config.vcpus), 0);
    case 32 ... 35:
        return vcpu->id == 0 ? sleep_until_timer(context) : trap_wfi(context);
    case 36 ... 43:
        return sbi(context, SBI_EXT_HSM, SBI_HSM_START, test_below(&seed, vcpu->capsule->config.vcpus),
                   RAM_BASE + 2 * test_below(&seed, 9));
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
            return sbi(context, SBI_EXT_SRST, SBI_SRST_RESET, test_below(&seed, 3), test_below(&seed, 2));
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
    atomic_store(&drained[number_of(vcpu->capsule)][vcpu->id], true);
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
        instructions(vcpu, number_of(vcpu->capsule));
        if (pending() != 0) {
            context = trap_handle(context, BIT(XLEN - 1) | IRQ_M_SOFT);
        } else {
            context = atomic_load(&draining) ? drain(vcpu) : act(vcpu);
        }
    }
}

/* --- the test --- */

static void nap(unsigned milliseconds)
{
    const struct timespec time = {.tv_nsec = (long)milliseconds * 1000000};
    nanosleep(&time, NULL);
}

static void count_destroying(struct capsule *capsule, void *count)
{
    *(unsigned *)count += capsule_state(capsule) == CAPSULE_DESTROYING ? 1 : 0;
}

/* No operator is at work any more, and nothing is on its way out: what is in the list now stays there. */
static bool nobody_goes(void)
{
    unsigned count = reaper_waiting();
    for (unsigned n = 0; n < HARTS; n++) {
        count += atomic_load(&operators[n]) ? 1 : 0;
    }
    capsules_each(count_destroying, &count);
    return count == 0;
}

/* A paused capsule's vCPUs are off their harts, and none waits for one. */
static bool stands_still(const struct capsule *capsule)
{
    for (uint32_t id = 0; id < capsule->config.vcpus; id++) {
        const unsigned run = atomic_load(&capsule_vcpu(capsule, id)->run);
        if (run == RUN_LOADED || run == RUN_QUEUED) {
            return false;
        }
    }
    return capsule_holds(capsule) == 0;
}

static bool all_paused_stand_still(void)
{
    bool all = true;
    for (struct capsule *capsule = capsules; capsule != NULL; capsule = capsule->next) {
        all = all && (capsule_state(capsule) != CAPSULE_PAUSED || stands_still(capsule));
    }
    return all;
}

static bool answers(const struct vcpu *vcpu)
{
    return atomic_load(&vcpu->hsm) == SBI_HSM_STOPPED || atomic_load(&drained[number_of(vcpu->capsule)][vcpu->id]);
}

static bool ask(struct capsule *capsule)
{
    bool all = true;
    for (uint32_t id = 0; id < capsule->config.vcpus; id++) {
        struct vcpu *vcpu = capsule_vcpu(capsule, id);
        if (!answers(vcpu)) {
            vcpu_post(vcpu, EVENT_IPI);
            all = false;
        }
    }
    return all;
}

/* Every vCPU that is started answers an interrupt in the end. It comes from a hart that has a guest of its own to run,
 * and so leaves the one that it wakes to others. */
static bool everyone_answers(void)
{
    struct refusal refusal;
    bool all = true;
    for (struct capsule *capsule = capsules; capsule != NULL; capsule = capsule->next) {
        switch (capsule_state(capsule)) {
        case CAPSULE_LOADED:
        case CAPSULE_STOPPED:
        case CAPSULE_CRASHED:
            break;
        case CAPSULE_PAUSED:
            (void)capsule_request(capsule, REQUEST_RESUME, "stress", &refusal);
            all = false;
            break;
        case CAPSULE_RUNNING:
            all = ask(capsule) && all;
            break;
        case CAPSULE_FILLING:
        case CAPSULE_STOPPING:
        case CAPSULE_COMMITTING:
        case CAPSULE_BACKOFF:
        case CAPSULE_DESTROYING:
            all = false;
            break;
        }
    }
    return all;
}

/* Where those stand who do not. */
static void print_stuck(void)
{
    for (struct capsule *capsule = capsules; capsule != NULL; capsule = capsule->next) {
        printf("# %s: %s, word 0x%x, started %u\n", capsule->config.name, capsule_state_name(capsule_state(capsule)),
               atomic_load(&capsule->state), atomic_load(&capsule->started));
        for (uint32_t id = 0; id < capsule->config.vcpus; id++) {
            const struct vcpu *vcpu = capsule_vcpu(capsule, id);
            printf("#   vCPU %u: %s, run %u, hsm %u, pending 0x%x, fences %u, allowed 0x%llx, queued on %u\n", id,
                   answers(vcpu) ? "answers" : "STUCK", atomic_load(&vcpu->run), atomic_load(&vcpu->hsm),
                   atomic_load(&vcpu->pending), atomic_load(&vcpu->fences_outstanding),
                   (unsigned long long)hart_set_bits(&vcpu->allowed), atomic_load(&vcpu->queued_on));
        }
    }
    for (unsigned n = 0; n < HARTS; n++) {
        const struct hart *hart = &stress_harts[n];
        printf("# hart %u: idle %u, rung %u, queue %u, current %s\n", n, atomic_load(&hart->idle),
               atomic_load(&rung[n]), atomic_load(&hart->queue.length), hart->current != NULL ? "yes" : "no");
    }
}

/* --- at the end, when all harts have come to rest --- */

static unsigned harts_that_run(const struct capsule *capsule)
{
    unsigned count = 0;
    for (unsigned n = 0; n < HARTS; n++) {
        const struct vcpu *current = stress_harts[n].current;
        count += current != NULL && current->capsule == capsule ? 1 : 0;
    }
    return count;
}

static void check_vcpu(struct vcpu *vcpu, unsigned *on_harts, unsigned *started)
{
    const unsigned run = atomic_load(&vcpu->run);
    const unsigned hsm = atomic_load(&vcpu->hsm);
    assert_true(run == RUN_OFF || run == RUN_WAITING || run == RUN_LOADED);
    assert_true(hsm == SBI_HSM_STOPPED || hsm == SBI_HSM_STARTED || hsm == SBI_HSM_SUSPENDED);
    assert_int_equal(run == RUN_OFF, hsm == SBI_HSM_STOPPED);
    *on_harts += run == RUN_LOADED ? 1 : 0;
    *started += hsm != SBI_HSM_STOPPED ? 1 : 0;
    timer_cancel(&vcpu->timer);
}

static void check_capsule(struct capsule *capsule)
{
    unsigned on_harts = 0;
    unsigned started = 0;
    for (uint32_t id = 0; id < capsule->config.vcpus; id++) {
        check_vcpu(capsule_vcpu(capsule, id), &on_harts, &started);
    }
    assert_int_equal(on_harts, harts_that_run(capsule));
    assert_int_equal(capsule_holds(capsule), on_harts);
    assert_int_equal(atomic_load(&capsule->started), started);
    timer_cancel(&capsule->life.timer);
}

/* Where everybody may run is what follows from who is there. */
static void check_affinity(void)
{
    uint64_t before[CAPSULES][VCPUS];
    for (struct capsule *capsule = capsules; capsule != NULL; capsule = capsule->next) {
        for (uint32_t id = 0; id < capsule->config.vcpus; id++) {
            before[number_of(capsule)][id] = hart_set_bits(&capsule_vcpu(capsule, id)->allowed);
        }
    }
    affinity_apply_all();
    for (struct capsule *capsule = capsules; capsule != NULL; capsule = capsule->next) {
        for (uint32_t id = 0; id < capsule->config.vcpus; id++) {
            assert_int_equal(before[number_of(capsule)][id], hart_set_bits(&capsule_vcpu(capsule, id)->allowed));
        }
    }
}

static void check_rest(void)
{
    unsigned count = 0;
    check_affinity();
    for (struct capsule *capsule = capsules; capsule != NULL; capsule = capsule->next, count++) {
        check_capsule(capsule);
    }
    assert_int_equal(atomic_load(&made) - atomic_load(&gone), count);
    for (unsigned n = 0; n < HARTS; n++) {
        struct hart *hart = &stress_harts[n];
        assert_null(hart->fetched);
        assert_null(hart->queue.root);
        assert_int_equal(atomic_load(&hart->queue.length), 0);
        timer_cancel(&hart->slice);
        assert_null(hart->timers.root);
        if (hart->current != NULL) {
            assert_true(hart->current->context.own_hart);
            assert_true(hart_set_has(&hart->current->allowed, n));
        }
    }
}

static void print_counts(void)
{
    static const char *const names[] = {"start", "stop", "kill", "restart", "pause", "resume", "destroy"};
    for (unsigned n = 0; n < CAPSULES; n++) {
        printf("# %s: %lu fences, %lu steps of vCPU 0\n", shapes[n].name, atomic_load(&completed[n]),
               atomic_load(&steps[n][0]));
    }
    printf("# %u made, %u gone", atomic_load(&made), atomic_load(&gone));
    for (unsigned n = 0; n < CAPSULE_REQUESTS; n++) {
        printf(", %u %s", atomic_load(&requests[n]), names[n]);
    }
    printf("\n");
}

/* --- running it --- */

static pthread_t threads[HARTS];

static void begin(void)
{
    static struct vcpu own;
    static struct hart busy = {.index = HARTS, .current = &own};
    seed = 4711;
    calm = true;
    fake_arch.hart = &busy.arch;
    capsules = NULL;
    atomic_store(&draining, false);
    atomic_store(&over, false);
    atomic_store(&violation, NULL);
    atomic_store(&violations, 0);
    atomic_store(&made, 0);
    atomic_store(&gone, 0);
    hart_ops = (struct hart_ops){
        .ring = ring, .ring_clear = ring_clear, .timer_set = timer_set, .time = now_us, .external = operate};
    log_set_level(LOG_ALERT);
    log_set_sink(NULL);
    scheduler_init(HZ);
    reaper_init(NULL);
    hart_count = hart_kind_count[HART_PMP] = HARTS;
    for (unsigned n = 0; n < HARTS; n++) {
        stress_harts[n] = (struct hart){.index = n, .arch.id = n, .timer_programmed = TIMER_NEVER};
        atomic_store(&alarms[n], TIMER_NEVER);
        atomic_store(&poked[n], false);
        atomic_store(&stress_harts[n].online, true);
        harts[n] = &stress_harts[n];
        for (unsigned place = n; place < CAPSULES; place += HARTS) {
            atomic_store(&taken[place], false);
        }
    }
}

static void start_harts(void)
{
    for (unsigned n = 0; n < HARTS; n++) {
        assert_int_equal(pthread_create(&threads[n], NULL, hart_main, &stress_harts[n]), 0);
    }
}

static bool within_patience(bool (*is_so)(void))
{
    for (unsigned n = 0; n < PATIENCE * 20; n++) {
        if (is_so()) {
            return true;
        }
        nap(50);
    }
    return false;
}

/* Everybody comes to rest, answers, and is where it should be. */
static void end(void)
{
    atomic_store(&operating, false);
    bool all = within_patience(nobody_goes);
    const bool still = all && within_patience(all_paused_stand_still);
    atomic_store(&draining, true);
    all = all && still && within_patience(everyone_answers);
    if (!all) {
        print_stuck();
    }
    nap(100);
    atomic_store(&over, true);
    if (all) { /* else a hart may be stuck for good */
        for (unsigned n = 0; n < HARTS; n++) {
            assert_int_equal(pthread_join(threads[n], NULL), 0);
        }
    }
    assert_null(atomic_load(&violation));
    assert_true(all);
    check_rest();
    while (capsules != NULL) {
        struct capsule *next = capsules->next;
        free(CONTAINER_OF(capsules, struct guest, capsule));
        capsules = next;
    }
}

static unsigned deciseconds(unsigned otherwise)
{
    const char *seconds = getenv("STRESS_SECONDS");
    return seconds != NULL ? (unsigned)atoi(seconds) * 10 : otherwise;
}

static void start_it(struct capsule *capsule)
{
    struct refusal refusal;
    (void)capsule_request(capsule, REQUEST_START, "stress", &refusal);
}

/* Nobody comes or goes: the guests alone, and what they do to each other. Who has stopped is started again. */
static void test_stress(void **state)
{
    (void)state;
    begin();
    create(0);
    create(1);
    start_harts();
    for (unsigned n = 0; n < deciseconds(15) * 10 && atomic_load(&violations) == 0; n++) {
        nap(10);
        start_it(capsules);
        start_it(capsules->next);
    }
    end();
    for (unsigned n = 0; n < 2; n++) {
        assert_true(atomic_load(&steps[n][0]) > 10);
        assert_true(atomic_load(&completed[n]) > 10);
    }
    print_counts();
}

/* Operators on several harts at once. */
static void test_operators(void **state)
{
    (void)state;
    begin();
    atomic_store(&operating, true);
    start_harts();
    for (unsigned n = 0; n < deciseconds(25) * 50 && atomic_load(&violations) == 0; n++) {
        atomic_store(&poked[test_below(&seed, HARTS)], true);
        nap(2);
    }
    end();
    assert_true(atomic_load(&gone) > 0);
    print_counts();
}

/* Whatever moment a pause comes at, and a resume after it. */
static void test_pauses(void **state)
{
    (void)state;
    struct refusal refusal;
    begin();
    create(0);
    struct capsule *capsule = capsules;
    start_harts();
    const uint64_t start = now_us();
    const uint64_t length = (uint64_t)deciseconds(15) * HZ / 10 * SPEED;
    while (now_us() - start < length && atomic_load(&violations) == 0) {
        for (unsigned n = 0; n < 1000; n++) {
            (void)capsule_request(capsule, REQUEST_PAUSE, "stress", &refusal);
            (void)capsule_request(capsule, REQUEST_RESUME, "stress", &refusal);
        }
    }
    end();
}

/* --- sets of harts that change --- */

static struct vcpu wanderer;

static void *changes_its_harts(void *unused)
{
    (void)unused;
    const struct timespec moment = {.tv_nsec = 1000};
    while (!atomic_load(&over)) {
        hart_set_store(&wanderer.allowed, 1);
        nanosleep(&moment, NULL);
        hart_set_store(&wanderer.allowed, UINT64_C(1) << 40);
        nanosleep(&moment, NULL);
    }
    return NULL;
}

/* There is always a hart for a vCPU, also while its set changes from one half to the other. */
static void test_set_changes_by_halves(void **state)
{
    (void)state;
    enum { MANY = 41, LOOKS = 100000 };
    static struct hart many[MANY];
    static struct capsule capsule;
    pthread_t other;
    begin();
    hart_count = MANY;
    for (unsigned n = 0; n < MANY; n++) {
        many[n].index = n;
        harts[n] = &many[n];
    }
    wanderer.capsule = &capsule;
    hart_set_store(&wanderer.allowed, 1);
    assert_int_equal(pthread_create(&other, NULL, changes_its_harts, NULL), 0);
    for (unsigned n = 0; n < LOOKS; n++) {
        const struct hart *hart = placement_choose(&wanderer);
        assert_true(hart == &many[0] || hart == &many[40]);
    }
    atomic_store(&over, true);
    assert_int_equal(pthread_join(other, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_changes_by_halves),
        cmocka_unit_test(test_stress),
        cmocka_unit_test(test_operators),
        cmocka_unit_test(test_pauses),
    };
    return cmocka_run_group_tests_name("core stress", tests, NULL, NULL);
}
