/* SPDX-License-Identifier: MIT
 *
 * Framework of the test guests: small supervisor-mode programs that test the hypervisor from inside a capsule. A
 * program is a table of subtests; bootargs choose among them (only=NAME,NAME) and give them numbers (count=1000).
 * Output is a line for each test, "ok N name" or "not ok N name: why", and at the end "guest: N passed, N failed".
 */
#ifndef GUEST_GUEST_H
#define GUEST_GUEST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "asm.h"
#include "diosix/sbi.h"

#define XLEN        (8 * sizeof(long))
#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))
#define PAGE        4096ul
#define INTERRUPT   (1ul << (XLEN - 1))
#define STATUS_SIE  (1ul << 1)
#define STATUS_SPIE (1ul << 5)
#define STATUS_SPP  (1ul << 8)
#define STATUS_VS   (3ul << 9)
#define STATUS_FS   (3ul << 13)
#define STATUS_SUM  (1ul << 18)
#define STATUS_MXR  (1ul << 19)
#define BIT(n)      (1ul << (n))

enum { SOFT = 1, TIMER = 5, EXTERNAL = 9 }; /* interrupt numbers of sie, sip and scause */
enum {
    FETCH_ACCESS = 1,
    ILLEGAL = 2,
    BREAKPOINT = 3,
    LOAD_MISALIGNED = 4,
    LOAD_ACCESS = 5,
    STORE_MISALIGNED = 6,
    STORE_ACCESS = 7,
    ECALL_U = 8,
    FETCH_PAGE = 12,
    LOAD_PAGE = 13,
    STORE_PAGE = 15,
};

