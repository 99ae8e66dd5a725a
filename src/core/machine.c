/* SPDX-License-Identifier: MIT
 *
 * Look-ups in the description of the host machine.
 */
#include "core/machine.h"

int machine_hart_index(const struct machine *machine, unsigned long id)
{
    for (size_t i = 0; i < machine->hart_count; i++) {
        if (machine->harts[i].id == id) {
            return (int)i;
        }
    }
    return -1;
}
