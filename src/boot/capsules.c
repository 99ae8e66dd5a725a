/* SPDX-License-Identifier: MIT
 *
 * From the manifest to running capsules.
 */
#include "boot/boot.h"

#include <string.h>

#include "core/log.h"
#include "core/panic.h"
#include "dt/guest_isa.h"
#include "isolation/isolation.h"
#include "manifest/manifest.h"
#include "monitor/terminal.h"

enum { ZKR_BYTES = 32 };

static struct manifest manifest;

void boot_seed(void)
{
    uint8_t noise[ZKR_BYTES];
    bool seeded = boot_machine.seed_length != 0;
    launch_seed(boot_machine.seed, boot_machine.seed_length);
    if (boot_hart.features.zkr && arch_entropy(noise, sizeof(noise))) {
        launch_seed(noise, sizeof(noise));
        seeded = true;
    }
    /* Never enough by themselves, but they make two boots with the same seed differ. */
    const uint64_t moments[] = {clock_now(), arch_cycles()};
    launch_seed((const uint8_t *)moments, sizeof(moments));
    if (!seeded) {
        log_alert("No entropy: the host tree has no rng-seed and the harts no Zkr. Guests' rng-seeds can be guessed");
    }
}

/* vlenb is the longest of all: a guest that isn't told of vectors can still switch them on, where the hart has them, so
 * they are moved with the vCPU all the same. */
static void keep_common(struct hart_features *common, const struct hart_features *features)
{
    common->vector &= features->vector && features->vlenb == common->vlenb;
    common->vlenb = MAX(common->vlenb, features->vlenb);
    common->sstc &= features->sstc;
    common->zicbom &= features->zicbom;
    common->zicboz &= features->zicboz;
    common->svpbmt &= features->svpbmt;
    common->svadu &= features->svadu;
    common->svinval &= features->svinval;
}

/* A guest that is told of no block size doesn't use the blocks. */
static void keep_block_sizes(struct launch_kind *common, const struct machine_hart *hart)
{
    common->cbom_block_size = hart->cbom_block_size == common->cbom_block_size ? common->cbom_block_size : 0;
    common->cboz_block_size = hart->cboz_block_size == common->cboz_block_size ? common->cboz_block_size : 0;
    common->cbop_block_size = hart->cbop_block_size == common->cbop_block_size ? common->cbop_block_size : 0;
}

/* What all harts of a kind have: a capsule may run on any of them. */
static void describe_kind(enum hart_kind kind, struct launch_kind *common)
{
    bool first = true;
    for (uint32_t n = 0; n < hart_count; n++) {
        const struct hart *hart = harts[n];
        if (hart->kind != kind) {
            continue;
        }
        if (first) {
            common->features = hart->features;
            memcpy(common->isa, hart->tree->isa, sizeof(common->isa));
            memcpy(common->mmu_type, hart->tree->mmu_type, sizeof(common->mmu_type));
            common->cbom_block_size = hart->tree->cbom_block_size;
            common->cboz_block_size = hart->tree->cboz_block_size;
            common->cbop_block_size = hart->tree->cbop_block_size;
            first = false;
            continue;
        }
        keep_common(&common->features, &hart->features);
        isa_keep_common(common->isa, hart->tree->isa);
        keep_block_sizes(common, hart->tree);
        if (strcmp(hart->tree->mmu_type, common->mmu_type) < 0) {
            memcpy(common->mmu_type, hart->tree->mmu_type, sizeof(common->mmu_type));
        }
    }
}

/* What a guest was told, or started with, can't change when it moves to another hart. */
static void level_harts(const struct launch_host *host)
{
    for (uint32_t n = 0; n < hart_count; n++) {
        const struct hart_features *common = &host->kinds[harts[n]->kind].features;
        harts[n]->features.sstc = common->sstc;
        harts[n]->features.svadu = common->svadu;
        harts[n]->features.svpbmt = common->svpbmt;
    }
}

static void refused(const struct refusal *refusal)
{
    log_alert("Capsule refused: %s (%s; %s)", refusal->text, error_cause(refusal->error), error_cure(refusal->error));
}

/* A host address that no capsule but another may reach. */
static hpa_t outside(const struct capsule *capsule)
{
    hpa_t other = {(uintptr_t)manifest.blob};
    for (const struct capsule *another = capsules; another != NULL; another = another->next) {
        if (another != capsule) {
            other = another->pieces[0].host;
        }
    }
    return other;
}

void boot_test_isolation(struct hart *hart)
{
    struct refusal refusal;
    for (struct capsule *capsule = capsules; capsule != NULL; capsule = capsule->next) {
        if (capsule->hart_kind == hart->kind &&
            capsule->isolation->self_test(hart, capsule, outside(capsule), &refusal) != DX_OK) {
            halt_machine("Isolation self-test failed for %s: %s", capsule->config.name, refusal.text);
        }
    }
}

static void create(const struct capsule_config *config, const struct boot_options *options)
{
    struct capsule_config wanted = *config;
    struct capsule *capsule;
    struct refusal refusal;
    if (options->isolation != ISOLATION_AUTO && wanted.isolation == ISOLATION_AUTO) {
        wanted.isolation = options->isolation;
    }
    if (capsule_create(&wanted, &capsule, &refusal) != DX_OK) {
        refused(&refusal);
        return;
    }
    terminal_attach(capsule);
}

static void create_all(const struct boot_options *options)
{
    int cursor = 0;
    struct capsule_config config;
    struct refusal refusal;
    enum dx_error error;
    while (manifest_next(&manifest, &cursor, &config, &refusal, &error)) {
        if (error == DX_OK) {
            create(&config, options);
        } else {
            refused(&refusal);
        }
    }
}

/* Whether there was any to start: manual ones wait for somebody to start them, and so far nobody can. */
static bool start_all(void)
{
    bool any = false;
    for (struct capsule *capsule = capsules; capsule != NULL; capsule = capsule->next) {
        if (!capsule->config.manual) {
            capsule_start(capsule);
            any = true;
        }
    }
    return any;
}

void boot_create_capsules(struct blob blob, const struct boot_options *options)
{
    static struct launch_host host;
    struct refusal refusal;
    if (blob.length == 0) {
        halt_machine("There is no manifest: give one as the initrd, or build one in with make image MANIFEST=");
    }
    if (manifest_open(&manifest, blob.bytes, blob.length, &refusal) != DX_OK) {
        halt_machine("Manifest refused: %s (%s; %s)", refusal.text, error_cause(refusal.error),
                     error_cure(refusal.error));
    }
    manifest.places_are_physical =
        (options->isolation == ISOLATION_AUTO ? isolation_default() : options->isolation) == ISOLATION_PMP;
    host.machine = &boot_machine;
    describe_kind(HART_PMP, &host.kinds[HART_PMP]);
    describe_kind(HART_HYP, &host.kinds[HART_HYP]);
    level_harts(&host);
    launch_init(&host);
    create_all(options);
    if (capsules == NULL) {
        log_alert("No capsule of the manifest could be made");
    }
    if (!start_all()) {
        boot_all_stopped();
    }
}
