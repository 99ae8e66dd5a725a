/* SPDX-License-Identifier: MIT
 *
 * Ways for a guest to come to grief, or to give trouble for ever. bootargs choose: way=NAME. Those that end, end their
 * own capsule; those that don't, must leave others alone. harts=N: so many other harts do the same.
 */
#include "guest.h"

static unsigned long foreign(void)
{
    return argument("foreign", 0x02000000); /* the machine's CLINT, unless told */
}

/* No handler and nothing to run at it: the guest's own fault, again and again. */
_Noreturn static void trap_with(unsigned long stvec)
{
    csr_write(stvec, stvec);
    for (;;) {
        __asm__ volatile(".word 0xffffffff");
    }
}

static void no_handler(void)
{
    trap_with(0);
}

static void foreign_handler(void)
{
    trap_with(foreign());
}

static void device_handler(void)
{
    trap_with(0x0c200004);
}

static void far_handler(void)
{
    trap_with(~0ul << 1 & ~2ul);
}

static const uint32_t nonsense[4] __attribute__((aligned(16))) = {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff};

static void bad_handler(void)
{
    trap_with((unsigned long)(uintptr_t)nonsense);
}

static void jump_nowhere(void)
{
    csr_write(stvec, 0);
    ((void (*)(void))(uintptr_t)0)();
}

static void load_nowhere(void)
{
    csr_write(stvec, 0);
    (void)*(volatile unsigned long *)(uintptr_t)foreign();
}

static void stack_nowhere(void)
{
    __asm__ volatile("mv sp, %0\n csrw stvec, zero\n sw zero, 0(sp)" : : "r"(foreign()));
}

/* Every trap of this one writes to the UART. */
static void device_stack(void)
{
    const struct machine_device *device = find_device("ns16550a");
    for (;;) {
        __asm__ volatile("mv sp, %0\n sw zero, 0(sp)\n sb zero, 7(sp)\n lw t0, 0(sp)"
                         :
                         : "r"((unsigned long)device->base)
                         : "t0", "memory");
    }
}

static void device_tables(void)
{
    unsigned long mode = XLEN == 32 ? BIT(31) : 8ul << (XLEN - 4);
    csr_write(satp, mode | (unsigned long)find_device("sifive,plic-1.0.0")->base >> 12);
    for (;;) {
    }
}

/* Tables in memory that isn't ours; the next instruction can't be fetched, nor the handler. */
static void foreign_tables(void)
{
    unsigned long mode = XLEN == 32 ? BIT(31) : 8ul << (XLEN - 4);
    csr_write(satp, mode | foreign() >> 12);
    for (;;) {
    }
}

static void random_tables(void)
{
    uint64_t random = now();
    for (;;) {
        csr_write(satp, (unsigned long)random64(&random)); /* modes that don't exist are not taken */
    }
}

static void hang(void)
{
    csr_write(sie, 0);
    for (;;) {
    }
}

static void failure(void)
{
    sbi(SBI_EXT_SRST, 0, SBI_SRST_SHUTDOWN, SBI_SRST_REASON_FAILURE, 0);
}

static void reboot(void)
{
    sbi(SBI_EXT_SRST, 0, SBI_SRST_COLD_REBOOT, SBI_SRST_REASON_NONE, 0);
}

static void warm_reboot(void)
{
    sbi(SBI_EXT_SRST, 0, SBI_SRST_WARM_REBOOT, SBI_SRST_REASON_NONE, 0);
}

static void legacy_shutdown(void)
{
    sbi(SBI_EXT_LEGACY_SHUTDOWN, 0, 0, 0, 0);
}

static void syscon(unsigned value)
{
    const struct machine_device *device = find_device("sifive,test1");
    *(volatile uint32_t *)(uintptr_t)device->base = value;
}

static void syscon_off(void)
{
    syscon(0x5555);
}

static void syscon_reboot(void)
{
    syscon(0x7777);
}

static void last_stop(void)
{
    sbi(SBI_EXT_HSM, 1, 0, 0, 0);
}

/* Nothing can ever wake it. */
static void sleep_for_ever(void)
{
    sbi_set_timer(~0ull);
    csr_write(sie, 0);
    for (;;) {
        wait_for_interrupt();
    }
}

static void suspend_for_ever(void)
{
    sbi_set_timer(~0ull);
    csr_write(sie, 0);
    for (;;) {
        sbi(SBI_EXT_HSM, 3, SBI_HSM_SUSPEND_RETENTIVE, 0, 0);
    }
}

