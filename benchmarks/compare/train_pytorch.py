# SPDX-License-Identifier: MIT
"""Trains the Carvana networks in PyTorch, to compare accuracy with segnet's. Prints JSON lines.

    python3 train_pytorch.py --data DIR --size 128 --batch 8 --epochs 40

Debian: python3-torch python3-pil
"""
import argparse
import json
import resource
import statistics
import time

import carvana_pytorch as carvana  # before torch

import torch
import torch.nn.functional as F

LAYOUTS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}


def report(**fields):
    print(json.dumps({k: round(v, 6) if isinstance(v, float) else v for k, v in fields.items()}), flush=True)


def augment(x, y, generator):
    """Horizontal flip, shift by up to 6.25 % and scale by up to 10 %, one warp for image and mask."""
    n = x.shape[0]

    def uniform(limit):
        return (torch.rand(n, generator=generator) * 2 - 1) * limit

    scale = 1 / (1 + uniform(0.1))
    flip = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = scale * flip, scale
    theta[:, 0, 2], theta[:, 1, 2] = uniform(2 * 0.0625), uniform(2 * 0.0625)  # the grid spans -1 to 1
    grid = F.affine_grid(theta, x.shape, align_corners=False)
    both = F.grid_sample(torch.cat([x, y], 1), grid, padding_mode="reflection", align_corners=False)
    return both[:, :3], (both[:, 3:] > 0.5).float()


def dice(found, truth):
    """Of each picture; 1 where both are empty."""
    both, each = (found & truth).flatten(1).sum(1).double(), (found.flatten(1).sum(1) + truth.flatten(1).sum(1)).double()
    return torch.where(each > 0, 2 * both / each.clamp(min=1), torch.ones_like(each))


@torch.no_grad()
def evaluate(network, x, y, paths, full_size):
    """Dice of each picture at the network's size, or at the photographs' own: probabilities are upsampled
    bilinearly, then thresholded at 0.5."""
    import carvana_data

    network.eval()
    scores = []
    for i in range(len(x)):
        p = torch.sigmoid(network(x[i : i + 1].float() / 255))
        truth = y[i : i + 1].bool()
        if full_size:
            truth = torch.from_numpy(carvana_data.read_mask(paths[i]))[None, None]
            p = F.interpolate(p, truth.shape[2:], mode="bilinear", align_corners=False)
        scores += dice(p > 0.5, truth).tolist()
    return scores


def train(args):
    import carvana_data

    start = time.perf_counter()
    parts = carvana_data.split_by_car(args.data, args.val_fraction, args.seed)
    (x, y), (val_x, val_y) = (carvana_data.load(paths, args.size) for paths in parts)
    report(event="loaded", training=len(x), validation=len(val_x), seconds=time.perf_counter() - start)

    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    layout = LAYOUTS[args.layout]
    network = carvana.make(args.variant).to(memory_format=layout)
    optimizer = torch.optim.Adam(network.parameters(), lr=args.lr)
    steps = len(x) // args.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=args.lr, total_steps=steps * args.epochs, cycle_momentum=False
    )
    start = time.perf_counter()
    for epoch in range(1, args.epochs + 1):
        network.train()
        order, total = torch.randperm(len(x), generator=generator), 0.0
        for step in range(steps):
            chosen = order[step * args.batch : (step + 1) * args.batch]
            images, masks = augment(x[chosen].float() / 255, y[chosen].float(), generator)
            optimizer.zero_grad(set_to_none=True)
            loss = carvana.bce_dice_loss(network(images.contiguous(memory_format=layout)), masks)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        scores = evaluate(network, val_x, val_y, parts[1], False)
        report(event="epoch", epoch=epoch, loss=total / steps, val_dice=statistics.mean(scores),
               seconds=time.perf_counter() - start)  # fmt: skip
    seconds = time.perf_counter() - start
    scores = evaluate(network, val_x, val_y, parts[1], True)
    report(event="done", variant=args.variant, size=args.size, batch=args.batch, epochs=args.epochs,
           threads=args.threads, layout=args.layout, training_seconds=seconds,
           val_dice_full_size=statistics.mean(scores), worst_full_size=min(scores),
           peak_mib=peak_mib())  # fmt: skip
    if args.out:
        carvana.save(network, args.out, {"variant": args.variant, "size": str(args.size)})


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with train/ and train_masks/")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--variant", choices=carvana.FILTERS, default="7-2-7-1")
    parser.add_argument("--lr", type=float, default=1e-3, help="the peak of the one-cycle schedule")
    parser.add_argument("--val-fraction", type=float, default=0.2, help="share of the cars held out")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--layout", choices=LAYOUTS, default="nhwc", help="memory layout")
    parser.add_argument("--out", help="write the weights to this safetensors file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    train(args)


if __name__ == "__main__":
    main()
