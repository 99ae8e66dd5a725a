# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# What the scripts that provide guests share: where guests are, and the initramfs that all of them have.
# To be sourced after common.sh.

# The signed suite that all guests and their sources come from.
# shellcheck disable=SC2034  # used by the scripts that source this file
GUEST_SUITE=trixie
GUEST_SOURCE="$REPOSITORY/tests/system/guest"

# guest_directory NAME: where the guest of that name is (rv64, rv32, rv64-small): Image, busybox, initramfs.cpio.gz.
guest_directory() {
    echo "$CACHE/guests/$1"
}

# guest_script XLEN: prints the command that provides the guest that `make run` boots on harts of that width.
guest_script() {
    case "$1" in
    32) printf '%s\n' "$REPOSITORY/scripts/build-guests" rv32 ;;
    *) printf '%s\n' "$REPOSITORY/scripts/fetch-guests" ;;
    esac
}

# kernel_package ARCHITECTURE: prints the package that has the kernel's file, after apt_private. linux-image-… depends on
# the present kernel's package, which holds the file or, in newer suites, depends on the one that does.
kernel_package() {
    local name
    name="$(first_dependency "linux-image-$1" 'linux-image-[0-9]')"
    if [ -n "$name" ]; then
        first_dependency "$name" 'linux-binary-[0-9]' | grep . || echo "$name"
    fi
}

# first_dependency PACKAGE PATTERN: the name of the first package matching it that PACKAGE depends on, if there is one.
first_dependency() {
    apt_cache show --no-all-versions "$1" | sed -n "s/^Depends:.*[ ,]\($2[^ ,]*\).*/\1/p" | head -n 1
}

# point TARGET LINK: LINK becomes a symbolic link to TARGET, at once.
point() {
    mkdir -p "$(dirname "$2")"
    ln -sfn "$1" "$2.$$"
    mv -T "$2.$$" "$2"
}

# unpack_modules PACKAGES WORK MODULE...: modules of the kernel in PACKAGES, as an initramfs is to have them: into
# WORK/product/RELEASE, with a modules.dep for busybox's modprobe, of which each MODULE is a line: "ext4.ko: jbd2.ko".
# Unpacked, since busybox can't read .xz there.
unpack_modules() {
    local package work="$2" release wanted=()
    package="$(find "$1" -name 'linux-*.deb' | head -n 1)"
    mkdir -p "$work/package"
    mapfile -t wanted < <(printf '%s\n' "${@:3}" | sed 's|\.ko:.*|.ko.xz|; s|^|*/|')
    dpkg-deb --fsys-tarfile "$package" | tar -x -C "$work/package" --wildcards "${wanted[@]}"
    release="$(find "$work/package" -name '*.ko.xz' | sed -n 's|.*/lib/modules/\([^/]*\)/.*|\1|p' | head -n 1)"
    mkdir -p "$work/product/$release"
    find "$work/package" -name '*.ko.xz' -exec mv -t "$work/product/$release" {} +
    xz -d "$work/product/$release"/*.xz
    printf '%s\n' "${@:3}" >"$work/product/$release/modules.dep"
}

# The list that make-cpio reads, with the busybox of directory $1, which makes its own links when init asks it to, and the
# kernel's modules of directory $2, if there is one: folders named as in /lib/modules.
initramfs_list() {
    local file
    printf 'dir /%s 755\n' bin dev etc proc root sbin sys tests tmp usr usr/bin usr/sbin
    echo "node /dev/console 600 c 5 1"
    echo "node /dev/null 666 c 1 3"
    echo "file /bin/busybox $1/busybox 755"
    echo "link /bin/sh busybox"
    echo "file /init $GUEST_SOURCE/init 755"
    echo "file /etc/profile $GUEST_SOURCE/profile 644"
    echo "file /etc/functions $GUEST_SOURCE/functions 644"
    for file in "$GUEST_SOURCE"/tests/*; do
        echo "file /tests/$(basename "$file") $file 755"
    done
    if [ -n "${2:-}" ]; then
        printf 'dir /%s 755\n' lib lib/modules
        find "$2" -mindepth 1 \( -type d -printf 'dir /lib/modules/%P 755\n' -o \
            ! -name SHA256SUMS -type f -printf "file /lib/modules/%P $2/%P 644\n" \) | LC_ALL=C sort
    fi
}

# make_initramfs WORK BUSYBOX GUEST [MODULES]: makes directory GUEST's initramfs with the busybox and the modules of those
# sealed directories. It is named by what went into it, so that work trees that differ never take each other's.
make_initramfs() {
    local work="$1" busybox="$2" guest="$3" modules="${4:-}" key product
    initramfs_list "$busybox" "$modules" >"$work/list"
    key="$( (cat "$REPOSITORY/scripts/make-cpio" "$work/list" && sha256sum "$busybox/SHA256SUMS" \
        ${modules:+"$modules/SHA256SUMS"} "$GUEST_SOURCE/init" "$GUEST_SOURCE/profile" "$GUEST_SOURCE/functions" \
        "$GUEST_SOURCE"/tests/*) | sha256sum | cut -c 1-16)"
    product="$CACHE/guests/initramfs-$key"
    if ! sealed "$product"; then
        mkdir -p "$work/product"
        /usr/bin/python3 "$REPOSITORY/scripts/make-cpio" "$work/list" "$work/product/initramfs.cpio.gz"
        publish_directory "$work/product" "$product"
    fi
    point "$product/initramfs.cpio.gz" "$guest/initramfs.cpio.gz"
}
