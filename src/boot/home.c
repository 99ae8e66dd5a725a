/* SPDX-License-Identifier: MIT
 *
 * Where the hypervisor will live.
 */
#include "boot/boot.h"

#include "boot/map.h"
#include "dt/host_tree.h"

struct memory boot_map;

/* What M-mode can reach: on RV32, nothing above 4 GiB. */
static struct range reachable(struct range bank)
{
    const uint64_t limit = (uint64_t)1 << 32;
    if (XLEN == 32 && bank.base < limit) {
        bank.size = MIN(bank.size, limit - bank.base - PAGE_SIZE);
    }
    return bank;
}

void boot_map_ram(struct memory *memory)
{
    *memory = (struct memory){.count = 0};
    for (size_t n = 0; n < boot_machine.bank_count; n++) {
        if (XLEN == 64 || boot_machine.banks[n].base >> 32 == 0) {
            memory_map_add(memory, reachable(boot_machine.banks[n]));
        }
    }
    for (size_t n = 0; n < boot_machine.reserved_count; n++) {
        memory_map_carve(memory, boot_machine.reserved[n]);
    }
}

static uint64_t next_power_of_two(uint64_t size)
{
    uint64_t power = PAGE_SIZE;
    while (power < size) {
        power *= 2;
    }
    return power;
}

struct range boot_image_range(unsigned long image_start, unsigned long image_end)
{
    uint64_t size = next_power_of_two(image_end - image_start);
    if (image_start % size != 0) {
        size = align_up(image_end - image_start, PAGE_SIZE); /* it could not move */
    }
    return (struct range){image_start, size};
}

unsigned long boot_choose_home(const void *tree, unsigned long image_start, unsigned long image_end)
{
    boot_read_tree(tree, NULL);
    boot_map_ram(&boot_map);
    memory_map_carve(&boot_map, boot_machine.initrd);
    memory_map_carve(&boot_map, (struct range){(uintptr_t)tree, host_tree_size(tree, HOST_TREE_LIMIT)});
    memory_map_carve(&boot_map, (struct range){image_start, image_end - image_start});
    /* A power of two at its own multiple takes one PMP entry. */
    uint64_t size = next_power_of_two(image_end - image_start);
    struct range home;
    if (!memory_map_take(&boot_map, size, size, true, &home)) {
        return image_start;
    }
    return (unsigned long)home.base;
}
