"""The bundled network vgg19-slim, and the tool that trains such networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from distill import data, optim, regress, train
from distill.targets import Target
from jaxstyle import ops
from jaxstyle.backbones import VGG
from jaxstyle.backbones.perceptual import Weights, random_weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.weights.store import bundled_dir, load_weights, read_weights

FILE = bundled_dir() / "vgg19-slim.safetensors"
LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2", "relu5_1")


@pytest.fixture(scope="module", autouse=True)
def numpys_way():
    """The scripts that train the network stretch arrays as NumPy does, unlike the package."""
    with jax.numpy_rank_promotion("allow"):
        yield


def picture(size: int = 64) -> jax.Array:
    """Rings, a ramp and an edge, in three colours."""
    y, x = np.mgrid[:size, :size] / size
    rings = 0.5 + 0.5 * np.sin(24 * np.hypot(x - 0.4, y - 0.6))
    return jnp.asarray(np.stack([rings, x * (y > 0.5), 0.5 * rings + 0.5 * y], -1), jnp.float32)


def observe(weights: Weights) -> dict[str, jax.Array]:
    """Features of `picture`."""
    return jax.jit(lambda w, x: w.features(x, LAYERS))(weights, picture())


def test_bundled_network_is_small_and_has_the_layers_of_vgg19():
    assert FILE.stat().st_size <= 5_000_000
    network = load_weights("vgg19-slim").network
    assert set(network.layers) <= set(VGG().layers)
    assert set(LAYERS) <= set(network.layers)
    assert (FILE.with_suffix(".md")).exists()


def test_bundled_features_and_gram_matrices_are_finite_and_alive():
    weights = read_weights(FILE, "vgg19-slim")
    for pooling in ("max", "average"):
        found = observe(weights.with_network(pooling=pooling))
        for layer, feature in found.items():
            gram = np.asarray(ops.gram(feature))
            assert np.isfinite(feature).all() and np.isfinite(gram).all(), layer
            assert (np.asarray(feature) > 0).any(axis=(0, 1)).mean() > 0.5, layer
            # An optimisation can follow it: not of one rank.
            assert np.linalg.matrix_rank(gram.astype(np.float64), tol=1e-6 * gram.max()) > 8, layer


# Mean and standard deviation on `picture`, as measured when the file was made.
STATISTICS = {
    "relu1_1": (2.2469, 4.0395), "relu2_1": (2.0239, 4.2104), "relu3_1": (3.402, 6.3518),
    "relu4_1": (1.6749, 1.7588), "relu4_2": (1.7653, 3.1921), "relu5_1": (1.2524, 1.6002),
}


def test_bundled_features_are_those_of_the_file_on_the_card():
    found = observe(load_weights("vgg19-slim"))
    for layer, expected in STATISTICS.items():
        assert_allclose((found[layer].mean(), found[layer].std()), expected, rtol=2e-3, err_msg=layer)


def test_loss_on_bundled_network_has_a_finite_gradient():
    weights = load_weights("vgg19-slim")

    def loss(image):
        return sum(jnp.mean(x**2) for x in weights.features(image, LAYERS).values())

    gradient = np.asarray(jax.jit(jax.grad(loss))(picture(32)))
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_teacher_is_quick_to_imitate_channel_by_channel():
    """A student as wide as its teacher is the teacher after the first stage alone."""
    blocks = ((4, 4), (6, 6), (8,))
    teacher, student = (random_weights(seed, VGG(blocks=blocks, border="reflect")) for seed in (0, 1))
    images = data.clean_images(np.random.default_rng(0), [], 12, 32)
    params, channels, _ = regress.regress(student, [teacher], images, LAYERS, 0)
    made = Weights(params=params, matrix=student.matrix, offset=student.offset, network=student.network)
    ours, theirs = (w.features(picture(32), LAYERS[:3]) for w in (made, teacher))
    for layer in LAYERS[:3]:
        assert_array_equal(channels[layer.replace("relu", "conv")], np.arange(ours[layer].shape[-1]))
        error = np.mean((ours[layer] - theirs[layer]) ** 2) / np.var(theirs[layer])
        assert error < 1e-2, layer


def test_selection_takes_the_channels_that_explain_the_rest():
    rng = np.random.default_rng(0)
    a, b, c, *noise = rng.standard_normal((6, 500))
    # Channels 1, 3, 4 are weak and noisy copies of 0, 2, 5.
    x = np.stack([a, a / 2 + noise[0] / 5, b, b / 3 + noise[1] / 5, c / 4 + noise[2] / 5, c], 1)
    picked = regress.select(np.cov(x.T), np.eye(6), 3)
    assert_array_equal(picked, [0, 2, 5])


def test_orthogonal_step_has_equal_singular_values():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((20, 6)), jnp.float32)
    values = np.linalg.svd(np.asarray(optim.orthogonal(x)), compute_uv=False)
    assert values.min() > 0.5 and values.max() < 1.4


def test_whitener_makes_patches_white():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((16, 16, 2)), jnp.float32)
    x = x.at[..., 1].set(3 * x[..., 0] + 0.5 * x[..., 1])
    moment = optim.covariance(x, 3)
    white = optim.whitener(moment)
    # Exactly white but for the damping, which tells most on the weakest directions.
    damped = moment + optim.DAMPING * jnp.trace(moment) / 19 * jnp.eye(19)
    assert_allclose(white @ damped @ white.T, np.eye(19), atol=1e-4)


def test_training_killed_and_resumed_ends_with_the_same_numbers(tmp_path, monkeypatch):
    arguments = ["--quick", "--steps", "2", "--out"]
    train.main([*arguments, str(tmp_path / "whole.safetensors")])

    pairs, calls = data.pairs, []

    def killed(*args):
        calls.append(None)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return pairs(*args)

    monkeypatch.setattr(data, "pairs", killed)
    with pytest.raises(KeyboardInterrupt):
        train.main([*arguments, str(tmp_path / "killed.safetensors")])
    assert not (tmp_path / "killed.safetensors").exists()
    monkeypatch.setattr(data, "pairs", pairs)
    train.main([*arguments, str(tmp_path / "killed.safetensors")])

    whole, resumed = ((tmp_path / f"{name}.safetensors").read_bytes() for name in ("whole", "killed"))
    assert whole == resumed
    made = load_weights(tmp_path / "whole.safetensors")
    assert made.network.blocks == train.QUICK[1]
    log = (tmp_path / "whole.log.jsonl").read_text().splitlines()
    assert len(log) == 2 and all('"loss"' in line for line in log)


def test_normalisation_at_the_end_changes_only_scales():
    """Channels of layers that imitate nothing get mean 1 or go; the layer that imitates keeps its values."""
    student = random_weights(3, VGG(blocks=((4, 4), (6, 5), (8,)), border="reflect"))
    images = data.clean_images(np.random.default_rng(0), [], 4, 32)
    student.params["conv2_2"]["bias"] = jnp.array([0.0, 0, -1e3, 0, 0])
    target = Target("relu3_1", 0, "relu3_1", same=True, early=True)
    made = train.finished(student, student.params, [target], images)
    before, after = ([w.features(jnp.asarray(x), ("relu1_1", "relu2_2", "relu3_1")) for x in images]
                     for w in (student, made))
    for old, new in zip(before, after):
        assert_allclose(new["relu3_1"], old["relu3_1"], rtol=1e-3, atol=1e-4)
    assert made.network.blocks[1][1] < 5
    for layer in ("relu1_1", "relu2_2"):
        means = np.mean([new[layer].mean((0, 1)) for new in after], 0)
        assert_allclose(means, 1, rtol=1e-3)


def test_missing_teacher_and_photos_are_named(tmp_path):
    with pytest.raises(JaxstyleError, match="--teacher"):
        train.main(["--out", str(tmp_path / "x.safetensors")])
    with pytest.raises(JaxstyleError, match="no pictures"):
        train.main(["--quick", "--photos", str(tmp_path)])
