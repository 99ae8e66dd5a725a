/* SPDX-License-Identifier: MIT
 *
 * The capsule's interrupt controller: a PLIC as QEMU's virt machine has it, for level-triggered lines. Contexts are
 * numbered as there: vCPU i's M context is 2i, which a capsule doesn't have (reads 0, ignores writes), its S context
 * is 2i + 1.
 */
#ifndef DEVICE_PLIC_H
#define DEVICE_PLIC_H

#include "core/device.h"

enum {
    PLIC_VCPUS_MAX = 32,
    PLIC_SOURCE_MAX = 95,  /* riscv,ndev: sources are 1 … this; 0 is no source */
    PLIC_SOURCE_WORDS = 3, /* 32-bit words that hold a bit per source */
    PLIC_PRIORITIES = 8,   /* 0 (never) … 7 */
    PLIC_WINDOW_SIZE = 0x600000,
};

/* One bit per source: bit n % 32 of word n / 32. */
struct plic_sources {
    uint32_t words[PLIC_SOURCE_WORDS];
};

struct plic {
    struct device device;
    uint32_t vcpus;
    void (*output)(void *arg, uint32_t vcpu, bool level);
    void *arg;

    /* device.lock guards these: */
    struct plic_sources level;                        /* what the devices drive */
    struct plic_sources pending;                      /* forwarded by the gateway, not claimed yet */
    struct plic_sources claimed;                      /* claimed, not completed: the gateway is closed */
    struct plic_sources at_priority[PLIC_PRIORITIES]; /* a source is in exactly one of them */
    struct plic_sources enabled[PLIC_VCPUS_MAX];      /* of vCPU n's S context */
    uint8_t threshold[PLIC_VCPUS_MAX];
    uint32_t raised; /* bit n: vCPU n's output as last told */
};

/* Makes a controller for 1 … PLIC_VCPUS_MAX vCPUs with its window at base. output is called with the device's lock
 * held, and only when a vCPU's external interrupt changed level. */
void plic_init(struct plic *plic, gpa_t base, uint32_t vcpus, void (*output)(void *arg, uint32_t vcpu, bool level),
               void *arg);

/* Drives a line; fits irq_line.set, with the struct plic as the controller. Takes the PLIC's lock. source is
 * 1 … PLIC_SOURCE_MAX; others are ignored. */
void plic_line_set(void *controller, uint32_t source, bool level);

#endif
