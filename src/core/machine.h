/* SPDX-License-Identifier: MIT
 *
 * The host machine as its device tree tells it. Filled by dt/host_tree.c at boot, constant afterwards.
 */
#ifndef CORE_MACHINE_H
#define CORE_MACHINE_H

#include "lib/address.h"

enum {
    MACHINE_BANKS_MAX = 8,
    MACHINE_RESERVED_MAX = 32,
    MACHINE_HARTS_MAX = 64,
    MACHINE_ISA_MAX = 1024, /* QEMU 10 writes over 260 characters for its default hart */
    MACHINE_CLINTS_MAX = 8,
    MACHINE_SEED_MAX = 64,
    MACHINE_VIRTIO_MAX = 32,
    MACHINE_PATH_MAX = 64,
};

/* What the tree says of one hart. What the hart really has is probed on the hart itself. */
struct machine_hart {
    unsigned long id;          /* mhartid; sparse */
    bool usable;               /* status is not "disabled"/"fail" and it has an MMU (S-mode) */
    char isa[MACHINE_ISA_MAX]; /* riscv,isa, lower case; or made from riscv,isa-base/-extensions */
    char mmu_type[16];         /* "sv39" without the "riscv," prefix; empty if none is named */
    uint32_t intc_phandle;     /* of its riscv,cpu-intc node; 0 if none */
    uint32_t cbom_block_size;  /* riscv,cbom-block-size, bytes; 0 if none; likewise the next two */
    uint32_t cboz_block_size;
    uint32_t cbop_block_size;
};

enum machine_uart_kind { MACHINE_UART_NONE, MACHINE_UART_NS16550, MACHINE_UART_SIFIVE };

struct machine_uart {
    enum machine_uart_kind kind;
    uint64_t base;
    uint32_t reg_shift;
    uint32_t reg_io_width; /* bytes: 1 or 4 */
    uint32_t interrupt;    /* PLIC source; 0 if none is named */
};

/* A timer and/or software-interrupt block for a set of harts: CLINT, or ACLINT's MTIMER and MSWI. Addresses are 0
 * where that part is absent. Slot n of the block's arrays belongs to hart ids[n]. */
struct machine_clint {
    uint64_t mtime;    /* 8 bytes; 0 if the hart's time CSR must be used (T-Head) */
    uint64_t mtimecmp; /* array of 8-byte registers */
    uint64_t msip;     /* array of 4-byte registers */
    uint32_t slots;
    unsigned long ids[MACHINE_HARTS_MAX]; /* ~0UL: the slot belongs to no hart */
    bool split_writes;                    /* only 32-bit accesses are safe (thead,c900-clint and the like) */
};

struct machine_plic {
    uint64_t base; /* 0 if the machine has none */
    uint64_t size;
    uint32_t sources;
    uint32_t contexts;
    /* by index in machine.harts: the PLIC context number, −1 if none */
    int32_t m_context[MACHINE_HARTS_MAX];
    int32_t s_context[MACHINE_HARTS_MAX];
};

/* A virtio-mmio slot, which may be empty. */
struct machine_virtio {
    uint64_t base;
    uint32_t interrupt; /* PLIC source; 0 if none is named */
    char path[MACHINE_PATH_MAX];
};

/* syscon-poweroff or -reboot: write (value) under mask at address. address 0: absent. */
struct machine_syscon {
    uint64_t address;
    uint32_t value;
    uint32_t mask;
};

struct machine {
    char model[64];
    struct range banks[MACHINE_BANKS_MAX]; /* RAM; sorted, merged, not overlapping */
    size_t bank_count;
    struct range reserved[MACHINE_RESERVED_MAX]; /* memreserve entries and /reserved-memory children with reg */
    size_t reserved_count;
    struct machine_hart harts[MACHINE_HARTS_MAX];
    size_t hart_count;
    uint32_t timebase_hz;
    struct machine_uart uart;
    struct machine_clint clints[MACHINE_CLINTS_MAX];
    size_t clint_count;
    struct machine_plic plic;
    struct machine_syscon poweroff;
    struct machine_syscon reboot;
    struct range initrd; /* size 0: none */
    char bootargs[256];
    uint8_t seed[MACHINE_SEED_MAX]; /* /chosen/rng-seed */
    size_t seed_length;
    struct machine_virtio virtio[MACHINE_VIRTIO_MAX]; /* by address */
    size_t virtio_count;
    bool has_rtc; /* a google,goldfish-rtc at rtc_base */
    uint64_t rtc_base;
};

/* The index in machine->harts of the hart with this id, or −1. */
int machine_hart_index(const struct machine *machine, unsigned long id);

#endif
