/* SPDX-License-Identifier: MIT
 *
 * Which isolation a capsule gets, and on which harts.
 */
#include "isolation/isolation.h"

#include "core/log.h"
#include "isolation/stage2.h"

const struct hart *isolation_first_hart(enum hart_kind kind)
{
    uint32_t n = 0;
    while (harts[n]->kind != kind) {
        n++;
        assert(n < hart_count);
    }
    return harts[n];
}

unsigned isolation_stage2_modes(void)
{
    unsigned modes = ~0U;
    for (uint32_t n = 0; n < hart_count; n++) {
        modes &= harts[n]->kind == HART_HYP ? harts[n]->features.stage2_modes : ~0U;
    }
    return modes;
}

static void log_kinds(void)
{
    if (hart_kind_count[HART_HYP] != 0) {
        const struct stage2_mode *mode = stage2_mode_least(XLEN, isolation_stage2_modes());
        log_info("Isolation: hyp (%s)%s", mode == NULL ? "no common mode" : mode->name,
                 hart_kind_count[HART_PMP] != 0 ? ", on the harts that have H" : "");
    }
    if (hart_kind_count[HART_PMP] != 0) {
        const struct pmp_features *pmp = &isolation_first_hart(HART_PMP)->features.pmp;
        log_info("Isolation: pmp (%u entries, %llu-byte granule)%s", (unsigned)pmp->entries, 1ULL << pmp->granule_log,
                 hart_kind_count[HART_HYP] != 0 ? ", on the other harts" : "");
    }
    if (hart_kind_count[HART_HYP] != 0 && hart_kind_count[HART_PMP] != 0) {
        log_info("Isolation: %u of %u harts serve capsules in hyp, the rest those in pmp",
                 (unsigned)hart_kind_count[HART_HYP], (unsigned)hart_count);
    }
}

void isolation_start(bool mixed)
{
    hart_kind_count[HART_PMP] = hart_kind_count[HART_HYP] = 0;
    for (uint32_t n = 0; n < hart_count; n++) {
        const bool hides = mixed && n % 2 != 0;
        harts[n]->kind = isolation_hyp.serves(harts[n]) && !hides ? HART_HYP : HART_PMP;
        hart_kind_count[harts[n]->kind]++;
    }
    log_kinds();
}

enum isolation_wish isolation_default(void)
{
    return hart_kind_count[HART_HYP] != 0 ? ISOLATION_HYP : ISOLATION_PMP;
}

enum dx_error isolation_choose(struct capsule *capsule, struct refusal *refusal)
{
    enum isolation_wish wish = capsule->config.isolation;
    wish = wish == ISOLATION_AUTO ? isolation_default() : wish;
    if (wish == ISOLATION_HYP && hart_kind_count[HART_HYP] == 0) {
        return refuse(refusal, DX_NO_HYP, "%s: isolation \"hyp\", but no hart has the H extension",
                      capsule->config.name);
    }
    capsule->isolation = wish == ISOLATION_HYP ? &isolation_hyp : &isolation_pmp;
    capsule->hart_kind = wish == ISOLATION_HYP || hart_kind_count[HART_PMP] == 0 ? HART_HYP : HART_PMP;
    return DX_OK;
}
