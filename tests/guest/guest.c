/* SPDX-License-Identifier: MIT
 *
 * Framework of the test guests: start, traps, harts, SBI calls.
 */
#include "guest.h"

_Static_assert(offsetof(struct hart, pc) == HART_PC * WORD, "asm.h");
_Static_assert(offsetof(struct hart, stack) == HART_STACK * WORD, "asm.h");
_Static_assert(offsetof(struct hart, catch_sp) == HART_CATCH_SP * WORD, "asm.h");
_Static_assert(offsetof(struct hart, entry_x) == HART_ENTRY_X * WORD, "asm.h");
_Static_assert(offsetof(struct hart, entry_csr) == HART_ENTRY_CSR * WORD, "asm.h");
_Static_assert(offsetof(struct hart, id) == HART_WORDS * WORD, "asm.h");
_Static_assert(sizeof(struct hart) == 1 << HART_SHIFT, "asm.h");

/* In start.S */
unsigned long catch_call(catchable function, unsigned long a, unsigned long b, unsigned long c);

/* Called by start.S */
void guest_start(unsigned long id, const void *tree);
void guest_secondary_start(unsigned long id, struct hart *hart);
void trap_handle(struct hart *hart);

bool on_diosix;

struct sbi_result sbi_call(unsigned long extension, unsigned long function, const unsigned long args[6])
{
    register unsigned long a0 __asm__("a0") = args[0];
    register unsigned long a1 __asm__("a1") = args[1];
    register unsigned long a2 __asm__("a2") = args[2];
    register unsigned long a3 __asm__("a3") = args[3];
    register unsigned long a4 __asm__("a4") = args[4];
    register unsigned long a5 __asm__("a5") = args[5];
    register unsigned long a6 __asm__("a6") = function;
    register unsigned long a7 __asm__("a7") = extension;
    __asm__ volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a3), "r"(a4), "r"(a5), "r"(a6), "r"(a7) : "memory");
    return (struct sbi_result){(long)a0, (long)a1};
}

struct sbi_result sbi(unsigned long extension, unsigned long function, unsigned long a, unsigned long b,
                      unsigned long c)
{
    return sbi_call(extension, function, (unsigned long[6]){a, b, c});
}

long sbi_set_timer(uint64_t deadline)
{
    unsigned long high = XLEN == 32 ? (unsigned long)(deadline >> 32) : 0;
    return sbi(SBI_EXT_TIME, 0, (unsigned long)deadline, high, 0).error;
}

/* --- traps --- */

static void acknowledge(struct hart *hart, unsigned long number)
{
    if (hart->on_interrupt != NULL && hart->on_interrupt(hart, number)) {
        return;
    }
    switch (number) {
    case SOFT:
        csr_clear(sip, BIT(SOFT));
        break;
    case TIMER:
        sbi_set_timer(~0ull);
        break;
    default:
        csr_clear(sie, BIT(number));
        break;
    }
}

/* Counted last: whoever sees the count may send the next one, which an acknowledgement must not swallow. */
static void on_interrupt(struct hart *hart, unsigned long number)
{
    acknowledge(hart, number);
    fence_all();
    hart->interrupts[number & 15]++;
}

void trap_handle(struct hart *hart)
{
    if ((hart->cause & INTERRUPT) != 0) {
        on_interrupt(hart, hart->cause & ~INTERRUPT);
        return;
    }
    hart->caught = (struct trap){true, hart->cause, hart->value, hart->pc, hart->x[10]};
    if (hart->catch_pc == 0) {
        csr_write(satp, 0);
        check(false, "unexpected trap on hart %lu: cause %lu, value 0x%lx, pc 0x%lx, ra 0x%lx (image at 0x%lx)",
              hart->id, hart->cause, hart->value, hart->pc, hart->x[1], (unsigned long)(uintptr_t)trap_vector);
        finish();
    }
    hart->pc = hart->catch_pc;
    hart->x[2] = hart->catch_sp;
    hart->x[4] = (unsigned long)(uintptr_t)hart;
    hart->catch_pc = 0;
    hart->status |= STATUS_SPP; /* from user mode, too, back to supervisor mode */
}