/* --- trouble without end: as much work for the hypervisor as one can make --- */

static void call_storm(void)
{
    for (;;) {
        sbi(0x0badbad, 0, 0, 0, 0);
    }
}

static void device_storm(void)
{
    for (;;) {
        (void)*(volatile uint32_t *)(uintptr_t)0x0c000004;
    }
}

static void fault_storm(void)
{
    for (;;) {
        static const uint32_t code[] = {0x00052503, CODE_RET}; /* lw a0, 0(a0) */
        run_code(code, COUNT_OF(code), foreign(), 0);
    }
}

static bool again(struct hart *hart, unsigned long number)
{
    (void)hart;
    if (number == TIMER) {
        sbi_set_timer(0);
    } else {
        csr_clear(sip, BIT(SOFT));
        sbi(SBI_EXT_IPI, 0, 0, ~0ul, 0);
    }
    return true;
}

static void interrupt_storm(void)
{
    this_hart()->on_interrupt = again;
    csr_write(sie, BIT(SOFT) | BIT(TIMER));
    sbi_set_timer(0);
    sbi(SBI_EXT_IPI, 0, 0, ~0ul, 0);
    csr_set(sstatus, STATUS_SIE);
    for (;;) {
    }
}

static void fence_storm(void)
{
    for (unsigned long i = 0;; i++) {
        sbi_call(SBI_EXT_RFENCE, i % 3, (unsigned long[6]){0, ~0ul, 0, ~0ul, 0, 0});
    }
}

static void console_storm(void)
{
    static char text[PAGE];
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = i % 64 == 63 ? '\n' : '.';
    }
    for (;;) {
        sbi(SBI_EXT_DBCN, 0, sizeof(text), (unsigned long)(uintptr_t)text, 0);
    }
}

/* Harts that start and stop all the time. */
static void nothing(void *argument)
{
    (void)argument;
}

static void hart_storm(void)
{
    unsigned long ids[HARTS_MAX];
    size_t others = other_harts(ids, HARTS_MAX);
    for (size_t i = 0;; i++) {
        if (others != 0) {
            hart_run(ids[i % others], nothing, NULL);
        }
    }
}

/* --- the choice, on one hart or on more --- */

static const struct subtest ways[] = {
    {"no-handler", no_handler, true},
    {"foreign-handler", foreign_handler, true},
    {"device-handler", device_handler, true},
    {"far-handler", far_handler, true},
    {"bad-handler", bad_handler, true},
    {"jump-nowhere", jump_nowhere, true},
    {"load-nowhere", load_nowhere, true},
    {"stack-nowhere", stack_nowhere, true},
    {"foreign-tables", foreign_tables, true},
    {"random-tables", random_tables, true},
    {"device-stack", device_stack, true},
    {"device-tables", device_tables, true},
    {"hang", hang, true},
    {"failure", failure, true},
    {"reboot", reboot, true},
    {"warm-reboot", warm_reboot, true},
    {"legacy-shutdown", legacy_shutdown, true},
    {"syscon-off", syscon_off, true},
    {"syscon-reboot", syscon_reboot, true},
    {"last-stop", last_stop, true},
    {"sleep-for-ever", sleep_for_ever, true},
    {"suspend-for-ever", suspend_for_ever, true},
    {"call-storm", call_storm, true},
    {"device-storm", device_storm, true},
    {"fault-storm", fault_storm, true},
    {"interrupt-storm", interrupt_storm, true},
    {"fence-storm", fence_storm, true},
    {"console-storm", console_storm, true},
    {"hart-storm", hart_storm, true},
};

static void on_other_hart(void *way)
{
    ((const struct subtest *)way)->run();
}

static void crash(void)
{
    const char *name = argument_text("way");
    unsigned long ids[HARTS_MAX], more = argument("harts", 0);
    size_t others = other_harts(ids, more < HARTS_MAX ? more : HARTS_MAX);
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        if (name != NULL && has_word(name, ways[i].name)) {
            note("crash: %s", ways[i].name);
            for (size_t j = 0; j < others; j++) {
                hart_run(ids[j], on_other_hart, (void *)(uintptr_t)&ways[i]);
            }
            ways[i].run();
            check(false, "crash: %s returned", ways[i].name);
        }
    }
}

const struct subtest subtests[] = {{"crash", crash, false}};
const size_t subtest_count = COUNT_OF(subtests);
