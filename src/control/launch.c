/* SPDX-License-Identifier: MIT
 *
 * Capsule launch: see launch.h.
 */
#include "control/launch.h"

#include <string.h>

#include "control/machine_parts.h"
#include "core/affinity.h"
#include "core/capsules.h"
#include "core/events.h"
#include "core/hart.h"
#include "core/log.h"
#include "core/memory.h"
#include "core/quota.h"
#include "core/steal.h"
#include "diosix/sbi.h"
#include "dt/guest_isa.h"
#include "dt/guest_tree.h"
#include "isolation/isolation.h"
#include "lib/random.h"
#include "manifest/image.h"

enum {
    VECTOR_REGISTERS = 32,
};

static const struct launch_host *host;
static struct spinlock making;
/* What guests are told of the harts of a kind, in the two forms that their trees have; written at boot alone. */
static struct told {
    char isa[GUEST_ISA_MAX];
    char list[GUEST_ISA_MAX];
    size_t list_length;
} isas[HART_KINDS];
static struct {
    struct spinlock lock;
    struct random_state state;
    bool trusted; /* written at boot alone */
} seeds;

static bool prepare(struct capsule *capsule);
static void discard(struct capsule *capsule);
static void detach(struct capsule *capsule);

static struct capsule_hooks hooks = {
    .fill = machine_parts_fill,
    .scrub = machine_parts_scrub,
    .prepare = prepare,
    .silence = machine_parts_silence,
    .resume = machine_parts_resume,
    .device_stats = machine_parts_device_stats,
    .detach = detach,
    .discard = discard,
};

static void tell(const struct launch_kind *kind, struct told *told)
{
    const struct hart_features *features = &kind->features;
    const struct guest_isa_options allowed = {
        .vector = features->vector,
        .sstc = features->sstc,
        .zicbom = features->zicbom && kind->cbom_block_size != 0,
        .zicboz = features->zicboz && kind->cboz_block_size != 0,
        .zicbop = kind->cbop_block_size != 0,
        .svpbmt = features->svpbmt,
        .svadu = features->svadu,
        .svinval = features->svinval,
    };
    guest_isa(kind->isa, &allowed, told->isa, sizeof(told->isa));
    told->list_length = guest_isa_list(told->isa, told->list, sizeof(told->list));
}

void launch_init(const struct launch_host *what)
{
    host = what;
    for (size_t n = 0; n < HART_KINDS; n++) {
        tell(&host->kinds[n], &isas[n]);
    }
    hooks.prove = what->prove;
}

bool launch_begin(void)
{
    return spinlock_try(&making);
}

void launch_end(void)
{
    spinlock_release(&making);
}

void launch_seed(const uint8_t *bytes, size_t length)
{
    spinlock_take(&seeds.lock);
    random_mix(&seeds.state, bytes, length);
    spinlock_release(&seeds.lock);
}

void launch_trust_seed(void)
{
    seeds.trusted = true;
}

bool launch_has_entropy(void)
{
    return seeds.trusted;
}

void launch_random(uint8_t *bytes, size_t length)
{
    spinlock_take(&seeds.lock);
    random_bytes(&seeds.state, bytes, length);
    spinlock_release(&seeds.lock);
}

/* --- what each start needs -------------------------------------------------------------------------------------- */

static const struct guest_tree_options *tree_options(const struct capsule *capsule, struct guest_tree_options *options)
{
    const struct launch_kind *kind = &host->kinds[capsule->hart_kind];
    const struct told *told = &isas[capsule->hart_kind];
    *options = (struct guest_tree_options){
        .isa = told->isa,
        .isa_list = told->list,
        .isa_list_length = told->list_length,
        .mmu_type = kind->mmu_type,
        .timebase_hz = host->machine->timebase_hz,
        .cbom_block_size = kind->cbom_block_size,
        .cboz_block_size = kind->cboz_block_size,
        .cbop_block_size = kind->cbop_block_size,
        .random = launch_random,
    };
    return options;
}

static void reset(struct capsule *capsule)
{
    device_bus_reset(&capsule->bus);
    console_port_reset(&capsule->console);
    for (uint32_t id = 0; id < capsule->config.vcpus; id++) {
        steal_reset(capsule_vcpu(capsule, id));
    }
    gpa_t place = {capsule->ram.base + capsule->plan.tree_offset};
    void *buffer = capsule_ram(capsule, place, capsule->plan.tree_room);
    assert(buffer != NULL);
    guest_tree_begin(machine_parts_tree(capsule), buffer, (size_t)capsule->plan.tree_room);
}

/* RAM is full: when this is done the guest may run. */
static bool prepare(struct capsule *capsule)
{
    struct guest_tree *tree = machine_parts_tree(capsule);
    struct guest_tree_options options;
    if (tree->buffer == NULL) {
        reset(capsule);
        return false;
    }
    if (!guest_tree_step(tree, capsule, tree_options(capsule, &options))) {
        return false;
    }
    tree->buffer = NULL;
    if (tree->error != 0) {
        capsule_stop(capsule, STOP_CRASH, "its device tree does not fit its room (%d)", tree->error);
    }
    return true;
}

