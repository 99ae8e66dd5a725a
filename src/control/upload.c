/* SPDX-License-Identifier: MIT
 *
 * Images that managers send: see upload.h.
 */
#include "control/upload.h"

#include <string.h>

#include "control/launch.h"
#include "control/stretch.h"
#include "core/capsules.h"
#include "core/quota.h"
#include "manifest/bounded.h"
#include "manifest/manifest.h"

enum dx_error (*upload_make)(struct capsule_config *config, struct capsule **made, struct refusal *refusal);

/* All that such a capsule costs, with its image. */
static struct charge charge_for(const struct capsule_config *config, uint64_t image)
{
    struct charge charge = quota_of(config);
    charge.pages = (uint32_t)MIN(charge.pages + align_up(image, PAGE_SIZE) / PAGE_SIZE, (uint64_t)UINT32_MAX);
    return charge;
}

enum dx_error upload_begin(struct upload *upload, struct capsule *manager, const struct dx_control_create *wanted,
                           struct refusal *refusal)
{
    static const uint64_t bytes_max = (uint64_t)UINT32_MAX * PAGE_SIZE;
    if (manager->config.quota.pages == 0 || upload_make == NULL) {
        return refuse(refusal, DX_DENIED,
                      "create: this manager has no quota-memory in the manifest, so it makes no capsules");
    }
    if (wanted->bytes == 0 || wanted->bytes > bytes_max || wanted->memory > bytes_max) {
        return refuse(refusal, DX_BAD_VALUE, "create: bytes, memory: %llu and %llu can't be",
                      (unsigned long long)wanted->bytes, (unsigned long long)wanted->memory);
    }
    if (wanted->vcpus > CAPSULE_VCPUS_MAX || wanted->reserved != 0) {
        return refuse(refusal, DX_BAD_VALUE, "create: vcpus, reserved: at most %d, and 0", (int)CAPSULE_VCPUS_MAX);
    }
    const struct charge charge =
        charge_for(&(struct capsule_config){.memory = wanted->memory, .vcpus = wanted->vcpus}, wanted->bytes);
    enum dx_error error = quota_charge(manager, charge, refusal);
    if (error != DX_OK) {
        return error;
    }
    if (!kept_take(&upload->image, wanted->bytes)) {
        quota_give_back(manager->id, charge);
        return refuse(refusal, DX_NO_MEMORY, "create: the machine has no %llu KiB left in one piece for the image",
                      (unsigned long long)(wanted->bytes / KIB));
    }
    upload->charged = charge;
    upload->size = wanted->bytes;
    upload->received = 0;
    upload->state = UPLOAD_RECEIVES;
    return DX_OK;
}

size_t upload_take(struct upload *upload, const uint8_t *bytes, size_t length)
{
    const size_t part = (size_t)MIN((uint64_t)length, upload->size - upload->received);
    memcpy(kept_bytes(&upload->image) + upload->received, bytes, part);
    upload->received += part;
    if (upload->received == upload->size) {
        upload->state = UPLOAD_COMPLETE;
    }
    return part;
}

/* --- what it may ask for -------------------------------------------------------------------------------------------
 */

static enum dx_error denied(const struct capsule_config *config, const char *what, struct refusal *refusal)
{
    return refuse(refusal, DX_DENIED, "capsule %s: %s: only a manager that manages all may give that", config->name,
                  what);
}

static enum dx_error check_rights(const struct capsule *owner, const struct capsule_config *config,
                                  struct refusal *refusal)
{
    if (config->priority > owner->config.priority) {
        return refuse(refusal, DX_DENIED, "capsule %s: priority: no more than this manager's own, %u", config->name,
                      (unsigned)owner->config.priority);
    }
    if (config->weight > owner->config.weight) {
        return refuse(refusal, DX_DENIED, "capsule %s: weight: no more than this manager's own, %u", config->name,
                      (unsigned)owner->config.weight);
    }
    if (owner->config.manages_all) {
        return DX_OK;
    }
    if (config->manages_all) {
        return denied(config, "manages", refusal);
    }
    if (config->dedicated) {
        return denied(config, "dedicated", refusal);
    }
    if (config->has_memory_base) {
        return denied(config, "memory-base", refusal);
    }
    for (uint32_t n = 0; n < config->device_count; n++) {
        const struct device_config *device = &config->devices[n];
        if (!stretch_is_granted(owner, device)) {
            return refuse(refusal, DX_DENIED,
                          "capsule %s: %s: no more than this manager has for-capsules, unless it manages all",
                          config->name, device->name);
        }
    }
    return DX_OK;
}

