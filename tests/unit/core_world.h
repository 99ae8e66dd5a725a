/* SPDX-License-Identifier: MIT
 *
 * What the tests of the core share: several harts in one thread, of which one acts at a time, and capsules whose guests
 * the test plays. A hart that has nothing to run "falls asleep": next() then returns NULL. Hooks in the fakes stand
 * for what other harts do in between.
 */
#ifndef UNIT_CORE_WORLD_H
#define UNIT_CORE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/capsules.h"
#include "core/fence.h"
#include "core/hart.h"
#include "core/life.h"
#include "core/log.h"
#include "core/reaper.h"
#include "core/scheduler.h"
#include "diosix/sbi.h"
#include "fake_arch.h"
#include "support.h"

enum { HARTS = 4, VCPUS = 4, CAPSULES = 3, RAM_BASE = 0x40000000, RAM_SIZE = 3 * 64 * KIB + 4096, HZ = 1000000 };

static struct {
    struct hart harts[HARTS];
    struct fake_arch others[HARTS]; /* of the harts that don't act now */
    unsigned actor;
    bool asleep[HARTS];
    jmp_buf *sleeper;
    unsigned rings[HARTS];
    uint64_t timer[HARTS]; /* as programmed */
    uint64_t now;
    void (*on_ring)(void);
    void (*on_enter)(void);
    void (*on_prepare)(struct capsule *capsule);
    unsigned prepare_steps[CAPSULES];
    unsigned enters, prepares, all_stopped, detached, discarded;
    struct capsule capsules[CAPSULES];
    struct vcpu vcpus[CAPSULES][VCPUS];
    uint8_t ram[CAPSULES][RAM_SIZE];
    char log[16384];
} core;

/* --- harts --- */

static inline void act_as(unsigned hart)
{
    core.others[core.actor] = fake_arch;
    core.actor = hart;
    fake_arch = core.others[hart];
}

static inline struct fake_arch *fake_of(unsigned hart)
{
    return hart == core.actor ? &fake_arch : &core.others[hart];
}

static void world_ring(struct hart *hart)
{
    core.rings[hart->index]++;
    fake_of(hart->index)->machine_pending |= BIT(IRQ_M_SOFT);
    if (core.on_ring != NULL) {
        void (*hook)(void) = core.on_ring;
        core.on_ring = NULL; /* once */
        hook();
    }
}

static void world_ring_clear(struct hart *hart)
{
    assert_int_equal(hart->index, core.actor);
    fake_arch.machine_pending &= ~BIT(IRQ_M_SOFT);
}

static void world_timer_set(struct hart *hart, uint64_t deadline)
{
    assert_int_equal(hart->index, core.actor);
    core.timer[hart->index] = deadline;
}

static uint64_t world_time(void)
{
    return core.now;
}

/* Pending as on a real hart: enabled sources alone. */
static unsigned long world_pending(void)
{
    unsigned long pending = fake_arch.machine_pending;
    if (core.timer[core.actor] <= core.now && (fake_arch.machine_enabled & BIT(IRQ_M_TIMER)) != 0) {
        pending |= BIT(IRQ_M_TIMER);
    }
    return pending;
}

static void world_wait(void)
{
    core.asleep[core.actor] = true;
    longjmp(*core.sleeper, 1);
}

/* What the hart runs next, or NULL if it fell asleep. Also for a hart that sleeps: it goes on from there. */
static inline struct vcpu *next(unsigned hart)
{
    const unsigned before = core.actor;
    jmp_buf *const outer = core.sleeper;
    jmp_buf here;
    struct vcpu *volatile result = NULL;
    act_as(hart);
    if (setjmp(here) == 0) {
        core.sleeper = &here;
        if (core.asleep[hart]) {
            core.asleep[hart] = false;
            atomic_store(&core.harts[hart].idle, false);
            hart_serve(&core.harts[hart]);
        }
        result = (struct vcpu *)(void *)scheduler_next(&core.harts[hart]);
    }
    core.sleeper = outer;
    act_as(before);
    return result;
}

