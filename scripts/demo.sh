#!/usr/bin/env bash
# From a bare Debian or Ubuntu machine to searching pictures by text: installs what is missing, builds, makes a data set of
# clip art and emoji, trains an image encoder on it from scratch, and searches. --quick trains less. Can be interrupted and
# repeated at any time: what is done is not done again, and training goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/.."

epochs=18 name=clipart
case "${1:-}" in
  "") ;;
  --quick) epochs=9 name=clipart-quick ;;
  *) echo "usage: scripts/demo.sh [--quick]" >&2; exit 2 ;;
esac
bin=build/release/bin data=data/clipart text=models/all-MiniLM-L6-v2 image=models/resnet18-small run=runs/$name
cache=runs/clipart-captions  # the captions' embeddings, for all runs
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

# A ResNet-18 half as wide as usual, without weights. Transparent pictures are seen on white, and what it was trained
# on, 64 x 64 pixels, is what it must be used with.
mkdir -p "$image"
cat >"$image/config.json" <<'END'
{"model_type": "resnet", "layer_type": "basic", "depths": [2, 2, 2, 2],
 "embedding_size": 32, "hidden_sizes": [32, 64, 128, 256]}
END
cat >"$image/preprocessor_config.json" <<'END'
{"image_processor_type": "ViTImageProcessor", "size": {"height": 64, "width": 64}, "resample": 2,
 "background": [255, 255, 255]}
END

stage "training, $epochs epochs"
if [ ! -e "$run/done" ]; then
  "$bin/train_flickr8k" --data "$data" --text-model "$text" --image-model "$image" --output "$run" --cache "$cache" \
    --train-encoders image --augment --start-scale 0.75 --loss infonce --linear-heads --batch 256 --epochs "$epochs" \
    --dtype bf16 --seed 1 --schedule cosine --warmup 100 --lr 1e-3 --image-lr 1e-3 --weight-decay 0.05 \
    --encoder-weight-decay 0.05 --no-decay-norms --clip-norm 1 --ema 0.995 --keep-last --resume
  touch "$run/done"
fi

stage "what it learnt, on pictures it has not seen"
"$bin/evaluate" --run "$run" --split test --quiet | tee "$run/test.txt"
echo "without captions that a picture trained on has too, word for word:"
"$bin/evaluate" --run "$run" --split test --no-twins --quiet | sed 1d
awk '/text to image/ { n = $NF; printf "by chance:\n%-14s %6.1f %6.1f %6.1f %12.1f\n", "both ways",
                       100 / n, 500 / n, 1000 / n, (n + 1) / 2 }' "$run/test.txt"
echo "16 x 16 raw pixels instead of the encoder:"
"$bin/pixel_baseline" --data "$data" --text-model "$text" --output runs/clipart-pixels --cache "$cache" --quiet | sed 1,2d

stage "searching"
for query in "${queries[@]}"; do
  grid=$run/${query// /-}.png
  "$bin/search" --run "$run" --query "$query" -k 12 --grid "$grid" --quiet >/dev/null
  echo "$grid"
done

cat <<END

== done in $((SECONDS - started)) s. The grids above mark pictures that were not trained on as "unseen".
It knows clip art, icons, flags and emoji, not photographs. Next:

  $bin/search --run $run --query "a yellow fish" --grid result.png
  $bin/search --run $run --image $data/Images/emoji-1f41f.png --grid result.png

Photographs want an image encoder that has seen some. With Flickr8k, or your own pictures in its layout (a folder Images
and captions.txt, with lines NAME,CAPTION under the line image,caption), and pretrained encoders:

  $bin/train_flickr8k --data FOLDER --text-model $text --image-model models/resnet50 --output runs/mine

docs/tutorial.md goes through all of it.
END
