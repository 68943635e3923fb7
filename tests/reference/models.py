"""Golden outputs and gradients of the text and image encoders: python3 tests/reference/models.py

Needs torch, torchvision, transformers, timm and safetensors. Writes tests/data/models/*.safetensors, whose metadata
name the versions that made them."""
import pathlib
import re

import numpy as np
import timm
import torch
import torchvision
import transformers
from safetensors.torch import save_file

from hash_weights import fill, uniform

OUT = pathlib.Path(__file__).resolve().parent.parent / "data" / "models"
VERSIONS = {"torch": torch.__version__, "torchvision": torchvision.__version__, "transformers": transformers.__version__,
            "timm": timm.__version__}


def save(name, tensors):
    OUT.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().contiguous() for k, v in tensors.items()}, OUT / f"{name}.safetensors", VERSIONS)


def hash_tensor(name, shape):
    return torch.from_numpy(fill(name, shape))


def fill_model(model, canonical=lambda name: name):
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(hash_tensor(canonical(name), tuple(tensor.shape)))
    return model.eval()


def token_batch(vocab, lengths):
    """ids [B, L] padded with 0, mask; the ids from the hash."""
    u = uniform("tokens", sum(lengths))
    flat = ((u + 1) / 2 * vocab).astype(np.int64)
    ids, mask = np.zeros((len(lengths), max(lengths)), np.int64), np.zeros((len(lengths), max(lengths)), np.int64)
    at = 0
    for i, n in enumerate(lengths):
        ids[i, :n], mask[i, :n], at = flat[at:at + n], 1, at + n
    return torch.from_numpy(ids), torch.from_numpy(mask)


def text_outputs(name, model, vocab, lengths, gradients):
    ids, mask = token_batch(vocab, lengths)
    out = model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    valid = mask.bool()
    tensors = {f"layer.{i}": h[valid][: 2 if not gradients else None] for i, h in enumerate(out.hidden_states)}
    tensors["cls"] = out.last_hidden_state[:, 0]
    weights = mask[:, :, None].float()
    tensors["mean"] = (out.last_hidden_state * weights).sum(1) / weights.sum(1)
    if getattr(out, "pooler_output", None) is not None:
        tensors["pooled"] = out.pooler_output
    if gradients:
        rows = out.last_hidden_state[valid]
        (rows * hash_tensor("dy", tuple(rows.shape))).sum().backward()
        for key, parameter in model.named_parameters():
            if parameter.grad is not None:
                tensors["grad." + key] = parameter.grad
    save(name, tensors)


def torchvision_name(name):
    """Hugging Face's names of a ResNet's tensors in torchvision's."""
    name = re.sub(r"^embedder\.embedder\.convolution", "conv1", name)
    name = re.sub(r"^embedder\.embedder\.normalization", "bn1", name)
    match = re.match(r"encoder\.stages\.(\d+)\.layers\.(\d+)\.(.*)", name)
    if not match:
        return name
    rest = match[3]
    rest = re.sub(r"^shortcut\.convolution", "downsample.0", rest)
    rest = re.sub(r"^shortcut\.normalization", "downsample.1", rest)
    rest = re.sub(r"^layer\.(\d+)\.convolution", lambda m: f"conv{int(m[1]) + 1}", rest)
    rest = re.sub(r"^layer\.(\d+)\.normalization", lambda m: f"bn{int(m[1]) + 1}", rest)
    return f"layer{int(match[1]) + 1}.{match[2]}.{rest}"


def images(count, size):
    """NCHW, from a hash over NHWC order."""
    return torch.from_numpy(2 * uniform("images", count * size * size * 3).reshape(count, size, size, 3)).permute(0, 3, 1, 2)


def small_resnet(name, **config):
    model = transformers.ResNetModel(transformers.ResNetConfig(**config))
    for mode in ("inference", "training"):
        fill_model(model, torchvision_name)
        model.zero_grad()
        model.train(mode == "training")
        x = images(3, 33).requires_grad_()
        out = model(x, output_hidden_states=True)
        features = out.pooler_output.flatten(1)
        (features * hash_tensor("dy", tuple(features.shape))).sum().backward()
        tensors = {"features": features, "grad.images": x.grad.permute(0, 2, 3, 1)}
        for key, parameter in model.named_parameters():
            tensors["grad." + torchvision_name(key)] = parameter.grad
        if mode == "training":
            for key, buffer in model.named_buffers():
                if "running" in key:
                    tensors[torchvision_name(key)] = buffer
        save(f"{name}_{mode}", tensors)


def whole_resnet(name, model, size):
    fill_model(model)
    x = images(2, size)
    with torch.no_grad():
        tensors = {}
        y = model.maxpool(torch.relu(model.bn1(model.conv1(x))))
        for i in range(1, 5):
            y = getattr(model, f"layer{i}")(y)
            tensors[f"stage.{i}"] = y.mean((2, 3))
        tensors["logits"] = model(x)
    save(name, tensors)


def main():
    torch.manual_seed(0)
    base = dict(dropout=0.0, attention_dropout=0.0)
    model = transformers.DistilBertModel(transformers.DistilBertConfig(
        vocab_size=60, dim=32, hidden_dim=48, n_layers=2, n_heads=4, max_position_embeddings=20, **base))
    text_outputs("distilbert_small", fill_model(model), 60, [7, 1, 12], True)
    model = transformers.BertModel(transformers.BertConfig(
        vocab_size=60, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=20, layer_norm_eps=1e-5, hidden_act="gelu_new",
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
    text_outputs("bert_small", fill_model(model), 60, [7, 1, 12], True)
    with torch.no_grad():
        model = transformers.DistilBertModel(transformers.DistilBertConfig(**base))
        text_outputs("distilbert", fill_model(model), 30522, [3, 17, 64], False)
        model = transformers.BertModel(transformers.BertConfig())
        text_outputs("bert", fill_model(model), 30522, [3, 17, 64], False)
    small_resnet("resnet_basic", embedding_size=8, hidden_sizes=[8, 16], depths=[1, 2], layer_type="basic")
    small_resnet("resnet_bottleneck", embedding_size=8, hidden_sizes=[16, 32], depths=[2, 1], layer_type="bottleneck")
    whole_resnet("resnet18", torchvision.models.resnet18(), 224)
    whole_resnet("resnet50", torchvision.models.resnet50(), 224)
    whole_resnet("resnet_timm", timm.models.ResNet(timm.models.resnet.Bottleneck, (1, 2, 1, 1), num_classes=10,
                                                   channels=(8, 16, 24, 32)), 65)


if __name__ == "__main__":
    main()
