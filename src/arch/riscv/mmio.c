/* SPDX-License-Identifier: MIT
 *
 * Registers of the host's devices: see arch.h.
 */
#include "arch/arch.h"

uint32_t mmio_read32(uint64_t address)
{
    return *(volatile uint32_t *)(uintptr_t)address;
}

uint16_t mmio_read16(uint64_t address)
{
    return *(volatile uint16_t *)(uintptr_t)address;
}

uint8_t mmio_read8(uint64_t address)
{
    return *(volatile uint8_t *)(uintptr_t)address;
}

void mmio_write32(uint64_t address, uint32_t value)
{
    *(volatile uint32_t *)(uintptr_t)address = value;
}

void mmio_write8(uint64_t address, uint8_t value)
{
    *(volatile uint8_t *)(uintptr_t)address = value;
}
