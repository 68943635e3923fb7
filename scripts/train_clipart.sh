#!/usr/bin/env bash
# train_clipart.sh DATA RUN EPOCHS, folders as seen from the repository: trains an image encoder on clip art from scratch,
# beside a text encoder that stays as it is: the recipe of the demo and of models/clipart. Goes on where it was interrupted.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -eq 3 ] || { echo "usage: scripts/train_clipart.sh DATA RUN EPOCHS" >&2; exit 2; }
image=models/resnet18-small

# A ResNet-18 half as wide as usual, without weights. Transparent pictures are seen on white, and what it was trained
# on, 64 x 64 pixels, is what it must be used with.
rm -rf "$image"  # runs share its files
mkdir -p "$image"
cat >"$image/config.json" <<'END'
{"model_type": "resnet", "layer_type": "basic", "depths": [2, 2, 2, 2],
 "embedding_size": 32, "hidden_sizes": [32, 64, 128, 256], "mirrored": true}
END
cat >"$image/preprocessor_config.json" <<'END'
{"image_processor_type": "ViTImageProcessor", "size": {"height": 64, "width": 64}, "resample": 2,
 "background": [255, 255, 255]}
END

ema=0.998  # averages over some 500 steps, 25 epochs
[ "$3" -ge 90 ] || ema=0.98

build/release/bin/train_flickr8k --data "$1" --text-model models/all-MiniLM-L6-v2 --image-model "$image" --output "$2" \
  --cache runs/clipart-captions --train-encoders image --linear-heads --loss infonce --epochs "$3" --one-caption \
  --augment --start-scale 0.75 --batch 256 --dtype bf16 --seed 2 --schedule cosine --warmup 100 --lr 1e-3 --image-lr 1e-3 \
  --weight-decay 0.05 --encoder-weight-decay 3 --no-decay-norms --clip-norm 1 --ema "$ema" --keep-last --resume