/* The one capsule of a manifest that a guest has sent. */
static enum dx_error read_manifest(struct blob blob, struct capsule_config *config, struct refusal *refusal)
{
    struct manifest manifest;
    enum dx_error error = manifest_bounded(blob, refusal);
    if (error == DX_OK) {
        error = manifest_open(&manifest, blob.bytes, blob.length, refusal);
    }
    if (error != DX_OK) {
        return error;
    }
    unsigned count = 0;
    for (int cursor = 0; count < 2 && manifest_next(&manifest, &cursor, config, refusal, &error); count++) {
        if (error != DX_OK) {
            return error;
        }
    }
    if (count != 1 || manifest.networks >= 0) {
        return refuse(refusal, DX_BAD_VALUE, "create: it must have one capsule, and no networks");
    }
    int cursor = 0;
    return manifest_next(&manifest, &cursor, config, refusal, &error) ? error : DX_BAD_VALUE;
}

static void count_one(struct capsule *capsule, void *count)
{
    (void)capsule;
    ++*(unsigned *)count;
}

/* As many as a manifest may have: the terminal, and what keeps account of memory, have room for no more. */
static enum dx_error check_count(const struct capsule_config *config, struct refusal *refusal)
{
    unsigned count = 0;
    capsules_each(count_one, &count);
    return count < CAPSULES_MAX ? DX_OK
                                : refuse(refusal, DX_TOO_MANY,
                                         "%s: there are %u capsules, which is the limit: destroy "
                                         "one first",
                                         config->name, count);
}

static enum dx_error make(struct upload *upload, struct capsule *owner, uint32_t *id, struct refusal *refusal)
{
    static struct capsule_config config; /* large; launch_begin's lock guards it */
    const struct blob blob = {kept_bytes(&upload->image), (size_t)upload->size};
    enum dx_error error = read_manifest(blob, &config, refusal);
    if (error == DX_OK) {
        error = check_rights(owner, &config, refusal);
    }
    if (error == DX_OK) {
        error = check_count(&config, refusal);
    }
    if (error == DX_OK && capsule_find(config.name) != NULL) {
        error = refuse(refusal, DX_DUPLICATE, "%s: it exists already", config.name);
    }
    if (error != DX_OK) {
        return error;
    }
    quota_give_back(owner->id, upload->charged); /* for what it really costs instead */
    upload->charged = (struct charge){0};
    const struct charge charge = charge_for(&config, upload->size);
    error = quota_charge(owner, charge, refusal);
    if (error != DX_OK) {
        return error;
    }
    upload->charged = charge;
    config.manual = true;
    config.origin = (struct capsule_origin){.creator = owner->id, .charged = charge, .image = upload->image};
    struct capsule *made;
    error = upload_make(&config, &made, refusal);
    if (error == DX_OK) {
        *id = made->id;
    }
    return error;
}

enum dx_error upload_finish(struct upload *upload, struct capsule *manager, uint32_t *id, struct refusal *refusal)
{
    upload->state = UPLOAD_DROPS;
    if (!launch_begin()) {
        return refuse(refusal, DX_WRONG_STATE, "create: another capsule is just being made: try it again");
    }
    enum dx_error error = make(upload, manager, id, refusal);
    launch_end();
    if (error == DX_OK) {
        *upload = (struct upload){.state = UPLOAD_NONE};
    }
    return error;
}

void upload_drop(struct upload *upload, const struct capsule *manager)
{
    if (kept_scrub(&upload->image)) {
        quota_give_back(manager->id, upload->charged);
        kept_give(&upload->image);
        *upload = (struct upload){.state = UPLOAD_NONE};
    }
}
