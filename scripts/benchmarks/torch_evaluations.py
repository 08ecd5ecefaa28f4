"""One variant of one row of scripts/benchmark.py in PyTorch (eager); needs only torch and NumPy.

    python -m benchmarks.torch_evaluations ROW SIZE PRECISION FORM

FORM is "nchw" or "channels-last", for patches
"naive" or "diagonal".
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks import common

torch.set_num_threads(len(os.sched_getaffinity(0)))


def tensor(image: np.ndarray, memory: Any) -> torch.Tensor:
    """`[H, W, C]` as `[1, C, H, W]`."""
    return torch.from_numpy(image.transpose(2, 0, 1)[None].copy()).contiguous(memory_format=memory)


def weight(kernel: np.ndarray, memory: Any) -> torch.Tensor:
    """`[k, k, in, out]` as `[out, in, k, k]`."""
    return torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()).contiguous(memory_format=memory)


def vgg(memory: Any, kernels: Any = None, pool: Any = F.max_pool2d) -> Any:
    """Function from a batch to the rectified features of every convolution up to the last wanted."""
    params = {name: (weight(kernel, memory), torch.zeros(kernel.shape[3]))
              for name, kernel in (kernels or common.vgg_kernels()).items()}

    def features(x: torch.Tensor, last: str) -> dict[str, torch.Tensor]:
        found = {}
        for i, block in enumerate(common.VGG19, start=1):
            for j in range(1, len(block) + 1):
                name = f"conv{i}_{j}"
                x = F.relu(F.conv2d(x, *params[name], padding=1))
                found[name] = x
                if name == last:
                    return found
            x = pool(x, 2)
        return found

    return features


def gram(x: torch.Tensor, divisor: int) -> torch.Tensor:
    """Gram matrices of a batch over `divisor`."""
    flat = x.flatten(2)
    return flat @ flat.transpose(1, 2) / divisor


def gatys(size: int, precision: str, memory: Any) -> tuple:
    """Loss and gradient of content plus Gram losses."""
    features, last = vgg(memory), common.STYLE[-1]
    content, style, x = (tensor(common.image(size, seed), memory) for seed in (1, 2, 3))
    with torch.no_grad():
        wanted = features(content, common.CONTENT)[common.CONTENT]
        goal = {k: gram(f, f[0, 0].numel()) for k, f in features(style, last).items()
                if k in common.STYLE}
    x.requires_grad_(True)

    def run() -> torch.Tensor:
        x.grad = None
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            found = features(x, last)
            loss = F.mse_loss(found[common.CONTENT].float(), wanted)
            for k in common.STYLE:
                matrix = gram(found[k], found[k][0, 0].numel())
                loss = loss + F.mse_loss(matrix.float(), goal[k])
        loss.backward()
        return loss

    value = run()
    return run, 1, 0.0, float(value.detach() + x.grad.norm())


def diagonal(x: torch.Tensor, pixels: torch.Tensor, shape: tuple, inverse: torch.Tensor) -> Any:
    """Best score and index of all patches by sums of pixel products along diagonals, in blocks of rows."""
    height, width, h, w = *x.shape[1:], *shape
    best, index = [], []
    for start in range(0, height - 2, 8):
        part = x[:, start:start + 10]
        rows = part.shape[1] - 2
        products = (part.flatten(1).T @ pixels).view(rows + 2, width, h, w)
        down = sum(products[i:i + rows, :, i:i + h - 2] for i in range(3))
        scores = sum(down[:, j:j + width - 2, :, j:j + w - 2] for j in range(3)).float() * inverse
        value, where = scores.flatten(2).max(-1)
        best.append(value)
        index.append(where)
    return torch.cat(best), torch.cat(index)


def patches(size: int, precision: str, block: int, form: str) -> tuple:
    """Nearest patches of one layer."""
    x, style = (tensor(common.features(size, block, seed), torch.contiguous_format) for seed in (1, 2))
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32

    @torch.no_grad()
    def run() -> Any:
        if form == "diagonal":
            energy = F.avg_pool2d((style**2).sum(1, keepdim=True), 3, 1, divisor_override=1)[0, 0]
            pixels = style[0].flatten(1).to(dtype)
            return diagonal(x[0].to(dtype), pixels, style.shape[2:], energy.rsqrt())
        p, q = (F.unfold(z, 3)[0].T for z in (x, style))
        q = q / q.norm(dim=1, keepdim=True)
        return (p.to(dtype) @ q.to(dtype).T).float().max(1)

    return run, 1, 0.0, float(run()[0].mean())


def patch_term(size: int, copies: int) -> tuple:
    """Value and gradient of the patch term at conv3_1 and conv4_1 with maps: all patches laid out, one
    product for each copy of the style."""
    given = [[[tensor(a, torch.contiguous_format) for a in common.guided(size, block, seed)]
              for seed in range(1 + copies)] for block in (3, 4)]

    def run() -> torch.Tensor:
        total, leaves = torch.zeros(()), []
        for (features, key), *styles in given:
            with torch.no_grad():
                p, found = F.unfold(key, 3)[0].T, []
                for _, style_key in styles:
                    q = F.unfold(style_key, 3)[0].T
                    found.append((p @ (q / q.norm(dim=1, keepdim=True)).T).max(1))
                which = torch.stack([score for score, _ in found]).argmax(0)
                target = torch.zeros(p.shape[0], 9 * features.shape[1])
                for k, ((style, _), (_, index)) in enumerate(zip(styles, found)):
                    target[which == k] = F.unfold(style, 3)[0].T[index[which == k]]
            x = features.clone().requires_grad_()
            total = total + ((F.unfold(x, 3)[0].T - target) ** 2).sum()
            leaves.append(x)
        torch.autograd.grad(total, leaves)
        return total.detach()

    return run, 1, 0.0, float(run())


def fast_params(memory: Any) -> dict[str, list[torch.Tensor]]:
    """Kernel, scale and shift of every layer."""
    return {name: [weight(kernel, memory), torch.ones(kernel.shape[3]), torch.zeros(kernel.shape[3])]
            for name, kernel in common.fast_kernels().items()}


def fast_network(params: dict[str, list[torch.Tensor]], x: torch.Tensor) -> torch.Tensor:
    """The transformation network of Johnson et al. on a batch."""
    skip = x
    for name, k, _, _, stride, up in common.FAST_NETWORK:
        if name.startswith("r") and name.endswith("a"):
            skip = x
        if up == 2:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        kernel, scale, shift = params[name]
        x = F.conv2d(F.pad(x, (k // 2,) * 4, mode="reflect"), kernel, stride=stride)
        if name == "out":
            return x
        x = F.instance_norm(x, weight=scale, bias=shift)
        x = x + skip if name.startswith("r") and name.endswith("b") else F.relu(x)
    return x


def fast_inference(size: int, precision: str, memory: Any) -> tuple:
    """One image through the transformation network."""
    params, x = fast_params(memory), tensor(common.image(size, 1), memory)

    def run() -> torch.Tensor:
        with torch.inference_mode(), \
                torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            return fast_network(params, x)

    return run, 1, 0.0, float(run().float().abs().mean())


def fast_training(size: int, precision: str, memory: Any) -> tuple:
    """One Adam step on a batch: perceptual loss, gradient of all weights."""
    params, features = fast_params(memory), vgg(memory)
    leaves = [t.requires_grad_(True) for layer in params.values() for t in layer]
    # A rate of zero: every run starts from the same weights, as in the JAX program.
    adam = torch.optim.Adam(leaves, 0.0)
    xs = torch.cat([tensor(common.image(size, seed), memory) for seed in range(common.BATCH)])
    xs = xs.contiguous(memory_format=memory)
    last = common.FAST_STYLE[-1]
    with torch.no_grad():
        style = features(tensor(common.image(size, 9), memory), last)
        goal = {k: gram(style[k], style[k][0].numel()) for k in common.FAST_STYLE}

    def run() -> torch.Tensor:
        adam.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            found = features(fast_network(params, xs), last)
            with torch.no_grad():
                wanted = features(xs, common.FAST_CONTENT)[common.FAST_CONTENT]
            loss = F.mse_loss(found[common.FAST_CONTENT].float(), wanted.float())
            for k in common.FAST_STYLE:
                matrix = gram(found[k], found[k][0].numel())
                loss = loss + ((matrix.float() - goal[k])**2).sum() / common.BATCH
        loss.backward()
        adam.step()
        return loss

    return run, 1, 0.0, float(run().detach())


def main() -> None:
    """Serve the variant that the arguments name."""
    row, size, precision, form = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    memory = torch.channels_last if form == "channels-last" else torch.contiguous_format
    if row.startswith("patch-term"):
        common.serve(lambda: patch_term(size, int(row[-1])))
    elif row.startswith("patches"):
        common.serve(lambda: patches(size, precision, int(row[-1]), form))
    else:
        work = {"gatys": gatys, "fast-inference": fast_inference, "fast-training": fast_training}[row]
        common.serve(lambda: work(size, precision, memory))


if __name__ == "__main__":
    main()
