# SPDX-License-Identifier: MIT
"""Writes operators.json: what PyTorch computes, in double precision, for each operator on small tensors. The
fields are described in README.md. Usage: python3 make_operator_reference.py [OUTPUT]"""
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "benchmarks" / "compare"))
import openblas  # noqa: E402,F401  before torch
import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

generator = np.random.default_rng(11)


def random(*shape, low=-1.0, high=1.0):
    """Three decimals, so that the file is short."""
    return torch.from_numpy(np.round(generator.uniform(low, high, shape), 3))


def nhwc(x):
    """As NCHW, on which PyTorch works."""
    return x.permute(0, 3, 1, 2)


def numbers(x, digits=8):
    """Flat; NCHW and KCRS as NHWC and KRSC."""
    x = x.detach()
    x = x.permute(0, 2, 3, 1) if x.dim() == 4 else x
    return [float(f"{v:.{digits}g}") for v in x.reshape(-1).tolist()]


def inputs(x):
    """What random() gave."""
    return [round(v, 3) for v in numbers(x)]


def conv2d(name, n, h, w, sources, out_channels, kernel, stride=1, pads=None):
    """sources: (channels, upsample); pads: (top, bottom, left, right), by default those that keep the size."""
    kh, kw = kernel
    top, bottom, left, right = pads or ((kh - 1) // 2, kh // 2, (kw - 1) // 2, kw // 2)
    parts = [nhwc(random(n, h // u, w // u, c)).requires_grad_() for c, u in sources]
    channels = sum(c for c, _ in sources)
    weight = nhwc(random(out_channels, kh, kw, channels)).requires_grad_()
    bias = random(out_channels).requires_grad_()
    seen = torch.cat([F.interpolate(p, scale_factor=u) if u > 1 else p for p, (_, u) in zip(parts, sources)], 1)
    y = F.conv2d(F.pad(seen, (left, right, top, bottom)), weight, bias, stride)
    dy = nhwc(random(n, y.shape[2], y.shape[3], out_channels))
    y.backward(dy)
    return {
        "name": name,
        "n": n,
        "geometry": {
            "h": h,
            "w": w,
            "out_h": y.shape[2],
            "out_w": y.shape[3],
            "in_channels": channels,
            "out_channels": out_channels,
            "kernel_h": kh,
            "kernel_w": kw,
            "stride": stride,
            "pad_top": top,
            "pad_left": left,
        },
        "sources": [
            {"channels": c, "upsample": u, "input": inputs(p), "input_gradient": numbers(p.grad)}
            for p, (c, u) in zip(parts, sources)
        ],
        "weights": inputs(weight),
        "bias": inputs(bias),
        "output": numbers(y),
        "output_gradient": inputs(dy),
        "weights_gradient": numbers(weight.grad),
        "bias_gradient": numbers(bias.grad),
    }


def batch_norm(name, n, h, w, c, epsilon=1e-4, momentum=0.99):
    x = nhwc(random(n, h, w, c)).requires_grad_()
    gamma, beta = random(c, low=0.5, high=1.5).requires_grad_(), random(c).requires_grad_()
    mean, var = random(c), random(c, low=0.5, high=1.5)
    case = {
        "name": name,
        "n": n,
        "h": h,
        "w": w,
        "c": c,
        "epsilon": epsilon,
        "momentum": momentum,
        "input": inputs(x),
        "gamma": inputs(gamma),
        "beta": inputs(beta),
        "running_mean": inputs(mean),
        "running_variance": inputs(var),
        "evaluation_output": numbers(F.batch_norm(x, mean, var, gamma, beta, eps=epsilon)),
    }
    y = F.batch_norm(x, mean, var, gamma, beta, training=True, momentum=1 - momentum, eps=epsilon)
    dy = nhwc(random(n, h, w, c))
    y.backward(dy)
    return case | {
        "batch_mean": numbers(x.mean((0, 2, 3))),
        "batch_variance": numbers(x.var((0, 2, 3), unbiased=False)),
        "output": numbers(y),
        "running_mean_after": numbers(mean),
        "running_variance_after": numbers(var),
        "output_gradient": inputs(dy),
        "input_gradient": numbers(x.grad),
        "gamma_gradient": numbers(gamma.grad),
        "beta_gradient": numbers(beta.grad),
    }


def max_pool(name, n, h, w, c, window, stride):
    """Windows start at 0, stride, 2 stride ... below the size, and may stand over the far edge."""
    x = nhwc(random(n, h, w, c)).requires_grad_()
    out_h, out_w = -(-h // stride), -(-w // stride)
    over = (0, max(0, (out_w - 1) * stride + window - w), 0, max(0, (out_h - 1) * stride + window - h))
    y = F.max_pool2d(F.pad(x, over, value=-torch.inf), window, stride)
    dy = nhwc(random(*[y.shape[i] for i in (0, 2, 3, 1)]))
    y.backward(dy)
    geometry = {"h": h, "w": w, "channels": c, "out_h": out_h, "out_w": out_w, "window": window, "stride": stride}
    return {
        "name": name,
        "n": n,
        "geometry": geometry,
        "input": inputs(x),
        "output": numbers(y),
        "output_gradient": inputs(dy),
        "input_gradient": numbers(x.grad),
    }


def max_unpool(name, n, h, w, c, window):
    """Of other values than the pooled ones, to the size before a pooling that rounds up."""
    before = nhwc(random(n, h, w, c))
    pooled, places = F.max_pool2d(before, window, ceil_mode=True, return_indices=True)
    x = nhwc(random(*[pooled.shape[i] for i in (0, 2, 3, 1)])).requires_grad_()
    y = F.max_unpool2d(x, places, window, output_size=(h, w))
    dy = nhwc(random(n, h, w, c))
    y.backward(dy)
    geometry = {
        "h": h,
        "w": w,
        "channels": c,
        "out_h": x.shape[2],
        "out_w": x.shape[3],
        "window": window,
        "stride": window,
    }
    return {
        "name": name,
        "n": n,
        "geometry": geometry,
        "pooling_input": inputs(before),
        "input": inputs(x),
        "output": numbers(y),
        "output_gradient": inputs(dy),
        "input_gradient": numbers(x.grad),
    }


def elementwise(name, function, n, h, w, c, low, high):
    x = nhwc(random(n, h, w, c, low=low, high=high)).requires_grad_()
    y = function(x)
    dy = nhwc(random(*[y.shape[i] for i in (0, 2, 3, 1)]))
    y.backward(dy)
    return {
        "name": name,
        "n": n,
        "h": h,
        "w": w,
        "c": c,
        "input": inputs(x),
        "output": numbers(y),
        "output_gradient": inputs(dy),
        "input_gradient": numbers(x.grad),
    }


def merge(function, n, h, w, channels):
    parts = [nhwc(random(n, h, w, c)).requires_grad_() for c in channels]
    y = function(parts)
    dy = nhwc(random(n, h, w, y.shape[1]))
    y.backward(dy)
    return {
        "n": n,
        "h": h,
        "w": w,
        "sources": [
            {"channels": c, "input": inputs(p), "input_gradient": numbers(p.grad)} for p, c in zip(parts, channels)
        ],
        "output": numbers(y),
        "output_gradient": inputs(dy),
    }


def transposed_conv2d(name, n, h, w, c, channels, kernel, stride, pad=0, more=(0, 0), per_channel=False):
    """more: rows and columns beyond the smallest output."""
    x = nhwc(random(n, h, w, c)).requires_grad_()
    weight = nhwc(random(c, kernel, kernel, 1 if per_channel else channels)).requires_grad_()
    bias = random(channels).requires_grad_()
    y = F.conv_transpose2d(x, weight, bias, stride, pad, more, c if per_channel else 1)
    dy = nhwc(random(*[y.shape[i] for i in (0, 2, 3, 1)]))
    y.backward(dy)
    return {
        "name": name,
        "n": n,
        "h": h,
        "w": w,
        "c": c,
        "channels": channels,
        "kernel": kernel,
        "stride": stride,
        "pad": pad,
        "out_h": y.shape[2],
        "out_w": y.shape[3],
        "per_channel": per_channel,
        "input": inputs(x),
        "weights": inputs(weight),
        "bias": inputs(bias),
        "output": numbers(y),
        "output_gradient": inputs(dy),
        "input_gradient": numbers(x.grad),
        "weights_gradient": numbers(weight.grad),
        "bias_gradient": numbers(bias.grad),
    }


def with_fields(case, **fields):
    return case | fields


def start_over(seed):
    """Cases behind this do not change with those before it."""
    global generator
    generator = np.random.default_rng(seed)


def main():
    result = {
        "conv2d": [
            conv2d("3x3 same", 2, 4, 5, [(3, 1)], 4, (3, 3)),
            conv2d("3x3 same, skip and upsampled", 2, 4, 6, [(3, 1), (2, 2)], 3, (3, 3)),
            conv2d("3x3 same, upsampled first", 1, 4, 4, [(2, 2), (1, 1)], 3, (3, 3)),
            conv2d("3x3 same, two sources", 1, 5, 3, [(2, 1), (3, 1)], 2, (3, 3)),
            conv2d("3x3 same on one pixel", 3, 1, 1, [(4, 1)], 5, (3, 3)),
            conv2d("3x3 stride 2, one zero on each side", 1, 6, 7, [(3, 1)], 4, (3, 3), 2, (1, 1, 1, 1)),
            conv2d("3x3 stride 2, zeros at the far side", 1, 6, 6, [(2, 1)], 3, (3, 3), 2, (0, 1, 0, 1)),
            conv2d("7x7 same", 1, 8, 6, [(2, 1)], 2, (7, 7)),
            conv2d("7x7 stride 2", 1, 9, 8, [(3, 1)], 2, (7, 7), 2, (3, 3, 3, 3)),
            conv2d("7x7 valid", 1, 7, 8, [(2, 1)], 3, (7, 7), 1, (0, 0, 0, 0)),
            conv2d("1x1", 2, 3, 4, [(8, 1)], 1, (1, 1)),
            conv2d("1x1 of two sources", 1, 4, 2, [(3, 1), (5, 2)], 4, (1, 1)),
            conv2d("2x3 same", 1, 4, 5, [(3, 1)], 2, (2, 3)),
            # Enough channels to fill vectors and leave a rest.
            conv2d("3x3 same, 9 to 9 channels", 1, 3, 2, [(9, 1)], 9, (3, 3)),
            conv2d("1x1, 17 to 19 channels", 1, 2, 3, [(17, 1)], 19, (1, 1)),
        ],
        "batch_norm": [batch_norm("small", 3, 2, 3, 4), batch_norm("one channel", 2, 3, 4, 1)],
        "max_pool": [
            max_pool("2x2", 2, 4, 6, 3, 2, 2),
            max_pool("2x2 over the edge", 1, 5, 7, 2, 2, 2),
            max_pool("3x3 stride 2", 1, 7, 6, 2, 3, 2),
        ],
        "relu": [elementwise("relu", F.relu, 2, 3, 4, 3, -1, 1)],
        "sigmoid": [elementwise("sigmoid", torch.sigmoid, 2, 3, 4, 3, -6, 6)],
        "upsample": [
            elementwise("nearest x2", lambda x: F.interpolate(x, scale_factor=2), 2, 2, 3, 3, -1, 1),
        ],
        "concat": [merge(lambda x: torch.cat(x, 1), *case) for case in ((2, 2, 3, (2, 3)), (1, 2, 2, (1, 4, 2)))],
        # Later operators at the end: the numbers of those before stay as they are.
        "max_unpool": [max_unpool("2x2", 2, 4, 6, 3, 2), max_unpool("2x2 over the edge", 2, 5, 7, 3, 2)],
        "softmax": [elementwise("softmax", lambda x: torch.softmax(x, 1), 2, 3, 4, 5, -6, 6)],
    }
    start_over(21)
    result["conv2d"] += [
        conv2d("3x3 padded by 5", 1, 3, 2, [(2, 1)], 3, (3, 3), 1, (5, 5, 5, 5)),
        conv2d("3x3 stride 2 padded by 4", 1, 5, 4, [(3, 1)], 2, (3, 3), 2, (4, 4, 4, 4)),
        conv2d("1x1 padded by 1", 1, 3, 2, [(3, 1)], 2, (1, 1), 1, (1, 1, 1, 1)),
    ]
    start_over(22)
    result["transposed_conv2d"] = [
        transposed_conv2d("2x2 stride 2", 2, 3, 4, 3, 5, 2, 2),
        transposed_conv2d("3x3 stride 1 padded", 1, 4, 5, 3, 4, 3, 1, 1),
        transposed_conv2d("4x4 stride 2 padded, one row more", 1, 3, 2, 2, 3, 4, 2, 1, (1, 0)),
        transposed_conv2d("3x3 stride 2, one more both ways", 2, 3, 3, 9, 8, 3, 2, 1, (1, 1)),
        transposed_conv2d("2x2 stride 3, gaps", 1, 3, 2, 2, 3, 2, 3, 0, (1, 2)),
        transposed_conv2d("7x7 from one pixel", 2, 1, 1, 4, 3, 7, 1),
        transposed_conv2d("1x1 of few channels", 1, 2, 3, 3, 2, 1, 1),
        transposed_conv2d("4x4 stride 2, per channel", 2, 3, 4, 5, 5, 4, 2, 1, (0, 1), True),
        transposed_conv2d("3x3 stride 1, per channel", 1, 4, 3, 9, 9, 3, 1, 2, (0, 0), True),
        transposed_conv2d("2x2 stride 3, per channel", 1, 3, 2, 2, 2, 2, 3, 0, (2, 1), True),
        transposed_conv2d("16x16 stride 8, per channel", 1, 3, 2, 1, 1, 16, 8, 4, (0, 0), True),
    ]
    start_over(23)
    result["crop"] = [
        with_fields(
            elementwise("a window", lambda x: x[:, :, 1:5, 2:5], 2, 7, 6, 3, -1, 1), top=1, left=2, out_h=4, out_w=3
        ),
        with_fields(
            elementwise("a corner", lambda x: x[:, :, 2:, 3:], 1, 4, 5, 9, -1, 1), top=2, left=3, out_h=2, out_w=2
        ),
    ]
    start_over(24)
    result["upsample_bilinear"] = [
        with_fields(
            elementwise(
                f"x{factor}",
                lambda x: F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False),
                n, h, w, c, -1, 1,
            ),
            factor=factor,
        )
        for factor, n, h, w, c in ((2, 2, 3, 4, 3), (3, 1, 2, 3, 9), (4, 1, 1, 3, 2), (1, 1, 2, 2, 2))
    ]
    start_over(25)
    result["local_response_norm"] = [
        with_fields(
            elementwise(name, lambda x: F.local_response_norm(x, size, alpha, beta, k), n, h, w, c, -3, 3),
            size=size, alpha=alpha, beta=beta, k=k,
        )
        for name, n, h, w, c, size, alpha, beta, k in (
            ("as by default", 2, 3, 2, 7, 5, 1e-4, 0.75, 1.0),
            ("strong", 1, 4, 3, 19, 5, 0.7, 0.75, 2.0),
            ("even size", 1, 3, 3, 6, 4, 0.5, 0.6, 1.5),
            ("more than all channels", 2, 3, 3, 3, 9, 0.4, 1.3, 1.0),
        )
    ]
    start_over(26)
    result["add"] = [merge(lambda x: x[0] + x[1], *case) for case in ((2, 3, 2, (5, 5)), (1, 2, 2, (19, 19)))]
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "operators.json"
    text = json.dumps(result, separators=(",", ":"))
    # One case per line, so that a change can be read.
    output.write_text(text.replace('{"n', '\n{"n').replace("]}],", "]}],\n") + "\n")


if __name__ == "__main__":
    main()
