#!/usr/bin/env bash
# Makes models/clipart again from nothing and measures it, as its README.md says. Installs what is missing, builds, makes
# the data set, and trains. Can be interrupted and repeated at any time.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=build/release/bin data=data/clipart-free run=runs/pretrained-clipart model=models/clipart epochs=240

scripts/setup.sh
if command -v ccache >/dev/null; then export CMAKE_CXX_COMPILER_LAUNCHER=ccache; fi
cmake --preset release >/dev/null
cmake --build --preset release --target make_clipart train_flickr8k weights_convert pixel_baseline evaluate
scripts/get_minilm.sh
scripts/get_clipart.sh
scripts/train_clipart.sh "$data" "$run" "$epochs"

# A dual encoder's folder, but for the text encoder, a link to where get_minilm.sh puts it.
part=models/clipart.partial
rm -rf "$part"
mkdir -p "$part" "$model" docs/clipart
"$bin/weights_convert" "$run/model/image" "$part/image" --dtype bf16
cp "$run/model/config.json" "$run/model/model.safetensors" "$part"
cp "$data/Flickr_8k.testImages.txt" "$part/unseen.txt"
ln -s ../all-MiniLM-L6-v2 "$part/text"
for file in "$part"/*; do
  rm -rf "$model/${file##*/}"
  mv "$file" "$model"
done
rmdir "$part"
cp "$run/metrics.jsonl" "$run/loss.svg" docs/clipart

judged=$run-judged
rm -rf "$judged"
measure() { printf '%-36s' "$1"; "$bin/evaluate" --run "$judged" --quiet "${@:2}" | sed -n 2p; }
"$bin/evaluate" --run "$model" --data "$data" --output "$judged" --quiet
measure "without twins in training" --no-twins
for source in emoji- openclipart- openclipart-signs_and_symbols-flags- openclipart-computer- openclipart-food- \
              openclipart-people- openclipart-animals-; do
  measure "$source" --prefix "$source"
done
echo "16 x 16 raw pixels instead of the encoder:"
"$bin/pixel_baseline" --data "$data" --text-model models/all-MiniLM-L6-v2 --output runs/clipart-free-pixels \
  --cache runs/clipart-captions --quiet | sed 1,2d
awk 'END { printf "by chance: %.1f %.1f %.1f, median rank %.1f\n", 100 / NR, 500 / NR, 1000 / NR, (NR + 1) / 2 }' \
  "$data/Flickr_8k.testImages.txt"
