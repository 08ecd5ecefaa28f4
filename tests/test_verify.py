"""Verification names what is wrong; normalisation makes every filter's mean activation one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxstyle.backbones import VGG, SqueezeNet, parameter_shapes
from jaxstyle.backbones.perceptual import CONVENTIONS, random_weights
from jaxstyle.errors import JaxstyleError
from jaxstyle.images.files import load
from jaxstyle.images.folder import pictures_in
from jaxstyle.weights.normalise import mean_activations, normalise, normalise_on_photos, square
from jaxstyle.weights.port import port
from jaxstyle.weights.store import write_weights
from jaxstyle.weights.verify import colour_card, fingerprint, known_fingerprints, must_pass, notes_of, verify

SHARED = Path(__file__).parents[2] / "shared"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real weights of ../shared")
CAFFE = CONVENTIONS["caffe-vgg"]


def small_vgg(seed=0, **attributes):
    """A narrow VGG made for 0..255 BGR, with biases that matter."""
    network = VGG(blocks=((6, 6), (8,)), **attributes)
    rng = np.random.default_rng(seed)
    params = {}
    for name, shape in parameter_shapes(network).items():
        scale = (2 / np.prod(shape[:3])) ** 0.5 / (60 if name == "conv1_1" else 1)
        params[name] = {"kernel": jnp.asarray(rng.normal(0, scale, shape), jnp.float32),
                        "bias": jnp.asarray(rng.normal(0, 0.3, shape[-1]), jnp.float32)}
    weights = random_weights(network=network)
    return replace(weights, params=params, matrix=jnp.asarray(CAFFE[0]), offset=jnp.asarray(CAFFE[1]))


def failures(path):
    return {finding.check: finding.text for finding in verify(str(path)) if not finding.passed}


def test_the_card_is_the_same_everywhere_and_no_channel_is_another():
    card = colour_card()
    assert card.shape == (96, 96, 3) and card.min() >= 0 and card.max() <= 1
    np.testing.assert_allclose(card.mean((0, 1)), [0.566958, 0.447982, 0.331707], atol=1e-5)
    assert min(np.abs(card[..., i] - card[..., j]).mean() for i, j in ((0, 1), (0, 2), (1, 2))) > 0.1


def test_a_good_file_passes_every_check(tmp_path):
    path = tmp_path / "good.safetensors"
    weights = small_vgg()
    write_weights(path, weights, "vgg19", **notes_of(weights))
    findings = verify(str(path))
    assert {"hash", "shapes", "statistics", "contrast"} <= {finding.check for finding in findings}
    assert not failures(path)
    must_pass(findings, "good")
    assert verify("random")[0].passed


@pytest.mark.parametrize(
    ("matrix", "offset", "name"),
    [(CAFFE[0][::-1], CAFFE[1], "its own with red and blue exchanged"),
     (CAFFE[0] / 255, CAFFE[1], "its own on 0..1 instead of 0..255"),
     (*CONVENTIONS["torchvision"], "caffe-vgg")],
)
def test_a_changed_input_is_named(matrix, offset, name, tmp_path):
    """The file was made with one input convention and later given another."""
    weights = small_vgg()
    changed = replace(weights, matrix=jnp.asarray(matrix), offset=jnp.asarray(offset))
    path = tmp_path / "changed.safetensors"
    write_weights(path, changed, "vgg19", **notes_of(weights))
    text = failures(path)["statistics"]
    assert text == f"were recorded with another input: {name}"
    with pytest.raises(JaxstyleError, match="changed: statistics: were recorded"):
        must_pass(verify(str(path)), "changed")


def test_changed_filters_are_noticed(tmp_path):
    weights = small_vgg()
    write_weights(tmp_path / "w.safetensors", small_vgg(seed=1), "vgg19", **notes_of(weights))
    assert failures(tmp_path / "w.safetensors")["statistics"].endswith("not the recorded ones")


def test_a_uniform_input_is_noticed(tmp_path):
    """Nothing is recorded, but a network for 0..255 that gets 0..1 sees hardly anything."""
    weights = small_vgg()
    dim = replace(weights, matrix=weights.matrix / 255)
    write_weights(tmp_path / "w.safetensors", dim, "vgg19")
    assert "0..255 is given 0..1" in failures(tmp_path / "w.safetensors")["contrast"]


def test_wrong_shapes_and_missing_layers_are_named(tmp_path):
    weights = small_vgg()
    path = tmp_path / "w.safetensors"
    wrong = {**weights.params, "conv1_2": weights.params["conv2_1"]}
    write_weights(path, replace(weights, params=wrong), "vgg19")
    with pytest.raises(JaxstyleError, match=r"conv1_2/kernel: expected the shape \(3, 3, 6, 6\), found"):
        verify(str(path))
    short = {name: layer for name, layer in weights.params.items() if name != "conv2_1"}
    write_weights(path, replace(weights, params=short), "vgg19")
    with pytest.raises(JaxstyleError, match="conv2_1"):
        verify(str(path))


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    write_weights(path, small_vgg(), "vgg19")
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)
    with pytest.raises(JaxstyleError, match=r"w\.safetensors: damaged: its numbers have the hash"):
        verify(str(path))


def test_a_source_of_the_registry_must_keep_its_input(tmp_path):
    path = tmp_path / "w.safetensors"
    notes = {"source_md5": "253f8cb515780f3b799900260a226db6", "convention": "torchvision"}
    write_weights(path, small_vgg(), "vgg19", **notes)
    assert "whose input is 'caffe-vgg', but the file says 'torchvision'" in failures(path)["source"]
    write_weights(path, small_vgg(), "vgg19", **notes | {"convention": "caffe-vgg"})
    assert not failures(path)


@needs_shared
@pytest.mark.parametrize(
    ("file", "arch", "convention"),
    [("vgg19_normalised_to_conv3_1", "vgg19", "caffe-vgg"),
     ("squeezenet1_1_caffe", "squeezenet1_1", "caffe-104-117-123"),
     ("bvlc_googlenet", "googlenet", "caffe-104-117-123")],
)
def test_real_networks_are_known_and_wrong_inputs_named(file, arch, convention, tmp_path):
    source = SHARED / f"weights/{file}.npz"
    path = tmp_path / "w.safetensors"
    port(source, path, convention=convention)
    assert not failures(path)
    assert any(finding.check == "input" and "with their input" in finding.text
               for finding in verify(str(path)))
    for wrong in ("torchvision", "matconvnet"):
        port(source, path, convention=wrong)
        text = failures(path)["input"]
        assert f"but the file says '{wrong}'" in text and "caffe-" in text
        assert next(iter(known_fingerprints(arch))) in text


def test_fingerprints_ignore_the_scale_of_filters():
    weights = small_vgg()
    scaled = {name: {part: value * 7 for part, value in layer.items()}
              for name, layer in weights.params.items()}
    np.testing.assert_array_equal(fingerprint(weights), fingerprint(replace(weights, params=scaled)))
    squeeze = random_weights(network=SqueezeNet())
    assert fingerprint(squeeze).shape == (64,)


# --- normalisation ------------------------------------------------------------------------------


def random_photos(count, size=32, seed=0):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(np.clip(rng.normal(0.5, 0.3, (size, size, 3)), 0, 1), jnp.float32)
            for _ in range(count)]


@pytest.mark.parametrize("pooling", ["max", "average"])
def test_normalised_filters_have_mean_one(pooling):
    photos = random_photos(3)
    weights = small_vgg(aux=(("conv1_2", 5),), pooling=pooling, border="reflect")
    before = mean_activations(weights, photos)
    normalised = normalise(weights, photos)
    after = mean_activations(normalised, photos)
    assert set(after) == {"relu1_1", "relu1_2", "relu1_2_aux", "relu2_1"}
    for name, mean in after.items():
        np.testing.assert_allclose(mean[before[name] > 0], 1, rtol=1e-4)
        assert (mean[before[name] == 0] == 0).all()


def test_normalising_changes_no_feature_but_for_a_factor():
    photos = random_photos(2)
    weights = small_vgg(aux=(("conv1_2", 5),))
    normalised = normalise(weights, photos)
    means = mean_activations(weights, photos)
    other = random_photos(1, seed=9)[0]
    layers = weights.network.layers
    old, new = weights.features(other, layers), normalised.features(other, layers)
    for name in layers:
        relu = name.replace("conv", "relu").replace("pool1", "relu1_2").replace("pool2", "relu2_1")
        factor = np.where(means[relu] > 0, means[relu], 1)
        scale = float(jnp.abs(old[name]).max())
        np.testing.assert_allclose(np.asarray(new[name]) * factor, old[name], atol=1e-4 * scale)


def test_normalise_reads_a_folder_of_photos(tmp_path):
    for i, photo in enumerate(random_photos(2, size=48)):
        Image.fromarray(np.uint8(np.asarray(photo[:40]) * 255)).save(tmp_path / f"{i}.png")
    (tmp_path / "notes.txt").write_text("no photo")
    assert len(pictures_in(tmp_path)) == 2
    weights, count = normalise_on_photos(small_vgg(), tmp_path, size=32)
    assert count == 2 and weights.sha256 == ""
    assert square(np.zeros((40, 48, 3), np.float32), 32).shape == (32, 32, 3)


def test_normalise_refuses_what_it_cannot_do(tmp_path):
    with pytest.raises(JaxstyleError, match="only VGG"):
        normalise(random_weights(network=SqueezeNet()), random_photos(1))
    with pytest.raises(JaxstyleError, match="no pictures"):
        pictures_in(tmp_path)
    with pytest.raises(JaxstyleError, match="no such folder"):
        pictures_in(tmp_path / "absent")
    with pytest.raises(JaxstyleError, match="no images"):
        normalise(small_vgg(), [])


@needs_shared
def test_normalising_undoes_any_scaling_of_the_real_network(tmp_path):
    """Gatys' published means are one over many images: near one here, exactly one after `normalise`."""
    weights = port(SHARED / "weights/vgg19_normalised_to_conv3_1.npz", tmp_path / "w.safetensors")
    paths = sorted((SHARED / "images/kodak").glob("*.png"))[:6]
    photos = [square(load(path), 128) for path in paths]
    for mean in mean_activations(weights, photos).values():
        assert 0.7 < np.median(mean) < 1.6
    for mean in mean_activations(normalise(weights, photos), photos).values():
        np.testing.assert_allclose(mean, 1, rtol=1e-3)
