/* SPDX-License-Identifier: MIT
 *
 * What a device's describe function writes, read back from a finished tree.
 */
#ifndef UNIT_DESCRIBED_H
#define UNIT_DESCRIBED_H

#include "core/device.h"

enum { DESCRIBED_SIZE = 4096 };

/* Builds / { soc { <device's nodes> }; } into room bytes at tree (8-byte aligned; at most DESCRIBED_SIZE) and returns
 * what describe returned. On success the tree is finished and checked. */
int described(const struct device *device, void *tree, size_t room, struct tree_context *context);

/* One cell of a property of the node at path; fails the test if it isn't there. */
uint32_t described_cell(const void *tree, const char *path, const char *property, size_t index);
/* The property's length in bytes; −1 if it isn't there. */
int described_length(const void *tree, const char *path, const char *property);
bool described_has_string(const void *tree, const char *path, const char *property, const char *string);

/* Calls describe with every room that is too small, and fails the test if one isn't refused. */
void described_needs_room(const struct device *device, const struct tree_context *context);

#endif
