# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# The recipes for what is built of Debian's Linux source: a kernel, and the headers that programs are compiled with. Part
# of the key by which the cache knows a kernel: whatever changes one belongs in here or in guests/linux*.config.
# To be sourced after build-tools.sh.

# linux_make SOURCE OBJECTS ARGUMENTS...: the same bytes wherever and whenever it is built.
linux_make() {
    local source="$1" objects="$2" date
    shift 2
    date="$(TZ=UTC stat -c %y "$source/Makefile")"
    quiet_make -C "$source" O="$objects" ARCH=riscv CROSS_COMPILE="$CROSS_PREFIX" KBUILD_BUILD_USER=diosix \
        KBUILD_BUILD_HOST=guests KBUILD_BUILD_TIMESTAMP="${date%%.*}" KBUILD_BUILD_VERSION=1 "$@"
}

# build_linux XLEN SOURCE OBJECTS PRODUCT LOG: Image and its config into PRODUCT.
build_linux() {
    local xlen="$1" source="$2" objects="$3" product="$4" log="$5"
    mkdir -p "$objects" "$product"
    cat "$REPOSITORY/guests/linux.config" "$REPOSITORY/guests/linux-rv$xlen.config" >"$objects/wanted"
    logged "configuring Linux" 0 "$log" linux_make "$source" "$objects" KCONFIG_ALLCONFIG="$objects/wanted" allnoconfig
    check_config "$objects/wanted" "$objects/.config"
    logged "building Linux for rv$xlen" 1400 "$log" linux_make "$source" "$objects" -j "$(nproc)" Image
    cp "$objects/arch/riscv/boot/Image" "$product/Image"
    cp "$objects/.config" "$product/config"
}

# linux_headers SOURCE OBJECTS DIRECTORY LOG: the headers that programs may include.
linux_headers() {
    local source="$1" objects="$2" directory="$3" log="$4"
    logged "making Linux headers" 0 "$log" linux_make "$source" "$objects" headers
    (cd "$objects/usr/include" && find . -name '*.h' -print0 | cpio -0 -pdm --quiet "$directory")
}
