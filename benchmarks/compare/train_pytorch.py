# SPDX-License-Identifier: MIT
"""Trains the Carvana networks in PyTorch, or measures its speed, to compare segnet with. Prints JSON lines.

    python3 train_pytorch.py --data DIR --size 128 --batch 8 --epochs 40
    python3 train_pytorch.py --time 20 --size 128 --batch 8       # training steps and inference, random images

Debian: python3-torch python3-pil
"""
import argparse
import json
import resource
import statistics
import subprocess
import sys
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


def timed(function, count, warm_up=3):
    """The median of `count` runs, in milliseconds."""
    for _ in range(warm_up):
        function()
    times = []
    for _ in range(count):
        start = time.perf_counter()
        function()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def time_training(args):
    layout = LAYOUTS[args.layout]
    network = carvana.make(args.variant).to(memory_format=layout).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=args.lr)
    images = torch.rand(args.batch, 3, args.size, args.size).contiguous(memory_format=layout)
    masks = (torch.rand(args.batch, 1, args.size, args.size) < 0.3).float()

    def step():
        optimizer.zero_grad(set_to_none=True)
        carvana.bce_dice_loss(network(images), masks).backward()
        optimizer.step()

    ms = timed(step, args.time)
    report(measured="training step", mode="eager", **common(args, args.batch), median_ms=ms,
           images_per_s=1000 * args.batch / ms, peak_mib=peak_mib())  # fmt: skip


def time_inference(args):
    layout = LAYOUTS[args.layout]
    network = carvana.make(args.variant).to(memory_format=layout).eval()
    image = torch.rand(1, 3, args.size, args.size).contiguous(memory_format=layout)
    with torch.inference_mode():
        if args.mode == "optimized":  # batch norm folded into the convolutions, oneDNN's own layouts
            network = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(network, image)))
        ms = timed(lambda: torch.sigmoid(network(image)), args.time)
    report(measured="inference", mode=args.mode, **common(args, 1), median_ms=ms, images_per_s=1000 / ms,
           peak_mib=peak_mib())  # fmt: skip


def common(args, batch):
    return {"variant": args.variant, "size": args.size, "batch": batch, "threads": args.threads,
            "layout": args.layout, "torch": torch.__version__}  # fmt: skip


def time_all(args):
    """Each measurement in a process of its own, so that the peak memory is its own."""
    for threads in (1, args.threads) if args.threads > 1 else (1,):
        for layout in LAYOUTS if args.layout == "both" else (args.layout,):
            for only, mode in (("training", "eager"), ("inference", "eager"), ("inference", "optimized")):
                options = {"time": args.time, "size": args.size, "batch": args.batch, "variant": args.variant,
                           "threads": threads, "layout": layout, "only": only, "mode": mode}  # fmt: skip
                if args.only and args.only != only:
                    continue
                command = [sys.executable, __file__, "--one-process"]
                for name, value in options.items():
                    command += [f"--{name}", str(value)]
                if subprocess.run(command).returncode != 0:
                    report(measured=only, mode=mode, threads=threads, layout=layout, failed=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with train/ and train_masks/")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--variant", choices=carvana.FILTERS, default="7-2-7-1")
    parser.add_argument("--lr", type=float, default=1e-3, help="the peak of the one-cycle schedule")
    parser.add_argument("--val-fraction", type=float, default=0.2, help="share of the cars held out")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--layout", choices=(*LAYOUTS, "both"), help="memory layout; both only with --time")
    parser.add_argument("--out", help="write the weights to this safetensors file")
    parser.add_argument("--time", type=int, metavar="N", help="measure N steps and N inferences")
    parser.add_argument("--only", choices=("training", "inference"), help="with --time: measure only this")
    parser.add_argument("--mode", choices=("eager", "optimized"), default="eager", help=argparse.SUPPRESS)
    parser.add_argument("--one-process", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.layout = args.layout or ("both" if args.time else "nhwc")
    if args.layout == "both" and not args.time:
        parser.error("--layout both is for --time")
    if not args.time and not args.data:
        parser.error("--data or --time is needed")

    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    if args.one_process:
        time_training(args) if args.only == "training" else time_inference(args)
    elif args.time:
        time_all(args)
    else:
        train(args)


if __name__ == "__main__":
    main()
