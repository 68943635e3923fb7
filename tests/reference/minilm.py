"""Reference embeddings of tests/data/sentences.txt by all-MiniLM-L6-v2: python3 tests/reference/minilm.py

Needs torch, transformers and safetensors, and the model that scripts/get_minilm.sh brings. Writes
tests/data/models/minilm.safetensors."""
import pathlib

import torch
import transformers
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]


def main():
    folder = ROOT / "models" / "all-MiniLM-L6-v2"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    texts = (ROOT / "tests/data/sentences.txt").read_text(encoding="utf-8").splitlines()
    batch = tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        states = model(**batch).last_hidden_state
    weights = batch["attention_mask"][:, :, None].float()
    means = (states * weights).sum(1) / weights.sum(1)
    save_file({"embeddings": torch.nn.functional.normalize(means).contiguous()},
              ROOT / "tests/data/models/minilm.safetensors",
              {"torch": torch.__version__, "transformers": transformers.__version__})


if __name__ == "__main__":
    main()
