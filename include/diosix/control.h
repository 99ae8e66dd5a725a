/* SPDX-License-Identifier: MIT
 *
 * Control messages: what a manager capsule and the hypervisor say to each other over a port named
 * org.diosix.control.0 … .7. docs/control-protocol.md tells it in words. Shared by the hypervisor and capsulectl.
 *
 * All numbers are little-endian. Nothing here is padded: each field lies at a multiple of its size.
 */
#ifndef DIOSIX_CONTROL_H
#define DIOSIX_CONTROL_H

#include <stdint.h>

#define DX_CONTROL_PORT "org.diosix.control." /* and a digit */

enum {
    DX_CONTROL_VERSION = 1,
    DX_CONTROL_PORTS = 8,
    DX_CONTROL_MESSAGE_MAX = 2048, /* bytes, of any message, header included */
    DX_CONTROL_ROWS_MAX = 6,       /* of one reply */
    DX_CONTROL_NAME = 32,          /* bytes, with a NUL */
    DX_CONTROL_STOP = 208,
    DX_CONTROL_BYTES_MAX = 1024,                 /* of one write */
    DX_CONTROL_CAUSES_MAX = 16,                  /* of exits that are told apart */
    DX_CONTROL_CAUSE = 16,                       /* bytes, with a NUL */
    DX_CONTROL_DISK_BYTES_MAX = 2 * 1024 * 1024, /* of one request of a served disk */
};

enum dx_control_kind {
    DX_CONTROL_HELLO = 1,   /* the first of each session */
    DX_CONTROL_LIST = 2,    /* some capsules, in order of their ids */
    DX_CONTROL_REQUEST = 3, /* asks something of a capsule */
    DX_CONTROL_CREATE = 4,  /* makes a capsule: two replies, and its image between them */
    DX_CONTROL_QUOTA = 5,   /* what the capsules that it makes may cost */
    DX_CONTROL_INFO = 6,    /* everything about one capsule */
    DX_CONTROL_READ = 7,    /* what a capsule has written to its console, or the hypervisor to its log */
    DX_CONTROL_WRITE = 8,   /* types on a capsule's console */
    DX_CONTROL_EVENTS = 9,  /* what has happened to capsules */
    DX_CONTROL_SERVE = 10,  /* this session's client is a disk from now on */
    DX_CONTROL_DISK = 11,   /* answers one of the disk's requests, and asks for the next */
    DX_CONTROL_REPLY = 0x8000,
};

/* Before each message. */
struct dx_control_header {
    uint32_t length;   /* of the message, this included */
    uint16_t kind;     /* enum dx_control_kind; a reply's: that of what it answers, and DX_CONTROL_REPLY */
    uint16_t error;    /* a reply's: enum dx_error. Not OK: a text follows, not terminated. In others 0 */
    uint32_t tag;      /* the client's own; a reply has the same */
    uint32_t reserved; /* 0 */
};

struct dx_control_hello {
    uint32_t version; /* that the client speaks: DX_CONTROL_VERSION */
};
struct dx_control_hello_reply {
    uint32_t version;
    uint32_t id;     /* of the capsule that asks */
    uint32_t rights; /* enum dx_control_rights */
    uint32_t message_max;
    char hypervisor[DX_CONTROL_NAME]; /* its version, as text */
};
enum dx_control_rights { DX_CONTROL_MANAGES_ALL = 1 };

