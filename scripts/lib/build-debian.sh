# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# The recipe for the disk with a whole Debian. Part of the key by which the cache knows it: whatever changes the image
# belongs in here or in guests/debian. To be sourced after common.sh and apt-private.sh.

DEBIAN_IMAGE_SIZE=1536M

# The lines of a list without comments, one word each.
words() {
    sed 's/#.*//; /^ *$/d' "$1"
}

# stage_debian SOURCE PACKAGES KEY STAGE: copies what mmdebstrap uses to where it may read it: without root it is another
# user, who can't look into our home.
stage_debian() {
    local source="$1" packages="$2" key="$3" stage="$4"
    cp -R "$source/setup" "$source/customize" "$source/root" "$stage"
    cp -R "$packages" "$stage/packages"
    cp "$key" "$stage/authorized_keys"
    echo "deb $(debian_mirror) $GUEST_SUITE main" >"$stage/sources.list"
    chmod -R go+rX "$stage"
}

# install_debian SOURCE STAGE TAR: the installed system, packed into TAR. qemu-riscv64-static runs the packages' scripts.
install_debian() {
    local source="$1" stage="$2" output="$3" pattern options=()
    while read -r pattern; do
        options+=(--dpkgopt="path-exclude=$pattern")
    done < <(words "$source/left-out.txt")
    # The packages were checked against Debian's keyring when they were downloaded, and by their sums since. They are no
    # suite with a name.
    TMPDIR="$stage" mmdebstrap --verbose --mode=unshare --architectures=riscv64 --variant=essential --skip=check/qemu \
        --include="$(words "$source/packages.txt" | paste -sd,)" "${options[@]}" \
        --setup-hook="$stage/setup \"\$1\"" --customize-hook="$stage/customize \"\$1\"" --format=tar \
        "" "$output" "deb [trusted=yes] copy:$stage/packages ./"
}

# unpack_debian TAR ROOT PRODUCT SIZE: needs fakeroot around it, which remembers whose the files are.
unpack_debian() {
    local root="$2" product="$3"
    mkdir "$root"
    tar -xf "$1" -C "$root"
    # The kernel is loaded from outside, by the hypervisor or QEMU: the disk needs no copy.
    mv "$root"/boot/vmlinu[xz]-* "$product/Image"
    mv "$root"/boot/initrd.img-* "$product/initrd"
    truncate -s "$4" "$product/root.img"
    mke2fs -q -t ext4 -L root -m 0 -E lazy_itable_init=0,lazy_journal_init=0 -d "$root" "$product/root.img"
}

# make_debian_image TAR ROOT PRODUCT: root.img, Image and initrd into PRODUCT. ROOT is a folder for the time.
make_debian_image() {
    # fakeroot is a shell script that loses exported functions.
    fakeroot bash -euc "$(declare -f unpack_debian); unpack_debian \"\$@\"" bash "$@" "$DEBIAN_IMAGE_SIZE"
}
