"""Full-size ViT-B/32s of random weights through the programs, against transformers and open_clip: the table of docs/parity.md
that begins with files. python3 tests/reference/clip_compare.py, with build/release/bin and open_clip_torch, pillow, safetensors, torch,
torchvision and transformers.

Three models are written to files as their authors write them: a CLIPModel folder with its processor, an open_clip checkpoint, and an archive
of TorchScript in fp16 as OpenAI's. Pictures and texts go through tokenizer, preprocessing and model on both sides. The
references take texts padded to 77 tokens."""
import gzip
import json
import pathlib
import subprocess
import tempfile
import warnings

import numpy as np
import open_clip
import open_clip.tokenizer
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
PICTURES = [ROOT / "tests/data/image" / name for name in ("photo.jpg", "upright.jpg", "420.jpg", "progressive.jpg", "gray.jpg", "rgb8.png", "rgb.ppm")]
TEXTS = [line for line in (ROOT / "tests/data/sentences.txt").read_text().split("\n") if line]
LABELS = ["cat", "dog", "horse", "a red rose", "beach", "the Eiffel tower", "text"]
SCALE = np.log(100)  # that of the pretrained models


def run(program, *arguments):
    return subprocess.run([ROOT / "build/release/bin" / program, *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def ours(folder, work):
    """Ids, pixels, rows of texts and pictures, probabilities by the programs."""
    (work / "pictures.txt").write_text("".join(f"{p}\n" for p in PICTURES))
    (work / "texts.txt").write_text("".join(t + "\n" for t in TEXTS))
    (work / "labels.txt").write_text("".join(t + "\n" for t in LABELS))
    run("embed", "--model", folder, "--text", work / "texts.txt", "--tokens", work / "ids.npy", "--output", work / "texts.npy")
    run("embed", "--model", folder, "--images", work / "pictures.txt", "--pixels", work / "pixels.npy", "--output", work / "images.npy")
    shot = json.loads(run("zero_shot", "--model", folder, "--images", work / "pictures.txt", "--labels", work / "labels.txt", "-k",
                          len(LABELS), "--json"))
    probabilities = [[{p["label"]: p["probability"] for p in one["predictions"]}[label] for label in LABELS] for one in shot]
    return [np.load(work / f"{name}.npy") for name in ("ids", "pixels", "texts", "images")] + [np.array(probabilities)]


def show(name, folder, work, reference):
    ids, pixels, texts, images, probabilities = ours(folder, work)
    ref_ids, ref_pixels, ref_texts, ref_images, ref_probabilities = (np.asarray(x) for x in reference)
    texts, images, ref_texts, ref_images = (x.astype(np.float64) for x in (texts, images, ref_texts, ref_images))
    width = ids.shape[1]  # the longest text's; the references are padded further
    same = (ids == ref_ids[:, :width]).all() and (ref_ids[:, width:] == ref_ids[0, -1]).all()
    columns = [name, f"{len(TEXTS)} texts {'identical' if same else 'DIFFERENT'}, padded with {ref_ids[0, -1]}",
               "identical" if (pixels == ref_pixels).all() else f"DIFFERENT by {np.abs(pixels - ref_pixels).max():.1e}"]
    for a, b in ((images, ref_images), (texts, ref_texts)):
        cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        columns.append(f"{np.abs(a - b).max() / np.abs(b).max():.1e}, {cosine.min():.7f}")
    columns.append(f"{np.abs(probabilities - ref_probabilities).max():.1e}")
    print("| " + " | ".join(columns) + " |", flush=True)


def probabilities(images, texts, logit_scale):
    images, texts = (torch.nn.functional.normalize(x) for x in (images, texts))
    return (logit_scale.exp() * images @ texts.T).softmax(1)


def prompts():
    return [f"a photo of a {label}." for label in LABELS]


def huggingface(folder, work, vocabulary):
    model = transformers.CLIPModel(transformers.CLIPConfig(logit_scale_init_value=float(SCALE))).eval()
    tokenizer = transformers.CLIPTokenizer(vocab=str(vocabulary / "vocab.json"), merges=str(vocabulary / "merges.txt"), model_max_length=77)
    processor = transformers.CLIPImageProcessorPil()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    processor.save_pretrained(folder)
    pictures = processor([Image.open(p) for p in PICTURES], return_tensors="pt")["pixel_values"]

    def embed(texts):
        batch = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt")
        return batch["input_ids"], model.text_projection(model.text_model(**batch).pooler_output)
    ids, texts = embed(TEXTS)
    logits = model(pixel_values=pictures, **tokenizer(prompts(), padding="max_length", return_tensors="pt")).logits_per_image
    images = model.visual_projection(model.vision_model(pixel_values=pictures).pooler_output)
    show("transformers", folder, work, (ids, pictures, texts, images, logits.softmax(1)))


def openclip(name, model, folder, work):
    """`model` computes in f32 what the file holds."""
    transform = open_clip.image_transform(224, is_train=False, mean=open_clip.OPENAI_DATASET_MEAN, std=open_clip.OPENAI_DATASET_STD)
    pictures = torch.stack([transform(Image.open(p)) for p in PICTURES])
    tokenize = open_clip.get_tokenizer("ViT-B-32")
    images, texts = model.encode_image(pictures), model.encode_text(tokenize(TEXTS))
    show(name, folder, work, (tokenize(TEXTS), pictures, texts, images, probabilities(images, model.encode_text(tokenize(prompts())),
                                                                                 model.logit_scale)))


class Archive(torch.nn.Module):
    """What OpenAI traced: the model, and three constants."""

    def __init__(self, model):
        super().__init__()
        for name, part in model.named_children():
            setattr(self, name, part)
        for name, parameter in model.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        for name, value in {"input_resolution": 224, "context_length": 77, "vocab_size": 49408}.items():
            self.register_buffer(name, torch.tensor(value))

    def forward(self, x):
        return x


def main():
    warnings.filterwarnings("ignore", category=FutureWarning)  # TorchScript is what OpenAI wrote
    torch.manual_seed(0)
    print(f"transformers {transformers.__version__}, open_clip {open_clip.__version__}, torch {torch.__version__}\n")
    print("| files of | tokens | pixels | pictures: error, least cosine | texts: error, least cosine | probabilities: largest difference |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name, torch.no_grad():
        work = pathlib.Path(name)
        vocabulary = work / "bpe_simple_vocab_16e6.txt"
        vocabulary.write_bytes(gzip.open(open_clip.tokenizer.default_bpe()).read())

        model = open_clip.create_model("ViT-B-32").eval()
        model.logit_scale.fill_(SCALE)
        (work / "laion").mkdir()
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, work / "laion/open_clip_model.safetensors")
        (work / "laion/open_clip_config.json").write_text(json.dumps({"model_cfg": open_clip.get_model_config("ViT-B-32")}))
        run("weights_convert", work / "laion/open_clip_model.safetensors", work / "a", "--vocab", vocabulary)
        openclip("open_clip, GELU", model, work / "a", work)

        model = open_clip.create_model("ViT-B-32-quickgelu").eval()
        model.logit_scale.fill_(SCALE)
        half = Archive(model).half().eval()
        torch.jit.save(torch.jit.trace(half, torch.zeros(1)), work / "ViT-B-32.pt")
        model.float()  # the same tensors, rounded
        run("weights_convert", work / "ViT-B-32.pt", work / "b", "--vocab", vocabulary, "--dtype", "f32")
        openclip("OpenAI's archive, QuickGELU", model, work / "b", work)

        huggingface(work / "c", work, work / "a")


if __name__ == "__main__":
    main()
