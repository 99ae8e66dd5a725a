/* SPDX-License-Identifier: MIT
 *
 * A node inside a capsule's: a device that it asks for.
 */
#include <string.h>

#include <libfdt.h>

#include "manifest/capsule_node.h"
#include "manifest/property.h"

static enum dx_error on_type(const struct reading *r)
{
    (void)r; /* read before all others */
    return DX_OK;
}

static enum dx_error on_data(const struct reading *r)
{
    return property_data(r, &r->device->data, r->value, r->length);
}

static enum dx_error on_data_image(const struct reading *r)
{
    return property_image(r, &r->device->data);
}

static enum dx_error on_source(const struct reading *r)
{
    const char *source = "";
    enum dx_error error = property_string(r, &source);
    if (error != DX_OK) {
        return error;
    }
    if (strncmp(source, "serial:", 7) != 0 && strncmp(source, "path:", 5) != 0 && strncmp(source, "served:", 7) != 0) {
        return property_wrong(r, DX_BAD_VALUE, "must be \"serial:NAME\", \"path:/NODE\" or \"served:NAME\"");
    }
    r->device->source = source;
    return DX_OK;
}

static enum dx_error on_partition(const struct reading *r)
{
    return property_string(r, &r->device->partition);
}

static enum dx_error on_first_sector(const struct reading *r)
{
    return property_number(r, &r->device->first_sector);
}

static enum dx_error on_sectors(const struct reading *r)
{
    return property_number(r, &r->device->sectors);
}

/* Two numbers of 64 bits. */
static enum dx_error on_rate(const struct reading *r)
{
    struct reading part = *r;
    part.length = sizeof(fdt64_t);
    if (r->length != 2 * part.length) {
        return property_wrong(r, DX_BAD_VALUE, "must be /bits/ 64 <BYTES OPERATIONS> a second, has %zu bytes",
                              r->length);
    }
    enum dx_error error = property_number(&part, &r->device->rate.bytes);
    if (error == DX_OK) {
        part.value += part.length;
        error = property_number(&part, &r->device->rate.operations);
    }
    return error;
}

static enum dx_error on_read_only(const struct reading *r)
{
    return property_flag(r, &r->device->read_only);
}

static enum dx_error on_for_capsules(const struct reading *r)
{
    return property_flag(r, &r->device->for_capsules);
}

static enum dx_error on_network(const struct reading *r)
{
    return property_string(r, &r->device->network);
}

static enum dx_error on_isolated(const struct reading *r)
{
    return property_flag(r, &r->device->isolated);
}

/* One that a frame may come from: not a group's, and not nobody's. */
static enum dx_error on_address(const struct reading *r)
{
    static const uint8_t nobody[NETWORK_ADDRESS];
    if (r->length != NETWORK_ADDRESS) {
        return property_wrong(r, DX_BAD_VALUE, "must be 6 bytes, as in [02 00 00 00 00 01], has %zu", r->length);
    }
    if ((r->value[0] & 1) != 0 || memcmp(r->value, nobody, NETWORK_ADDRESS) == 0) {
        return property_wrong(r, DX_BAD_VALUE, "must not be a group's address, or zero; begin it with 02");
    }
    memcpy(r->device->address, r->value, NETWORK_ADDRESS);
    r->device->has_address = true;
    return DX_OK;
}

/* By type: what each property means. */
static const struct property_row disk_rows[] = {
    {"type", on_type},
    {"data", on_data},
    {"data-image", on_data_image},
    {"read-only", on_read_only},
    {"source", on_source},
    {"first-sector", on_first_sector},
    {"sectors", on_sectors},
    {"partition", on_partition},
    {"rate", on_rate},
    {"for-capsules", on_for_capsules},
};
static const struct property_row rng_rows[] = {{"type", on_type}, {"rate", property_reserved}};
static const struct property_row net_rows[] = {
    {"type", on_type},         {"network", on_network}, {"mac-address", on_address},
    {"isolated", on_isolated}, {"rate", on_rate},       {"for-capsules", on_for_capsules},
};
static const struct property_row console_rows[] = {{"type", on_type}};

static enum dx_error read_type(const struct reading *r, int node)
{
    static const struct {
        const char *name;
        enum device_type type;
    } types[] = {{"disk", DEVICE_DISK}, {"rng", DEVICE_RNG}, {"console", DEVICE_CONSOLE}, {"net", DEVICE_NET}};
    int length = 0;
    const char *type = fdt_getprop(r->manifest->blob, node, "type", &length);
    for (unsigned i = 0; type != NULL && i < ARRAY_LENGTH(types); i++) {
        if ((size_t)length == strlen(types[i].name) + 1 && memcmp(type, types[i].name, (size_t)length) == 0) {
            r->device->type = types[i].type;
            return DX_OK;
        }
    }
    return refuse(r->refusal, DX_UNKNOWN, "capsule %s: %s: not a device of a known type", r->config->name,
                  printable(r->device->name).text);
}