/* A machine interrupt, if one is pending, while the hart runs a guest; then what it runs next. */
static inline struct vcpu *interrupt(unsigned hart)
{
    const unsigned before = core.actor;
    act_as(hart);
    hart_serve(&core.harts[hart]);
    act_as(before);
    return next(hart);
}

/* --- capsules --- */

static void world_enter(struct hart *hart, struct capsule *capsule)
{
    assert_int_not_equal(hart->protected_for, capsule->id);
    core.enters++;
    if (core.on_enter != NULL) {
        void (*hook)(void) = core.on_enter;
        core.on_enter = NULL;
        hook();
    }
}

static void world_verify(const struct hart *hart, const struct capsule *capsule)
{
    assert_int_equal(hart->protected_for, capsule->id);
}

static const struct isolation_ops world_isolation = {.name = "fake", .enter = world_enter, .verify = world_verify};

/* In two steps. */
static bool world_prepare(struct capsule *capsule)
{
    if (core.prepare_steps[capsule - core.capsules]++ % 2 == 0) {
        return false;
    }
    core.prepares++;
    if (core.on_prepare != NULL) {
        core.on_prepare(capsule);
    }
    return true;
}

static void world_detach(struct capsule *capsule)
{
    (void)capsule;
    core.detached++;
}

static void world_discard(struct capsule *capsule)
{
    (void)capsule;
    core.discarded++;
}

static const struct capsule_hooks world_hooks = {
    .prepare = world_prepare, .detach = world_detach, .discard = world_discard};

static void world_all_stopped(void)
{
    core.all_stopped++;
}

/* Nothing but vcpu 0 runs after a start; the RAM's size makes filling four steps. */
static inline struct capsule *make_capsule(unsigned n, uint32_t vcpus)
{
    struct capsule *capsule = &core.capsules[n];
    capsule->config.vcpus = vcpus;
    capsule->config.weight = CAPSULE_WEIGHT_USUAL;
    snprintf(capsule->config.name, sizeof(capsule->config.name), "guest%u", n);
    capsule->ram = (struct range){RAM_BASE, RAM_SIZE};
    capsule->pieces[0] = (struct ram_piece){.size = RAM_SIZE, .host = {(uintptr_t)core.ram[n]}};
    capsule->piece_count = 1;
    capsule->isolation = &world_isolation;
    capsule->hooks = &world_hooks;
    capsule->life.due = TIMER_NEVER;
    capsule->plan.entry = RAM_BASE + 0x1000;
    capsule->plan.tree_offset = 0x8000;
    capsule->vcpus = core.vcpus[n];
    capsule->vcpu_stride = sizeof(struct vcpu);
    console_port_init(&capsule->console, capsule->config.name);
    for (uint32_t id = 0; id < vcpus; id++) {
        core.vcpus[n][id] = (struct vcpu){.capsule = capsule, .id = id, .deadline = TIMER_NEVER};
        atomic_store(&core.vcpus[n][id].hsm, SBI_HSM_STOPPED);
    }
    capsules_add(capsule);
    capsule->id = n + 1;
    return capsule;
}

/* Every hart of the first kind. */
static inline void world_hart_count(unsigned count)
{
    hart_count = count;
    hart_kind_count[HART_PMP] = count;
    hart_kind_count[HART_HYP] = 0;
}

/* Harts from this one on serve hyp, the others pmp: before anything runs. */
static inline void world_kinds(unsigned first_hyp)
{
    hart_kind_count[HART_PMP] = first_hyp;
    hart_kind_count[HART_HYP] = hart_count - first_hyp;
    for (unsigned n = 0; n < hart_count; n++) {
        core.harts[n].kind = n < first_hyp ? HART_PMP : HART_HYP;
    }
}

