/* SPDX-License-Identifier: MIT
 *
 * A guest that never yields and keeps the hypervisor as busy as one can. bootargs storm=KIND,…: one or several in turn,
 * or all; harts=N: so many other vCPUs do the same; for=MILLISECONDS: ends then, else never.
 */
#include "many.h"

enum { ROUNDS = 64 }; /* of one kind, before the clock is looked at and the next kind's turn comes */

static void storm_spin(void)
{
    for (volatile unsigned long i = 0; i < 1000; i++) {
    }
}

/* To itself and all the others, and takes it. */
static void storm_ipi(void)
{
    sbi(SBI_EXT_IPI, SBI_IPI_SEND, 0, ~0ul, 0);
}

/* Its handler puts it off with a second call (guest.c). */
static void storm_timer(void)
{
    sbi_set_timer(0);
}

static void storm_sbi(void)
{
    sbi(SBI_EXT_BASE, SBI_BASE_SPEC_VERSION, 0, 0, 0);
}

static void storm_fence(void)
{
    sbi_call(SBI_EXT_RFENCE, SBI_RFENCE_SFENCE_VMA, (unsigned long[6]){0, ~0ul, 0, ~0ul, 0, 0});
}

static unsigned long bad_instruction(unsigned long a, unsigned long b, unsigned long c)
{
    (void)b, (void)c;
    __asm__ volatile(".word 0xffffffff");
    return a;
}

static void storm_illegal(void)
{
    catch_trap(bad_instruction, 0, 0, 0);
}

static unsigned long uart_base(void)
{
    const struct machine_device *device = find_device("ns16550a");
    return device != NULL ? (unsigned long)device->base : 0;
}

static void storm_mmio(void)
{
    static unsigned long uart;
    uart = uart != 0 ? uart : uart_base();
    (void)*(volatile unsigned char *)(uintptr_t)(uart + 5);
}

/* Hardly asleep when it must wake. */
static void storm_wfi(void)
{
    csr_clear(sstatus, STATUS_SIE);
    sbi_set_timer(now() + machine.timebase / 100000);
    wait_for_interrupt();
    sbi_set_timer(~0ull);
    csr_set(sstatus, STATUS_SIE);
}

static void storm_console(void)
{
    print("storm of the console: nobody reads all of this, and nobody has to wait for it ................\n");
}

static unsigned long load(unsigned long address, unsigned long b, unsigned long c)
{
    (void)b, (void)c;
    return *(volatile unsigned char *)(uintptr_t)address;
}

static unsigned long store(unsigned long address, unsigned long b, unsigned long c)
{
    (void)b, (void)c;
    *(volatile unsigned char *)(uintptr_t)address = 0;
    return 0;
}

/* Right behind its RAM, and where the machine's own devices are. */
static void storm_fault(void)
{
    catch_trap(load, (unsigned long)(machine.ram_base + machine.ram_size), 0, 0);
    catch_trap(store, 0x02000000, 0, 0);
}

static const struct storm {
    const char *name;
    void (*step)(void);
} storms[] = {
    {"spin", storm_spin},       {"ipi", storm_ipi},     {"timer", storm_timer}, {"sbi", storm_sbi},
    {"fence", storm_fence},     {"mmio", storm_mmio},   {"wfi", storm_wfi},     {"illegal", storm_illegal},
    {"console", storm_console}, {"fault", storm_fault}, {"disk", storm_disk},
};

static bool chosen(const struct storm *storm)
{
    const char *list = argument_text("storm");
    return list == NULL || has_word(list, "all") || has_word(list, storm->name);
}

static void storm_on(void *unused)
{
    bool mine[COUNT_OF(storms)];
    uint64_t end = end_after("for");
    (void)unused;
    for (size_t i = 0; i < COUNT_OF(storms); i++) {
        mine[i] = chosen(&storms[i]);
    }
    csr_set(sie, BIT(SOFT) | BIT(TIMER));
    csr_set(sstatus, STATUS_SIE);
    for (size_t i = 0; now() < end; i = (i + 1) % COUNT_OF(storms)) {
        for (unsigned round = 0; mine[i] && round < ROUNDS; round++) {
            storms[i].step();
        }
    }
    csr_clear(sstatus, STATUS_SIE);
    csr_write(sie, 0);
}

void many_storm(void)
{
    unsigned long ids[HARTS_MAX], more = argument("harts", 0);
    size_t others = other_harts(ids, more < HARTS_MAX ? more : HARTS_MAX);
    say("storm", "begins");
    for (size_t i = 0; i < others; i++) {
        check(hart_run(ids[i], storm_on, NULL) == SBI_SUCCESS, "storm: hart %lu", ids[i]);
    }
    storm_on(NULL);
    for (size_t i = 0; i < others; i++) {
        check(hart_wait(ids[i]), "storm: hart %lu ends", ids[i]);
    }
}
