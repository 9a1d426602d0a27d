# SPDX-License-Identifier: MIT
"""PyTorch's side of compare_gpu.py; speed_gpu.py says what it takes, prints and obeys. For PyTorch 2.

The network is that of compare/carvana_pytorch.py, channels last, with cuDNN's benchmark mode. Training: forward pass and
loss under bf16 autocast, backward pass, fused Adam. Inference: "eager" under bf16 autocast; the other modes with batch-norm
folded into the convolutions and weights in bf16.

    eager                        as it is written
    CUDA graph                   the whole step, or inference, recorded once and replayed; inference with cuDNN's fused
                                 convolution + bias + ReLU
    compiled, reduce-overhead    torch.compile with CUDA graphs
    compiled, max-autotune       and with everything that it can tune; takes minutes
"""
import pathlib
import sys
import time
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "compare"))

import carvana_pytorch as carvana  # before torch

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

import speed_gpu

MODES = ("eager", "CUDA graph", "compiled, reduce-overhead", "compiled, max-autotune")
WARM_UP_SECONDS = 0.3
BLOCK = 10  # calls between two waits


def pictures(path, *shape):
    """Those of the file, or random ones; [n][c][h][w], channels last."""
    if path:
        values = torch.from_numpy(np.fromfile(path, np.float32, int(np.prod(shape))).reshape(shape))
    else:
        values = torch.rand(shape)
    return values.permute(0, 3, 1, 2)


def fold(network):
    """Batch-norm into the convolutions before it."""
    for module in list(network.modules()):
        for number in (1, 2, 3):
            if hasattr(module, f"bn{number}"):
                conv, bn = getattr(module, f"conv{number}"), getattr(module, f"bn{number}")
                setattr(module, f"conv{number}", fuse_conv_bn_eval(conv, bn))
                setattr(module, f"bn{number}", nn.Identity())


def fused_conv_relu(layer, x):
    return torch.cudnn_convolution_relu(x, layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation,
                                        layer.groups)  # fmt: skip


def plain_conv_relu(layer, x):
    return F.relu(layer(x))


def folded_logits(network, x, conv_relu):
    """What a folded network computes, by way of conv_relu(layer, x)."""
    skips = []
    for level in network.encoder:
        x = level.conv2(conv_relu(level.conv1, x))
        skips.append(F.relu(x))
        x = F.max_pool2d(x, 2)
    x = conv_relu(network.center.conv2, conv_relu(network.center.conv1, x))
    for level, skip in zip(reversed(network.decoder), reversed(skips)):
        x = torch.cat([skip, F.interpolate(x, scale_factor=2, mode="nearest")], dim=1)
        for layer in (level.conv1, level.conv2, level.conv3):
            x = conv_relu(layer, x)
    return network.classifier(x)


class Job:
    def __init__(self, args):
        self.args = args
        self.on_card = args.device == "cuda"
        with mock.patch.object(torch.Tensor, "uniform_", lambda tensor, *_: tensor) if args.weights else mock.MagicMock():
            self.network = carvana.make(args.variant)
        if args.weights:
            carvana.load(self.network, args.weights)
        shape = (args.batch, args.size, args.size)
        self.host_images = pictures(args.images, *shape, 3).contiguous(memory_format=torch.channels_last)
        if args.job == "training":
            self.host_masks = pictures(args.masks, *shape, 1).contiguous()

    def prepare(self):
        if self.on_card:
            torch.backends.cudnn.benchmark = True
            torch.cuda.init()
            torch.zeros(1, device="cuda")
            torch.cuda.synchronize()
            before = torch.cuda.mem_get_info()[0]
        start = time.perf_counter()
        self.network.to(self.args.device, memory_format=torch.channels_last)
        self.images = self.host_images.to(self.args.device)
        found = self.make()
        found["prepare_seconds"] = time.perf_counter() - start
        if self.args.mode.startswith("compiled"):  # none, unless this version cannot read the network as a whole
            found["graph_breaks"] = sum(torch._dynamo.utils.counters["graph_break"].values())
        self.times(WARM_UP_SECONDS)
        if self.on_card:
            # What the search for the fastest algorithms took is no part of the work that follows.
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            self.times(0)
            found["device_bytes"] = before - torch.cuda.mem_get_info()[0]
            found["reserved_bytes"] = torch.cuda.max_memory_reserved()
            found["allocated_bytes"] = torch.cuda.max_memory_allocated()
        return found

    def record(self, function):
        """Does what function() does, as a CUDA graph."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                function()
        torch.cuda.current_stream().wait_stream(stream)
        self.forget()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            function()
        self.graph = graph
        return graph.replay

    def forget(self):
        """What must not be left when a recording starts."""

    def times(self, seconds):
        """Milliseconds of each step() by the card's clock."""
        found, start = [], time.perf_counter()
        while not found or time.perf_counter() - start < seconds:
            found += self.block_on_card() if self.on_card else self.block()
        return found

    def block_on_card(self):
        events = [torch.cuda.Event(enable_timing=True) for _ in range(BLOCK + 1)]
        events[0].record()
        for event in events[1:]:
            self.step()
            event.record()
        events[-1].synchronize()
        return [a.elapsed_time(b) for a, b in zip(events, events[1:])]

    def block(self):
        """Without a card: to try this program out."""
        start = time.perf_counter()
        self.step()
        return [1000 * (time.perf_counter() - start)]

    def measure(self, seconds):
        return {"times_ms": self.times(seconds)}


