#!/bin/sh
# Finishes a root folder of unpacked packages, as far as PostgreSQL needs it. $1: the folder.
set -eu
root=$1
here=$(dirname "$0")

# What base-passwd and base-files do when they are installed.
cp "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
cp "$root/usr/share/base-passwd/group.master" "$root/etc/group"
mkdir -p "$root/run" "$root/var"
ln -sfn /run "$root/var/run"
ln -sf mawk "$root/usr/bin/awk"

# The official image's user, with its number.
echo 'postgres:x:999:999::/var/lib/postgresql:/bin/bash' >>"$root/etc/passwd"
echo 'postgres:x:999:' >>"$root/etc/group"
install -d -o 999 -g 999 "$root/var/lib/postgresql"
install -d -m 1777 -o 999 -g 999 "$root/var/lib/postgresql/data"
install -d -m 3777 -o 999 -g 999 "$root/run/postgresql"

# New clusters listen on all addresses.
sample=$root/usr/share/postgresql/17/postgresql.conf.sample
sed -i "s/^#listen_addresses = 'localhost'/listen_addresses = '*'/" "$sample"
grep -q "^listen_addresses = '\*'" "$sample"

install -d "$root/docker-entrypoint-initdb.d" "$root/usr/local/bin"
install -m 755 "$here/docker-entrypoint.sh" "$root/usr/local/bin/docker-entrypoint.sh"
rm -rf "$root/etc/apt/sources.list.d" "$root/etc/apt/sources.list"
