#!/bin/sh
# Installs what building and testing need beside Rust, on Debian and its children. Safe to run again:
# it does nothing when everything is there.
set -eu

# gcc, libc6-dev: QuickJS and ring are built from C. systemd: the unit files are checked with
# systemd-analyze. curl, util-linux, e2fsprogs: clients and disks of the tests.
packages="gcc libc6-dev make curl ca-certificates systemd util-linux e2fsprogs"

# Node.js and npm, which functions and their packages run with, wherever they come from.
for program in node npm; do
    if ! command -v "$program" >/dev/null; then
        case "$program" in
        node) packages="$packages nodejs" ;;
        npm) packages="$packages npm" ;;
        esac
    fi
done

missing=""
for package in $packages; do
    if ! dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$'; then
        missing="$missing $package"
    fi
done
if [ -z "$missing" ]; then
    exit 0
fi
echo "installing:$missing"
if [ "$(id -u)" -ne 0 ]; then
    echo "run this as root: apt-get install$missing" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# shellcheck disable=SC2086 # a list of words
apt-get install -q -y --no-install-recommends $missing
