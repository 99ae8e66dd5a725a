/* SPDX-License-Identifier: MIT
 *
 * A guest without an operating system: it says where it is by the SBI's debug console, and switches its capsule off.
 */
#define EXT_DBCN      0x4442434e
#define DBCN_WRITE    0
#define EXT_SRST      0x53525354
#define SRST_RESET    0
#define SRST_SHUTDOWN 0

struct sbi_result {
    long error, value;
};

/* The hypervisor is called as a kernel calls its firmware: extension in a7, function in a6, arguments from a0 on. */
static struct sbi_result sbi(unsigned long extension, unsigned long function, unsigned long x, unsigned long y,
                             unsigned long z)
{
    register unsigned long a0 __asm__("a0") = x;
    register unsigned long a1 __asm__("a1") = y;
    register unsigned long a2 __asm__("a2") = z;
    register unsigned long a6 __asm__("a6") = function;
    register unsigned long a7 __asm__("a7") = extension;
    __asm__ volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a6), "r"(a7) : "memory");
    return (struct sbi_result){(long)a0, (long)a1};
}

/* The console may take less than it is given, if the terminal is slower than we are. */
static void print(const char *text)
{
    unsigned long left = 0;
    while (text[left] != '\0')
        left++;
    while (left > 0) {
        struct sbi_result done = sbi(EXT_DBCN, DBCN_WRITE, left, (unsigned long)text, 0);
        if (done.error != 0)
            return;
        text += done.value;
        left -= (unsigned long)done.value;
    }
}

static void print_hex(unsigned long number)
{
    char digits[2 + 2 * sizeof(number) + 1] = "0x";
    for (unsigned long i = 0; i < 2 * sizeof(number); i++)
        digits[2 + i] = "0123456789abcdef"[number >> (8 * sizeof(number) - 4 - 4 * i) & 15];
    print(digits);
}

void guest_main(unsigned long hart, unsigned long tree);

void guest_main(unsigned long hart, unsigned long tree)
{
    extern const char _start[];
    print("Hello from a flat guest at ");
    print_hex((unsigned long)_start);
    print(", hart ");
    print_hex(hart);
    print(", device tree ");
    print_hex(tree);
    print("\r\n");
    sbi(EXT_SRST, SRST_RESET, SRST_SHUTDOWN, 0, 0);
}
