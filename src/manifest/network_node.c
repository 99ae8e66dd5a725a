/* SPDX-License-Identifier: MIT
 *
 * The manifest's /networks: one node for each switch.
 */
#include <string.h>

#include <libfdt.h>

#include "core/network.h"
#include "manifest/capsule_node.h"

static enum dx_error read_mtu(const char *name, const void *value, int length, uint32_t *mtu, struct refusal *refusal)
{
    if (length != (int)sizeof(fdt32_t)) {
        return refuse(refusal, DX_BAD_VALUE, "network %s: mtu: must be one number of 32 bits", name);
    }
    *mtu = fdt32_ld(value);
    if (*mtu < NETWORK_MTU_LEAST || *mtu > NETWORK_MTU_MOST) {
        return refuse(refusal, DX_BAD_VALUE, "network %s: mtu: must be %d to %d, is %u", name, NETWORK_MTU_LEAST,
                      NETWORK_MTU_MOST, (unsigned)*mtu);
    }
    return DX_OK;
}

static enum dx_error read_uplink(struct network_config *config, const char *value, int length, struct refusal *refusal)
{
    static const char scheme[] = "path:";
    if (length < (int)sizeof(scheme) || value[length - 1] != '\0' || strncmp(value, scheme, sizeof(scheme) - 1) != 0) {
        return refuse(refusal, DX_BAD_VALUE, "network %s: uplink: must be \"path:/NODE\"", config->name);
    }
    config->uplink = value + sizeof(scheme) - 1;
    return DX_OK;
}

static enum dx_error read_property(struct network_config *config, const char *what, const void *value, int length,
                                   struct refusal *refusal)
{
    if (strcmp(what, "mtu") == 0) {
        return read_mtu(config->name, value, length, &config->mtu, refusal);
    }
    if (strcmp(what, "uplink") == 0) {
        return read_uplink(config, value, length, refusal);
    }
    return property_is_dtc_own(what) ? DX_OK
                                     : refuse(refusal, DX_UNKNOWN, "network %s: %s: there is no such property",
                                              config->name, printable(what).text);
}

static enum dx_error read_network(const void *tree, int node, struct network_config *config, struct refusal *refusal)
{
    int property = 0;
    enum dx_error error = DX_OK;
    *config = (struct network_config){.name = fdt_get_name(tree, node, NULL), .mtu = NETWORK_MTU_USUAL};
    if (!name_allowed(config->name)) {
        return refuse(refusal, DX_BAD_VALUE, "network %s: a name is 1 to %d of a-z, 0-9 and -",
                      printable(config->name).text, CAPSULE_NAME_MAX);
    }
    if (fdt_first_subnode(tree, node) >= 0) {
        return refuse(refusal, DX_UNKNOWN, "network %s: must not have nodes inside", config->name);
    }
    fdt_for_each_property_offset(property, tree, node)
    {
        const char *what = "";
        int length = 0;
        const void *value = fdt_getprop_by_offset(tree, property, &what, &length);
        if (value == NULL) {
            return refuse(refusal, DX_BAD_TREE, "network %s: %s", config->name, fdt_strerror(length));
        }
        error = read_property(config, what, value, length, refusal);
        if (error != DX_OK) {
            return error;
        }
    }
    return DX_OK;
}

bool manifest_next_network(const struct manifest *manifest, int *cursor, struct network_config *config,
                           struct refusal *refusal, enum dx_error *error)
{
    const void *tree = manifest->blob;
    if (manifest->networks < 0) {
        return false;
    }
    const int node = *cursor == 0 ? fdt_first_subnode(tree, manifest->networks) : fdt_next_subnode(tree, *cursor);
    if (node < 0) {
        return false;
    }
    *cursor = node;
    *error = read_network(tree, node, config, refusal);
    return true;
}
