#!/usr/bin/env bash
# Fills downloads/deps with the headers and libraries that building needs beside a compiler, CMake and Ninja: Debian or
# Ubuntu packages, downloaded (10 MB) and unpacked (45 MB), not installed. For machines with nothing else and no network,
# of this system or a newer one: copy the folder there. scripts/gpu_check.sh uses it. Can be interrupted and repeated.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(  # as in scripts/setup.sh
  pkgconf
  libdnnl-dev ocl-icd-opencl-dev
  libjpeg-dev libspng-dev
  nlohmann-json3-dev libcli11-dev
  catch2 libbenchmark-dev
  libpugixml-dev
)
folder=downloads/deps
work=$folder.partial  # beside its goal, so that the last step is one rename

say() { echo "fetch_deps: $*" >&2; }
if [ -e "$folder" ]; then
  say "$folder is there already; remove it to fetch it again"
  exit 0
fi
command -v apt-get >/dev/null || { say "needs apt-get, on Debian or Ubuntu"; exit 1; }
rm -rf "$work"  # of a run that was killed
mkdir -p "$work/packages"

# Packages and all they depend on, as if nothing were installed.
closure() {
  apt-get -qq -o Dir::State::status=/dev/null --no-install-recommends -s install "$@" | awk '/^Inst/ { print $2 }' | LC_ALL=C sort
}
all=$(closure "${packages[@]}") || { say "'apt-get update' brings package lists up to date"; exit 1; }
compiler=$(closure g++)  # and the C library: the other machine has its own
mapfile -t wanted < <(LC_ALL=C comm -23 <(echo "$all") <(echo "$compiler"))

# apt checks what it got. Run by root it would hand over to a user who may not write here, and say so.
say "downloading ${wanted[*]}"
(cd "$work/packages" && apt-get -qq -o APT::Sandbox::User=root download "${wanted[@]}") || {
  say "cannot download them. 'apt-get update' brings package lists up to date; on Ubuntu they are in 'universe'"
  exit 1
}
for package in "$work"/packages/*.deb; do dpkg-deb -x "$package" "$work"; done
rm -r "$work/packages"

# Found from where it lies: headers in one place, pkg-config's files relative to themselves, no links to what is not here.
for headers in "$work"/usr/include/*-linux-gnu; do
  cp -a "$headers/." "$work/usr/include"
  rm -r "$headers"
done
# shellcheck disable=SC2016  # pkg-config's variable
sed -i 's|^prefix=.*|prefix=${pcfiledir}/../../..|' "$work"/usr/lib/*-linux-gnu/pkgconfig/*.pc
find "$work" -lname '/*' -delete
rm -r "$work/usr/share/doc"
mv -T "$work" "$folder"
say "$folder: $(du -sh "$folder" | cut -f 1)"
