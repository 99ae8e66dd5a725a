/* SPDX-License-Identifier: MIT
 *
 * Devices by every instruction form: those that must be answered, those that must fault, misaligned ones, holes
 * between devices, and execution.
 */
#include "devices.h"
#include "registers.h"

/* Threshold of the own context: a harmless register of 3 bits. */
static unsigned long target(void)
{
    return plic_threshold(own_context());
}

void devices_forms(void)
{
    for (size_t i = 0; i < integer_form_count; i++) {
        const struct form *form = &integer_forms[i];
        bool right = form->width == 4;
        must_store(target(), 4, form->store ? 0 : 5);
        struct trap trap = catch_trap(form->function, target(), 3, 0);
        if (form->store) {
            unsigned long value = must_load(target(), 4), want = right ? 3 : 0;
            case_check(!trap.trapped && (value == want || !on_diosix), "%s: trapped %d, cause %lu, stored %lu want %lu",
                       form->name, trap.trapped, trap.cause, value, want);
        } else {
            unsigned long want = right ? 5 : 0;
            case_check(!trap.trapped && (trap.result == want || !on_diosix),
                       "%s: trapped %d, cause %lu, loaded %lu want %lu", form->name, trap.trapped, trap.cause,
                       trap.result, want);
        }
    }
    cases_end("forms: integer loads and stores of a 32-bit register; other widths read 0 and write nothing");
    /* sign extension: the scratch register of the UART is a byte */
    for (unsigned long value = 0; value < 256; value += 51) {
        uart_write(UART_SCRATCH, value);
        for (size_t i = 0; i < integer_form_count; i++) {
            const struct form *form = &integer_forms[i];
            if (form->width == 1 && !form->store) {
                struct trap trap = catch_trap(form->function, uart + UART_SCRATCH, 0, 0);
                unsigned long want = form->sign && value > 127 ? value | ~0xfful : value;
                case_check(!trap.trapped && trap.result == want, "%s: 0x%lx want 0x%lx", form->name, trap.result, want);
            }
        }
    }
    cases_end("forms: byte loads extend as they should");
    must_store(plic_enable(own_context()), 4, 0);
    must_store(target(), 4, 0);
}

/* Loads to and stores from every register, x0 among them, by instructions made here. */
static void every_register(void)
{
    for (uint32_t reg = 0; reg < 32; reg++) {
        if (reg == 1 || reg == 4 || reg == 10) { /* return address, hart, the base itself */
            continue;
        }
        uint32_t store[] = {0x00058013u | reg << 7, 0x00052023u | reg << 20, CODE_RET}; /* mv reg, a1; sw reg, 0(a0) */
        uint32_t load[] = {0x00052003u | reg << 7, 0x00000513u | reg << 15, CODE_RET};  /* lw reg, 0(a0); mv a0, reg */
        must_store(target(), 4, 1);
        bool saved = reg == 2 || reg == 8 || reg == 9 || reg >= 18;
        if (saved && reg < 28) {
            continue; /* catch_trap restores these, but a plain return doesn't */
        }
        struct trap stored = run_code(store, COUNT_OF(store), target(), 6);
        unsigned long want = reg == 0 ? 0 : 6, got = must_load(target(), 4);
        case_check(!stored.trapped && got == want, "sw x%u: %lu want %lu", (unsigned)reg, got, want);
        must_store(target(), 4, 3);
        struct trap loaded = run_code(load, COUNT_OF(load), target(), 0);
        case_check(!loaded.trapped && loaded.result == (reg == 0 ? 0 : 3), "lw x%u: %lu", (unsigned)reg, loaded.result);
    }
    struct trap zero = catch_trap(integer_forms[0].function, target(), 0, 0);
    case_check(!zero.trapped, "lb");
    must_store(target(), 4, 0);
    cases_end("faults: any register serves as source and destination");
}

