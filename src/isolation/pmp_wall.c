/* SPDX-License-Identifier: MIT
 *
 * PMP walls: see pmp_wall.h. What every hart has from boot on is a wall without a capsule.
 */
#include "isolation/pmp_wall.h"

#include <string.h>

#include "isolation/isolation.h"
#include "isolation/pmp_plan.h"

enum { RULE_GUARD, RULE_HYPERVISOR, RULE_TABLES, RULE_RAM, RULES = RULE_RAM + RAM_PIECES_MAX };

static struct range hypervisor_image;
static struct range sample_guard; /* any hart's: all have the same form */

/* capsule NULL: nothing but the guard and the image. */
static enum dx_error plan(const struct pmp_features *features, struct range guard, const struct capsule *capsule,
                          struct pmp_image *image, struct refusal *refusal)
{
    struct pmp_rule rules[RULES] = {
        [RULE_GUARD] = {guard, 0},
        [RULE_HYPERVISOR] = {hypervisor_image, 0},
    };
    if (capsule != NULL) {
        rules[RULE_TABLES] = (struct pmp_rule){capsule->stage2.memory, PMP_R};
        for (size_t n = 0; n < capsule->piece_count; n++) {
            const struct ram_piece *piece = &capsule->pieces[n];
            rules[RULE_RAM + n] = (struct pmp_rule){{piece->host.at, piece->size}, PMP_RWX};
        }
    }
    enum dx_error error = pmp_plan(features, rules, RULES, features->entries, image, refusal);
    if (error == DX_OK) {
        image->config[RULE_GUARD] |= PMP_LOCKED;
    }
    return error;
}

enum dx_error isolation_hart_prepare(struct hart *hart, struct range guard, struct range image, struct refusal *refusal)
{
    const struct hart_features *features = &hart->features;
    if (features->pmp_locked) {
        return refuse(refusal, DX_NO_PMP, "hart %lu: an earlier boot stage locked PMP entries", hart->arch.id);
    }
    if (features->hypervisor && !isolation_hyp.serves(hart)) {
        return refuse(refusal, DX_NO_HYP, "hart %lu has the H extension but no stage 2 that is known", hart->arch.id);
    }
    if (features->pmp.entries == 0) {
        return refuse(refusal, DX_NO_PMP, "hart %lu has no PMP entries", hart->arch.id);
    }
    hypervisor_image = image;
    sample_guard = guard;
    enum dx_error error = plan(&features->pmp, guard, NULL, &hart->loaded_image, refusal);
    if (error != DX_OK) {
        return error;
    }
    hart->guard_address = hart->loaded_image.address[RULE_GUARD];
    arch_pmp_load(features, &hart->loaded_image, NULL);
    return DX_OK;
}

static bool same(const struct pmp_image *a, const struct pmp_image *b)
{
    return a->count == b->count && memcmp(a->config, b->config, sizeof(a->config)) == 0 &&
           memcmp(a->address, b->address, sizeof(a->address)) == 0;
}

/* Not inlined: two images are too much for one frame. */
__attribute__((noinline)) static enum dx_error plan_alike(const struct hart *hart, struct capsule *capsule,
                                                          struct refusal *refusal)
{
    struct pmp_image image = {.count = 0};
    enum dx_error error = plan(&hart->features.pmp, sample_guard, capsule, &image, refusal);
    if (error == DX_OK && capsule->pmp.count != 0 && !same(&image, &capsule->pmp)) {
        error = refuse(refusal, DX_NO_PMP, "hart %lu has another kind of PMP than the harts before it", hart->arch.id);
    }
    if (error == DX_OK) {
        capsule->pmp = image;
    }
    return error;
}

enum dx_error pmp_wall_plan(struct capsule *capsule, struct refusal *refusal)
{
    capsule->pmp = (struct pmp_image){.count = 0};
    for (uint32_t n = 0; n < hart_count; n++) {
        if (harts[n]->kind == capsule->hart_kind) {
            enum dx_error error = plan_alike(harts[n], capsule, refusal);
            if (error != DX_OK) {
                return error;
            }
        }
    }
    return DX_OK;
}

