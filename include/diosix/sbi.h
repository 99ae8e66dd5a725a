/* SPDX-License-Identifier: MIT
 *
 * Numbers of the RISC-V Supervisor Binary Interface, version 2.0, as far as Diosix uses them.
 * Shared by the hypervisor and its test guests.
 */
#ifndef DIOSIX_SBI_H
#define DIOSIX_SBI_H

#include <stddef.h>
#include <stdint.h>

#define SBI_SPEC_VERSION 0x02000000L /* major in bits 30:24, minor in 23:0 */
#define SBI_IMPL_ID      5L          /* registered for Diosix */

/* Extension ids (a7) */
enum sbi_extension {
    SBI_EXT_LEGACY_SET_TIMER = 0x00,
    SBI_EXT_LEGACY_PUTCHAR = 0x01,
    SBI_EXT_LEGACY_GETCHAR = 0x02,
    SBI_EXT_LEGACY_CLEAR_IPI = 0x03,
    SBI_EXT_LEGACY_SHUTDOWN = 0x08,
    SBI_EXT_BASE = 0x10,
    SBI_EXT_TIME = 0x54494d45,
    SBI_EXT_IPI = 0x735049,
    SBI_EXT_RFENCE = 0x52464e43,
    SBI_EXT_HSM = 0x48534d,
    SBI_EXT_SRST = 0x53525354,
    SBI_EXT_DBCN = 0x4442434e,
    SBI_EXT_STA = 0x535441,
};

/* Function ids (a6), one list per extension */
enum sbi_base_function {
    SBI_BASE_SPEC_VERSION = 0,
    SBI_BASE_IMPL_ID = 1,
    SBI_BASE_IMPL_VERSION = 2,
    SBI_BASE_PROBE = 3,
    SBI_BASE_MVENDORID = 4,
    SBI_BASE_MARCHID = 5,
    SBI_BASE_MIMPID = 6,
};
enum sbi_time_function { SBI_TIME_SET_TIMER = 0 };
enum sbi_ipi_function { SBI_IPI_SEND = 0 };
enum sbi_rfence_function { SBI_RFENCE_FENCE_I = 0, SBI_RFENCE_SFENCE_VMA = 1, SBI_RFENCE_SFENCE_VMA_ASID = 2 };
enum sbi_hsm_function { SBI_HSM_START = 0, SBI_HSM_STOP = 1, SBI_HSM_STATUS = 2, SBI_HSM_SUSPEND = 3 };
enum sbi_srst_function { SBI_SRST_RESET = 0 };
enum sbi_dbcn_function { SBI_DBCN_WRITE = 0, SBI_DBCN_READ = 1, SBI_DBCN_WRITE_BYTE = 2 };
enum sbi_sta_function { SBI_STA_SET_SHMEM = 0 };

/* Return codes (a0) */
#define SBI_SUCCESS               0L
#define SBI_ERR_FAILED            (-1L)
#define SBI_ERR_NOT_SUPPORTED     (-2L)
#define SBI_ERR_INVALID_PARAM     (-3L)
#define SBI_ERR_DENIED            (-4L)
#define SBI_ERR_INVALID_ADDRESS   (-5L)
#define SBI_ERR_ALREADY_AVAILABLE (-6L)
#define SBI_ERR_ALREADY_STARTED   (-7L)
#define SBI_ERR_ALREADY_STOPPED   (-8L)

/* HSM hart states */
enum sbi_hsm_state {
    SBI_HSM_STARTED = 0,
    SBI_HSM_STOPPED = 1,
    SBI_HSM_START_PENDING = 2,
    SBI_HSM_STOP_PENDING = 3,
    SBI_HSM_SUSPENDED = 4,
    SBI_HSM_SUSPEND_PENDING = 5,
    SBI_HSM_RESUME_PENDING = 6,
};

#define SBI_HSM_SUSPEND_RETENTIVE     0x00000000u
#define SBI_HSM_SUSPEND_NON_RETENTIVE 0x80000000u

/* SRST types and reasons */
#define SBI_SRST_SHUTDOWN       0u
#define SBI_SRST_COLD_REBOOT    1u
#define SBI_SRST_WARM_REBOOT    2u
#define SBI_SRST_REASON_NONE    0u
#define SBI_SRST_REASON_FAILURE 1u

/* STA: what a hart shares with the hypervisor, aligned to its size, little-endian */
struct sbi_sta_shared {
    uint32_t sequence; /* odd while the rest is being written */
    uint32_t flags;    /* 0 */
    uint64_t steal;    /* nanoseconds */
    uint8_t preempted; /* 0 here: it is a hint that need not be given */
    uint8_t unused[47];
};
_Static_assert(sizeof(struct sbi_sta_shared) == 64 && offsetof(struct sbi_sta_shared, steal) == 8, "SBI STA");

#endif
