# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# A private apt: fetches packages of any Debian suite and architecture from the mirror that this machine uses,
# without touching the machine's own sources, lists or packages, and without being root. The machine's apt
# settings (proxies and the like) stay in force, and every index is checked against Debian's keyring.
# DIOSIX_MIRROR=URI names the mirror where the machine has no Debian source of its own.
# To be sourced after common.sh. Use: apt_private NAME SUITE ARCHITECTURE, then apt_get and apt_cache.

KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
APT_PRIVATE_CONF=

# One "URI suite component..." line for each suite of each deb source in the files given, which may be of
# either format: one-line, or deb822 stanzas.
list_sources() {
    awk '
        function flush(    i, j, n, m, uri, suite) {
            if (field["types"] ~ /(^| )deb( |$)/ && field["enabled"] !~ /^no/) {
                n = split(field["uris"], uri, " ")
                m = split(field["suites"], suite, " ")
                for (i = 1; i <= n; i++) {
                    for (j = 1; j <= m; j++) { print uri[i], suite[j], field["components"] }
                }
            }
            delete field
        }
        FNR == 1 { flush() }
        /^#/ { next }
        FILENAME ~ /\.list$/ {
            sub(/\[[^]]*\]/, "")
            if ($1 == "deb") { $1 = ""; print }
            next
        }
        /^[ \t]*$/ { flush(); next }
        /^[^ \t]+:/ { name = tolower(substr($1, 1, length($1) - 1)); sub(/^[^:]*:[ \t]*/, "") }
        { field[name] = field[name] " " $0 }
        END { flush() }
    ' "$@"
}

# The mirror from which this machine gets its own Debian release.
debian_mirror() {
    local codename uri suite components files=()
    if [ -n "${DIOSIX_MIRROR:-}" ]; then
        echo "$DIOSIX_MIRROR"
        return
    fi
    codename="$(machine_suite)"
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
        [ ! -f "$file" ] || files+=("$file")
    done
    [ "${#files[@]}" -gt 0 ] || die "this machine has no apt sources: set DIOSIX_MIRROR to a Debian mirror's address"
    while read -r uri suite components; do
        case "$uri,$suite, $components " in
        http*/debian,"$codename",*" main "* | http*/debian/,"$codename",*" main "* | file:*,"$codename",*" main "*)
            echo "${uri%/}"
            return
            ;;
        esac
    done < <(list_sources "${files[@]}")
    die "no Debian source for $codename among this machine's apt sources: set DIOSIX_MIRROR to a mirror's address"
}

machine_suite() {
    (. /etc/os-release && echo "${VERSION_CODENAME:?}")
}

machine_architecture() {
    dpkg --print-architecture
}

write_apt_conf() {
    local root="$1" architecture="$2"
    # What this machine has installed must not influence which versions are chosen.
    : >"$root/state/status"
    cat >"$root/apt.conf" <<END
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
#clear APT::Architectures;
APT::Architecture "$architecture";
APT::Architectures { "$architecture"; };
APT::Sandbox::User "";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::State "$root/state";
Dir::State::status "$root/state/status";
Dir::State::Lists "$root/state/lists";
Dir::Cache "$root/cache";
Dir::Cache::Archives "$root/cache/archives";
Dir::Etc::sourcelist "$root/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Log "$root/log";
END
}

# apt_private NAME SUITE ARCHITECTURE [deb|deb-src]: makes the configuration and brings its lists up to date,
# unless that was done less than an hour ago. The caller holds the lock "apt-NAME".
apt_private() {
    local root="$CACHE/apt/$1" suite="$2" architecture="$3" type="${4:-deb}" mirror
    [ -r "$KEYRING" ] || die "$KEYRING is missing: install debian-archive-keyring"
    mirror="$(debian_mirror)"
    mkdir -p "$root/state/lists/partial" "$root/cache/archives/partial" "$root/log"
    write_apt_conf "$root" "$architecture"
    echo "$type [signed-by=$KEYRING] $mirror $suite main" >"$root/sources.list"
    APT_PRIVATE_CONF="$root/apt.conf"
    if [ -n "$(find "$root/updated" -mmin -60 2>/dev/null)" ]; then
        return
    fi
    say "reading the package lists of $suite ($architecture)"
    apt_get -qq update
    touch "$root/updated"
}

apt_get() {
    apt-get -c "$APT_PRIVATE_CONF" "$@"
}

apt_cache() {
    apt-cache -c "$APT_PRIVATE_CONF" "$@"
}

# download_package NAME DIRECTORY: puts the package's .deb there and prints its path. apt checks it against
# the signed index.
download_package() {
    local name="$1" directory="$2" deb
    (cd "$directory" && apt_get -q download "$name" >&2)
    deb="$(find "$directory" -maxdepth 1 -name "${name}_*.deb" | sort | tail -n 1)"
    [ -n "$deb" ] || die "apt did not deliver $name"
    echo "$deb"
}
