#!/usr/bin/env bash
# Makes data/clipart, some 6,200 captioned pictures in Flickr8k's layout, of clip art, emoji and stamps that Debian
# packages carry, and data/clipart-free, the same split without the stamps, which are under the GPL. The packages are
# downloaded (340 MB) and unpacked (800 MB) into downloads/clipart, not installed. Needs make_clipart, whose folder may be
# given, and models/all-MiniLM-L6-v2. Can be interrupted and repeated at any time.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(openclipart-png openclipart-svg fonts-noto-color-emoji unicode-cldr-core tuxpaint-stamps-default wamerican-large)
downloads=downloads/clipart
unpacked=$downloads/unpacked
data=data/clipart
free=data/clipart-free
make_clipart=${1:-build/release/bin}/make_clipart
vocabulary=models/all-MiniLM-L6-v2/vocab.txt

say() { echo "get_clipart: $*" >&2; }

leave_out_stamps() {
  rm -rf "$free" "$free.partial"
  mkdir "$free.partial"
  ln -s ../clipart/Images "$free.partial/Images"
  local file
  for file in captions.txt LICENSES.txt Flickr_8k.{train,dev,test}Images.txt; do
    sed '/^stamp-/d' "$data/$file" >"$free.partial/$file"
  done
  mv -T "$free.partial" "$free"
}

if [ -e "$data" ]; then
  say "$data is there already; remove it to make it again"
  [ -e "$free" ] || leave_out_stamps
  exit 0
fi
command -v apt-get >/dev/null || { say "needs apt-get, on Debian or Ubuntu"; exit 1; }
[ -x "$make_clipart" ] || { say "needs $make_clipart: cmake --preset release && cmake --build --preset release"; exit 1; }
[ -e "$vocabulary" ] || { say "needs $vocabulary: scripts/get_minilm.sh"; exit 1; }

# Downloads a package into a folder of its own, which is renamed when it is whole. apt checks what it got. Run by root
# it would hand over to a user who may not write here, and say so.
download() {
  local folder=$downloads/$1
  [ ! -e "$folder" ] || return 0
  rm -rf "$folder.partial"
  mkdir -p "$folder.partial"
  say "downloading $1"
  (cd "$folder.partial" && apt-get -qq -o APT::Sandbox::User=root download "$1") || {
    say "cannot download $1. 'apt-get update' brings package lists up to date; on Ubuntu it is in 'universe'"
    exit 1
  }
  mv -T "$folder.partial" "$folder"
}

for package in "${packages[@]}"; do
  [ ! -e "$unpacked/.$package" ] || continue
  download "$package"
  say "unpacking $package"
  dpkg-deb -x "$downloads/$package"/*.deb "$unpacked"
  touch "$unpacked/.$package"
  rm -r "${downloads:?}/$package"
done
mkdir -p "$(dirname "$data")"
rm -rf "$free"
"$make_clipart" "$unpacked" "$data" --words "$unpacked/usr/share/dict/american-english-large" "$vocabulary"
leave_out_stamps
