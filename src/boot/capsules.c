/* SPDX-License-Identifier: MIT
 *
 * From the manifest to running capsules.
 */
#include "boot/boot.h"

#include <string.h>

#include "control/upload.h"
#include "control/watch.h"
#include "core/capsules.h"
#include "core/log.h"
#include "core/network.h"
#include "core/panic.h"
#include "driver/host_net.h"
#include "dt/guest_isa.h"
#include "isolation/isolation.h"
#include "manifest/manifest.h"
#include "monitor/terminal.h"

enum { ZKR_BYTES = 32 };

static struct manifest manifest;
static enum isolation_wish wish; /* of those that ask for none */

void boot_seed(bool seeded)
{
    uint8_t noise[ZKR_BYTES];
    launch_seed(boot_machine.seed, boot_machine.seed_length);
    seeded |= boot_machine.seed_length != 0;
    if (boot_hart.features.zkr && arch_entropy(noise, sizeof(noise))) {
        launch_seed(noise, sizeof(noise));
        seeded = true;
    }
    /* Never enough by themselves, but they make two boots with the same seed differ. */
    const uint64_t moments[] = {clock_now(), arch_cycles()};
    launch_seed((const uint8_t *)moments, sizeof(moments));
    if (seeded) {
        launch_trust_seed();
    } else {
        log_alert("No entropy: the host tree has no rng-seed, the harts have no Zkr, and no virtio device gives any. "
                  "Guests' rng-seeds can be guessed");
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
struct stranger {
    const struct capsule *capsule;
    hpa_t address;
};

static void look_for_stranger(struct capsule *other, void *argument)
{
    struct stranger *stranger = argument;
    if (other != stranger->capsule) {
        stranger->address = other->pieces[0].host;
    }
}

/* Before the capsule's first vCPU on this hart: whether it is really confined here. */
static void prove(struct hart *hart, struct capsule *capsule)
{
    struct refusal refusal;
    struct stranger stranger = {capsule, {(uintptr_t)manifest.blob}};
    capsules_each(look_for_stranger, &stranger);
    if (capsule->isolation->self_test(hart, capsule, stranger.address, &refusal) != DX_OK) {
        halt_machine("Isolation self-test failed for %s: %s", capsule->config.name, refusal.text);
    }
    hart_set_add(&capsule->proven, hart->index);
}

void boot_test_isolation(struct hart *hart)
{
    for (struct capsule *capsule = capsule_after(0); capsule != NULL; capsule = capsule_after(capsule->id)) {
        if (capsule->hart_kind == hart->kind) {
            prove(hart, capsule);
        }
    }
}

static enum dx_error create(struct capsule_config *config, struct capsule **capsule, struct refusal *refusal)
{
    if (wish != ISOLATION_AUTO && config->isolation == ISOLATION_AUTO) {
        config->isolation = wish;
    }
    enum dx_error error = capsule_create(config, capsule, refusal);
    if (error == DX_OK) {
        terminal_attach(*capsule);
    }
    return error;
}

static enum dx_error create_network(const struct network_config *config, struct refusal *refusal)
{
    if (network_find(config->name) != NULL) {
        return refuse(refusal, DX_DUPLICATE, "network %s: another one has this name", config->name);
    }
    struct host_net *uplink = config->uplink == NULL ? NULL : host_net_find(config->uplink);
    if (config->uplink != NULL && uplink == NULL) {
        return refuse(refusal, DX_NOT_FOUND,
                      "network %s: uplink: there is no network device at %s, or another network has it", config->name,
                      config->uplink);
    }
    struct network *network = network_add(config->name, config->mtu);
    if (network == NULL) {
        return refuse(refusal, DX_TOO_MANY, "network %s: there are %d already", config->name, (int)NETWORKS_MAX);
    }
    return uplink == NULL ? DX_OK : host_net_join(uplink, network, refusal);
}

static void create_networks(void)
{
    int cursor = 0;
    struct network_config config;
    struct refusal refusal;
    enum dx_error error;
    while (manifest_next_network(&manifest, &cursor, &config, &refusal, &error)) {
        if (error == DX_OK) {
            error = create_network(&config, &refusal);
        }
        if (error != DX_OK) {
            log_alert("Network refused: %s (%s; %s)", refusal.text, error_cause(error), error_cure(error));
        }
    }
}

static void create_all(void)
{
    static struct capsule_config config; /* large, and there is one boot hart */
    int cursor = 0;
    struct refusal refusal;
    enum dx_error error;
    while (manifest_next(&manifest, &cursor, &config, &refusal, &error)) {
        if (error == DX_OK) {
            struct capsule *capsule;
            error = create(&config, &capsule, &refusal);
        }
        if (error != DX_OK) {
            refused(&refusal);
        }
    }
}

static enum dx_error create_by_name(const char *name, struct refusal *refusal)
{
    int cursor = 0;
    struct capsule_config config;
    struct capsule *capsule;
    enum dx_error error;
    if (capsule_find(name) != NULL) {
        return refuse(refusal, DX_DUPLICATE, "%s: it exists already", name);
    }
    while (manifest_next(&manifest, &cursor, &config, refusal, &error)) {
        if (strcmp(config.name, name) == 0) {
            return error != DX_OK ? error : create(&config, &capsule, refusal);
        }
    }
    return refuse(refusal, DX_NOT_FOUND, "the manifest has no capsule %s", name);
}

enum dx_error boot_create_capsule(const char *name, struct refusal *refusal)
{
    if (!launch_begin()) {
        return refuse(refusal, DX_WRONG_STATE, "another capsule is just being made: try it again");
    }
    enum dx_error error = create_by_name(name, refusal);
    launch_end();
    return error;
}

/* Manual ones wait for somebody to start them. Other harts run what has been started, and some of that may be over
 * before the last one begins: only then is it time to ask whether anything is left. */
void boot_start_capsules(void)
{
    for (struct capsule *capsule = capsule_after(0); capsule != NULL; capsule = capsule_after(capsule->id)) {
        if (!capsule->config.manual) {
            capsule_start(capsule);
        }
    }
    capsule_set_idle(boot_all_stopped);
    capsule_look_idle();
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
    wish = options->isolation;
    host.machine = &boot_machine;
    host.prove = prove;
    host.detach = terminal_detach;
    describe_kind(HART_PMP, &host.kinds[HART_PMP]);
    describe_kind(HART_HYP, &host.kinds[HART_HYP]);
    level_harts(&host);
    launch_init(&host);
    upload_make = create;
    watch_init();
    create_networks();
    create_all();
    if (capsule_after(0) == NULL) {
        log_alert("No capsule of the manifest could be made");
    }
}
