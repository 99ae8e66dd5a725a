/* SPDX-License-Identifier: MIT
 *
 * Loads, stores, atomics and fetches outside the capsule's RAM, and across its edges. Elsewhere than on Diosix only
 * the firmware's own memory is tried: other guests may own the rest of the machine.
 */
#include "isolation.h"
#include "registers.h"

static unsigned long addresses[128];

static size_t targets(void)
{
    if (on_diosix) {
        return outside(addresses, COUNT_OF(addresses));
    }
    addresses[0] = 0x80000000; /* OpenSBI's own */
    return 1;
}

static void wants(struct trap trap, unsigned long cause, unsigned long address, const char *what)
{
    case_check(trap.trapped && trap.cause == cause && trap.value == address,
               "%s at 0x%lx: %s, cause %lu, stval 0x%lx, result 0x%lx", what, address,
               trap.trapped ? "trapped" : "NO TRAP", trap.cause, trap.value, trap.result);
}

/* All forms at one address. The offset of some forms wraps around at the ends of the address space: no matter. */
static void all_forms(const struct form *forms, size_t count, bool stores, unsigned long address)
{
    for (size_t i = 0; i < count; i++) {
        if (forms[i].store == stores) {
            wants(catch_trap(forms[i].function, address, ~0ul, 0), stores ? STORE_ACCESS : LOAD_ACCESS, address,
                  forms[i].name);
        }
    }
}

void isolation_loads(void)
{
    size_t count = targets();
    bool fp = field_works(STATUS_FS), vector = field_works(STATUS_VS);
    for (size_t i = 0; i < count; i++) {
        all_forms(integer_forms, integer_form_count, false, addresses[i]);
        all_forms(atomic_forms, atomic_form_count, false, addresses[i]);
        all_forms(fp_forms, fp ? fp_form_count : 0, false, addresses[i]);
        if (vector) {
            wants(catch_trap(form_vle, addresses[i], 0, 0), LOAD_ACCESS, addresses[i], "vle8.v");
        }
    }
    cases_end("loads: outside RAM fault");
}

void isolation_stores(void)
{
    size_t count = targets();
    bool fp = field_works(STATUS_FS), vector = field_works(STATUS_VS);
    for (size_t i = 0; i < count; i++) {
        all_forms(integer_forms, integer_form_count, true, addresses[i]);
        for (size_t j = 0; j < atomic_form_count; j++) {
            if (atomic_forms[j].function != NULL && atomic_forms[j].store) {
                struct trap trap = catch_trap(atomic_forms[j].function, addresses[i], 1, 0);
                /* sc without a reservation may also just fail; QEMU with one hart makes AMOs of a load and a store, and
                 * the load faults */
                case_check(trap.trapped ? trap.cause == STORE_ACCESS || trap.cause == LOAD_ACCESS
                                        : text_equal(atomic_forms[j].name, "sc.w") && trap.result != 0,
                           "%s at 0x%lx: trapped %d, cause %lu", atomic_forms[j].name, addresses[i], trap.trapped,
                           trap.cause);
            }
        }
        all_forms(fp_forms, fp ? fp_form_count : 0, true, addresses[i]);
        if (vector) {
            wants(catch_trap(form_vse, addresses[i], 0, 0), STORE_ACCESS, addresses[i], "vse8.v");
        }
    }
    cases_end("stores: outside RAM fault");
}

void isolation_fetches(void)
{
    size_t count = targets();
    for (size_t i = 0; i < count; i++) {
        struct trap trap = try_fetch(addresses[i]);
        wants(trap, FETCH_ACCESS, addresses[i], "fetch");
        case_check(trap.pc == addresses[i], "fetch at 0x%lx: sepc 0x%lx", addresses[i], trap.pc);
    }
    cases_end("fetches: outside RAM fault");
}

/* Accesses that begin inside RAM and end outside it, and the other way round. */
void isolation_edges(void)
{
    if (!on_diosix) {
        skip("edges: accesses across RAM's ends", "another implementation differs here");
        return;
    }
    unsigned long base = (unsigned long)machine.ram_base, end = base + (unsigned long)machine.ram_size;
    unsigned long last = must_load(end - sizeof(long), sizeof(long));
    for (unsigned width = 2; width <= sizeof(long); width *= 2) {
        for (unsigned long k = 1; k < width; k++) {
            struct trap load = try_load(end - k, width), store = try_store(end - k, width, 0x5555555555555555ul & ~0ul);
            case_check(load.trapped && (load.cause == LOAD_ACCESS || load.cause == LOAD_MISALIGNED),
                       "load of %u bytes, %lu before the end: %d, cause %lu", width, k, load.trapped, load.cause);
            case_check(store.trapped && (store.cause == STORE_ACCESS || store.cause == STORE_MISALIGNED),
                       "store of %u bytes, %lu before the end: %d, cause %lu", width, k, store.trapped, store.cause);
            load = try_load(base - k, width);
            store = try_store(base - k, width, 0x55);
            case_check(load.trapped && store.trapped, "%u bytes, %lu before the beginning: %d, %d", width, k,
                       load.trapped, store.trapped);
        }
    }
    unsigned long after = must_load(end - sizeof(long), sizeof(long));
    case_check(after == last, "RAM's last word changed: 0x%lx was 0x%lx", after, last);
    cases_end("edges: accesses across RAM's ends fault and write nothing");
    for (unsigned long k = 0; k < 64; k++) {
        wants(try_load(end + k, 1), LOAD_ACCESS, end + k, "lbu");
        wants(try_store(end + k, 1, 0x55), STORE_ACCESS, end + k, "sb");
        wants(try_load(base - 1 - k, 1), LOAD_ACCESS, base - 1 - k, "lbu");
        wants(try_store(base - 1 - k, 1, 0x55), STORE_ACCESS, base - 1 - k, "sb");
    }
    cases_end("edges: each byte beside RAM");
    /* An instruction of 4 bytes whose second half lies outside. */
    must_store(end - 2, 2, 0x8067); /* first half of ret */
    fence_i();
    struct trap trap = try_fetch(end - 2);
    check(trap.trapped && trap.cause == FETCH_ACCESS && trap.pc == end - 2 &&
              (trap.value == end || trap.value == end - 2),
          "edges: fetch across the end: cause %lu, stval 0x%lx", trap.cause, trap.value);
    must_store(end - sizeof(long), sizeof(long), last);
    for (unsigned width = 1; width <= sizeof(long); width *= 2) {
        case_check(!try_load(end - width, width).trapped && !try_load(base, width).trapped, "width %u", width);
    }
    cases_end("edges: RAM's first and last bytes can be read");
}

/* bootargs: stride=BYTES between the tries, scan-end=ADDRESS. */
void isolation_scan(void)
{
    unsigned long stride = argument("stride", 0x10000), last = argument("scan-end", 0xc0000000), open = 0;
    if (!on_diosix) {
        skip("scan: everything below 4 GiB", "another implementation differs here");
        return;
    }
    for (unsigned long at = 0x80000000; at < last; at += stride) {
        if (is_outside(at)) {
            struct trap trap = try_load(at, 4);
            open += !trap.trapped;
            wants(trap, LOAD_ACCESS, at, "load");
        }
    }
    for (unsigned long at = 0; at < 0x80000000; at += 16 * stride) {
        if (is_outside(at)) {
            wants(try_load(at, 4), LOAD_ACCESS, at, "load");
        }
    }
    cases_end("scan: nothing answers outside RAM and devices");
}
