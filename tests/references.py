"""Backbones in NumPy, written from their definitions, in float64."""

from __future__ import annotations

import numpy as np

NUMPY_PAD = {"zero": "constant", "reflect": "reflect", "replicate": "edge"}


def convolve(x, layer, border="zero", stride=1, padding=None):
    """Cross-correlation from its definition: a sum over kernel offsets, in float64."""
    kernel = layer["kernel"].astype(np.float64)
    side = len(kernel)
    pad = side // 2 if padding is None else padding
    x = np.pad(x, ((pad, pad), (pad, pad), (0, 0)), NUMPY_PAD[border])
    height, width = (x.shape[0] - side) // stride + 1, (x.shape[1] - side) // stride + 1
    total = np.zeros((height, width, kernel.shape[-1])) + layer["bias"]
    for i in range(side):
        for j in range(side):
            rows = x[i : i + stride * (height - 1) + 1 : stride]
            total += rows[:, j : j + stride * (width - 1) + 1 : stride] @ kernel[i, j]
    return total


def windows(x, kind, side, stride, pad=0, ceil=False):
    """Pooling from its definition: one window after the other, clipped to the image."""
    def count(n):
        steps = (n + 2 * pad - side) / stride
        return int(np.ceil(steps) if ceil else np.floor(steps)) + 1

    reduce = {"max": np.max, "average": np.mean}[kind]
    out = np.zeros((count(x.shape[0]), count(x.shape[1]), x.shape[2]))
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            top, left = i * stride - pad, j * stride - pad
            patch = x[max(top, 0) : top + side, max(left, 0) : left + side]
            out[i, j] = reduce(patch, axis=(0, 1))
    return out


def relu(x):
    return np.maximum(x, 0)


def vgg_reference(x, params, network):
    found = {}
    for i, widths in enumerate(network.blocks, start=1):
        for j in range(1, len(widths) + 1):
            found[f"conv{i}_{j}"] = x = convolve(x, params[f"conv{i}_{j}"], network.border)
            found[f"relu{i}_{j}"] = x = relu(x)
            if f"conv{i}_{j}" in dict(network.aux):
                found[f"conv{i}_{j}_aux"] = y = convolve(x, params[f"conv{i}_{j}_aux"])
                found[f"relu{i}_{j}_aux"] = relu(y)
        found[f"pool{i}"] = x = windows(x, network.pooling, 2, 2)
    return found


def alexnet_reference(x, params, network):
    found = {}
    for i, (stride, padding) in enumerate(((4, 2), (1, 2), (1, 1), (1, 1), (1, 1)), start=1):
        x = convolve(x, params[f"conv{i}"], network.border, stride, padding)
        found[f"conv{i}"], found[f"relu{i}"] = x, relu(x)
        x = relu(x)
        if i in (1, 2, 5):
            found[f"pool{i}"] = x = windows(x, network.pooling, 3, 2)
    return found


def squeezenet_reference(x, params, network):
    found = {}

    def conv(x, name, rectified, **options):
        found[name] = convolve(x, params[name], network.border, **options)
        found[rectified] = relu(found[name])
        return found[rectified]

    x = conv(x, "conv1", "relu1", stride=2, padding=0)
    found["pool1"] = x = windows(x, network.pooling, 3, 2, ceil=True)
    for i in range(2, 10):
        part = {p: (f"fire{i}/{p}", f"fire{i}/relu_{p}") for p in
                ("squeeze1x1", "expand1x1", "expand3x3")}
        x = conv(x, *part["squeeze1x1"])
        both = [conv(x, *part["expand1x1"]), conv(x, *part["expand3x3"])]
        found[f"fire{i}/concat"] = x = np.concatenate(both, -1)
        if i in (3, 5):
            found[f"pool{i}"] = x = windows(x, network.pooling, 3, 2, ceil=True)
    x = conv(x, "conv10", "relu10")
    found["pool10"] = x.mean((0, 1), keepdims=True)
    return found


def googlenet_reference(x, params, network):
    found = {}

    def conv(x, prefix, name, rectified, **options):
        found[prefix + name] = convolve(x, params[prefix + name], network.border, **options)
        found[prefix + rectified] = relu(found[prefix + name])
        return found[prefix + rectified]

    def norm(x):
        squares = np.pad(x * x, ((0, 0), (0, 0), (2, 2)))
        total = sum(squares[:, :, k : k + x.shape[2]] for k in range(5))
        return x / (1 + 1e-4 * total / 5) ** 0.75

    x = conv(x, "conv1/", "7x7_s2", "relu_7x7", stride=2)
    found["pool1/3x3_s2"] = x = windows(x, network.pooling, 3, 2, ceil=True)
    found["pool1/norm1"] = x = norm(x)
    x = conv(x, "conv2/", "3x3_reduce", "relu_3x3_reduce")
    x = conv(x, "conv2/", "3x3", "relu_3x3")
    found["conv2/norm2"] = x = norm(x)
    found["pool2/3x3_s2"] = x = windows(x, network.pooling, 3, 2, ceil=True)
    for block in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        prefix = f"inception_{block}/"
        a = conv(x, prefix, "1x1", "relu_1x1")
        b = conv(x, prefix, "3x3_reduce", "relu_3x3_reduce")
        b = conv(b, prefix, "3x3", "relu_3x3")
        c = conv(x, prefix, "5x5_reduce", "relu_5x5_reduce")
        c = conv(c, prefix, "5x5", "relu_5x5")
        found[f"{prefix}pool"] = d = windows(x, "max", 3, 1, pad=1)
        d = conv(d, prefix, "pool_proj", "relu_pool_proj")
        found[f"{prefix}output"] = x = np.concatenate([a, b, c, d], -1)
        if block in ("3b", "4e"):
            found[f"pool{block[0]}/3x3_s2"] = x = windows(x, network.pooling, 3, 2, ceil=True)
    found["pool5/7x7_s1"] = x = x.mean((0, 1), keepdims=True)
    found["loss3/classifier"] = convolve(x, params["loss3/classifier"])
    return found


def resnet_reference(x, params, network):
    found = {"conv1": convolve(x, params["conv1"], network.border, 2, 3)}
    found["relu1"] = relu(found["conv1"])
    found["pool1"] = x = windows(found["relu1"], network.pooling, 3, 2, pad=1)
    for group, blocks in ((1, 3), (2, 4), (3, 6), (4, 3)):
        for block in range(blocks):
            prefix = f"layer{group}_{block}/"
            stride = 2 if group > 1 and block == 0 else 1
            y = x
            for i in (1, 2, 3):
                y = convolve(y, params[f"{prefix}conv{i}"], network.border, stride if i == 2 else 1)
                found[f"{prefix}conv{i}"] = y
                if i < 3:
                    found[f"{prefix}relu{i}"] = y = relu(y)
            if block == 0:
                x = convolve(x, params[f"{prefix}downsample"], network.border, stride)
                found[f"{prefix}downsample"] = x
            found[f"{prefix}output"] = x = relu(x + y)
    return found
