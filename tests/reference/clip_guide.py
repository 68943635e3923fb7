"""Golden scores and gradients of guidance by CLIP: python3 tests/reference/clip_guide.py

How well pictures fit a prompt, and the gradient of that with respect to the pictures, through PyTorch's antialiased
resizing, cropping and normalisation, all in double precision. Needs torch, torchvision, transformers and safetensors.
Writes tests/data/models/clip_guide.safetensors."""
import numpy as np
import torch
import torchvision.transforms.functional as F
import transformers

import models
from hash_weights import uniform

MEAN, STD = (.48145466, .4578275, .40821073), (.26862954, .26130258, .27577711)
# width and height of the picture, what is looked at (x, y, width, height), filter, how it is resized and cropped to 32
CASES = {"shrunk": (50, 40, None, "bicubic", "floor"), "enlarged": (20, 33, None, "bicubic", "round"),
         "rounded": (44, 40, None, "bicubic", "round"), "floored": (44, 40, None, "bicubic", "floor"),
         "part": (50, 40, (10, 5, 30, 22), "bicubic", "round"), "bilinear": (45, 36, None, "bilinear", "round"),
         "squeezed": (45, 36, None, "bicubic", "squeeze")}


def prepare(x, kind, how):
    height, width = x.shape[2:]
    size = (32, 32) if how == "squeeze" else (32 * height // min(height, width), 32 * width // min(height, width))
    x = torch.nn.functional.interpolate(x, size, mode=kind, align_corners=False, antialias=True)
    if how == "floor":  # Hugging Face's
        top, left = (size[0] - 32) // 2, (size[1] - 32) // 2
        x = x[:, :, top:top + 32, left:left + 32]
    x = F.center_crop(x, [32, 32])
    return (x - torch.tensor(MEAN).double().view(3, 1, 1)) / torch.tensor(STD).double().view(3, 1, 1)


def main():
    both = dict(num_hidden_layers=1, num_attention_heads=2)
    model = transformers.CLIPModel(transformers.CLIPConfig(  # that of tests/models/small_models.hpp
        text_config=dict(hidden_size=32, intermediate_size=48, vocab_size=518, max_position_embeddings=20, eos_token_id=517, **both),
        vision_config=dict(hidden_size=24, intermediate_size=40, image_size=32, patch_size=8, **both),
        projection_dim=16, attn_implementation="eager"))
    model = models.fill_model(model).double().requires_grad_(False)
    prompt = model.text_projection(model.text_model(torch.tensor([[516, 513, 515, 517]])).pooler_output)  # the cat
    tensors = {}
    for name, (width, height, part, kind, how) in CASES.items():
        u = (uniform("pictures", height * width * 3) + np.float32(1)) / np.float32(2)
        pictures = torch.from_numpy(u.reshape(1, height, width, 3)).double().requires_grad_()
        x = pictures.permute(0, 3, 1, 2)
        if part:
            x = x[:, :, part[1]:part[1] + part[3], part[0]:part[0] + part[2]]
        image = model.visual_projection(model.vision_model(prepare(x, kind, how)).pooler_output)
        score = torch.nn.functional.cosine_similarity(image, prompt)
        score.sum().backward()
        tensors[name] = score.float()
        if name != "floored":
            tensors["grad." + name] = pictures.grad.float()
    models.save("clip_guide", tensors)


if __name__ == "__main__":
    main()
