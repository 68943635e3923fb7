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
mkdir -p "$model"
"$bin/weights_convert" "$run/model/image" "$model/image" --dtype bf16
cp --remove-destination "$run/model/config.json" "$run/model/model.safetensors" "$model"
ln -sfn ../all-MiniLM-L6-v2 "$model/text"
cp "$data/Flickr_8k.testImages.txt" "$model/unseen.txt"
mkdir -p docs/clipart
cp "$run/metrics.jsonl" "$run/loss.svg" docs/clipart

judged=runs/clipart-pretrained  # the demo's run
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
