"""Golden outputs and gradients of CLIP models: python3 tests/reference/clip_models.py

Needs torch, transformers, open_clip_torch and safetensors. Writes tests/data/models/clip*.safetensors."""
import numpy as np
import open_clip
import open_clip.modified_resnet
import torch
import transformers

import models
from hash_weights import uniform

models.VERSIONS["open_clip"] = open_clip.__version__


def token_batch(vocab, lengths, ends):
    """Texts of these lengths with the end token, the largest id, at `ends`; HF's rows padded with it."""
    u = uniform("tokens", sum(lengths))
    flat = ((u + 1) / 2 * (vocab - 2)).astype(np.int64)
    ids, at = np.full((len(lengths), max(lengths)), vocab - 1), 0
    for i, (n, end) in enumerate(zip(lengths, ends)):
        ids[i, :n], at = flat[at:at + n], at + n
        ids[i, end] = vocab - 1
    return torch.from_numpy(ids)


def config(text, vision, projection, **both):
    return transformers.CLIPConfig(text_config={**text, **both}, vision_config={**vision, **both}, projection_dim=projection,
                                   attn_implementation="eager")


def outputs(model, ids, images):
    text = model.text_projection(model.text_model(input_ids=ids).pooler_output)
    image = model.visual_projection(model.vision_model(pixel_values=images).pooler_output)
    return text, image


def small(name, size, end, gradients, **both):
    text = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, vocab_size=60,
                max_position_embeddings=20, eos_token_id=end)
    vision = dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2, image_size=size, patch_size=8)
    model = models.fill_model(transformers.CLIPModel(config(text, vision, 16, **both)))
    ids, images = token_batch(60, [7, 2, 12], [6, 1, 8]), models.images(3, size).requires_grad_()
    text, image = outputs(model, ids, images)
    ((text * models.hash_tensor("dy.text", (3, 16))).sum() + (image * models.hash_tensor("dy.image", (3, 16))).sum()).backward()
    tensors = {"text": text, "image": image}
    for key, parameter in model.named_parameters():
        if gradients and parameter.grad is not None:
            tensors["grad." + key] = parameter.grad.clone()
    # the score of each picture with each text, and how it changes with the pictures
    images.grad = None
    text, image = (torch.nn.functional.normalize(x) for x in outputs(model, ids, images))
    cosines = image @ text.T
    cosines.diagonal().sum().backward()
    tensors["cosines"] = cosines
    if gradients:
        tensors["grad.score"] = images.grad.permute(0, 2, 3, 1)
    with torch.no_grad():
        tensors["probabilities"] = (cosines * model.logit_scale.exp()).softmax(1)
    models.save(name, tensors)


def full(name, text, vision, projection, size):
    with torch.no_grad():
        model = models.fill_model(transformers.CLIPModel(config(text, vision, projection)))
        text, image = outputs(model, token_batch(49408, [9, 77, 21], [8, 76, 20]), models.images(2, size))
        models.save(name, {"text": text, "image": image})


def resnet(name, depths, width, heads, out, size, gradients):
    model = open_clip.modified_resnet.ModifiedResNet(tuple(depths), out, heads, size, width)
    model = models.fill_model(model, lambda key: "vision_model." + key)
    for parameter in model.parameters():
        parameter.requires_grad_(gradients)
    images = models.images(2, size).requires_grad_(gradients)
    features = model(images)
    tensors = {"image": features}
    if gradients:
        (features * models.hash_tensor("dy.image", tuple(features.shape))).sum().backward()
        tensors["grad.images"] = images.grad.permute(0, 2, 3, 1)
        for key, parameter in model.named_parameters():
            if key.startswith(("attnpool.pos", "attnpool.q_proj.b", "conv1", "bn2", "layer4.0.bn3")):
                tensors["grad.vision_model." + key] = parameter.grad
    models.save(name, tensors)


def main():
    torch.manual_seed(0)
    small("clip_small", 32, 59, True)
    small("clip_gelu", 48, 2, False, hidden_act="gelu", layer_norm_eps=1e-6)
    full("clip_b32", {}, {}, 512, 224)
    full("clip_l14_336", dict(hidden_size=768, intermediate_size=3072, num_attention_heads=12),
         dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, image_size=336, patch_size=14),
         768, 336)
    resnet("clip_resnet_small", [1, 2, 1, 1], 4, 4, 12, 64, True)
    resnet("clip_rn50", [3, 4, 6, 3], 64, 32, 1024, 224, False)


if __name__ == "__main__":
    main()
