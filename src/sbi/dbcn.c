/* SPDX-License-Identifier: MIT
 *
 * SBI DBCN: the debug console, which is the capsule's console port.
 */
#include <string.h>

#include "sbi/sbi.h"

/* Bytes moved by one call: what bounds a flood. Guests repeat a call that moved less than they asked for. */
enum { DBCN_BYTES_MAX = 128 };

/* (length, low, high) as a pointer to the bytes there, all in the capsule's RAM, or NULL. length isn't 0; at most
 * *adjacent of them are in one place. */
static uint8_t *guest_buffer(const struct sbi_call *call, size_t *adjacent)
{
    if (XLEN == 64 && call->args[2] != 0) {
        return NULL; /* no address has more than 64 bits */
    }
    uint64_t length = call->args[0];
    uint8_t *bytes = capsule_ram_part(call->vcpu->capsule, (gpa_t){sbi_argument64(call, 1)}, &length);
    *adjacent = (size_t)MIN(length, (uint64_t)DBCN_BYTES_MAX);
    return bytes;
}

/* write(length, low, high): never waits; a1 says how many bytes were taken, 0 if the console is full. */
static long write_bytes(struct sbi_call *call)
{
    if (call->args[0] == 0) {
        return SBI_SUCCESS;
    }
    size_t length = 0;
    const uint8_t *source = guest_buffer(call, &length);
    if (source == NULL) {
        return SBI_ERR_INVALID_PARAM;
    }
    uint8_t copy[DBCN_BYTES_MAX]; /* other vCPUs may change the source meanwhile */
    memcpy(copy, source, length);
    call->value = (long)console_port_write(&call->vcpu->capsule->console, copy, length);
    return SBI_SUCCESS;
}

/* read(length, low, high): never waits; a1 says how many bytes there were. */
static long read_bytes(struct sbi_call *call)
{
    if (call->args[0] == 0) {
        return SBI_SUCCESS;
    }
    size_t length = 0;
    uint8_t *target = guest_buffer(call, &length);
    if (target == NULL) {
        return SBI_ERR_INVALID_PARAM;
    }
    size_t count = 0;
    int byte = 0;
    while (count < length && (byte = console_port_get(&call->vcpu->capsule->console)) >= 0) {
        target[count++] = (uint8_t)byte;
    }
    call->value = (long)count;
    return SBI_SUCCESS;
}

long sbi_console_put(struct sbi_call *call, uint8_t byte)
{
    struct capsule *capsule = call->vcpu->capsule;
    unsigned waiter = 1u << call->vcpu->id;
    if (console_port_put(&capsule->console, byte)) {
        return SBI_SUCCESS;
    }
    /* pc stays at the ecall. We say that we wait before we look once more: whoever makes room from now on finds both
     * the refusal and the waiter, and unblocks it even before it sleeps. */
    atomic_fetch_or(&capsule->console_waiters, waiter);
    if (console_port_has_room(&capsule->console)) {
        atomic_fetch_and(&capsule->console_waiters, ~waiter);
    } else {
        vcpu_block(call->vcpu);
    }
    call->outcome = OUTCOME_YIELD;
    return SBI_ERR_FAILED;
}

/* write_byte(byte), low 8 bits: waits for room. */
static long write_byte(struct sbi_call *call)
{
    return sbi_console_put(call, (uint8_t)call->args[0]);
}

static sbi_function *const functions[] = {
    [SBI_DBCN_WRITE] = write_bytes,
    [SBI_DBCN_READ] = read_bytes,
    [SBI_DBCN_WRITE_BYTE] = write_byte,
};
const struct sbi_functions sbi_dbcn = {functions, ARRAY_LENGTH(functions)};