struct trap catch_trap(catchable function, unsigned long a, unsigned long b, unsigned long c)
{
    struct hart *hart = this_hart();
    hart->caught.trapped = false;
    unsigned long result = catch_call(function, a, b, c);
    if (!hart->caught.trapped) {
        hart->caught = (struct trap){.result = result};
    }
    return hart->caught;
}

static uint32_t code_buffer[64] __attribute__((aligned(256)));

static unsigned long copy_code(const uint32_t *code, size_t count)
{
    memcpy(code_buffer, code, count * sizeof(*code));
    fence_i();
    return (unsigned long)(uintptr_t)code_buffer;
}

struct trap run_code(const uint32_t *code, size_t count, unsigned long a, unsigned long b)
{
    unsigned long at = copy_code(code, count);
    return catch_trap((catchable)(uintptr_t)at, a, b, 0);
}

struct trap run_user(const uint32_t *code, size_t count, unsigned long a, unsigned long b)
{
    return catch_trap(user_enter, copy_code(code, count), a, b);
}

/* --- harts --- */

long hart_run(unsigned long id, void (*function)(void *argument), void *argument)
{
    if (id >= HARTS_MAX) {
        return SBI_ERR_INVALID_PARAM;
    }
    struct hart *hart = &harts[id];
    hart->id = id;
    hart->function = function;
    hart->argument = argument;
    hart->on_interrupt = NULL;
    fence_all();
    return sbi(SBI_EXT_HSM, 0, id, (unsigned long)(uintptr_t)guest_secondary, (unsigned long)(uintptr_t)hart).error;
}

void guest_secondary_start(unsigned long id, struct hart *hart)
{
    hart->id = id;
    hart->function(hart->argument);
    sbi(SBI_EXT_HSM, 1, 0, 0, 0);
    check(false, "hart %lu: HSM stop returned", id);
}

bool hart_wait(unsigned long id)
{
    uint64_t end = now() + milliseconds(60000);
    while (now() < end) {
        struct sbi_result result = sbi(SBI_EXT_HSM, 2, id, 0, 0);
        if (result.error == SBI_SUCCESS && result.value == SBI_HSM_STOPPED) {
            return true;
        }
    }
    return false;
}

size_t other_harts(unsigned long *ids, size_t most)
{
    size_t count = 0;
    for (size_t i = 0; i < machine.harts && count < most; i++) {
        if (machine.hart_id[i] != machine.boot_hart) {
            ids[count++] = machine.hart_id[i];
        }
    }
    return count;
}

/* --- time --- */

uint64_t now(void)
{
    if (XLEN == 64) {
        return csr_read(time);
    }
    unsigned long high, low;
    do {
        __asm__ volatile("csrr %0, 0xc81" : "=r"(high)); /* timeh; an illegal instruction on RV64, not reached there */
        low = csr_read(time);
    } while (({
                 unsigned long h;
                 __asm__ volatile("csrr %0, 0xc81" : "=r"(h));
                 h;
             }) != high);
    return (uint64_t)high << 16 << 16 | low;
}

void spin(uint64_t ticks)
{
    uint64_t end = now() + ticks;
    while (now() < end) {
    }
}

uint64_t milliseconds(unsigned long n)
{
    return (uint64_t)(machine.timebase / 1000) * n;
}

/* --- start --- */

void guest_start(unsigned long id, const void *tree)
{
    struct hart *hart = this_hart();
    hart->id = id;
    machine.boot_hart = id;
    on_diosix = sbi(SBI_EXT_BASE, 1, 0, 0, 0).value == SBI_IMPL_ID;
    if (!tree_read(tree)) {
        check(false, "device tree at 0x%lx", (unsigned long)(uintptr_t)tree);
        finish();
    }
    pending_start();
    note("RAM 0x%llx, %llu KiB, harts %u, boot hart %lu, bootargs \"%s\"", (unsigned long long)machine.ram_base,
         (unsigned long long)machine.ram_size >> 10, (unsigned)machine.harts, id, machine.bootargs);
    const char *only = argument_text("only");
    for (size_t i = 0; i < subtest_count; i++) {
        if (only == NULL ? !subtests[i].manual : has_word(only, subtests[i].name)) {
            note("%s", subtests[i].name);
            subtests[i].run();
        }
    }
    finish();
}
