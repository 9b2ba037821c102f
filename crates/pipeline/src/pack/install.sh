#!/bin/sh
# Installs @PRODUCT@ from an update bundle, or updates it:
#
#     sudo sh install.sh @PRODUCT@-update-@VERSION@.tar.gz
#
# This script is where trust begins: it carries the public keys that bundles are signed with and the SHA-256 of
# the updater of version @VERSION@. Nothing out of the bundle is executed before it has been checked.
#
#     --verify-only            check the bundle and stop
#
# Further options are handed to `updater install`:
#
#     --trust KEY              another public key that may have signed the bundle, and is trusted from then on
#     --allow-downgrade        accept a version older than the installed one
#     --folder FOLDER          the product's folder, instead of /opt/@PRODUCT@
#     --docker-host HOST       this Docker engine, unix://...; it must run
#     --no-units               write no units for systemd
#     --json                   print the result as JSON
#
# Running it again keeps credentials and data, and mends what was damaged. Where keys are trusted already, those decide.
set -eu

product='@PRODUCT@'
keys='@KEYS@'

fail() {
    printf 'install.sh: %s\n' "$1" >&2
    if [ $# -gt 1 ]; then printf '  hint: %s\n' "$2" >&2; fi
    exit 1
}

bundle=
verify_only=no
arguments=0
while [ "$arguments" -lt $# ]; do
    argument=$1
    shift
    case $argument in
        --verify-only) verify_only=yes ;;
        -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 0 ;;
        # Their value is no bundle.
        --trust | --folder | --etc | --state | --docker-host)
            [ "$arguments" -lt $# ] || fail "$argument needs a value"
            value=$1
            shift
            set -- "$@" "$argument" "$value"
            arguments=$((arguments + 2))
            ;;
        -*) set -- "$@" "$argument"; arguments=$((arguments + 1)) ;;
        *)
            if [ -z "$bundle" ]; then
                bundle=$argument
            else
                set -- "$@" "$argument"
                arguments=$((arguments + 1))
            fi
            ;;
    esac
done
[ -n "$bundle" ] || fail 'no bundle given' "sh install.sh $product-update-@VERSION@.tar.gz"
[ -r "$bundle" ] || fail "cannot read $bundle"
# Before minutes are spent on checking.
[ "$verify_only" = yes ] || [ "$(id -u)" = 0 ] || fail 'only root can install' "sudo sh install.sh $bundle"

case $(uname -s)/$(uname -m) in
@PLATFORMS@
    *) fail "$product is not made for $(uname -s) on $(uname -m)" 'made for: @PLATFORM_NAMES@' ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# A zip file begins with PK.
if [ "$(head -c 2 "$bundle")" = PK ]; then
    command -v unzip >/dev/null || fail 'unzip is needed to read a zip bundle' 'take the .tar.gz bundle instead'
    unzip -p "$bundle" "$binary" >"$work/updater" || fail "$bundle holds no $binary" 'take the bundle for this platform'
else
    # Not by name: GNU tar would look for a bundle with a colon in its name on another machine.
    tar -xzOf - "$binary" <"$bundle" >"$work/updater" 2>/dev/null ||
        fail "$bundle holds no $binary, or is damaged" 'take the bundle for this platform, and copy it again'
fi
found=$(sha256sum "$work/updater" | cut -d ' ' -f 1)
[ "$found" = "$sha256" ] ||
    fail "the updater in $bundle is not the one of version @VERSION@ ($found)" 'take install.sh and bundle from the same release'
chmod 755 "$work/updater"
"$work/updater" --version >/dev/null 2>&1 ||
    fail "programs cannot be run in $work" 'name a folder where they can: TMPDIR=/root sh install.sh ...'

trust=
for key in $keys; do
    set -- "$@" --trust "$key"
    trust="$trust --trust $key"
done
# Keys hold no spaces, so splitting is what is wanted.
# shellcheck disable=SC2086
"$work/updater" verify "$bundle" $trust
[ "$verify_only" = no ] || exit 0
"$work/updater" install "$bundle" "$@"
