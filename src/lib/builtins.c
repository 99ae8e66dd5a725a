/* SPDX-License-Identifier: MIT
 *
 * What the compiler calls for operations that the base instruction set lacks. The bare-metal toolchain's own library
 * is built for fixed addresses (medlow), which a position-independent image can't use.
 */
#include "lib/base.h"

int __ctzsi2(unsigned value);
int __ctzdi2(unsigned long long value);
int __clzsi2(unsigned value);
int __clzdi2(unsigned long long value);
unsigned long long __udivdi3(unsigned long long n, unsigned long long d);
unsigned long long __umoddi3(unsigned long long n, unsigned long long d);

int __ctzsi2(unsigned value)
{
    int count = 0;
    for (int step = 16; step != 0; step /= 2) {
        if ((value & ((1u << step) - 1)) == 0) {
            value >>= step;
            count += step;
        }
    }
    return count;
}

int __ctzdi2(unsigned long long value)
{
    unsigned low = (unsigned)value;
    return low != 0 ? __ctzsi2(low) : 32 + __ctzsi2((unsigned)(value >> 32));
}

int __clzsi2(unsigned value)
{
    int count = 0;
    for (int step = 16; step != 0; step /= 2) {
        if (value >> (32 - step) == 0) {
            value <<= step;
            count += step;
        }
    }
    return count;
}

int __clzdi2(unsigned long long value)
{
    unsigned high = (unsigned)(value >> 32);
    return high != 0 ? __clzsi2(high) : 32 + __clzsi2((unsigned)value);
}

/* Shift and subtract; RV32 only, where nothing frequent divides 64-bit numbers. Dividing by 0 gives all ones. */
static unsigned long long divide(unsigned long long n, unsigned long long d, unsigned long long *remainder)
{
    unsigned long long quotient = 0;
    unsigned long long rest = 0;
    for (int bit = 63; bit >= 0; bit--) {
        rest = rest << 1 | (n >> bit & 1);
        if (rest >= d) {
            rest -= d;
            quotient |= 1ull << bit;
        }
    }
    *remainder = rest;
    return quotient;
}

unsigned long long __udivdi3(unsigned long long n, unsigned long long d)
{
    unsigned long long remainder;
    return divide(n, d, &remainder);
}

unsigned long long __umoddi3(unsigned long long n, unsigned long long d)
{
    unsigned long long remainder;
    divide(n, d, &remainder);
    return remainder;
}

unsigned long long __ashldi3(unsigned long long value, int count);
unsigned long long __lshrdi3(unsigned long long value, int count);

/* Made of 32-bit halves, or they would call themselves. */
unsigned long long __ashldi3(unsigned long long value, int count)
{
    unsigned low = (unsigned)value;
    unsigned high = (unsigned)(value >> 32);
    if (count >= 32) {
        high = low << (count - 32);
        low = 0;
    } else if (count > 0) {
        high = high << count | low >> (32 - count);
        low <<= count;
    }
    return (unsigned long long)high << 32 | low;
}

unsigned long long __lshrdi3(unsigned long long value, int count)
{
    unsigned low = (unsigned)value;
    unsigned high = (unsigned)(value >> 32);
    if (count >= 32) {
        low = high >> (count - 32);
        high = 0;
    } else if (count > 0) {
        low = low >> count | high << (32 - count);
        high >>= count;
    }
    return (unsigned long long)high << 32 | low;
}
