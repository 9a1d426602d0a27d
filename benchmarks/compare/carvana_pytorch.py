# SPDX-License-Identifier: MIT
"""The networks of segnet/models/carvana.hpp in PyTorch: an independent second implementation, for the
reference numbers of the tests and for comparing speed and accuracy.

Names and layouts of the parameters are those of segnet's checkpoints: convolution weights as KRSC in the
file, KCRS in PyTorch.
"""
import openblas  # noqa: F401  before torch

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import safetensors_numpy

FILTERS = {
    "7-2-7-1": (8, 24, 64, 128, 256, 512, 768),
    "6-2-6-1": (24, 64, 128, 256, 512, 768),
}
FILTERS["lite"] = tuple(max(8, f // 4) for f in FILTERS["7-2-7-1"])


def conv(inputs, outputs):
    layer = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def batch_norm(channels):
    # PyTorch's momentum is the share of the new value: Keras' 0.99 is 0.01 here.
    return nn.BatchNorm2d(channels, eps=1e-4, momentum=0.01)


class Encoder(nn.Module):
    def __init__(self, inputs, filters):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, filters), batch_norm(filters)
        self.conv2, self.bn2 = conv(filters, filters), batch_norm(filters)

    def forward(self, x):
        """The skip connection, and the next level's input, which is pooled from before the ReLU."""
        x = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(x), F.max_pool2d(x, 2)


class Center(nn.Module):
    def __init__(self, inputs, filters):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, filters), batch_norm(filters)
        self.conv2, self.bn2 = conv(filters, filters), batch_norm(filters)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)))


class Decoder(nn.Module):
    def __init__(self, skip, below, filters):
        super().__init__()
        self.conv1, self.bn1 = conv(skip + below, filters), batch_norm(filters)
        self.conv2, self.bn2 = conv(filters, filters), batch_norm(filters)
        self.conv3, self.bn3 = conv(filters, filters), batch_norm(filters)

    def forward(self, skip, x):
        x = torch.cat([skip, F.interpolate(x, scale_factor=2, mode="nearest")], dim=1)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(self.bn3(self.conv3(x)))


class Carvana(nn.Module):
    """Height and width must be multiples of 2^len(filters). Returns logits [n][1][h][w]."""

    def __init__(self, filters):
        super().__init__()
        filters = tuple(filters)
        self.filters = filters
        self.encoder = nn.ModuleList(Encoder(i, f) for i, f in zip((3, *filters), filters))
        self.center = Center(filters[-1], filters[-1])
        self.decoder = nn.ModuleList(Decoder(f, b, f) for f, b in zip(filters, (*filters[1:], filters[-1])))
        self.classifier = nn.Conv2d(filters[0], 1, 1)
        nn.init.xavier_uniform_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x):
        skips = []
        for level in self.encoder:
            skip, x = level(x)
            skips.append(skip)
        x = self.center(x)
        for level, skip in zip(reversed(self.decoder), reversed(skips)):
            x = level(skip, x)
        return self.classifier(x)


def tensor_names(network):
    """Every parameter and running statistic in the order of data flow: the deepest decoder level first."""

    def order(name):
        part, _, rest = name.partition(".")
        level = int(rest.split(".")[0]) if part in ("encoder", "decoder") else 0
        return ["encoder", "center", "decoder", "classifier"].index(part), -level if part == "decoder" else level

    names = [n for n in network.state_dict() if not n.endswith("num_batches_tracked")]
    # Within a level, conv1, bn1, conv2, bn2 ... as registered: sorted() is stable.
    return sorted(names, key=order)


def count_values(network):
    return sum(network.state_dict()[name].numel() for name in tensor_names(network))


def to_file_layout(tensor):
    """KCRS -> KRSC for convolution weights; the rest as it is."""
    return tensor.permute(0, 2, 3, 1) if tensor.dim() == 4 else tensor


def save(network, path, metadata=None):
    state = network.state_dict()
    tensors = {n: to_file_layout(state[n]).contiguous().numpy().astype(np.float32) for n in tensor_names(network)}
    safetensors_numpy.save(path, tensors, metadata)


def load(network, path):
    """Reads what save() or segnet wrote."""
    state = network.state_dict()
    missing = set(tensor_names(network))
    for name, tensor in safetensors_numpy.read(path):
        if name not in missing:
            raise ValueError(f"{path}: unexpected tensor {name}")
        missing.remove(name)
        state[name].copy_(torch.from_numpy(tensor.transpose(0, 3, 1, 2) if tensor.ndim == 4 else tensor))
    if missing:
        raise ValueError(f"{path}: missing tensors {sorted(missing)}")


def soft_dice(logits, targets, smooth=1.0):
    """Over the whole batch at once."""
    p = torch.sigmoid(logits)
    return (2 * (p * targets).sum() + smooth) / (p.sum() + targets.sum() + smooth)


def bce_dice_loss(logits, targets):
    return F.binary_cross_entropy_with_logits(logits, targets) + 1 - soft_dice(logits, targets)


def make(variant):
    network = Carvana(FILTERS[variant])
    if variant == "7-2-7-1":
        assert count_values(network) == 59_973_185
    return network