#define csr_read(name)                                                                                                 \
    __extension__({                                                                                                    \
        unsigned long csr_value;                                                                                       \
        __asm__ volatile("csrr %0, " #name : "=r"(csr_value) : : "memory");                                            \
        csr_value;                                                                                                     \
    })
#define csr_write(name, value) __asm__ volatile("csrw " #name ", %0" : : "rK"((unsigned long)(value)) : "memory")
#define csr_set(name, value)   __asm__ volatile("csrs " #name ", %0" : : "rK"((unsigned long)(value)) : "memory")
#define csr_clear(name, value) __asm__ volatile("csrc " #name ", %0" : : "rK"((unsigned long)(value)) : "memory")

static inline void fence_i(void)
{
    __asm__ volatile("fence.i" : : : "memory");
}
static inline void fence_all(void)
{
    __asm__ volatile("fence iorw, iorw" : : : "memory");
}
static inline void wait_for_interrupt(void)
{
    __asm__ volatile("wfi" : : : "memory");
}

/* --- harts and traps --- */
struct trap {
    bool trapped;
    unsigned long cause, value, pc;
    unsigned long result; /* of the called function, if it did not trap */
};

/* Shared with start.S up to entry_csr: asm.h has the offsets. */
struct hart {
    unsigned long x[32];
    unsigned long pc, status, cause, value;
    unsigned long stack, catch_pc, catch_sp, spare;
    unsigned long entry_x[32];
    unsigned long entry_csr[12]; /* satp stvec sscratch sepc scause stval sie sip sstatus scounteren */

    unsigned long id;
    struct trap caught;
    void (*function)(void *argument); /* what it was started for */
    void *argument;
    volatile unsigned long interrupts[16];                         /* taken, by number */
    bool (*on_interrupt)(struct hart *hart, unsigned long number); /* true: handled */
} __attribute__((aligned(BIT(HART_SHIFT))));

extern struct hart harts[HARTS_MAX];
extern char trap_vector[];
void guest_secondary(void); /* where hart_run starts a hart, with its struct hart as argument */

static inline struct hart *this_hart(void)
{
    struct hart *hart;
    __asm__("mv %0, tp" : "=r"(hart));
    return hart;
}

typedef unsigned long (*catchable)(unsigned long a, unsigned long b, unsigned long c);
/* Calls function(a, b, c) and says what came of it: its result or its trap. Not to be nested. */
struct trap catch_trap(catchable function, unsigned long a, unsigned long b, unsigned long c);
/* Copies count words of machine code into a buffer and calls it; the code ends with its own ret. */
struct trap run_code(const uint32_t *code, size_t count, unsigned long a, unsigned long b);
/* The same in user mode; the code should end with ecall (cause ECALL_U, then result is its a0). */
/* Goes to user mode at pc with a0 and a1; only through catch_trap (start.S). */
unsigned long user_enter(unsigned long pc, unsigned long a0, unsigned long a1);
struct trap run_user(const uint32_t *code, size_t count, unsigned long a, unsigned long b);
#define CODE_RET   0x00008067u
#define CODE_ECALL 0x00000073u

/* Starts function(argument) on a stopped hart, which stops again at its end. Returns SBI's error. */
long hart_run(unsigned long id, void (*function)(void *argument), void *argument);
/* Waits until SBI says that the hart has stopped; false after about a minute. */
bool hart_wait(unsigned long id);
/* Ids of the other harts, at most most of them. */
size_t other_harts(unsigned long *ids, size_t most);

/* --- interrupts while they are masked --- */
/* Whether interrupt number is pending on this hart, be it enabled or not. Handlers don't see it. */
bool is_pending(unsigned number);
void pending_start(void); /* before the first use; bootargs sip=blind: sip is known to hide what is pending */

/* --- SBI --- */
struct sbi_result {
    long error, value;
};
struct sbi_result sbi(unsigned long extension, unsigned long function, unsigned long a, unsigned long b,
                      unsigned long c);
struct sbi_result sbi_call(unsigned long extension, unsigned long function, const unsigned long args[6]);
void sbi_patterned(const unsigned long in[32], unsigned long out[32]);
long sbi_set_timer(uint64_t deadline);
extern bool on_diosix; /* the hypervisor is ours; else some tests are only told, not judged */

/* --- the machine, from the tree that a1 named --- */
enum { DEVICES_MAX = 48 };
struct machine_device {
    const char *name, *compatible;
    uint64_t base, size;
};
struct machine {
    uint64_t ram_base, ram_size;
    size_t harts;
    unsigned long hart_id[HARTS_MAX];
    unsigned long boot_hart, timebase;
    const char *isa, *mmu, *bootargs;
    struct machine_device devices[DEVICES_MAX];
    size_t device_count;
    unsigned long tree, tree_size, initrd, initrd_end;
};
extern struct machine machine;
/* Fills machine in; false if the tree is malformed. */
bool tree_read(const void *tree);
const struct machine_device *find_device(const char *compatible);
bool in_ram(uint64_t address);
bool in_device(uint64_t address);
bool isa_names(const char *extension); /* whether the tree's ISA string has this name of more than a letter */
/* A number given in bootargs as name=VALUE, decimal or 0x…. */
unsigned long argument(const char *name, unsigned long otherwise);
bool has_word(const char *list, const char *word); /* in a list parted by commas or spaces */
const char *argument_text(const char *name);       /* what follows name= in bootargs, or NULL; ends at a space */

/* --- time --- */
uint64_t now(void);
void spin(uint64_t ticks);
uint64_t milliseconds(unsigned long n); /* in ticks */

/* --- output --- */
void print(const char *format, ...) __attribute__((format(printf, 1, 2))); /* %s %c %d %u %x, with l and ll */
/* A line with # in front; none with bootargs notes=0. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A line "KIND NAME …", for programs that run in many capsules: the name is what bootargs name= says. */
void say(const char *kind, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* One test each. */
void check(bool good, const char *format, ...) __attribute__((format(printf, 2, 3)));
void same(const char *name, unsigned long got, unsigned long want);
void skip(const char *name, const char *why);
void differs(bool good, const char *name, long got); /* judged on diosix, told elsewhere */
/* One of several cases of a test that ends with cases_end: only the first bad ones are told. */
void case_check(bool good, const char *format, ...) __attribute__((format(printf, 2, 3)));
void cases_end(const char *name);
_Noreturn void finish(void); /* the summary line, then power off */

/* --- small things --- */
uint64_t random64(uint64_t *state);
bool text_equal(const char *a, const char *b);
void *memset(void *to, int byte, size_t length);
void *memcpy(void *to, const void *from, size_t length);
int memcmp(const void *a, const void *b, size_t length);
size_t strlen(const char *text);

struct lock {
    volatile unsigned taken;
};
void lock(struct lock *lock);
void unlock(struct lock *lock);

/* --- the program --- */
struct subtest {
    const char *name;
    void (*run)(void);
    bool manual; /* only when bootargs name it */
};
extern const struct subtest subtests[];
extern const size_t subtest_count;

#endif
