# SPDX-License-Identifier: MIT
"""PyTorch's side of compare.py; speed.py says what it takes and prints."""
from unittest import mock

import carvana_pytorch as carvana  # before torch

import torch

import speed

LAYOUTS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
MODES = [f"{how}, {layout}" for how in ("eager", "frozen trace") for layout in LAYOUTS]


def main():
    args = speed.options(MODES)
    how, _, layout = args.mode.partition(", ")
    layout = LAYOUTS[layout]
    torch.set_num_threads(args.threads)
    torch.set_num_interop_threads(1)
    torch.set_flush_denormal(True)
    with mock.patch.object(torch.Tensor, "uniform_", lambda tensor, *_: tensor):  # the file's values follow
        network = carvana.make("7-2-7-1").to(memory_format=layout)
    carvana.load(network, args.weights)
    images = torch.from_numpy(speed.images(args)).permute(0, 3, 1, 2).contiguous(memory_format=layout)

    if args.job == "training":
        network.train()
        optimizer = torch.optim.Adam(network.parameters(), lr=speed.LEARNING_RATE)
        masks = torch.from_numpy(speed.masks(args)).permute(0, 3, 1, 2).contiguous()

        def step():
            optimizer.zero_grad(set_to_none=True)
            loss = carvana.bce_dice_loss(network(images), masks)
            loss.backward()
            optimizer.step()
            return loss.item()

        speed.measure_training(args, step, torch.__version__)
        return

    network.eval()
    with torch.inference_mode():
        if how == "frozen trace":  # batch norm folded into the convolutions, oneDNN's own layouts
            network = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(network, images)))
        speed.measure_inference(args, lambda: torch.sigmoid(network(images)).numpy(), torch.__version__)


if __name__ == "__main__":
    main()
