/* SPDX-License-Identifier: MIT
 *
 * Output of the test guests, and the few functions of a C library that they need.
 */
#include "guest.h"

static struct lock print_lock, result_lock;
static unsigned long passed, failed, cases, bad_cases;

void *memset(void *to, int byte, size_t length)
{
    for (volatile char *p = to; length > 0; length--) {
        *p++ = (char)byte;
    }
    return to;
}

void *memcpy(void *to, const void *from, size_t length)
{
    volatile char *p = to;
    for (const char *q = from; length > 0; length--) {
        *p++ = *q++;
    }
    return to;
}

int memcmp(const void *a, const void *b, size_t length)
{
    for (const unsigned char *p = a, *q = b; length > 0; length--, p++, q++) {
        if (*p != *q) {
            return *p - *q;
        }
    }
    return 0;
}

size_t strlen(const char *text)
{
    size_t length = 0;
    while (text[length] != 0) {
        length++;
    }
    return length;
}

bool text_equal(const char *a, const char *b)
{
    size_t length = strlen(a);
    return length == strlen(b) && memcmp(a, b, length) == 0;
}

uint64_t random64(uint64_t *state)
{
    uint64_t x = *state != 0 ? *state : 88172645463325252ull;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

void lock(struct lock *lock)
{
    while (__atomic_exchange_n(&lock->taken, 1, __ATOMIC_ACQUIRE) != 0) {
    }
}

void unlock(struct lock *lock)
{
    __atomic_store_n(&lock->taken, 0, __ATOMIC_RELEASE);
}

/* --- printing --- */

struct text {
    char bytes[512];
    size_t length;
};

static void add(struct text *text, char c)
{
    if (text->length < sizeof(text->bytes)) {
        text->bytes[text->length++] = c;
    }
}

static void add_string(struct text *text, const char *string)
{
    while (*string != 0) {
        add(text, *string++);
    }
}

static void add_hex(struct text *text, unsigned long long value)
{
    int shift = 60;
    while (shift > 0 && (value >> shift) == 0) {
        shift -= 4;
    }
    for (; shift >= 0; shift -= 4) {
        add(text, "0123456789abcdef"[value >> shift & 15]);
    }
}

/* By subtraction: RV32 has no 64-bit division without a library. */
static void add_decimal(struct text *text, unsigned long long value)
{
    bool started = false;
    for (unsigned long long power = 10000000000000000000ull, next; power > 0; power = next) {
        char digit = '0';
        for (; value >= power; value -= power) {
            digit++;
        }
        started = started || digit != '0' || power == 1;
        if (started) {
            add(text, digit);
        }
        next = 0; /* power / 10, by adding up the reciprocal's bits */
        if (power > 1) {
            unsigned long long q = (power >> 1) + (power >> 2);
            q += q >> 4;
            q += q >> 8;
            q += q >> 16;
            q += q >> 32;
            q >>= 3;
            next = q + (power - q * 10 > 9 ? 1 : 0);
        }
    }
}

static void add_number(struct text *text, char kind, unsigned long long value)
{
    if (kind == 'x') {
        add_hex(text, value);
        return;
    }
    if (kind == 'd' && (long long)value < 0) {
        add(text, '-');
        value = 0 - value;
    }
    add_decimal(text, value);
}

/* In a structure, so that a callee can take from it whatever va_list is. */
struct values {
    va_list list;
};

static unsigned long long next_number(bool is_signed, int longs, struct values *values)
{
    if (longs == 2) {
        return va_arg(values->list, unsigned long long);
    }
    if (is_signed) {
        return (unsigned long long)(longs == 1 ? va_arg(values->list, long) : va_arg(values->list, int));
    }
    return longs == 1 ? va_arg(values->list, unsigned long) : va_arg(values->list, unsigned);
}

static void add_format(struct text *text, const char *format, struct values *values)
{
    for (; *format != 0; format++) {
        if (*format != '%') {
            add(text, *format);
            continue;
        }
        int longs = 0;
        while (*++format == 'l') {
            longs++;
        }
        if (*format == 's') {
            add_string(text, va_arg(values->list, const char *));
        } else if (*format == 'c') {
            add(text, (char)va_arg(values->list, int));
        } else {
            add_number(text, *format, next_number(*format == 'd', longs, values));
        }
    }
}

/* Byte by byte by legacy call where DBCN is absent or refuses. */
static void put(const struct text *text)
{
    size_t done = 0;
    while (done < text->length) {
        struct sbi_result result =
            sbi(SBI_EXT_DBCN, 0, text->length - done, (unsigned long)(uintptr_t)&text->bytes[done], 0);
        if (result.error != SBI_SUCCESS) {
            sbi(SBI_EXT_LEGACY_PUTCHAR, 0, (unsigned char)text->bytes[done++], 0, 0);
        } else {
            done += (size_t)result.value <= text->length - done ? (size_t)result.value : text->length - done;
        }
    }
}

void print(const char *format, ...)
{
    struct text text = {.length = 0};
    struct values values;
    va_start(values.list, format);
    add_format(&text, format, &values);
    va_end(values.list);
    lock(&print_lock);
    put(&text);
    unlock(&print_lock);
}

static void print_list(const char *before, unsigned long number, const char *format, struct values *values)
{
    struct text text = {.length = 0};
    add_string(&text, before);
    if (number > 0) {
        add_decimal(&text, number);
        add(&text, ' ');
    }
    add_format(&text, format, values);
    if (text.length == sizeof(text.bytes)) {
        text.length--;
    }
    add(&text, '\n');
    lock(&print_lock);
    put(&text);
    unlock(&print_lock);
}

void say(const char *kind, const char *format, ...)
{
    char before[64]; /* "KIND NAME " */
    size_t length = 0;
    const char *name = argument_text("name");
    for (; *kind != 0 && length < 30; kind++) {
        before[length++] = *kind;
    }
    before[length++] = ' ';
    for (; name != NULL && *name != 0 && *name != ' ' && length < sizeof(before) - 2; name++) {
        before[length++] = *name;
    }
    before[length++] = ' ';
    before[length] = 0;
    struct values values;
    va_start(values.list, format);
    print_list(before, 0, format, &values);
    va_end(values.list);
}

void note(const char *format, ...)
{
    if (argument("notes", 1) == 0) {
        return;
    }
    struct values values;
    va_start(values.list, format);
    print_list("# ", 0, format, &values);
    va_end(values.list);
}

/* --- results --- */

static unsigned long count_result(bool good)
{
    lock(&result_lock);
    good ? passed++ : failed++;
    unsigned long number = passed + failed;
    unlock(&result_lock);
    return number;
}

void check(bool good, const char *format, ...)
{
    struct values values;
    va_start(values.list, format);
    print_list(good ? "ok " : "not ok ", count_result(good), format, &values);
    va_end(values.list);
}

void same(const char *name, unsigned long got, unsigned long want)
{
    if (got == want) {
        check(true, "%s", name);
    } else {
        check(false, "%s: got %ld (0x%lx) want %ld (0x%lx)", name, (long)got, got, (long)want, want);
    }
}

void skip(const char *name, const char *why)
{
    check(true, "%s # skip %s", name, why);
}

void differs(bool good, const char *name, long got)
{
    if (good || on_diosix) {
        check(good, "%s%s%ld", name, good ? ": " : ": got ", got);
    } else {
        skip(name, "another implementation differs here");
    }
}

void case_check(bool good, const char *format, ...)
{
    cases++;
    if (good || ++bad_cases > 5) {
        return;
    }
    struct values values;
    va_start(values.list, format);
    print_list("# bad: ", 0, format, &values);
    va_end(values.list);
}

void cases_end(const char *name)
{
    if (bad_cases == 0) {
        check(true, "%s (%lu cases)", name, cases);
    } else {
        check(false, "%s: got %lu bad of %lu want 0", name, bad_cases, cases);
    }
    cases = bad_cases = 0;
}

void finish(void)
{
    print("guest: %lu passed, %lu failed\n", passed, failed);
    sbi(SBI_EXT_SRST, 0, SBI_SRST_SHUTDOWN, SBI_SRST_REASON_NONE, 0);
    sbi(SBI_EXT_LEGACY_SHUTDOWN, 0, 0, 0, 0);
    for (;;) {
        wait_for_interrupt();
    }
}
