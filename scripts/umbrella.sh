#!/usr/bin/env bash
# Writes include/clip/clip.hpp, which includes every public header; with --check only says whether it is up to date.
set -euo pipefail
cd "$(dirname "$0")/.."
umbrella=include/clip/clip.hpp

content() {
  echo '#pragma once'
  echo '// Everything a user of the library needs. Not included inside the repository, but for the tests of what users write.'
  echo '// Written by scripts/umbrella.sh.'
  find include/clip -name '*.hpp' ! -path "$umbrella" -printf '#include "clip/%P"\n' | LC_ALL=C sort
}

if [ "${1:-}" = --check ]; then
  content | diff -u "$umbrella" - || { echo "$umbrella does not include every public header: run scripts/umbrella.sh" >&2; exit 1; }
else
  content > "$umbrella.new"
  mv "$umbrella.new" "$umbrella"
fi
