/* SPDX-License-Identifier: MIT
 *
 * Isolation by the H extension: stage-2 tables map the guest's physical addresses to wherever its RAM lies in the host,
 * and nothing else. They are built whole when the capsule is made. PMP behind them admits the same RAM once more, and
 * the tables for the hart's own walks.
 */
#include <string.h>

#include "core/log.h"
#include "core/memory.h"
#include "isolation/isolation.h"
#include "isolation/pmp_wall.h"
#include "isolation/stage2.h"

#define RAM_BASE UINT64_C(0x80000000) /* unless the manifest says otherwise */
#define GIGAPAGE ((uint64_t)1 << 30)

/* VMIDs are given out in turn. When all have been, a new generation begins: each hart forgets all translations before
 * it uses a VMID of a generation that is new to it. Without VMIDs every entry is a generation of its own. */
static struct {
    struct spinlock lock;
    uint64_t generation; /* 0: none was given out yet */
    unsigned next;
    unsigned count; /* how many there are */
} vmids;

static bool serves(const struct hart *hart)
{
    return hart->arch.is_virtual != 0 && stage2_mode_least(XLEN, hart->features.stage2_modes) != NULL;
}

/* --- RAM --------------------------------------------------------------------------------------------------------- */

/* In one piece, where the largest pages fit. */
static bool take_one(uint64_t size, struct ram_piece *piece)
{
    const uint64_t small = is_power_of_two(size) ? MAX(size, (uint64_t)PAGE_SIZE) : (uint64_t)PAGE_SIZE;
    struct range taken;
    if (!(size >= GIGAPAGE && memory_take(size, GIGAPAGE, &taken)) &&
        !memory_take(size, size >= RAM_ALIGN ? (uint64_t)RAM_ALIGN : small, &taken) &&
        !memory_take(size, PAGE_SIZE, &taken)) {
        return false;
    }
    *piece = (struct ram_piece){.size = taken.size, .host = {taken.base}};
    return true;
}

/* In as few pieces as there must be, with edges at multiples of RAM_ALIGN for the guest as well as for the host. False,
 * with what was taken in place, if that can't be. */
static bool take_several(struct capsule *capsule, uint64_t size)
{
    uint64_t offset = 0;
    if (size % RAM_ALIGN != 0 || capsule->ram.base % RAM_ALIGN != 0) {
        return false;
    }
    while (offset < size && capsule->piece_count < RAM_PIECES_MAX) {
        struct range taken;
        if (!memory_take_most(size - offset, RAM_ALIGN, &taken)) {
            return false;
        }
        capsule->pieces[capsule->piece_count++] = (struct ram_piece){offset, taken.size, {taken.base}};
        offset += taken.size;
    }
    return offset == size;
}

static void release_ram(struct capsule *capsule)
{
    for (size_t n = 0; n < capsule->piece_count; n++) {
        memory_give((struct range){capsule->pieces[n].host.at, capsule->pieces[n].size});
    }
    capsule->piece_count = 0;
}

static enum dx_error take_ram(struct capsule *capsule, struct refusal *refusal)
{
    const struct capsule_config *config = &capsule->config;
    capsule->ram = (struct range){config->has_memory_base ? config->memory_base : RAM_BASE, config->memory};
    if (take_one(config->memory, &capsule->pieces[0])) {
        capsule->piece_count = 1;
        return DX_OK;
    }
    if (take_several(capsule, config->memory)) {
        return DX_OK;
    }
    release_ram(capsule);
    return refuse(refusal, DX_NO_MEMORY, "%s: memory of %llu MiB does not fit into %d pieces: %llu MiB are free",
                  config->name, (unsigned long long)(config->memory / MIB), (int)RAM_PIECES_MAX,
                  (unsigned long long)(memory_free_bytes() / MIB));
}

/* --- stage 2 ----------------------------------------------------------------------------------------------------- */

static uint64_t power_of_two_from(uint64_t size)
{
    uint64_t power = STAGE2_ROOT_SIZE;
    while (power < size) {
        power *= 2;
    }
    return power;
}

static struct stage2_tables tables_of(const struct capsule *capsule)
{
    const hpa_t at = {capsule->stage2.memory.base};
    return (struct stage2_tables){
        .memory = hpa_pointer(at), .at = at, .size = capsule->stage2.memory.size, .used = capsule->stage2.used};
}

static enum dx_error build_tables(struct capsule *capsule, struct refusal *refusal)
{
    const struct stage2_mode *mode = stage2_mode_find(XLEN, isolation_stage2_modes(), range_last(capsule->ram));
    if (mode == NULL) {
        return refuse(refusal, DX_BAD_VALUE, "%s: memory-base: no stage-2 mode of this machine reaches 0x%llx",
                      capsule->config.name, (unsigned long long)range_last(capsule->ram));
    }
    const uint64_t room =
        power_of_two_from(stage2_room(mode, capsule->ram.base, capsule->pieces, capsule->piece_count));
    if (!memory_take_high(room, room, &capsule->stage2.memory)) {
        return refuse(refusal, DX_NO_MEMORY, "%s: no memory for %llu KiB of stage-2 tables", capsule->config.name,
                      (unsigned long long)(room / KIB));
    }
    struct stage2_tables tables = tables_of(capsule);
    memset(tables.memory, 0, (size_t)room);
    stage2_build(mode, capsule->ram.base, capsule->pieces, capsule->piece_count, &tables);
    capsule->stage2.mode = mode;
    capsule->stage2.used = tables.used;
    return DX_OK;
}

