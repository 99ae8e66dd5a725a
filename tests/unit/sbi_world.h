/* SPDX-License-Identifier: MIT
 *
 * What the SBI tests share: one capsule with its RAM, a caller, and records of what SBI asked of the core. The core's
 * functions are replaced here, so exactly one file of a test program includes this.
 */
#ifndef UNIT_SBI_WORLD_H
#define UNIT_SBI_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "core/fence.h"
#include "core/hart.h"
#include "fake_arch.h"
#include "sbi/sbi.h"
#include "support.h"

enum { RAM_SIZE = 8192, RAM_BASE = 0x40000000, CALLER = 1, PC = 0x40000100 };

static struct {
    struct capsule capsule;
    struct vcpu vcpus[CAPSULE_VCPUS_MAX];
    uint64_t edge;         /* where RAM goes on somewhere else, from its start; 0: nowhere */
    uint8_t ram[RAM_SIZE]; /* between others' variables: sanitizers see accesses beyond it */
    unsigned long before[32];

    unsigned posts;
    uint32_t posted_set;
    unsigned posted_events;
    unsigned timers;
    uint64_t deadline;
    unsigned starts, offs, suspends, blocks, fences, stops;
    struct vcpu *started;
    unsigned long entry, argument;
    unsigned state_at_start, state_at_off; /* hsm as vcpu_start and vcpu_off found it */
    bool non_retentive;
    uint32_t fence_set;
    unsigned fence_events;
    bool fence_pends;
    struct arch_context context_at_leave; /* as fence_remote and vcpu_suspend found it */
    enum stop_reason stop_reason;
} world;

static inline struct vcpu *caller(void)
{
    return &world.vcpus[CALLER];
}

/* --- the core's functions, recording --- */

void vcpu_post(struct vcpu *vcpu, unsigned events)
{
    world.posts++;
    world.posted_set |= (uint32_t)1 << vcpu->id;
    world.posted_events |= events;
}

void vcpu_set_timer(struct vcpu *vcpu, uint64_t deadline)
{
    assert_ptr_equal(vcpu, caller());
    world.timers++;
    world.deadline = deadline;
}

void vcpu_start(struct vcpu *vcpu, unsigned long entry, unsigned long argument)
{
    world.starts++;
    world.started = vcpu;
    world.entry = entry;
    world.argument = argument;
    world.state_at_start = atomic_exchange(&vcpu->hsm, SBI_HSM_STARTED);
}

void vcpu_off(struct vcpu *vcpu)
{
    assert_ptr_equal(vcpu, caller());
    world.offs++;
    world.state_at_off = atomic_load(&vcpu->hsm);
}

void vcpu_suspend(struct vcpu *vcpu, bool non_retentive, unsigned long entry, unsigned long argument)
{
    assert_ptr_equal(vcpu, caller());
    world.suspends++;
    world.non_retentive = non_retentive;
    world.entry = entry;
    world.argument = argument;
    world.context_at_leave = vcpu->context;
}

void vcpu_block(struct vcpu *vcpu)
{
    assert_ptr_equal(vcpu, caller());
    world.blocks++;
}

bool fence_remote(struct vcpu *vcpu, uint32_t set, unsigned events)
{
    assert_ptr_equal(vcpu, caller());
    world.fences++;
    world.fence_set = set;
    world.fence_events = events;
    world.context_at_leave = vcpu->context;
    return !world.fence_pends;
}

void *capsule_ram_part(const struct capsule *capsule, gpa_t address, uint64_t *length)
{
    assert_ptr_equal(capsule, &world.capsule);
    if (*length == 0 || !range_holds(capsule->ram, address.at, *length)) {
        return NULL;
    }
    const uint64_t offset = address.at - capsule->ram.base;
    *length = offset < world.edge ? MIN(*length, world.edge - offset) : *length;
    return world.ram + offset;
}

void *capsule_ram(const struct capsule *capsule, gpa_t address, uint64_t length)
{
    uint64_t adjacent = length;
    void *place = capsule_ram_part(capsule, address, &adjacent);
    return adjacent == length ? place : NULL;
}

