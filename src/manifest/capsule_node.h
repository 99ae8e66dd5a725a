/* SPDX-License-Identifier: MIT
 *
 * Inside manifest/ only: one capsule's node, and names out of the blob made fit to print.
 */
#ifndef MANIFEST_CAPSULE_NODE_H
#define MANIFEST_CAPSULE_NODE_H

#include "manifest/manifest.h"

/* A name from the blob, cut and with everything but printable ASCII replaced, so that a log line stays one. */
struct printable {
    char text[CAPSULE_NAME_MAX + 1];
};

struct printable printable(const char *name);

/* Properties that dtc adds by itself to any node. */
bool property_is_dtc_own(const char *name);

/* Adds the device that a node inside the capsule's asks for to config->devices (device_node.c). */
[[nodiscard]] enum dx_error device_node_read(const struct manifest *manifest, int node, struct capsule_config *config,
                                             struct refusal *refusal);

/* Fills in *config from the node, checked on its own (not against other capsules). On a refusal config->name is
 * still set, made printable. */
[[nodiscard]] enum dx_error capsule_node_read(const struct manifest *manifest, int node, struct capsule_config *config,
                                              struct refusal *refusal);

#endif
