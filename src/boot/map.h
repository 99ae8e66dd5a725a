/* SPDX-License-Identifier: MIT
 *
 * The machine's RAM as a free map: all banks less what the tree reserves.
 */
#ifndef BOOT_MAP_H
#define BOOT_MAP_H

#include "core/memory.h"

void boot_map_ram(struct memory *memory);

/* One for whoever boots to work in: big, and of no use afterwards. It starts empty, also after the image has moved. */
extern struct memory boot_map;

#endif