class Training(Job):
    def make(self):
        network = self.network.train()
        self.masks = self.host_masks.to(self.args.device)
        on_card = {"fused": True, "capturable": True} if self.on_card else {}
        self.optimizer = torch.optim.Adam(network.parameters(), lr=speed_gpu.LEARNING_RATE, **on_card)

        device = self.args.device
        # Recorded, the weights' copies of one pass must not serve the next one.
        cache = self.args.mode != "CUDA graph"

        def loss_of(images, masks):
            with torch.autocast(device, torch.bfloat16, cache_enabled=cache):
                logits = network(images)
            return carvana.bce_dice_loss(logits.float(), masks)

        how, _, tuning = self.args.mode.partition(", ")
        if how == "compiled":
            loss_of = torch.compile(loss_of, mode=tuning, dynamic=False)

        def step():
            if how == "compiled":
                torch.compiler.cudagraph_mark_step_begin()
            self.optimizer.zero_grad(set_to_none=True)
            loss = loss_of(self.images, self.masks)
            loss.backward()
            self.optimizer.step()
            return loss

        self.step = step
        losses = [step().item() for _ in range(3)]
        if how == "CUDA graph" and self.on_card:
            self.step = self.record(step)
        return {"losses": losses}

    def forget(self):
        self.optimizer.zero_grad(set_to_none=True)


class Inference(Job):
    def make(self):
        with torch.inference_mode():
            return self.make_infer()

    def make_infer(self):
        network = self.network.eval()
        how, _, tuning = self.args.mode.partition(", ")
        if how == "eager":
            device = self.args.device

            def infer(images):
                with torch.autocast(device, torch.bfloat16):
                    return torch.sigmoid(network(images))

        else:
            fold(network)
            network.to(torch.bfloat16)
            self.images = self.images.to(torch.bfloat16)
            conv_relu = plain_conv_relu
            if how == "CUDA graph":
                try:
                    fused_conv_relu(network.center.conv1, self.images.new_zeros(1, network.filters[-1], 8, 8))
                    conv_relu = fused_conv_relu
                except (RuntimeError, AttributeError) as problem:
                    print(f"no fused convolution + ReLU: {problem}", file=sys.stderr)

            def infer(images):
                return torch.sigmoid(folded_logits(network, images, conv_relu))

            if how == "compiled":
                infer = torch.compile(infer, mode=tuning, dynamic=False)

        def step():
            if how == "compiled":
                torch.compiler.cudagraph_mark_step_begin()
            self.probabilities = infer(self.images)

        self.step = step
        if how == "CUDA graph" and self.on_card:
            self.step = self.record(step)
        for _ in range(3):
            self.step()
        if self.args.out:
            self.probabilities.float().permute(0, 2, 3, 1).contiguous().cpu().numpy().tofile(self.args.out)
        return {}

    def whole(self):
        """With the images on the host, and the probabilities back there."""
        self.images.copy_(self.host_images, non_blocking=True)
        self.step()
        self.probabilities.float().cpu()

    def times(self, seconds):
        with torch.inference_mode():
            return super().times(seconds)

    def measure(self, seconds):
        found = super().measure(seconds)
        if self.on_card and not self.host_images.is_pinned():
            self.host_images = self.host_images.pin_memory()
        whole, start = [], time.perf_counter()
        with torch.inference_mode():
            while len(whole) < 10 or time.perf_counter() - start < seconds / 2:
                before = time.perf_counter()
                self.whole()
                whole.append(1000 * (time.perf_counter() - before))
        return {**found, "whole_ms": whole}


def main():
    args = speed_gpu.options(MODES)
    torch.manual_seed(1)
    job = Training(args) if args.job == "training" else Inference(args)
    speed_gpu.serve(job, torch.__version__)


if __name__ == "__main__":
    main()
