/* SPDX-License-Identifier: MIT
 *
 * From the manifest to running capsules.
 */
#include "boot/boot.h"

#include "core/log.h"
#include "core/panic.h"
#include "isolation/isolation.h"
#include "manifest/manifest.h"
#include "monitor/terminal.h"

enum { ZKR_BYTES = 32, ISA_MAX = MACHINE_ISA_MAX };

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

/* What every usable hart has; capsules may run on any of them. vlenb is the longest of all: a guest that isn't told of
 * vectors can still switch them on, where the hart has them, so they are moved with the vCPU all the same. */
static const struct hart_features *common_features(void)
{
    static struct hart_features common;
    common = harts[0]->features;
    for (uint32_t n = 1; n < hart_count; n++) {
        const struct hart_features *features = &harts[n]->features;
        common.vector &= features->vector && features->vlenb == common.vlenb;
        common.vlenb = MAX(common.vlenb, features->vlenb);
        common.sstc &= features->sstc;
        common.menvcfg &= features->menvcfg;
    }
    for (uint32_t n = 0; n < hart_count; n++) {
        harts[n]->features.sstc = common.sstc; /* a guest's timer can't change its kind when it moves */
    }
    return &common;
}

static void refused(const struct refusal *refusal)
{
    log_alert("Capsule refused: %s (%s; %s)", refusal->text, error_cause(refusal->error), error_cure(refusal->error));
}

static void test_isolation(const struct capsule *capsule, const struct manifest *manifest)
{
    struct refusal refusal;
    hpa_t other = {(uintptr_t)manifest->blob};
    for (const struct capsule *another = capsules; another != NULL; another = another->next) {
        if (another != capsule) {
            other.at = another->ram.base;
        }
    }
    if (pmp_self_test(&boot_hart, capsule, other, &refusal) != DX_OK) {
        halt_machine("Isolation self-test failed for %s: %s", capsule->config.name, refusal.text);
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

static void create_all(const struct manifest *manifest, const struct boot_options *options)
{
    int cursor = 0;
    struct capsule_config config;
    struct refusal refusal;
    enum dx_error error;
    while (manifest_next(manifest, &cursor, &config, &refusal, &error)) {
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
    struct manifest manifest;
    struct refusal refusal;
    static struct launch_host host;
    if (blob.length == 0) {
        halt_machine("There is no manifest: give one as the initrd, or build one in with make image MANIFEST=");
    }
    if (manifest_open(&manifest, blob.bytes, blob.length, &refusal) != DX_OK) {
        halt_machine("Manifest refused: %s (%s; %s)", refusal.text, error_cause(refusal.error),
                     error_cure(refusal.error));
    }
    host = (struct launch_host){
        .machine = &boot_machine,
        .isa = harts[0]->tree->isa,
        .mmu_type = harts[0]->tree->mmu_type,
        .features = common_features(),
    };
    launch_init(&host);
    create_all(&manifest, options);
    if (capsules == NULL) {
        log_alert("No capsule of the manifest could be made");
    }
    for (struct capsule *capsule = capsules; capsule != NULL; capsule = capsule->next) {
        test_isolation(capsule, &manifest);
    }
    if (!start_all()) {
        boot_all_stopped();
    }
}