void pmp_wall_enter(struct hart *hart, const struct capsule *capsule)
{
    struct pmp_image image = capsule->pmp; /* everyone's but for the guard page */
    image.address[RULE_GUARD] = hart->guard_address;
    arch_pmp_load(&hart->features, &image, &hart->loaded_image);
    hart->loaded_image = image;
}

/* Not inlined, as above. */
__attribute__((noinline)) static void compare_registers(const struct hart *hart, const struct pmp_image *planned)
{
    struct pmp_image found;
    arch_pmp_read(&hart->features, &found);
    for (uint32_t n = 0; n < found.count; n++) {
        assert(found.config[n] == (n < planned->count ? planned->config[n] : 0));
        assert(found.address[n] == (n < planned->count ? planned->address[n] : 0));
    }
}

void pmp_wall_verify(const struct hart *hart, const struct capsule *capsule)
{
    struct pmp_image planned;
    struct refusal refusal;
    enum dx_error error = plan(&hart->features.pmp, sample_guard, capsule, &planned, &refusal);
    assert(error == DX_OK);
    planned.address[RULE_GUARD] = hart->guard_address;
    compare_registers(hart, &planned);
}

static bool in_pieces(const struct capsule *capsule, uint64_t address)
{
    for (size_t n = 0; n < capsule->piece_count; n++) {
        if (range_holds((struct range){capsule->pieces[n].host.at, capsule->pieces[n].size}, address, 1)) {
            return true;
        }
    }
    return false;
}

static enum dx_error must_be_closed(const struct hart *hart, hpa_t address, struct refusal *refusal)
{
    if (!arch_supervisor_can_load(address)) {
        return DX_OK;
    }
    return refuse(refusal, DX_NO_PMP, "hart %lu: PMP does not stop S-mode at 0x%llx", hart->arch.id,
                  (unsigned long long)address.at);
}

/* A piece's own edges are open, the bytes beside it closed, unless they belong to the next piece, to its tables, or to
 * no address. */
static enum dx_error test_edges(const struct hart *hart, const struct capsule *capsule, struct range piece,
                                struct refusal *refusal)
{
    const uint64_t beside[] = {piece.base - 1, range_last(piece) + 1};
    if (!arch_supervisor_can_load((hpa_t){piece.base}) || !arch_supervisor_can_load((hpa_t){range_last(piece)})) {
        return refuse(refusal, DX_NO_PMP, "hart %lu: PMP stops S-mode in the capsule's own RAM", hart->arch.id);
    }
    for (size_t n = 0; n < ARRAY_LENGTH(beside); n++) {
        const bool exists = n == 0 ? piece.base != 0 : beside[n] != 0 && beside[n] <= UINTPTR_MAX;
        if (exists && !in_pieces(capsule, beside[n]) && !range_holds(capsule->stage2.memory, beside[n], 1)) {
            enum dx_error error = must_be_closed(hart, (hpa_t){beside[n]}, refusal);
            if (error != DX_OK) {
                return error;
            }
        }
    }
    return DX_OK;
}

enum dx_error pmp_wall_test(const struct hart *hart, const struct capsule *capsule, hpa_t other,
                            struct refusal *refusal)
{
    const hpa_t closed[] = {{hypervisor_image.base}, {range_last(hypervisor_image)}, {hart->arch.stack_top - 1}, other};
    enum dx_error error = DX_OK;
    for (size_t n = 0; n < ARRAY_LENGTH(closed) && error == DX_OK; n++) {
        error = must_be_closed(hart, closed[n], refusal);
    }
    for (size_t n = 0; n < capsule->piece_count && error == DX_OK; n++) {
        const struct ram_piece *piece = &capsule->pieces[n];
        error = test_edges(hart, capsule, (struct range){piece->host.at, piece->size}, refusal);
    }
    return error;
}
