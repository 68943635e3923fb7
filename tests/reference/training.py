"""What PyTorch does in training, for the optimizer, the schedules and the recipe's first 50 steps:
python3 tests/reference/training.py

Needs torch and safetensors. Writes tests/data/train/training.safetensors, whose metadata name the version. Features and
weights are those of hash_weights.py, so that only results are stored."""
import pathlib

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from hash_weights import fill, uniform

OUT = pathlib.Path(__file__).resolve().parent.parent / "data" / "train" / "training.safetensors"
BATCH, BATCHES, STEPS = 32, 10, 50


class Head(nn.Module):
    def __init__(self, size, dropout=0.0):
        super().__init__()
        self.projection, self.fc = nn.Linear(size, 256), nn.Linear(256, 256)
        self.layer_norm, self.dropout = nn.LayerNorm(256), nn.Dropout(dropout)

    def forward(self, x):
        h = self.projection(x)
        return self.layer_norm(self.dropout(self.fc(nn.functional.gelu(h))) + h)


def soft_target_loss(text, image, temperature=1.0):
    logits = text @ image.T / temperature
    targets = ((image @ image.T + text @ text.T) / 2 * temperature).softmax(-1)
    texts = (-targets * logits.log_softmax(-1)).sum(1)
    images = (-targets.T * logits.T.log_softmax(-1)).sum(1)
    return ((images + texts) / 2).mean()


def features(name, size):
    """Rows with much in common, as encoders' are: the losses then neither vanish nor hang on the last bits."""
    own = uniform(name, BATCH * BATCHES * size).reshape(-1, size)
    return torch.from_numpy(uniform(f"{name}.common", size) + own * np.float32(0.5))


def trajectory():
    heads = nn.ModuleDict({"text_projection": Head(768), "image_projection": Head(2048)})
    with torch.no_grad():
        for name, parameter in heads.named_parameters():
            parameter.copy_(torch.from_numpy(fill(name, tuple(parameter.shape))))
    text, image = features("text_features", 768), features("image_features", 2048)
    optimizer = torch.optim.AdamW(heads.parameters(), lr=1e-3, weight_decay=1e-3)
    losses = []
    for step in range(STEPS):
        rows = slice(step % BATCHES * BATCH, (step % BATCHES + 1) * BATCH)
        loss = soft_target_loss(heads["text_projection"](text[rows]), heads["image_projection"](image[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return torch.tensor(losses)


def adamw(steps=7, count=37):
    first, second = (nn.Parameter(torch.from_numpy(uniform(name, count).copy())) for name in ("first", "second"))
    optimizer = torch.optim.AdamW([{"params": [first], "lr": 1e-2, "weight_decay": 0.1},
                                   {"params": [second], "lr": 3e-3, "betas": (0.8, 0.95), "eps": 1e-3}])
    for step in range(steps):
        for name, parameter in (("first", first), ("second", second)):
            parameter.grad = torch.from_numpy(uniform(f"{name}.{step}", count).copy()) * 10 ** (step - 3)
        if step == 4:
            second.grad = None
        nn.utils.clip_grad_norm_([first, second], 2.0)
        optimizer.step()
    return {"adamw.first": first.detach(), "adamw.second": second.detach()}


def plateau():
    losses = [5, 4, 4.1, 3.9999, 3.9998, 4, 3, 3.1, 3.2, 3.3, 3.4, 3.5, 2.9998, 2.9996, float("nan"), 3, 3, 3, 3, 3, 3]
    optimizer = torch.optim.AdamW([{"params": [torch.zeros(1)], "lr": 1e-3}, {"params": [torch.zeros(1)], "lr": 3e-8}])
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="min", patience=1, factor=0.8)
    rates = []
    for loss in losses:
        schedule.step(loss)
        rates.append([group["lr"] for group in optimizer.param_groups])
    return {"plateau.losses": torch.tensor(losses), "plateau.rates": torch.tensor(rates)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    save_file({"trajectory": trajectory(), **adamw(), **plateau()}, OUT, {"torch": torch.__version__})
