"""Published networks: the forward pass against loops in NumPy that know nothing of the package."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstyle.errors import JaxstyleError
from jaxstyle.fast.imports import import_network
from jaxstyle.fast.network import stylized

WEIGHTS = Path(__file__).parents[2] / "shared" / "weights"
SIZES = ((16, 24), (33, 20), (41, 47))
needs_weights = pytest.mark.skipif(not WEIGHTS.is_dir(), reason="needs the published weights in ../shared")


def correlate(x, kernel, stride=1):
    """Cross-correlation without padding, one tap after the other, `[H, W, I]` with `[k, k, I, O]`."""
    k = kernel.shape[0]
    height, width = ((n - k) // stride + 1 for n in x.shape[:2])
    y = np.zeros((height, width, kernel.shape[3]))
    for i in range(k):
        for j in range(k):
            y += x[i:i + stride * height:stride, j:j + stride * width:stride][:height, :width] @ kernel[i, j]
    return y


def norm(x, scale, offset, epsilon):
    mean, variance = x.mean((0, 1)), x.var((0, 1))
    return (x - mean) / np.sqrt(variance + epsilon) * scale + offset


def relu(x):
    return np.maximum(x, 0)


def whole(image):
    """The package's border: reflection below and to the right to a multiple of 4."""
    return np.pad(image, ((0, -image.shape[0] % 4), (0, -image.shape[1] % 4), (0, 0)), mode="reflect")


def pytorch_examples(file, image):
    """transformer_net.py of pytorch/examples, RGB 0..255 in and out."""
    t = {key: np.asarray(file[key], np.float64) for key in file.files}

    def conv(name, x, stride=1):
        kernel = t[f"{name}.w"].transpose(2, 3, 1, 0)
        pad = kernel.shape[0] // 2
        return correlate(np.pad(x, ((pad, pad), (pad, pad), (0, 0)), mode="reflect"), kernel, stride) \
            + t[f"{name}.b"]

    def normed(name, x, stride=1):
        return norm(conv(name, x, stride), t[f"{name}.gamma"], t[f"{name}.beta"], 1e-5)

    x = whole(image) * 255.0
    for name, stride in (("c1", 1), ("c2", 2), ("c3", 2)):
        x = relu(normed(name, x, stride))
    for i in range(1, 6):
        x = x + normed(f"r{i}b", relu(normed(f"r{i}a", x)))
    for name in ("d1", "d2"):
        x = relu(normed(name, x.repeat(2, 0).repeat(2, 1)))
    return (conv("d3", x) / 255)[:image.shape[0], :image.shape[1]]


def lengstrom(file, image):
    """transform.py of lengstrom/fast-style-transfer, RGB 0..255 in and out."""
    variables = iter(np.asarray(file["Variable" if k == 0 else f"Variable_{k}"], np.float64)
                     for k in range(len(file.files)))

    def same(x, kernel, stride):
        pads = []
        for n in x.shape[:2]:
            total = max((-(-n // stride) - 1) * stride + kernel.shape[0] - n, 0)
            pads.append((total // 2, total - total // 2))
        return correlate(np.pad(x, (*pads, (0, 0))), kernel, stride)

    def layer(x, stride=1, rectified=True):
        y = same(x, next(variables), stride)
        shift, scale = next(variables), next(variables)
        y = norm(y, scale, shift, 1e-3)
        return relu(y) if rectified else y

    def transposed(x):
        # The gradient of SAME with stride 2: every input adds its multiple of the kernel to the output.
        kernel = next(variables)  # [3, 3, out, in]
        y = np.zeros((2 * x.shape[0] + 1, 2 * x.shape[1] + 1, kernel.shape[2]))
        for i in range(3):
            for j in range(3):
                y[i:i + 2 * x.shape[0]:2, j:j + 2 * x.shape[1]:2] += x @ kernel[i, j].T
        shift, scale = next(variables), next(variables)
        return relu(norm(y[:-1, :-1], scale, shift, 1e-3))

    x = whole(image) * 255.0
    for stride in (1, 2, 2):
        x = layer(x, stride)
    for _ in range(5):
        x = x + layer(layer(x), rectified=False)
    x = transposed(transposed(x))
    y = 150 * np.tanh(layer(x, rectified=False)) + 127.5
    return (y / 255)[:image.shape[0], :image.shape[1]]


def photo(height, width):
    """A smooth picture with edges."""
    y, x = np.mgrid[:height, :width] / 16
    waves = np.stack([np.sin(2 * x + y), np.cos(x - 3 * y), np.sign(np.sin(x * y))], -1)
    return (0.5 + 0.4 * waves).astype(np.float32)


@needs_weights
@pytest.mark.parametrize(("name", "independent"), [
    ("faststyle_pytorchexamples_candy_fp16", pytorch_examples),
    ("faststyle_pytorchexamples_mosaic_fp16", pytorch_examples),
    ("faststyle_lengstrom_udnie", lengstrom), ("faststyle_lengstrom_wave", lengstrom)])
def test_equals_an_independent_forward_pass(name, independent):
    path = WEIGHTS / f"{name}.npz"
    model = import_network(path)
    run = jax.jit(stylized, static_argnums=0)
    with np.load(path) as file:
        for size in SIZES:
            image = photo(*size)
            found = run(model.network, model.params, jnp.asarray(image))
            expected = independent(file, image.astype(np.float64))
            assert found.shape == image.shape
            np.testing.assert_allclose(found, expected, atol=1e-4)


def test_other_files_are_refused(tmp_path):
    np.savez(tmp_path / "other.npz", weight=np.zeros(3))
    with pytest.raises(JaxstyleError, match=r"is no network of pytorch/examples"):
        import_network(tmp_path / "other.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(JaxstyleError, match="not a whole NumPy archive"):
        import_network(tmp_path / "broken.npz")
    with pytest.raises(JaxstyleError, match="no such file"):
        import_network(tmp_path / "missing.npz")
    np.savez(tmp_path / "shape.npz", **{"c1.w": np.zeros((8, 3, 9, 9)), "c1.gamma": np.ones(8)})
    with pytest.raises(JaxstyleError, match="missing or misshapen"):
        import_network(tmp_path / "shape.npz")
