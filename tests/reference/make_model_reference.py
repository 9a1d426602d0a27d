# SPDX-License-Identifier: MIT
"""Writes models.json: what PyTorch computes, in double precision, for narrow forms of the networks in
segnet/models. The fields are described in README.md. Usage: python3 make_model_reference.py [OUTPUT]"""
import json
import math
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "benchmarks" / "compare"))
import openblas  # noqa: E402,F401  before torch
import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from random_stream import uniform  # noqa: E402

INPUT_KEY, GRADIENT_KEY = 1000, 1001
VGG16 = {1: (1, 1), 2: (2, 2), 3: (4, 4, 4), 4: (8, 8, 8), 5: (8, 8, 8)}  # channels / width


class Model:
    """A network's tensors, made when they are first asked for, and the layers that read them."""

    def __init__(self, seed, dtype):
        self.seed, self.dtype, self.training = seed, dtype, True
        self.tensors, self.entries = {}, []

    def random(self, key, shape, low, high):
        """Rounded to single precision, so that every test starts from the same numbers."""
        values = uniform((self.seed, key), math.prod(shape), low, high).astype(np.float32)
        return torch.from_numpy(values.reshape(shape)).to(self.dtype)

    def tensor(self, name, shape, low, high):
        """`shape` as the files have it: KRSC. Running statistics are 0 and 1, with low = high."""
        if name not in self.tensors:
            entry = {"name": name, "shape": list(shape), "low": low, "high": high}
            values = self.random(len(self.entries), shape, low, high)
            if values.dim() == 4:
                values = values.permute(0, 3, 1, 2).contiguous()
            self.tensors[name] = values.requires_grad_(not name.rpartition(".")[2].startswith("running"))
            self.entries.append(entry)
        return self.tensors[name]

    def conv(self, name, x, channels, kernel=3, padding=None):
        limit = math.sqrt(6 / (kernel * kernel * x.shape[1]))
        weight = self.tensor(name + ".weight", (channels, kernel, kernel, x.shape[1]), -limit, limit)
        bias = self.tensor(name + ".bias", (channels,), -0.1, 0.1)
        return F.conv2d(x, weight, bias, padding=kernel // 2 if padding is None else padding)

    def up(self, name, x, channels, kernel, stride, padding=0, bias=True, per_channel=False):
        inputs = x.shape[1]
        limit = math.sqrt(6 / max(1, kernel * kernel // stride**2) / (1 if per_channel else inputs))
        outputs = 1 if per_channel else channels
        weight = self.tensor(name + ".weight", (inputs, kernel, kernel, outputs), -limit, limit)
        bias = self.tensor(name + ".bias", (channels,), -0.1, 0.1) if bias else None
        return F.conv_transpose2d(x, weight, bias, stride, padding, groups=inputs if per_channel else 1)

    def bn(self, name, x):
        # Large shifts keep most values away from the ReLU's kink, where rounding would decide.
        values = [self.tensor(f"{name}.{part}", (x.shape[1],), low, high)
                  for part, low, high in (("weight", 0.3, 0.6), ("bias", 0.6, 1.4), ("running_mean", 0, 0),
                                          ("running_var", 1, 1))]
        return F.batch_norm(x, values[2], values[3], values[0], values[1], self.training, 0.1, 1e-5)

    def vgg16(self, x, width, batch_norm, first=1):
        """Of each block the pooled value, the places of its maxima and the size before pooling."""
        blocks = {}
        for block, factors in VGG16.items():
            for i, factor in enumerate(factors, 1):
                x = self.conv(f"conv{block}_{i}", x, width * factor, padding=first if (block, i) == (1, 1) else 1)
                x = F.relu(self.bn(f"bn{block}_{i}", x) if batch_norm else x)
            before = x.shape[2:]
            x, places = F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
            blocks[block] = x, places, before
        return blocks


def segnet_vgg16(m, x, classes, width):
    blocks = m.vgg16(x, width, True)
    x = blocks[5][0]
    plan = {5: (8, 8, 8), 4: (8, 8, 4), 3: (4, 4, 2), 2: (2, 1), 1: (1,)}
    for block, factors in plan.items():
        x = F.max_unpool2d(x, blocks[block][1], 2, output_size=blocks[block][2])
        for i, factor in zip(range(len(VGG16[block]), 0, -1), factors):
            x = m.conv(f"decoder.conv{block}_{i}", x, width * factor)
            x = F.relu(m.bn(f"decoder.bn{block}_{i}", x))
    return m.conv("score", x, classes)


def segnet_basic(m, x, classes, width):
    x = F.local_response_norm(x, 5, 1e-4 * 255 * 255, 0.75, 1.0)
    kept = []
    for level in range(1, 5):
        x = F.relu(m.bn(f"bn{level}", m.conv(f"conv{level}", x, width, 7)))
        before = x.shape[2:]
        x, places = F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
        kept.append((places, before))
    for level in range(4, 0, -1):
        places, before = kept[level - 1]
        x = F.max_unpool2d(x, places, 2, output_size=before)
        x = m.bn(f"decoder.{level}.bn", m.conv(f"decoder.{level}.conv", x, width, 7))
    return m.conv("score", x, classes, 1)


def fcn(m, x, classes, stride, width, fc):
    size = x.shape[2:]
    blocks = m.vgg16(x, width, False, first=100)
    x = F.relu(m.conv("fc6", blocks[5][0], fc, 7, padding=0))
    x = F.relu(m.conv("fc7", x, fc, 1))
    x = m.conv("score_fr", x, classes, 1)

    def cut(x, size, offset):
        return x[:, :, offset:offset + size[0], offset:offset + size[1]]

    if stride <= 16:
        x = m.up("upscore2", x, classes, 4, 2, bias=False)
        x = x + cut(m.conv("score_pool4", blocks[4][0], classes, 1), x.shape[2:], 5)
    if stride <= 8:
        x = m.up("upscore_pool4", x, classes, 4, 2, bias=False)
        x = x + cut(m.conv("score_pool3", blocks[3][0], classes, 1), x.shape[2:], 9)
    x = m.up(f"upscore{stride}", x, classes, 2 * stride, stride, bias=False, per_channel=True)
    return cut(x, size, {32: 19, 16: 27, 8: 31}[stride])


def deconvnet(m, x, classes, width, fc):
    blocks = m.vgg16(x, width, True)
    x, left = blocks[5][0], blocks[5][0].shape[2]
    x = F.relu(m.bn("bn6", m.conv("fc6", x, fc, left, padding=0)))
    x = F.relu(m.bn("bn7", m.conv("fc7", x, fc, 1)))
    x = F.relu(m.bn("decoder.bn6", m.up("decoder.conv6", x, 8 * width, left, 1)))
    plan = {5: (8, 8, 8), 4: (8, 8, 4), 3: (4, 4, 2), 2: (2, 1), 1: (1, 1)}
    for block, factors in plan.items():
        x = F.max_unpool2d(x, blocks[block][1], 2, output_size=blocks[block][2])
        for i, factor in enumerate(factors, 1):
            x = m.up(f"decoder.conv{block}_{i}", x, width * factor, 3, 1, padding=1)
            x = F.relu(m.bn(f"decoder.bn{block}_{i}", x))
    return m.conv("score", x, classes, 1)


def unet(m, x, classes, width, padded):
    def twice(scope, x, channels):
        for i in (1, 2):
            x = m.conv(f"{scope}.conv{i}", x, channels, padding=1 if padded else 0)
            x = F.relu(m.bn(f"{scope}.bn{i}", x) if padded else x)
        return x

    skips = []
    for level in range(4):
        skips.append(twice(f"down.{level}", x, width << level))
        x = F.max_pool2d(skips[-1], 2)
    x = twice("bottom", x, width << 4)
    for level in range(3, -1, -1):
        x = m.up(f"up.{level}.conv", x, width << level, 2, 2)
        top, left = ((a - b) // 2 for a, b in zip(skips[level].shape[2:], x.shape[2:]))
        skip = skips[level][:, :, top:top + x.shape[2], left:left + x.shape[3]]
        x = twice(f"up.{level}", torch.cat([skip, x], 1), width << level)
    return m.conv("score", x, classes, 1)


# Name, seed, images, height, width of the image, the network. tests/models/reference_test.cpp has the same.
MODELS = (
    ("segnet_vgg16", 1, 2, 36, 45, lambda m, x: segnet_vgg16(m, x, 5, 4)),
    ("segnet_basic", 1, 2, 36, 45, lambda m, x: segnet_basic(m, x, 5, 8)),
    ("fcn_32s", 1, 1, 40, 33, lambda m, x: fcn(m, x, 3, 32, 4, 16)),
    ("fcn_16s", 1, 1, 40, 33, lambda m, x: fcn(m, x, 3, 16, 4, 16)),
    ("fcn_8s", 1, 1, 40, 33, lambda m, x: fcn(m, x, 3, 8, 4, 16)),
    ("deconvnet", 1, 16, 64, 64, lambda m, x: deconvnet(m, x, 3, 4, 16)),
    ("unet", 2, 1, 188, 204, lambda m, x: unet(m, x, 2, 4, False)),
    ("unet_same", 1, 2, 32, 48, lambda m, x: unet(m, x, 3, 4, True)),
)


def to_file_layout(tensor):
    return tensor.permute(0, 2, 3, 1) if tensor.dim() == 4 else tensor


def summary(tensor, samples):
    flat = to_file_layout(tensor.detach()).reshape(-1).double()
    count = min(samples, flat.numel())
    return {"rms": flat.norm().item() / math.sqrt(flat.numel()), "value": flat[[i * flat.numel() // count for i in range(count)]].tolist()}


def compute(seed, batch, height, width, network, dtype):
    m = Model(seed, dtype)
    images = m.random(INPUT_KEY, (batch, height, width, 3), 0, 1).permute(0, 3, 1, 2).contiguous()
    logits = network(m, images)
    upstream = m.random(GRADIENT_KEY, [logits.shape[i] for i in (0, 2, 3, 1)], -1, 1).permute(0, 3, 1, 2)
    logits.backward(upstream)
    largest = max(t.grad.abs().max().item() for t in m.tensors.values() if t.requires_grad)
    for entry in m.entries:
        tensor = m.tensors[entry["name"]]
        if not tensor.requires_grad:
            entry["after_step"] = summary(tensor, 4)
        elif tensor.grad.abs().max() < 1e-10 * largest:
            # Batch normalisation takes away any constant that a bias before it adds: what is left is rounding.
            entry["zero_gradient"] = True
        else:
            entry["gradient"] = summary(tensor.grad, 4)
    m.training = False
    with torch.no_grad():
        probabilities = F.softmax(network(m, images), 1)
    return {"logits": summary(logits, 64), "probabilities": summary(probabilities, 64), "tensors": m.entries}


def deviation(single, double):
    """Of single precision from double, relative to the root mean square of a tensor; the largest of all."""
    worst = 0.0
    for a, b in [(single[k], double[k]) for k in ("logits", "probabilities")] + [
            (s[k], d[k]) for s, d in zip(single["tensors"], double["tensors"]) for k in ("gradient", "after_step")
            if k in s and k in d]:
        off = np.abs(np.array(a["value"]) - np.array(b["value"])).max()
        worst = max(worst, max(off, abs(a["rms"] - b["rms"])) / b["rms"])
    return worst


def rounded(x):
    if isinstance(x, float):
        return float(f"{x:.9g}")
    if isinstance(x, dict):  # the bounds are inputs, and exact
        return {k: v if k in ("low", "high") else rounded(v) for k, v in x.items()}
    return [rounded(v) for v in x] if isinstance(x, list) else x


def main():
    torch.set_num_threads(1)
    models = {}
    for name, seed, batch, height, width, network in MODELS:
        exact = compute(seed, batch, height, width, network, torch.float64)
        off = deviation(compute(seed, batch, height, width, network, torch.float32), exact)
        print(f"{name}: single precision is off by {off:.1e}")
        models[name] = {"seed": seed, "batch": batch, "height": height, "width": width,
                        "input_key": INPUT_KEY, "gradient_key": GRADIENT_KEY, "float_deviation": off, **exact}
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "models.json"
    text = json.dumps(rounded(models), separators=(",", ":"))
    # One tensor per line, so that a change can be read.
    output.write_text(text.replace('{"name"', '\n{"name"') + "\n")


if __name__ == "__main__":
    main()
