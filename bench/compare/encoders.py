"""Whole encoders against PyTorch (eager, compiled) and OpenVINO on this machine: python3 bench/compare/encoders.py
On its GPU against PyTorch: python3 bench/compare/encoders.py --cuda --bin build/gpu_check/bin --batch 256

Needs torch, torchvision, transformers, safetensors, on the CPU openvino, and encoder_time in build/release/bin or --bin. All
take the same weights and inputs, their outputs are compared, and they run in turns; printed are median milliseconds an item.
On a GPU the inputs are there already, models are in bf16 rather than autocast, and a turn lasts until all is computed."""
import argparse
import copy
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy as np
import torch
import torchvision
import transformers
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
GPU = "cuda"


class Ours:
    def __init__(self, folder, inputs, precision, args):
        np.save(folder / "input.npy", inputs)
        self.process = subprocess.Popen(
            [args.bin / "encoder_time", folder, folder / "input.npy", folder / "output.npy", precision, *["cuda"][:args.cuda]],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.milliseconds()
        self.output = np.load(folder / "output.npy")

    def milliseconds(self):
        self.process.stdin.write("1\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


class Peer:
    def __init__(self, run):
        self.run = run
        for _ in range(2):
            self.output = run()

    def milliseconds(self):
        start = time.perf_counter()
        self.run()
        return 1e3 * (time.perf_counter() - start)


def torch_peer(model, inputs, precision, compiled):
    model, bf16 = (torch.compile(model) if compiled else model), precision == "bf16"

    def run():
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return model(inputs).float().numpy()
    return Peer(run)


def torch_gpu_peer(model, inputs, precision, compiled):
    model, inputs = copy.deepcopy(model).to(GPU), inputs.to(GPU)
    if precision == "bf16":
        model, inputs = model.bfloat16(), inputs.bfloat16() if inputs.is_floating_point() else inputs
    model = torch.compile(model) if compiled else model

    torch.backends.cudnn.benchmark = True

    def run():
        with torch.no_grad():
            y = model(inputs)
        torch.cuda.synchronize()
        return y
    peer = Peer(run)
    peer.output = peer.output.float().cpu().numpy()
    return peer


def openvino_peer(model, inputs, precision, threads):
    import openvino as ov
    converted = ov.convert_model(model, example_input=inputs, input=[tuple(inputs.shape)])
    compiled = ov.Core().compile_model(converted, "CPU", {
        "INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads,
        "ENABLE_HYPER_THREADING": True})
    request = compiled.create_infer_request()
    array = inputs.numpy()
    return Peer(lambda: request.infer([array])[0])


class Cls(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids):
        return self.model(input_ids=ids).last_hidden_state[:, 0]


def distilbert(folder, batch, length):
    model = transformers.DistilBertModel(transformers.DistilBertConfig(attn_implementation="sdpa")).eval()
    model.save_pretrained(folder)
    ids = torch.randint(1000, 30000, (batch, length))
    return Cls(model).eval(), ids, ids.numpy().astype(np.int32)


def resnet50(folder, batch):
    model = torchvision.models.resnet50().eval()
    model.fc = torch.nn.Identity()
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "resnet", "depths": [3, 4, 6, 3],
                                                    "hidden_sizes": [256, 512, 1024, 2048]}))
    images = torch.randn(batch, 3, 224, 224).to(memory_format=torch.channels_last)
    return model.to(memory_format=torch.channels_last), images, images.permute(0, 2, 3, 1).contiguous().numpy()


class ClipPart(torch.nn.Module):
    """One side of a CLIP: the features of what it is given."""

    def __init__(self, model, side):
        super().__init__()
        self.tower, self.projection = (model.vision_model, model.visual_projection) if side == "image" else (
            model.text_model, model.text_projection)

    def forward(self, x):
        return self.projection(self.tower(x).pooler_output)


def clip(folder, batch, side):
    """ViT-B/32: pictures, or captions of 8 to 16 tokens, which the peers take padded to the context."""
    model = transformers.CLIPModel(transformers.CLIPConfig(attn_implementation="sdpa")).eval()
    model.save_pretrained(folder)
    part = ClipPart(model, side).eval()
    if side == "image":
        images = torch.randn(batch, 3, 224, 224)
        return part, images, images.permute(0, 2, 3, 1).contiguous().numpy()
    ids = torch.randint(1000, 40000, (batch, 77))
    for i in range(batch):
        ids[i, 0], ids[i, 8 + i * 9 // batch - 1:] = 49406, 49407
    return part, ids, ids.numpy().astype(np.int32)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--precision", nargs="*", default=["bf16", "f32"])
    parser.add_argument("--only", nargs="*", default=[""], help="cases whose name holds one of these")
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/bin")
    parser.add_argument("--cuda", action="store_true", help="compare on the GPU")
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, {'GPU' if args.cuda else f'{args.threads} threads'}, batch {args.batch}")
    cases = {"DistilBERT, 32 tokens": lambda f: distilbert(f, args.batch, 32),
             "DistilBERT, 128 tokens": lambda f: distilbert(f, args.batch, 128),
             "ResNet50": lambda f: resnet50(f, args.batch),
             "CLIP ViT-B/32 pictures": lambda f: clip(f, args.batch, "image"),
             "CLIP ViT-B/32 captions": lambda f: clip(f, args.batch, "text")}
    for precision in args.precision:
        for name, make in cases.items():
            if not any(only in name for only in args.only):
                continue
            with tempfile.TemporaryDirectory() as folder, torch.no_grad():
                model, inputs, array = make(pathlib.Path(folder))
                reference = model(inputs).numpy()
                peer = torch_gpu_peer if args.cuda else torch_peer
                runners = {"ours": Ours(pathlib.Path(folder), array, precision, args),
                           "torch": peer(model, inputs, precision, False),
                           "torch compiled": peer(model, inputs, precision, True)}
                if not args.cuda:
                    runners["openvino"] = openvino_peer(model, inputs, precision, args.threads)
                times = {key: [] for key in runners}
                for _ in range(args.rounds):
                    for key, runner in runners.items():
                        runner.milliseconds()  # what was cached of its weights is gone
                        times[key].append(runner.milliseconds() / args.batch)
                median = {key: statistics.median(t) for key, t in times.items()}
                print(f"{name}, {precision}: " + ", ".join(
                    f"{key} {median[key]:.2f} ms ({median[key] / median['ours']:.2f}x, cosine "
                    f"{np.vdot(runner.output, reference) / np.linalg.norm(runner.output) / np.linalg.norm(reference):.6f})"
                    for key, runner in runners.items()), flush=True)
                runners["ours"].process.stdin.close()


if __name__ == "__main__":
    main()