/* --- making -------------------------------------------------------------------------------------------------- */

/* For the hart with the longest vectors, whether guests are told of them or not. */
static size_t vector_size(const struct capsule *capsule)
{
    return (size_t)VECTOR_REGISTERS * host->kinds[capsule->hart_kind].features.vlenb;
}

static size_t vcpu_stride(const struct capsule *capsule)
{
    return (size_t)align_up(sizeof(struct vcpu) + vector_size(capsule), 64);
}

static void make_vcpus(struct capsule *capsule)
{
    const bool is_virtual = host->kinds[capsule->hart_kind].features.hypervisor;
    for (uint32_t id = 0; id < capsule->config.vcpus; id++) {
        struct vcpu *vcpu = capsule_vcpu(capsule, id);
        vcpu->capsule = capsule;
        vcpu->id = id;
        vcpu->deadline = TIMER_NEVER;
        atomic_store(&vcpu->run, RUN_OFF);
        atomic_store(&vcpu->hsm, SBI_HSM_STOPPED);
        vcpu->context.is_virtual = is_virtual;
        vcpu->context.own_hart = capsule->config.dedicated;
        if (vector_size(capsule) != 0) {
            vcpu->context.vector = (uint8_t *)(vcpu + 1);
            vcpu->context.vector_size = vector_size(capsule);
        }
    }
}

/* Everything after the memory for the capsule itself; what it takes hangs on the capsule. */
static enum dx_error build(struct capsule *capsule, struct refusal *refusal)
{
    enum dx_error error = isolation_choose(capsule, refusal);
    if (error == DX_OK) {
        error = affinity_check(capsule, refusal);
    }
    if (error == DX_OK) {
        error = capsule->isolation->take_ram(capsule, refusal);
    }
    if (error == DX_OK) {
        error = capsule->isolation->prepare(capsule, refusal);
    }
    if (error != DX_OK) {
        return error;
    }
    error = image_plan(&capsule->config, capsule->ram, &capsule->plan, refusal);
    if (error != DX_OK) {
        return error;
    }
    capsule->vcpu_stride = vcpu_stride(capsule);
    capsule->vcpus = memory_alloc(capsule->vcpu_stride * capsule->config.vcpus);
    if (capsule->vcpus == NULL) {
        return refuse(refusal, DX_NO_MEMORY, "%s: no memory for %u vCPUs", capsule->config.name,
                      (unsigned)capsule->config.vcpus);
    }
    make_vcpus(capsule);
    return machine_parts_create(capsule, refusal);
}

static void detach(struct capsule *capsule)
{
    machine_parts_detach(capsule);
    if (host->detach != NULL) {
        host->detach(capsule);
    }
}

static void discard(struct capsule *capsule)
{
    quota_give_back(capsule->config.origin.creator, capsule->config.origin.charged);
    kept_give(&capsule->config.origin.image);
    machine_parts_destroy(capsule);
    if (capsule->vcpus != NULL) {
        memory_free(capsule->vcpus, capsule->vcpu_stride * capsule->config.vcpus);
    }
    if (capsule->isolation != NULL) {
        capsule->isolation->release(capsule);
    }
    memory_free(capsule, sizeof(*capsule));
}

enum dx_error capsule_create(const struct capsule_config *config, struct capsule **result, struct refusal *refusal)
{
    struct capsule *capsule = memory_alloc(sizeof(*capsule));
    if (capsule == NULL) {
        return refuse(refusal, DX_NO_MEMORY, "%s: no memory for the capsule itself", config->name);
    }
    capsule->config = *config;
    capsule->hooks = &hooks;
    capsule->life.due = TIMER_NEVER;
    atomic_store(&capsule->state, CAPSULE_LOADED);
    console_port_init(&capsule->console, config->name);
    enum dx_error error = build(capsule, refusal);
    if (error != DX_OK) {
        capsule->config.origin = (struct capsule_origin){0}; /* stays the caller's */
        discard(capsule);
        return error;
    }
    capsules_add(capsule);
    const bool whole = capsule->ram.size % MIB == 0;
    log_info("Created capsule: ID %u (%s), physical RAM base 0x%llx, size %llu %s, %u vCPUs", (unsigned)capsule->id,
             config->name, (unsigned long long)capsule->pieces[0].host.at,
             (unsigned long long)(capsule->ram.size / (whole ? MIB : KIB)), whole ? "MiB" : "KiB",
             (unsigned)config->vcpus);
    log_info("Supervisor kernel entry: 0x%llx", (unsigned long long)capsule->plan.entry);
    capsule->isolation->describe(capsule);
    if (config->dedicated) {
        affinity_apply_all();
    }
    event_report(capsule, EVENT_CREATED, "");
    *result = capsule;
    return DX_OK;
}