/* A fresh world: everything asleep, nothing made. The scheduler's queue must be empty. */
static inline void world_make(unsigned hart_number)
{
    memset(&core, 0, sizeof(core));
    capsules = NULL;
    world_hart_count(hart_number);
    hart_ops = (struct hart_ops){
        .ring = world_ring, .ring_clear = world_ring_clear, .timer_set = world_timer_set, .time = world_time};
    for (unsigned n = 0; n < hart_number; n++) {
        struct hart *hart = &core.harts[n];
        hart->index = n;
        hart->arch.id = n;
        hart->timer_programmed = TIMER_NEVER;
        core.timer[n] = TIMER_NEVER;
        atomic_store(&hart->online, true);
        harts[n] = hart;
        core.others[n] = (struct fake_arch){.hart = &hart->arch, .on_wait = world_wait, .on_pending = world_pending};
    }
    fake_arch = core.others[0];
    core.now = 1000;
    scheduler_init(HZ);
    capsule_set_idle(world_all_stopped);
    reaper_init(NULL);
    log_set_level(LOG_DEBUG);
}

/* Starts a capsule and runs hart 0 until its vCPU 0 is in the guest there. */
static inline struct capsule *run_capsule(unsigned n, uint32_t vcpus)
{
    struct capsule *capsule = make_capsule(n, vcpus);
    capsule_start(capsule);
    assert_ptr_equal(next(0), &core.vcpus[n][0]);
    assert_int_equal(capsule_state(capsule), CAPSULE_RUNNING);
    return capsule;
}

/* Starts a further vCPU as HSM does, and runs it on a hart that has nothing else to do. */
static inline struct vcpu *run_vcpu(struct capsule *capsule, uint32_t id, unsigned hart)
{
    struct vcpu *vcpu = capsule_vcpu(capsule, id);
    atomic_store(&vcpu->hsm, SBI_HSM_START_PENDING);
    vcpu_start(vcpu, RAM_BASE, 0);
    assert_ptr_equal(next(hart), vcpu);
    return vcpu;
}

/* Stops everything, so that the scheduler is empty for the next test. */
static inline void world_end(void)
{
    core.on_ring = core.on_enter = NULL;
    for (struct capsule *capsule = capsules; capsule != NULL; capsule = capsule->next) {
        struct refusal refusal;
        (void)capsule_request(capsule, REQUEST_KILL, "the test", &refusal);
    }
    for (unsigned n = 0; n < hart_count; n++) {
        fake_of(n)->on_save = NULL;
        assert_null(next(n));
    }
    for (struct capsule *capsule = capsules; capsule != NULL; capsule = capsule->next) {
        assert_true(capsule_state(capsule) == CAPSULE_STOPPED || capsule_state(capsule) == CAPSULE_CRASHED ||
                    capsule_state(capsule) == CAPSULE_LOADED);
        assert_int_equal(capsule_holds(capsule), 0);
        for (uint32_t id = 0; id < capsule->config.vcpus; id++) {
            assert_int_equal(atomic_load(&capsule_vcpu(capsule, id)->run), RUN_OFF);
            assert_int_equal(atomic_load(&capsule_vcpu(capsule, id)->hsm), SBI_HSM_STOPPED);
            assert_null(atomic_load(&capsule_vcpu(capsule, id)->timer.heap));
        }
    }
}

static inline int setup(void **state)
{
    (void)state;
    world_make(HARTS);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    world_end();
    return 0;
}

#define CORE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* The log's last lines; core.log is overwritten. */
static inline const char *log_text(void)
{
    log_copy(core.log, sizeof(core.log));
    return core.log;
}

/* How often text is in the log since the ring began. */
static inline unsigned log_count(const char *text)
{
    unsigned count = 0;
    for (const char *at = log_text(); (at = strstr(at, text)) != NULL; at++) {
        count++;
    }
    return count;
}

#endif
