/* SPDX-License-Identifier: MIT
 *
 * A disk's requests, answered from a file: see serve.h. One at a time, on a session of its own.
 */
#define _GNU_SOURCE
#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capsulectl.h"

enum { SECTOR = 512, ZEROES_STEP = 64 * 1024 };

struct disk {
    const char *name, *path;
    bool read_only;
    bool ends_unused; /* when its last capsule has gone */
    int file;
    uint64_t size;
    uint8_t *bytes; /* of a request */
};

/* --- the file ---------------------------------------------------------------------------------------------------- */

static void open_file(struct disk *disk)
{
    disk->file = open(disk->path, (disk->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (disk->file < 0) {
        die(EXIT_USAGE, "%s: %s", disk->path, strerror(errno));
    }
    if (flock(disk->file, (disk->read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0) {
        die(EXIT_USAGE, "%s: another capsulectl serves it already", disk->path);
    }
    const off_t size = lseek(disk->file, 0, SEEK_END);
    if (size <= 0 || size % SECTOR != 0) {
        die(EXIT_USAGE, "%s: a disk has a multiple of %d bytes, this has %lld: try `truncate -s 1G %s`", disk->path,
            SECTOR, (long long)size, disk->path);
    }
    disk->size = (uint64_t)size;
    disk->bytes = malloc(DX_CONTROL_DISK_BYTES_MAX);
    if (disk->bytes == NULL) {
        die(EXIT_USAGE, "serve-disk: no memory for a request");
    }
}

static bool transfer(const struct disk *disk, bool writes, uint64_t at, uint8_t *bytes, uint64_t length)
{
    while (length > 0) {
        const ssize_t done = writes ? pwrite(disk->file, bytes, (size_t)length, (off_t)at)
                                    : pread(disk->file, bytes, (size_t)length, (off_t)at);
        if (done == 0 || (done < 0 && errno != EINTR)) {
            fprintf(stderr, "capsulectl: %s: %s\n", disk->path, done == 0 ? "it has become shorter" : strerror(errno));
            return false;
        }
        bytes += done > 0 ? done : 0;
        at += done > 0 ? (uint64_t)done : 0;
        length -= done > 0 ? (uint64_t)done : 0;
    }
    return true;
}

/* By a hole if the filesystem can. */
static bool clear(const struct disk *disk, uint64_t at, uint64_t length)
{
    if (length == 0 ||
        fallocate(disk->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)length) == 0) {
        return true;
    }
    memset(disk->bytes, 0, ZEROES_STEP);
    for (uint64_t part; length > 0; at += part, length -= part) {
        part = length < ZEROES_STEP ? length : ZEROES_STEP;
        if (!transfer(disk, true, at, disk->bytes, part)) {
            return false;
        }
    }
    return true;
}

static bool flush(const struct disk *disk)
{
    const bool good = fdatasync(disk->file) == 0;
    if (!good) {
        fprintf(stderr, "capsulectl: %s: %s\n", disk->path, strerror(errno));
    }
    return good;
}

static bool carry_out(const struct disk *disk, const struct dx_control_disk_reply *request)
{
    const uint64_t at = request->sector * SECTOR;
    if (at > disk->size || request->bytes > disk->size - at) {
        return false;
    }
    switch (request->operation) {
    case DX_CONTROL_DISK_READ:
        return transfer(disk, false, at, disk->bytes, request->bytes);
    case DX_CONTROL_DISK_WRITE:
        return !disk->read_only && transfer(disk, true, at, disk->bytes, request->bytes);
    case DX_CONTROL_DISK_FLUSH:
        return disk->read_only || flush(disk);
    case DX_CONTROL_DISK_DISCARD:
    case DX_CONTROL_DISK_ZERO:
        return !disk->read_only && clear(disk, at, request->bytes);
    default:
        return false;
    }
}

/* --- the session ------------------------------------------------------------------------------------------------- */

/* Sends what has become of the last request, and waits for the next; *whole: it has not been cancelled. */
static void exchange(struct link *link, const struct disk *disk, const struct dx_control_disk *answer,
                     struct dx_control_disk_reply *request, bool *whole)
{
    struct dx_control_header header;
    uint32_t trailer = 1;
    link_send(link, DX_CONTROL_DISK, answer, sizeof(*answer));
    link_write(link, disk->bytes, answer->bytes);
    link_read(link, &header, sizeof(header));
    const size_t bytes = header.length - sizeof(header);
    if (header.length < sizeof(header) || header.kind != (DX_CONTROL_DISK | DX_CONTROL_REPLY)) {
        link_nonsense();
    }
    if (header.error != 0) {
        const size_t text = bytes < DX_CONTROL_MESSAGE_MAX / 2 ? bytes : 0;
        link_read(link, link->reply + sizeof(header), text);
        link_refused(link, text);
    }
    link_read(link, request, sizeof(*request));
    const bool writes = request->operation == DX_CONTROL_DISK_WRITE;
    if (bytes != sizeof(*request) + (writes ? request->bytes + sizeof(trailer) : 0) ||
        ((writes || request->operation == DX_CONTROL_DISK_READ) && request->bytes > DX_CONTROL_DISK_BYTES_MAX)) {
        link_nonsense();
    }
    if (writes) {
        link_read(link, disk->bytes, (size_t)request->bytes);
        link_read(link, &trailer, sizeof(trailer));
    }
    *whole = trailer == 1;
}

static void begin(struct link *link, const struct disk *disk)
{
    struct dx_control_serve serve = {.sectors = disk->size / SECTOR,
                                     .flags = disk->read_only ? DX_CONTROL_SERVE_READ_ONLY : 0};
    if (strlen(disk->name) >= sizeof(serve.name)) {
        die(EXIT_USAGE, "serve-disk: %s: a name has at most %zu characters", disk->name, sizeof(serve.name) - 1);
    }
    memcpy(serve.name, disk->name, strlen(disk->name));
    link_get(link, DX_CONTROL_SERVE, &serve, sizeof(serve), NULL, 0);
}

/* Until it is unused, if that is its end. */
static void serve(struct link *link, const struct disk *disk)
{
    struct dx_control_disk answer = {.token = DX_CONTROL_DISK_NONE, .how = DX_CONTROL_WAIT};
    for (;;) {
        struct dx_control_disk_reply request;
        bool whole;
        exchange(link, disk, &answer, &request, &whole);
        answer = (struct dx_control_disk){.token = request.token, .how = DX_CONTROL_WAIT};
        if (request.operation == DX_CONTROL_DISK_UNUSED && disk->ends_unused) {
            return;
        }
        if (request.token != DX_CONTROL_DISK_NONE) {
            answer.error = whole && carry_out(disk, &request) ? 0 : 1;
            answer.bytes = answer.error == 0 && request.operation == DX_CONTROL_DISK_READ ? (uint32_t)request.bytes : 0;
        }
    }
}

int serve_verb(struct link *link, char **arguments)
{
    struct disk disk = {0};
    for (; *arguments != NULL; arguments++) {
        if (strcmp(*arguments, "--read-only") == 0) {
            disk.read_only = true;
        } else if ((*arguments)[0] == '-' || disk.path != NULL) {
            die(EXIT_USAGE, "usage: capsulectl serve-disk " SERVE_WORDS);
        } else {
            *(disk.name == NULL ? &disk.name : &disk.path) = *arguments;
        }
    }
    if (disk.path == NULL) {
        die(EXIT_USAGE, "usage: capsulectl serve-disk " SERVE_WORDS);
    }
    open_file(&disk);
    begin(link, &disk);
    printf("%s: serves %s, %" PRIu64 " MiB%s, until Ctrl-C: capsules find it as served:%s\n", disk.name, disk.path,
           disk.size >> 20, disk.read_only ? ", read-only" : "", disk.name);
    fflush(stdout);
    serve(link, &disk);
    return 0;
}

/* --- in the background ------------------------------------------------------------------------------------------- */

static void cut_suffix(char *path, struct disk *disk)
{
    static const char suffix[] = ":ro";
    const size_t length = strlen(path), cut = sizeof(suffix) - 1;
    if (length > cut && strcmp(path + length - cut, suffix) == 0) {
        path[length - cut] = '\0';
        disk->read_only = true;
    }
}

/* Has nothing of the caller's but the place where it says that it has begun. */
static _Noreturn void be_server(struct disk *disk, int ready)
{
    static struct link link;
    open_file(disk);
    link_open(&link);
    begin(&link, disk);
    setsid();
    const int nothing = open("/dev/null", O_RDWR);
    for (int file = 0; file <= 2 && nothing >= 0; file++) {
        dup2(nothing, file);
    }
    (void)!chdir("/");
    (void)!write(ready, "", 1);
    close(ready);
    serve(&link, disk);
    exit(0);
}

pid_t serve_in_background(const struct link *link, const char *name, const char *file)
{
    struct disk disk = {.name = name, .ends_unused = true};
    char *path = strdup(file + strlen("file:"));
    int ready[2];
    char byte;
    if (path == NULL || pipe2(ready, O_CLOEXEC) != 0) {
        die(EXIT_USAGE, "%s: %s", file, strerror(errno));
    }
    cut_suffix(path, &disk);
    disk.path = path;
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        close(ready[0]);
        close(link->file); /* else the port would be in use for as long as this process */
        be_server(&disk, ready[1]);
    }
    close(ready[1]);
    const bool began = child > 0 && read(ready[0], &byte, 1) == 1;
    close(ready[0]);
    free(path);
    if (!began) {
        exit(EXIT_USAGE); /* the reason has been said */
    }
    return child;
}
