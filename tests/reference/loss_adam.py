#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prints loss_adam.hpp: what PyTorch computes for the loss, Adam and the one-cycle schedule, in doubles.

    python3 tests/reference/loss_adam.py > tests/reference/loss_adam.hpp
"""
import torch
import torch.nn.functional as F

torch.manual_seed(7)
torch.set_default_dtype(torch.float64)


def array(name, values):
    numbers = ", ".join(repr(v) for v in torch.as_tensor(values).flatten().tolist())
    print(f"inline constexpr double {name}[] = {{{numbers}}};")


print("// SPDX-License-Identifier: MIT")
print("// Written by loss_adam.py from PyTorch's results; do not edit.")
print("#pragma once\n")
print("// clang-format off")
print("namespace loss_reference {")
z = torch.randn(24) * 3
z[0], z[1], z[2], z[3] = 80, -80, 80, -80
t = (torch.rand(24) < 0.4).double()
t[2], t[3], t[4], t[5] = 0, 1, 0.25, 0.7
w = torch.where(torch.rand(24) < 0.5, 3.0, 1.0)
array("logits", z)
array("targets", t)
array("weights", w)
for name, weight in ("plain", torch.ones(24)), ("weighted", w / w.mean()):
    x = z.clone().requires_grad_()
    p = torch.sigmoid(x)
    bce = F.binary_cross_entropy_with_logits(x, t, weight=weight)
    w2 = weight * weight
    dice = (2 * (w2 * p * t).sum() + 1) / ((w2 * p).sum() + (w2 * t).sum() + 1)
    (bce + 1 - dice).backward()
    array(f"{name}_bce_dice", [bce.item(), dice.item()])
    array(f"{name}_gradient", x.grad)
print("}  // namespace loss_reference\n")

print("namespace adam_reference {")
steps, size = 4, 6
start, gradients = torch.randn(size), torch.randn(steps, size) * torch.logspace(-6, 2, size)
gradients[:, 3] = 0
array("start", start)
array("gradients", gradients)
for name, optimizer in ("adam", torch.optim.Adam), ("decayed", torch.optim.AdamW):
    p = start.clone().requires_grad_()
    options = {"weight_decay": 0.1} if name == "decayed" else {}
    adam = optimizer([p], lr=0.01, **options)
    for g in gradients:
        p.grad = g.clone()
        adam.step()
    array(f"{name}_parameters", p.detach())
    array(f"{name}_m", adam.state[p]["exp_avg"])
    array(f"{name}_v", adam.state[p]["exp_avg_sq"])
print("}  // namespace adam_reference")

print("\nnamespace one_cycle_reference {")
for total in 10, 37:
    adam = torch.optim.Adam([torch.zeros(1)], lr=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, max_lr=0.02, total_steps=total)
    rates = []
    for _ in range(total):
        rates.append(adam.param_groups[0]["lr"])
        adam.step()
        if len(rates) < total:
            schedule.step()
    array(f"steps_{total}", rates)
print("}  // namespace one_cycle_reference")
