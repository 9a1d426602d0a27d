#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prints cross_entropy_sgd.hpp: what PyTorch computes for the softmax cross-entropy, for SGD and for groups of
parameters with rates and decays of their own, in doubles.

    python3 tests/reference/cross_entropy_sgd.py > tests/reference/cross_entropy_sgd.hpp
"""
import torch
import torch.nn.functional as F

torch.manual_seed(11)
torch.set_default_dtype(torch.float64)


def array(name, values, kind="double"):
    numbers = ", ".join(repr(v) for v in torch.as_tensor(values).flatten().tolist())
    print(f"inline constexpr {kind} {name}[] = {{{numbers}}};")


print("// SPDX-License-Identifier: MIT")
print("// Written by cross_entropy_sgd.py from PyTorch's results; do not edit.")
print("#pragma once\n")
print("#include <cstdint>\n")
print("// clang-format off")
print("namespace cross_entropy_reference {")
print("// 2 images of 3 x 4 pixels, 5 classes, NHWC; 255 is ignored.")
z = (torch.randn(2, 3, 4, 5) * 3).round(decimals=3)
z[0, 0, 0] = torch.tensor([90.0, -90, 0, 5, -5])
z[0, 0, 1] = torch.tensor([1e4, 1e4, 0, 0, 0])
labels = torch.randint(0, 5, (2, 3, 4))
labels[0, 0, 0], labels[0, 0, 1], labels[0, 1, 1], labels[1, 2, 3], labels[1, 0, 0] = 1, 0, 255, 255, 255
weights = torch.tensor([0.2595, 4.564, 0.0, 1.0, 9.6446])
array("logits", z)
array("labels", labels, "std::uint8_t")
array("weights", weights)
for name, weight in ("plain", None), ("weighted", weights):
    x = z.clone().requires_grad_()
    loss = F.cross_entropy(x.permute(0, 3, 1, 2), labels, weight=weight, ignore_index=255)
    loss.backward()
    array(f"{name}_loss", [loss.item()])
    array(f"{name}_gradient", x.grad)
print("}  // namespace cross_entropy_reference\n")

print("namespace sgd_reference {")
print("// Elements 0 and 1 have multipliers of 1; 2 and 3 a rate of 2 and a decay of 0; 4 and 5 one of 0.5 and 3.")
steps, size = 4, 6
start, gradients = torch.randn(size), torch.randn(steps, size)
multipliers = [(slice(0, 2), 1, 1), (slice(2, 4), 2, 0), (slice(4, 6), 0.5, 3)]
rates = [0.1, 0.1, 0.02, 0.05]
array("start", start)
array("gradients", gradients)
array("rates", rates)


def run(make, decay, groups):
    parts = [start[part].clone().requires_grad_() for part, _, _ in multipliers]
    optimizer = make([{"params": [p], "weight_decay": decay * (d if groups else 1)}
                      for p, (_, _, d) in zip(parts, multipliers)])
    for step, rate in enumerate(rates):
        for p, group, (part, r, _) in zip(parts, optimizer.param_groups, multipliers):
            p.grad = gradients[step, part].clone()
            group["lr"] = rate * (r if groups else 1)
        optimizer.step()
    return torch.cat([p.detach() for p in parts])


array("plain", run(lambda p: torch.optim.SGD(p, lr=1), 0, False))
array("momentum", run(lambda p: torch.optim.SGD(p, lr=1, momentum=0.9), 0, False))
array("decayed", run(lambda p: torch.optim.SGD(p, lr=1, momentum=0.9), 0.05, False))
array("grouped", run(lambda p: torch.optim.SGD(p, lr=1, momentum=0.9), 0.05, True))
array("adam_grouped", run(lambda p: torch.optim.AdamW(p, lr=1), 0.05, True))
print("}  // namespace sgd_reference")
