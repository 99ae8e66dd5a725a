/* SPDX-License-Identifier: MIT
 *
 * Finding a control port, and the messages on it: see link.h.
 */
#include "link.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capsulectl.h"

#define PORTS "/sys/class/virtio-ports"

/* Whether the port with this directory is one of ours. */
static int is_control(const char *entry)
{
    char path[300];
    char name[64] = "";
    snprintf(path, sizeof(path), PORTS "/%s/name", entry);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return 0;
    }
    const int found =
        fgets(name, sizeof(name), file) != NULL && strncmp(name, DX_CONTROL_PORT, strlen(DX_CONTROL_PORT)) == 0;
    fclose(file);
    return found;
}

/* The first that can be opened, or -1; *found: whether there is any. */
static int open_port(int *found)
{
    char path[300];
    int file = -1;
    DIR *ports = opendir(PORTS);
    *found = 0;
    for (struct dirent *entry; file < 0 && ports != NULL && (entry = readdir(ports)) != NULL;) {
        if (entry->d_name[0] == '.' || !is_control(entry->d_name)) {
            continue;
        }
        *found = 1;
        snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
        file = open(path, O_RDWR | O_CLOEXEC);
        if (file < 0 && errno != EBUSY) {
            die(EXIT_LINK, "%s: %s%s", path, strerror(errno), errno == EACCES ? ": try it as root" : "");
        }
    }
    if (ports != NULL) {
        closedir(ports);
    }
    return file;
}

void link_write(struct link *link, const uint8_t *bytes, size_t length)
{
    while (length > 0) {
        const ssize_t done = write(link->file, bytes, length);
        if (done <= 0 && errno != EINTR) {
            die(EXIT_LINK, "the hypervisor doesn't listen: %s", strerror(errno));
        }
        bytes += done > 0 ? done : 0;
        length -= done > 0 ? (size_t)done : 0;
    }
}

void link_read(struct link *link, void *to, size_t length)
{
    uint8_t *bytes = to;
    while (length > 0) {
        const ssize_t done = read(link->file, bytes, length);
        if (done == 0 || (done < 0 && errno != EINTR)) {
            die(EXIT_LINK, "the hypervisor doesn't answer: %s", done == 0 ? "the port is closed" : strerror(errno));
        }
        bytes += done > 0 ? done : 0;
        length -= done > 0 ? (size_t)done : 0;
    }
}

void link_refused(const struct link *link, size_t bytes)
{
    die(EXIT_REFUSED, "%.*s", (int)bytes, (const char *)link_payload(link));
}

void link_nonsense(void)
{
    die(EXIT_LINK, "the hypervisor's answer makes no sense: is this capsulectl of another version?");
}

void link_send(struct link *link, enum dx_control_kind kind, const void *payload, size_t length)
{
    const struct dx_control_header header = {
        .length = (uint32_t)(sizeof(header) + length), .kind = (uint16_t)kind, .tag = link->next_tag++};
    memcpy(link->message, &header, sizeof(header));
    memcpy(link->message + sizeof(header), payload, length);
    link_write(link, link->message, sizeof(header) + length);
}

unsigned link_hear(struct link *link, unsigned *kind, size_t *bytes)
{
    struct dx_control_header header;
    link_read(link, link->reply, sizeof(header));
    memcpy(&header, link->reply, sizeof(header));
    if (header.length < sizeof(header) || header.length > DX_CONTROL_MESSAGE_MAX ||
        (header.kind & DX_CONTROL_REPLY) == 0) {
        link_nonsense();
    }
    *kind = header.kind & ~(unsigned)DX_CONTROL_REPLY;
    *bytes = header.length - sizeof(header);
    link_read(link, link->reply + sizeof(header), *bytes);
    return header.error;
}

/* Its error, and the bytes behind its header. */
static unsigned receive(struct link *link, enum dx_control_kind kind, size_t *bytes)
{
    unsigned found;
    const unsigned error = link_hear(link, &found, bytes);
    struct dx_control_header header;
    memcpy(&header, link->reply, sizeof(header));
    if (found != (unsigned)kind || header.tag != link->next_tag - 1) {
        link_nonsense();
    }
    return error;
}

unsigned link_ask(struct link *link, enum dx_control_kind kind, const void *payload, size_t length, size_t *bytes)
{
    link_send(link, kind, payload, length);
    return receive(link, kind, bytes);
}

void link_get_reply(struct link *link, enum dx_control_kind kind, void *reply, size_t size)
{
    size_t bytes;
    if (receive(link, kind, &bytes) != 0) {
        link_refused(link, bytes);
    }
    if (bytes < size) {
        link_nonsense();
    }
    if (size > 0) {
        memcpy(reply, link_payload(link), size);
    }
}

void link_get(struct link *link, enum dx_control_kind kind, const void *payload, size_t length, void *reply,
              size_t size)
{
    link_send(link, kind, payload, length);
    link_get_reply(link, kind, reply, size);
}

void link_open(struct link *link)
{
    const struct dx_control_hello hello = {.version = DX_CONTROL_VERSION};
    int found;
    size_t bytes;
    memset(link, 0, sizeof(*link));
    link->file = open_port(&found);
    if (link->file < 0) {
        die(EXIT_LINK, found
                           ? "all control ports are in use: end another capsulectl first"
                           : "there is no control port: this must be a capsule with `manager` in the manifest, and its "
                             "kernel must have virtio_console and virtio_mmio (modprobe virtio_mmio)");
    }
    if (link_ask(link, DX_CONTROL_HELLO, &hello, sizeof(hello), &bytes) != 0 || bytes < sizeof(link->hello)) {
        die(EXIT_LINK, "the hypervisor says: %.*s", (int)bytes, (const char *)link_payload(link));
    }
    memcpy(&link->hello, link_payload(link), sizeof(link->hello));
}

void link_close(struct link *link)
{
    close(link->file);
    link->file = -1;
}