bool capsule_stop(struct capsule *capsule, enum stop_reason reason, const char *format, ...)
{
    assert_ptr_equal(capsule, &world.capsule);
    assert_non_null(format);
    world.stops++;
    world.stop_reason = reason;
    return true;
}

/* --- making calls --- */

/* A capsule of this many vCPUs, all started; the caller is vCPU 1 (0 if there is only one: then don't call). */
static inline void world_make(uint32_t vcpus)
{
    fake_arch_reset();
    memset(&world, 0, sizeof(world));
    world.capsule.config.vcpus = vcpus;
    world.capsule.config.weight = CAPSULE_WEIGHT_USUAL;
    world.capsule.vcpus = world.vcpus;
    world.capsule.vcpu_stride = sizeof(world.vcpus[0]);
    world.capsule.ram = (struct range){RAM_BASE, RAM_SIZE};
    console_port_init(&world.capsule.console, "test");
    for (uint32_t id = 0; id < CAPSULE_VCPUS_MAX; id++) {
        world.vcpus[id].capsule = &world.capsule;
        world.vcpus[id].id = id;
        atomic_store(&world.vcpus[id].hsm, SBI_HSM_STARTED);
    }
    caller()->context.pc = PC;
    for (unsigned i = 1; i < 32; i++) {
        caller()->context.x[i] = 0x5a000000ul + i;
    }
}

static inline int world_setup(void **state)
{
    (void)state;
    world_make(4);
    return 0;
}

/* Makes a call and checks that no register but a0 and a1 changed (the contract of every call). */
static inline enum outcome ecall(unsigned long extension, unsigned long function, unsigned long a0, unsigned long a1,
                                 unsigned long a2)
{
    unsigned long *x = caller()->context.x;
    caller()->context.pc = PC;
    x[REG_A0] = a0;
    x[REG_A0 + 1] = a1;
    x[REG_A0 + 2] = a2;
    x[REG_A6] = function;
    x[REG_A7] = extension;
    memcpy(world.before, x, sizeof(world.before));

    enum outcome outcome = sbi_handle(caller());

    for (unsigned i = 0; i < 32; i++) {
        if (i != REG_A0 && i != REG_A1) {
            assert_int_equal(x[i], world.before[i]);
        }
    }
    return outcome;
}

struct answer {
    long error, value;
};

/* A call that must come back to the guest, behind the ecall: SKIP with pc at it, or RESUME with pc after it. */
static inline struct answer call(unsigned long extension, unsigned long function, unsigned long a0, unsigned long a1,
                                 unsigned long a2)
{
    enum outcome outcome = ecall(extension, function, a0, a1, a2);
    assert_true(outcome == OUTCOME_SKIP || outcome == OUTCOME_RESUME);
    assert_int_equal(caller()->context.pc, outcome == OUTCOME_SKIP ? PC : PC + 4);
    return (struct answer){(long)caller()->context.x[REG_A0], (long)caller()->context.x[REG_A1]};
}

/* A call that must return exactly this. */
#define EXPECT(expected_error, expected_value, ...)                                                                    \
    do {                                                                                                               \
        struct answer expect_answer = call(__VA_ARGS__);                                                               \
        assert_int_equal(expect_answer.error, (expected_error));                                                       \
        assert_int_equal(expect_answer.value, (expected_value));                                                       \
    } while (0)

/* Nothing outside of the caller was touched or asked for. */
static inline void assert_nothing_done(void)
{
    assert_int_equal(world.posts + world.timers + world.starts + world.offs + world.suspends + world.blocks, 0);
    assert_int_equal(world.fences + world.stops + fake_arch.fences_vma + fake_arch.fences_i, 0);
    assert_int_equal(fake_arch.virtual_pending, 0);
}

/* 1 << n in the guest's unsigned long, or another high bit where that has only 32. */
static inline unsigned long high_bit(unsigned n)
{
    return 1ul << (n % (unsigned)XLEN);
}

#endif
