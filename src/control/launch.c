/* SPDX-License-Identifier: MIT
 *
 * Capsule launch: see launch.h.
 */
#include "control/launch.h"

#include <string.h>

#include "control/machine_parts.h"
#include "core/hart.h"
#include "core/log.h"
#include "core/memory.h"
#include "diosix/sbi.h"
#include "dt/guest_isa.h"
#include "dt/guest_tree.h"
#include "isolation/isolation.h"
#include "lib/random.h"
#include "manifest/image.h"

enum {
    VECTOR_REGISTERS = 32,
    SEED_LENGTH = 64,
};

static const struct launch_host *host;
static struct {
    struct spinlock lock;
    struct random_state state;
} seeds;
static uint32_t next_id = 1;

void launch_init(const struct launch_host *what)
{
    host = what;
}

void launch_seed(const uint8_t *bytes, size_t length)
{
    spinlock_take(&seeds.lock);
    random_mix(&seeds.state, bytes, length);
    spinlock_release(&seeds.lock);
}

/* --- what each start needs -------------------------------------------------------------------------------------- */

static void write_tree(struct capsule *capsule)
{
    char isa[GUEST_ISA_MAX];
    uint8_t seed[SEED_LENGTH];
    const struct launch_kind *kind = &host->kinds[capsule->hart_kind];
    const struct guest_isa_options allowed = {
        .vector = kind->features.vector,
        .sstc = kind->features.sstc,
        .zicbom = kind->features.zicbom,
        .zicboz = kind->features.zicboz,
        .svpbmt = kind->features.svpbmt,
        .svadu = kind->features.svadu,
        .svinval = kind->features.svinval,
    };
    guest_isa(kind->isa, &allowed, isa, sizeof(isa));
    spinlock_take(&seeds.lock);
    random_bytes(&seeds.state, seed, sizeof(seed));
    spinlock_release(&seeds.lock);
    const struct guest_tree_options options = {
        .isa = isa,
        .mmu_type = kind->mmu_type,
        .timebase_hz = host->machine->timebase_hz,
        .cbom_block_size = kind->cbom_block_size,
        .cboz_block_size = kind->cboz_block_size,
        .cbop_block_size = kind->cbop_block_size,
        .seed = seed,
        .seed_length = sizeof(seed),
    };
    gpa_t place = {capsule->ram.base + capsule->plan.tree_offset};
    void *buffer = capsule_ram(capsule, place, capsule->plan.tree_room);
    assert(buffer != NULL);
    int length = guest_tree_write(capsule, &options, buffer, (size_t)capsule->plan.tree_room);
    if (length < 0) {
        capsule_stop(capsule, STOP_CRASH, "its device tree does not fit its room (%d)", length);
    }
}

/* RAM is full: from here on the guest may run. */
static void prepare(struct capsule *capsule)
{
    device_bus_reset(&capsule->bus);
    console_port_reset(&capsule->console);
    write_tree(capsule);
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

static void discard(struct capsule *capsule)
{
    machine_parts_destroy(capsule);
    if (capsule->vcpus != NULL) {
        memory_free(capsule->vcpus, capsule->vcpu_stride * capsule->config.vcpus);
    }
    if (capsule->isolation != NULL) {
        capsule->isolation->release(capsule);
    }
    memory_free(capsule, sizeof(*capsule));
}

static void append(struct capsule *capsule)
{
    struct capsule **link = &capsules;
    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = capsule;
}

enum dx_error capsule_create(const struct capsule_config *config, struct capsule **result, struct refusal *refusal)
{
    struct capsule *capsule = memory_alloc(sizeof(*capsule));
    if (capsule == NULL) {
        return refuse(refusal, DX_NO_MEMORY, "%s: no memory for the capsule itself", config->name);
    }
    capsule->config = *config;
    capsule->prepare = prepare;
    atomic_store(&capsule->state, CAPSULE_LOADED);
    console_port_init(&capsule->console, config->name);
    enum dx_error error = build(capsule, refusal);
    if (error != DX_OK) {
        discard(capsule);
        return error;
    }
    capsule->id = next_id++;
    append(capsule);
    log_info("Created capsule: ID %u (%s), physical RAM base 0x%llx, size %llu MiB, %u vCPUs", (unsigned)capsule->id,
             config->name, (unsigned long long)capsule->pieces[0].host.at,
             (unsigned long long)(capsule->ram.size / MIB), (unsigned)config->vcpus);
    log_info("Supervisor kernel entry: 0x%llx", (unsigned long long)capsule->plan.entry);
    capsule->isolation->describe(capsule);
    *result = capsule;
    return DX_OK;
}