/* Of the harts together: the fewest. */
static unsigned vmid_bits(void)
{
    unsigned bits = 16;
    for (uint32_t n = 0; n < hart_count; n++) {
        bits = harts[n]->arch.is_virtual != 0 ? MIN(bits, harts[n]->features.vmid_bits) : bits;
    }
    return bits;
}

static enum dx_error prepare(struct capsule *capsule, struct refusal *refusal)
{
    vmids.count = 1U << vmid_bits();
    enum dx_error error = build_tables(capsule, refusal);
    return error != DX_OK ? error : pmp_wall_plan(capsule, refusal);
}

static void release(struct capsule *capsule)
{
    release_ram(capsule);
    if (capsule->stage2.memory.size != 0) {
        memset(hpa_pointer((hpa_t){capsule->stage2.memory.base}), 0, (size_t)capsule->stage2.memory.size);
        memory_give(capsule->stage2.memory);
        capsule->stage2.memory.size = 0;
    }
}

static void describe(const struct capsule *capsule)
{
    log_info(
        "Capsule %u (%s): isolation hyp, guest-physical RAM base 0x%llx, %u piece%s, %llu KiB of %s tables, %u PMP "
        "entries",
        (unsigned)capsule->id, capsule->config.name, (unsigned long long)capsule->ram.base,
        (unsigned)capsule->piece_count, capsule->piece_count == 1 ? "" : "s",
        (unsigned long long)(capsule->stage2.memory.size / KIB), capsule->stage2.mode->name,
        (unsigned)capsule->pmp.count);
}

/* --- entering ---------------------------------------------------------------------------------------------------- */

/* The capsule's VMID, a new one if its generation is over. Returns the present generation. */
static uint64_t take_vmid(struct capsule *capsule, unsigned *vmid)
{
    spinlock_take(&vmids.lock);
    const bool none_yet = vmids.generation == 0;
    if (none_yet || capsule->stage2.generation != vmids.generation || vmids.count == 1) {
        if (none_yet || vmids.next >= vmids.count) {
            vmids.generation++;
            vmids.next = 0;
        }
        capsule->stage2.vmid = vmids.next++;
        capsule->stage2.generation = vmids.generation;
    }
    *vmid = capsule->stage2.vmid;
    const uint64_t generation = vmids.generation;
    spinlock_release(&vmids.lock);
    return generation;
}

/* No vCPU is loaded, so vsatp is 0 and nothing walks the tables of the one by the rules of the other. */
static void enter(struct hart *hart, struct capsule *capsule)
{
    unsigned vmid;
    const uint64_t generation = take_vmid(capsule, &vmid);
    arch_stage2_load(arch_stage2_word(capsule->stage2.mode->hgatp_mode, vmid, (hpa_t){capsule->stage2.memory.base}));
    if (hart->vmid_generation != generation) {
        hart->vmid_generation = generation;
        arch_fence_stage2();
    }
    pmp_wall_enter(hart, capsule);
}

static void verify(const struct hart *hart, const struct capsule *capsule)
{
    /* Any VMID is good: another hart may have given the capsule a new one since. */
    const unsigned long vmid = arch_stage2_word(0, vmids.count - 1, (hpa_t){0});
    const hpa_t root = {capsule->stage2.memory.base};
    assert((arch_stage2_read() & ~vmid) == arch_stage2_word(capsule->stage2.mode->hgatp_mode, 0, root));
    pmp_wall_verify(hart, capsule);
}

static bool maps(const struct capsule *capsule, uint64_t address)
{
    const struct stage2_tables tables = tables_of(capsule);
    struct stage2_leaf leaf;
    return stage2_lookup(capsule->stage2.mode, &tables, (gpa_t){address}, &leaf);
}

/* What VS-mode reaches through stage 2 ends where RAM ends; then PMP once more, as if stage 2 had failed. The tables
 * are read too: while PMP stands, a load beside RAM fails whatever they say. */
static enum dx_error self_test(struct hart *hart, struct capsule *capsule, hpa_t other, struct refusal *refusal)
{
    const uint64_t first = capsule->ram.base;
    const uint64_t last = range_last(capsule->ram);
    enter(hart, capsule);
    hart->protected_for = 0; /* whatever runs next loads its own */
    if (last <= UINTPTR_MAX && (!arch_virtual_can_load((gpa_t){first}) || !arch_virtual_can_load((gpa_t){last}))) {
        return refuse(refusal, DX_NO_HYP, "hart %lu: stage 2 stops VS-mode in the capsule's own RAM", hart->arch.id);
    }
    if ((first != 0 && first - 1 <= UINTPTR_MAX && arch_virtual_can_load((gpa_t){first - 1})) ||
        (last < UINTPTR_MAX && arch_virtual_can_load((gpa_t){last + 1})) || maps(capsule, first - 1) ||
        maps(capsule, last + 1)) {
        return refuse(refusal, DX_NO_HYP, "hart %lu: stage 2 does not stop VS-mode beside the capsule's RAM",
                      hart->arch.id);
    }
    return pmp_wall_test(hart, capsule, other, refusal);
}

const struct isolation_ops isolation_hyp = {
    .name = "hyp",
    .serves = serves,
    .take_ram = take_ram,
    .prepare = prepare,
    .release = release,
    .describe = describe,
    .enter = enter,
    .verify = verify,
    .self_test = self_test,
};