void devices_fault_forms(void)
{
    bool fp = field_works(STATUS_FS), vector = field_works(STATUS_VS);
    if (!on_diosix) {
        skip("faults: atomics on devices", "QEMU's own devices allow them");
        return;
    }
    must_store(target(), 4, 2);
    for (size_t i = 0; i < atomic_form_count; i++) {
        const struct form *form = &atomic_forms[i];
        struct trap trap = catch_trap(form->function, target(), 1, 0);
        bool failed = !trap.trapped && text_equal(form->name, "sc.w") && trap.result != 0;
        case_check(failed ||
                       (trap.trapped && (trap.cause == LOAD_ACCESS || (form->store && trap.cause == STORE_ACCESS)) &&
                        trap.value == target()), /* QEMU with one hart: an AMO faults as the load it begins with */
                   "%s: trapped %d, cause %lu, stval 0x%lx", form->name, trap.trapped, trap.cause, trap.value);
    }
    for (size_t i = 0; fp && i < fp_form_count; i++) {
        struct trap trap = catch_trap(fp_forms[i].function, target(), 1, 0);
        case_check(!trap.trapped || trap.cause == (fp_forms[i].store ? STORE_ACCESS : LOAD_ACCESS), "%s: cause %lu",
                   fp_forms[i].name, trap.cause);
    }
    if (vector) {
        struct trap load = catch_trap(form_vle, target(), 0, 0), store = catch_trap(form_vse, target(), 0, 0);
        case_check(load.trapped && load.cause == LOAD_ACCESS, "vle8.v: cause %lu", load.cause);
        case_check(store.trapped && store.cause == STORE_ACCESS, "vse8.v: cause %lu", store.cause);
    }
    case_check(must_load(target(), 4) == 2 || fp, "the register changed: %lu", must_load(target(), 4));
    cases_end("faults: atomic and vector accesses fault, floating-point ones fault or work");
    every_register();
}

void devices_misaligned(void)
{
    if (!on_diosix) {
        skip("misaligned", "QEMU's own devices allow them");
        return;
    }
    must_store(target(), 4, 2);
    for (unsigned width = 2; width <= sizeof(long); width *= 2) {
        for (unsigned offset = 1; offset < width; offset++) {
            struct trap load = try_load(target() + offset, width), store = try_store(target() + offset, width, ~0ul);
            case_check(load.trapped && (load.cause == LOAD_MISALIGNED || load.cause == LOAD_ACCESS) &&
                           load.value == target() + offset,
                       "load of %u at +%u: %d, cause %lu, stval 0x%lx", width, offset, load.trapped, load.cause,
                       load.value);
            case_check(store.trapped && (store.cause == STORE_MISALIGNED || store.cause == STORE_ACCESS) &&
                           store.value == target() + offset,
                       "store of %u at +%u: %d, cause %lu, stval 0x%lx", width, offset, store.trapped, store.cause,
                       store.value);
        }
    }
    case_check(must_load(target(), 4) == 2, "the register changed: %lu", must_load(target(), 4));
    must_store(target(), 4, 0);
    cases_end("misaligned: loads and stores of devices fault");
}

/* The bytes just before and behind each window of the tree belong to nothing, unless another window begins there. */
void devices_holes(void)
{
    if (!on_diosix) {
        skip("holes", "QEMU has devices that the tree doesn't tell");
        return;
    }
    for (size_t i = 0; i < machine.device_count; i++) {
        unsigned long base = (unsigned long)machine.devices[i].base,
                      end = base + (unsigned long)machine.devices[i].size;
        if (in_ram(base)) {
            continue;
        }
        const unsigned long outside[] = {base - 4, base - 8, end, end + 4, end + PAGE};
        for (size_t j = 0; j < COUNT_OF(outside); j++) {
            if (!in_device(outside[j]) && !in_ram(outside[j])) {
                struct trap load = try_load(outside[j], 4), store = try_store(outside[j], 4, 0);
                case_check(load.trapped && load.cause == LOAD_ACCESS, "load at 0x%lx: %d, cause %lu", outside[j],
                           load.trapped, load.cause);
                case_check(store.trapped && store.cause == STORE_ACCESS, "store at 0x%lx: %d, cause %lu", outside[j],
                           store.trapped, store.cause);
            }
        }
        struct trap across = try_load(end - sizeof(long) / 2, (unsigned)sizeof(long));
        case_check(across.trapped, "load across the end of %s", machine.devices[i].name);
        case_check(!try_load(base, 4).trapped && !try_load(end - 4, 4).trapped, "first and last word of %s",
                   machine.devices[i].name);
    }
    cases_end("holes: what is beside a device's window faults, all of the window answers");
}

void devices_fetch(void)
{
    const unsigned long windows[] = {plic, uart, rtc, syscon, plic + 0x200004};
    for (size_t i = 0; i < COUNT_OF(windows); i++) {
        if (windows[i] != 0) {
            struct trap trap = try_fetch(windows[i]);
            case_check(trap.trapped && (!on_diosix || (trap.cause == FETCH_ACCESS && trap.value == windows[i] &&
                                                       trap.pc == windows[i])),
                       "0x%lx: cause %lu, stval 0x%lx, sepc 0x%lx", windows[i], trap.cause, trap.value, trap.pc);
        }
    }
    cases_end("fetch: devices can't be executed");
}