struct dx_control_list {
    uint32_t after; /* capsules with larger ids than this; 0: from the first on */
};
struct dx_control_list_reply {
    uint32_t count; /* rows that follow; 0: there are no more */
    uint32_t reserved;
};
struct dx_control_row {
    uint32_t id;
    uint32_t state;     /* enum dx_control_state */
    uint32_t isolation; /* enum dx_control_isolation */
    uint32_t vcpus;
    uint64_t memory; /* bytes of RAM */
    uint64_t cpu_us; /* microseconds that it has had of harts */
    uint64_t starts;
    uint32_t flags; /* enum dx_control_flags */
    uint32_t reserved;
    char name[DX_CONTROL_NAME];
    char last_stop[DX_CONTROL_STOP]; /* for people; empty if it never stopped */
};
enum dx_control_state {
    DX_CONTROL_LOADED,
    DX_CONTROL_STARTING,
    DX_CONTROL_RUNNING,
    DX_CONTROL_STOPPING,
    DX_CONTROL_STOPPED,
    DX_CONTROL_CRASHED,
    DX_CONTROL_PAUSED,
    DX_CONTROL_RESTARTING,
    DX_CONTROL_DESTROYING,
};
enum dx_control_isolation { DX_CONTROL_PMP = 1, DX_CONTROL_HYP = 2 };
enum dx_control_flags { DX_CONTROL_ITSELF = 1, DX_CONTROL_MANAGER = 2 };

struct dx_control_request {
    uint32_t what; /* enum dx_control_verb */
    uint32_t id;
};
enum dx_control_verb {
    DX_CONTROL_START = 1,
    DX_CONTROL_STOP_IT = 2,
    DX_CONTROL_KILL = 3,
    DX_CONTROL_RESTART = 4,
    DX_CONTROL_PAUSE = 5,
    DX_CONTROL_RESUME = 6,
    DX_CONTROL_DESTROY = 7,
};

/* The first reply, with nothing behind the header, says that the image may come: so many bytes, without a header. The
 * second says what has become of it. */
struct dx_control_create {
    uint64_t bytes;  /* of a manifest that has one capsule, and nothing else */
    uint64_t memory; /* what that capsule says, so that it is refused before it is sent; 0: not said */
    uint32_t vcpus;  /* likewise */
    uint32_t reserved;
};
struct dx_control_create_reply {
    uint32_t id;
    uint32_t reserved;
};

/* Nothing is behind the header of the question. */
struct dx_control_quota_reply {
    uint64_t memory, memory_used; /* bytes */
    uint32_t vcpus, vcpus_used;
};

struct dx_control_info {
    uint32_t id;
    uint32_t reserved;
};
/* Counts are since the capsule was made. Behind it the bootargs, not terminated, as far as they fit. */
struct dx_control_info_reply {
    struct dx_control_row row;
    uint64_t steal_us; /* microseconds that its vCPUs could have run and waited for a hart */
    uint64_t interrupts;
    uint64_t console_out, console_in; /* bytes */
    uint64_t console_dropped;         /* of console_out: gone before the machine's terminal showed them */
    uint64_t kernel, initrd;          /* bytes of the images */
    uint64_t overhead;                /* bytes of the machine's memory besides RAM and stage-2 tables */
    uint32_t priority, weight;
    uint32_t restart;          /* 0 never, 1 on-failure, 2 always */
    uint32_t watchdog_seconds; /* from the start on; 0: none, or when the guest starts it */
    uint32_t creator;          /* id of the manager that made it; 0: the manifest did */
    uint32_t causes;           /* that follow and are used */
    struct {
        char name[DX_CONTROL_CAUSE];
        uint64_t count;
    } exits[DX_CONTROL_CAUSES_MAX];
};

/* Positions count the bytes ever written, of which the newest are kept. */
struct dx_control_read {
    uint64_t from; /* the first position wanted; DX_CONTROL_NEWEST: what comes from now on */
    uint32_t id;   /* 0: the hypervisor's log, for a manager of all */
    uint32_t how;  /* enum dx_control_read_how */
};
#define DX_CONTROL_NEWEST (~UINT64_C(0))
enum dx_control_read_how {
    DX_CONTROL_WAIT = 1,  /* while there is nothing and the capsule runs: until there is, or the client sends more */
    DX_CONTROL_WATCH = 2, /* what comes next is kept for five seconds: the guest waits rather than that it is lost */
};
/* Behind it the bytes, at most as many as fit; the next to ask for begin at first plus their number. */
struct dx_control_read_reply {
    uint64_t first; /* position of the first one; larger than from: those between are gone */
    uint32_t state; /* enum dx_control_state */
    uint32_t reserved;
};

