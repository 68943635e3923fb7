#!/usr/bin/env bash
# From a bare Debian or Ubuntu machine to searching pictures by text: installs what is missing, builds, makes a data set of
# clip art and emoji, measures models/clipart on pictures that it has not seen, and searches. --from-scratch trains a model
# instead; --quick trains it less. Can be interrupted and repeated at any time: what is done is not done again, but for
# measuring, and training goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/.."

case "${*:-}" in
  "") run=runs/clipart-pretrained epochs=0 ;;
  --from-scratch) run=runs/clipart epochs=92 ;;
  --quick | "--from-scratch --quick") run=runs/clipart-quick epochs=40 ;;
  *) echo "usage: scripts/demo.sh [--from-scratch | --quick]" >&2; exit 2 ;;
esac
bin=build/release/bin data=data/clipart text=models/all-MiniLM-L6-v2
[ "$epochs" -gt 0 ] || data=data/clipart-free  # what models/clipart was trained on
queries=("a red apple" "flag with a star" "a smiling face" "a bird" "a house" "musical instrument" "a sailing boat"
         "something to write with")

started=$SECONDS
stage() { printf '\n== %s (%d s so far)\n' "$1" $((SECONDS - started)); }

stage "installing what is missing"
scripts/setup.sh
stage "building"
if command -v ccache >/dev/null; then export CMAKE_CXX_COMPILER_LAUNCHER=ccache; fi
cmake --preset release >build.log || { cat build.log >&2; exit 1; }
rm build.log
cmake --build --preset release --target make_clipart train_flickr8k pixel_baseline evaluate search
stage "fetching the text encoder and the pictures"
scripts/get_minilm.sh
scripts/get_clipart.sh

if [ "$epochs" -gt 0 ]; then
  stage "training, $epochs epochs"
  scripts/train_clipart.sh "$data" "$run" "$epochs"
  stage "how well it finds pictures it has not seen"
  "$bin/evaluate" --run "$run" --split test --quiet | tee "$run/test.txt"
else
  stage "how well models/clipart finds pictures it has not seen"
  cmp -s "$data/Flickr_8k.testImages.txt" models/clipart/unseen.txt ||
    echo "These packages are not those that it was trained on: some pictures taken for unseen may have been seen."
  rm -rf "$run"
  mkdir -p runs
  "$bin/evaluate" --run models/clipart --data "$data" --output "$run" --quiet | tee "$run.txt"
  mv "$run.txt" "$run/test.txt"
fi
echo "without captions that a picture trained on has too, word for word:"
"$bin/evaluate" --run "$run" --split test --no-twins --quiet | sed 1d
awk '/text to image/ { n = $NF; printf "by chance:\n%-14s %6.1f %6.1f %6.1f %12.1f\n", "both ways",
                       100 / n, 500 / n, 1000 / n, (n + 1) / 2 }' "$run/test.txt"
echo "16 x 16 raw pixels instead of the encoder:"
"$bin/pixel_baseline" --data "$data" --text-model "$text" --output "$run-pixels" \
  --cache runs/clipart-captions --quiet | sed 1,2d

stage "searching"
for query in "${queries[@]}"; do
  grid=$run/${query// /-}.png
  "$bin/search" --run "$run" --query "$query" -k 12 --grid "$grid" --quiet >/dev/null
  echo "$grid"
done

cat <<END

== done in $((SECONDS - started)) s. The grids above mark the pictures it is tested with, never trained on, as "unseen".
It knows clip art, icons, flags and emoji, not photographs. Next:

  $bin/search --run $run --query "a pink flower" --grid result.png
  $bin/search --run $run --image $data/Images/emoji-1f338.png --grid result.png

Photographs want an image encoder that has seen some. With Flickr8k, or your own pictures in its layout (a folder Images
and captions.txt, with lines NAME,CAPTION under the line image,caption), and pretrained encoders:

  $bin/train_flickr8k --data FOLDER --text-model $text --image-model models/resnet50 --output runs/mine

docs/tutorial.md goes through all of it.
END
