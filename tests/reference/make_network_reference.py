# SPDX-License-Identifier: MIT
"""Writes network.json: what PyTorch computes, in double precision, for a narrow 7-2-7-1 network. The fields
are described in README.md. Usage: python3 make_network_reference.py [OUTPUT]"""
import json
import math
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "benchmarks" / "compare"))
import carvana_pytorch as carvana  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from random_stream import uniform  # noqa: E402

# Deep batch-normalised networks amplify rounding, most where few values are averaged and where a ReLU's input is
# near 0. This seed and the ranges in bounds() were chosen so that single precision still agrees with double.
SEED = 2
FILTERS = (8, 8, 8, 8, 16, 16, 16)
SIZE, BATCH = 128, 4
INPUT_KEY = 1000
RATE = 1e-3


def bounds(name, shape):
    """The range of a tensor's random numbers; None for running statistics, which start at 0 and 1."""
    if name.endswith(("running_mean", "running_var")):
        return None
    if len(shape) == 4:  # Glorot and Bengio's
        area = shape[2] * shape[3]
        limit = math.sqrt(6 / (area * (shape[0] + shape[1])))
        return -limit, limit
    if ".bn" in name:
        return (0.3, 0.6) if name.endswith("weight") else (0.6, 1.4)
    return -0.1, 0.1


def filled(key, file_shape, low, high, dtype):
    """Rounded to single precision, so that every test starts from the same numbers."""
    values = uniform((SEED, key), math.prod(file_shape), low, high).astype(np.float32)
    return torch.from_numpy(values.reshape(file_shape)).to(dtype)


def targets(dtype):
    n, y, x = np.meshgrid(np.arange(BATCH), np.arange(SIZE), np.arange(SIZE), indexing="ij")
    inside = 4 * (y - 60 - 2 * n) ** 2 + (x - 64 + 3 * n) ** 2 < 2500
    return torch.from_numpy(inside[:, None]).to(dtype)


def compute(dtype, memory_format=torch.contiguous_format):
    network = carvana.Carvana(FILTERS).to(dtype)
    parameters = []
    state = network.state_dict()
    for key, name in enumerate(carvana.tensor_names(network)):
        shape = carvana.to_file_layout(state[name]).shape
        entry = {"name": name, "key": key, "shape": list(shape)}
        limits = bounds(name, state[name].shape)
        if limits:
            entry["low"], entry["high"] = limits
            values = filled(key, shape, *limits, dtype)
            state[name].copy_(values.permute(0, 3, 1, 2) if values.dim() == 4 else values)
        parameters.append(entry)
    network.to(memory_format=memory_format)
    images = filled(INPUT_KEY, (BATCH, SIZE, SIZE, 3), 0.0, 1.0, dtype).permute(0, 3, 1, 2)
    images = images.contiguous(memory_format=memory_format)
    masks = targets(dtype)

    def summary(tensor, samples):
        flat = carvana.to_file_layout(tensor.detach()).reshape(-1).double()
        count = min(samples, flat.numel())
        index = [i * flat.numel() // count for i in range(count)]
        return {"sum": flat.sum().item(), "norm": flat.norm().item(), "value": flat[index].tolist()}

    network.train()
    logits = network(images)
    loss = carvana.bce_dice_loss(logits, masks)
    loss.backward()
    result = {
        "seed": SEED,
        "filters": list(FILTERS),
        "size": SIZE,
        "batch": BATCH,
        "input_key": INPUT_KEY,
        "training": {
            "loss": loss.item(),
            "dice": carvana.soft_dice(logits, masks).item(),
            "logits": summary(logits, 256),
        },
        "tensors": parameters,
    }
    by_name = dict(network.named_parameters())
    for entry in parameters:
        name = entry["name"]
        if name in by_name and by_name[name].grad.norm() < 1e-10:
            # Batch normalisation takes away any constant that a bias before it adds: what is left is rounding.
            entry["zero_gradient"] = True
        elif name in by_name:
            entry["gradient"] = summary(by_name[name].grad, 8)
        else:
            entry["after_step"] = summary(network.state_dict()[name], 8)

    network.eval()
    with torch.no_grad():
        result["evaluation"] = {"logits": summary(network(images), 256)}

    network.train()
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, eps=1e-8)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = carvana.bce_dice_loss(network(images), masks)
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    result["adam"] = {"rate": RATE, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "losses": losses}
    return result


def deviation(a, b):
    """By how much two summaries differ: in the samples or the norm, relative to the samples' size, so that a
    tensor's small elements do not count more than its large ones."""
    x, y = np.array(a["value"]), np.array(b["value"])
    scale = max(np.sqrt(np.mean(y**2)), 1e-30)
    return max(np.abs(x - y).max() / scale, abs(a["norm"] - b["norm"]) / max(b["norm"], 1e-30))


def add_float_deviation(double, singles):
    """Notes how far single precision is from double in PyTorch itself: no test can ask for less."""

    def note(get):
        exact = get(double)
        exact["float_deviation"] = max(deviation(get(single), exact) for single in singles)

    note(lambda r: r["training"]["logits"])
    note(lambda r: r["evaluation"]["logits"])
    for i, entry in enumerate(double["tensors"]):
        if "zero_gradient" not in entry:
            note(lambda r: r["tensors"][i].get("gradient") or r["tensors"][i].get("after_step"))
    exact = double["adam"]["losses"]
    double["adam"]["float_deviation"] = max(
        abs(a - b) for single in singles for a, b in zip(single["adam"]["losses"], exact)
    )


def rounded(x):
    if isinstance(x, float):
        return float(f"{x:.9g}")
    if isinstance(x, dict):  # the bounds are inputs, and exact
        return {k: v if k in ("low", "high") else rounded(v) for k, v in x.items()}
    return [rounded(v) for v in x] if isinstance(x, list) else x


def main():
    torch.set_num_threads(1)
    double = compute(torch.float64)
    # Two orders of summation: one alone may agree by luck.
    add_float_deviation(double, [compute(torch.float32), compute(torch.float32, torch.channels_last)])
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "network.json"
    text = json.dumps(rounded(double), indent=None, separators=(",", ":"))
    # One tensor per line, so that a change can be read.
    output.write_text(text.replace('{"name"', '\n{"name"') + "\n")


if __name__ == "__main__":
    main()