/* Behind it 1 to DX_CONTROL_BYTES_MAX bytes, or none with DX_CONTROL_BREAK. */
struct dx_control_write {
    uint32_t id;
    uint32_t how; /* enum dx_control_write_how */
};
enum dx_control_write_how { DX_CONTROL_BREAK = 1 /* a BREAK before them */ };
struct dx_control_write_reply {
    uint32_t taken; /* of the bytes; not all: the guest has not read what was typed before */
    uint32_t reserved;
};

struct dx_control_events {
    uint64_t after; /* events with larger numbers than this; DX_CONTROL_NEWEST: that come from now on */
    uint32_t how;   /* 0, or DX_CONTROL_WAIT: until there is one, or the client sends */
    uint32_t reserved;
};
struct dx_control_events_reply {
    uint64_t last;  /* number of the last one that follows; 0 of them: after, or the newest there is */
    uint32_t count; /* events that follow */
    uint32_t reserved;
};
struct dx_control_event {
    uint64_t number;  /* ascending; others' are left out, and what is too old */
    uint64_t time_us; /* since the machine was switched on */
    uint32_t kind;    /* enum dx_control_event_kind */
    uint32_t id;      /* of the capsule */
    char name[DX_CONTROL_NAME];
    char text[DX_CONTROL_STOP];
};
enum dx_control_event_kind {
    DX_CONTROL_EVENT_CREATED,
    DX_CONTROL_EVENT_STARTED,
    DX_CONTROL_EVENT_STOPPED, /* text: why */
    DX_CONTROL_EVENT_CRASHED, /* likewise */
    DX_CONTROL_EVENT_RESTARTS,
    DX_CONTROL_EVENT_PAUSED,
    DX_CONTROL_EVENT_RESUMED,
    DX_CONTROL_EVENT_DESTROYED,
    DX_CONTROL_EVENT_ATTACHED, /* a client reads its console with DX_CONTROL_WATCH; text: whose */
};

/* The disk that capsules of this manager find as "served:NAME". If one of this name has lost its server, this is its
 * new one; size and flags must be as they were. */
struct dx_control_serve {
    char name[DX_CONTROL_NAME]; /* as a capsule's, with a NUL and zeros behind it */
    uint64_t sectors;           /* of 512 bytes */
    uint32_t flags;             /* 0 or DX_CONTROL_SERVE_READ_ONLY */
    uint32_t reserved;
};
enum dx_control_serve_flags { DX_CONTROL_SERVE_READ_ONLY = 1 };

/* Behind it so many bytes without a header: what was to be read, if token is that of such a request. */
struct dx_control_disk {
    uint32_t token; /* of the request that this answers; DX_CONTROL_DISK_NONE: of none */
    uint32_t error; /* 0, or it failed */
    uint32_t bytes; /* that follow: none, or as many as the request has */
    uint32_t how;   /* 0, or DX_CONTROL_WAIT: until there is a request, or the client sends */
};
#define DX_CONTROL_DISK_NONE UINT32_MAX
/* Behind it, of a write, the bytes to be written, and behind those 4 bytes more: 1, or 0 if the request has been
 * cancelled meanwhile and must not be carried out. The reply may be longer than DX_CONTROL_MESSAGE_MAX then. */
struct dx_control_disk_reply {
    uint32_t token;
    uint32_t operation; /* enum dx_control_disk_operation */
    uint64_t sector;    /* the first one; 512 bytes each */
    uint64_t bytes;     /* to read, write, discard or clear; at most DX_CONTROL_DISK_BYTES_MAX of the first two */
    uint32_t users;     /* devices of capsules that use the disk now */
    uint32_t reserved;
};
enum dx_control_disk_operation {
    DX_CONTROL_DISK_NOTHING, /* there is none now */
    DX_CONTROL_DISK_READ,
    DX_CONTROL_DISK_WRITE,
    DX_CONTROL_DISK_FLUSH,   /* all that has been answered must last */
    DX_CONTROL_DISK_DISCARD, /* need not be kept */
    DX_CONTROL_DISK_ZERO,    /* reads as zeros from now on */
    DX_CONTROL_DISK_UNUSED,  /* its last user has gone; told once each time */
};

#endif
