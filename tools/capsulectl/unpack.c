/* SPDX-License-Identifier: MIT
 *
 * Unpacking: see unpack.h.
 */
#include "unpack.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "capsulectl.h"

enum { UNPACKED_MAX = 1024 * 1024 * 1024, STEP = 4 * 1024 * 1024 };

/* What is unpacked, as it grows. */
struct output {
    struct file file;
    size_t room;
};

static void make_room(struct output *output, const char *path)
{
    if (output->file.length < output->room) {
        return;
    }
    output->room += STEP + output->room / 2;
    output->file.bytes = output->room > UNPACKED_MAX ? NULL : realloc(output->file.bytes, output->room);
    if (output->file.bytes == NULL) {
        die(EXIT_USAGE, "%s: no memory for what is packed in it", path);
    }
}

static struct file unpack_gzip(struct file file, const char *path)
{
    enum { GZIP = 16 };
    struct output output = {{NULL, 0}, 0};
    z_stream stream = {.next_in = file.bytes, .avail_in = (uInt)file.length};
    int status = inflateInit2(&stream, GZIP + MAX_WBITS);
    while (status == Z_OK) {
        make_room(&output, path);
        stream.next_out = output.file.bytes + output.file.length;
        stream.avail_out = (uInt)(output.room - output.file.length);
        status = inflate(&stream, Z_NO_FLUSH);
        output.file.length = output.room - stream.avail_out;
    }
    if (status != Z_STREAM_END) {
        die(EXIT_USAGE, "%s: it is packed by gzip, and damaged: %s", path,
            stream.msg != NULL ? stream.msg : "it ends too early");
    }
    inflateEnd(&stream);
    return output.file;
}

static struct file unpack_zstd(struct file file, const char *path)
{
    struct output output = {{NULL, 0}, 0};
    ZSTD_DStream *stream = ZSTD_createDStream();
    ZSTD_inBuffer in = {file.bytes, file.length, 0};
    size_t left = 1;
    while (stream != NULL && left != 0) {
        make_room(&output, path);
        ZSTD_outBuffer out = {output.file.bytes, output.room, output.file.length};
        left = ZSTD_decompressStream(stream, &out, &in);
        const bool stuck = in.pos == in.size && out.pos == output.file.length;
        if (ZSTD_isError(left) || (left != 0 && stuck)) {
            die(EXIT_USAGE, "%s: it is packed by zstd, and damaged: %s", path,
                ZSTD_isError(left) ? ZSTD_getErrorName(left) : "it ends too early");
        }
        output.file.length = out.pos;
    }
    if (stream == NULL) {
        die(EXIT_USAGE, "%s: no memory to unpack it", path);
    }
    ZSTD_freeDStream(stream);
    return output.file;
}

/* Of Linux's EFI images that unpack themselves: where the packed kernel is. */
static bool find_payload(struct file file, struct file *payload)
{
    uint32_t place[2];
    if (file.length < 64 || memcmp(file.bytes, "MZ", 2) != 0 || memcmp(file.bytes + 4, "zimg", 4) != 0) {
        return false;
    }
    memcpy(place, file.bytes + 8, sizeof(place));
    if (place[0] > file.length || place[1] > file.length - place[0]) {
        return false;
    }
    *payload = (struct file){file.bytes + place[0], place[1]};
    return true;
}

struct file unpack(struct file file, const char *path)
{
    static const uint8_t gzip[] = {0x1f, 0x8b}, zstd[] = {0x28, 0xb5, 0x2f, 0xfd};
    struct file packed = file, whole = file;
    (void)find_payload(file, &packed);
    if (packed.length > sizeof(gzip) && memcmp(packed.bytes, gzip, sizeof(gzip)) == 0) {
        whole = unpack_gzip(packed, path);
    } else if (packed.length > sizeof(zstd) && memcmp(packed.bytes, zstd, sizeof(zstd)) == 0) {
        whole = unpack_zstd(packed, path);
    }
    if (whole.bytes != file.bytes) {
        free(file.bytes);
    }
    return whole;
}