static enum dx_error read_properties(struct reading *r, int node)
{
    switch (r->device->type) {
    case DEVICE_DISK:
        return properties_read(r, node, disk_rows, ARRAY_LENGTH(disk_rows));
    case DEVICE_CONSOLE:
        return properties_read(r, node, console_rows, ARRAY_LENGTH(console_rows));
    case DEVICE_NET:
        return properties_read(r, node, net_rows, ARRAY_LENGTH(net_rows));
    case DEVICE_RNG:
    case DEVICE_CONTROL: /* no node's */
        break;
    }
    return properties_read(r, node, rng_rows, ARRAY_LENGTH(rng_rows));
}

/* A capsule has one console, and so one device for it. */
static enum dx_error check_console(const struct reading *r)
{
    for (uint32_t n = 0; n < r->config->device_count; n++) {
        if (r->config->devices[n].type == DEVICE_CONSOLE) {
            return refuse(r->refusal, DX_DUPLICATE, "capsule %s: %s: %s is its console already", r->config->name,
                          r->device->name, r->config->devices[n].name);
        }
    }
    return DX_OK;
}

/* A disk of the machine is given whole, or by its sectors, or by a partition's name. */
static enum dx_error check_source(struct reading *r, bool has_stretch)
{
    r->property = "source";
    if (r->device->data.bytes != NULL) {
        return property_wrong(r, DX_DUPLICATE, "a disk has either a source or data");
    }
    if (has_stretch && r->device->partition != NULL) {
        return property_wrong(r, DX_DUPLICATE, "give sectors or a partition, not both");
    }
    return DX_OK;
}

/* What can only be judged when every property has been read. */
static enum dx_error check_whole(struct reading *r, int node)
{
    const struct device_config *device = r->device;
    r->property = "data";
    if (fdt_first_subnode(r->manifest->blob, node) >= 0) {
        return refuse(r->refusal, DX_UNKNOWN, "capsule %s: %s: must not have nodes inside", r->config->name,
                      device->name);
    }
    if (device->type == DEVICE_CONSOLE) {
        return check_console(r);
    }
    if (device->for_capsules &&
        (!r->config->manager || (device->type == DEVICE_DISK && config_served(device) != NULL) ||
         device->data.bytes != NULL)) {
        r->property = "for-capsules";
        return property_wrong(r, DX_BAD_VALUE, "networks and disks of the machine can be for a manager's capsules");
    }
    if (device->for_capsules &&
        (device->has_address || device->isolated || device->rate.bytes != 0 || device->rate.operations != 0)) {
        r->property = "for-capsules";
        return property_wrong(r, DX_BAD_VALUE, "a mac-address, isolated or rate is said where the device is");
    }
    if (device->type == DEVICE_NET && device->network == NULL) {
        r->property = "network";
        return property_wrong(r, DX_MISSING, "must be the name of one in /networks");
    }
    if (device->type != DEVICE_DISK) {
        return DX_OK;
    }
    const bool has_stretch = device->first_sector != 0 || device->sectors != 0;
    if (device->source != NULL) {
        return check_source(r, has_stretch);
    }
    if (device->data.bytes == NULL) {
        return property_wrong(r, DX_MISSING, "source, data or data-image must be given");
    }
    if (device->rate.bytes != 0 || device->rate.operations != 0) {
        r->property = "rate";
        return property_wrong(r, DX_BAD_VALUE, "a RAM disk has none: its work is done in its capsule's own time");
    }
    if (has_stretch || device->partition != NULL) {
        return property_wrong(r, DX_BAD_VALUE, "a RAM disk has no sectors or partition to choose");
    }
    if (device->data.length % DISK_SECTOR != 0) {
        return property_wrong(r, DX_UNALIGNED, "must be a multiple of %d bytes, has %zu", DISK_SECTOR,
                              device->data.length);
    }
    return DX_OK;
}

static enum dx_error check_name(const struct reading *r)
{
    const struct capsule_config *config = r->config;
    if (!name_allowed(r->device->name)) {
        return refuse(r->refusal, DX_BAD_VALUE, "capsule %s: %s: a name is 1 to %d of a-z, 0-9 and -", config->name,
                      printable(r->device->name).text, CAPSULE_NAME_MAX);
    }
    for (uint32_t n = 0; n < config->device_count; n++) {
        if (strcmp(config->devices[n].name, r->device->name) == 0) {
            return refuse(r->refusal, DX_DUPLICATE, "capsule %s: %s: two devices have this name", config->name,
                          r->device->name);
        }
    }
    return DX_OK;
}

enum dx_error device_node_read(const struct manifest *manifest, int node, struct capsule_config *config,
                               struct refusal *refusal)
{
    struct device_config device = {.name = fdt_get_name(manifest->blob, node, NULL)};
    struct reading reading = {.manifest = manifest, .config = config, .device = &device, .refusal = refusal};
    enum dx_error error = read_type(&reading, node);
    if (error == DX_OK) {
        error = check_name(&reading);
    }
    if (error == DX_OK) {
        error = read_properties(&reading, node);
    }
    if (error == DX_OK) {
        error = check_whole(&reading, node);
    }
    if (error != DX_OK) {
        return error;
    }
    if (config->device_count == CAPSULE_DEVICES_MAX) {
        return refuse(refusal, DX_TOO_MANY, "capsule %s: %s: it may have no more than %d devices", config->name,
                      device.name, CAPSULE_DEVICES_MAX);
    }
    config->devices[config->device_count++] = device;
    return DX_OK;
}
