"""What several test files share: a tiny network, small pictures, and where development data lies."""

from __future__ import annotations

import os
import signal
from pathlib import Path

# Nearly all of the suite's time is compiling; its programs run for a moment, here and in processes it starts.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS",
                      "0" if "JAXSTYLE_TEST_AS_SHIPPED" in os.environ else "1")
# XLA's older way to fused loops compiles in a quarter of the time, and small programs sooner in one piece.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + (
    "" if "JAXSTYLE_TEST_AS_SHIPPED" in os.environ
    else " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1")
# An array that is broadcast without being told to is a mistake, in processes that tests start, too.
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import settings
from tiny import fast_to_compile

from jaxstyle.backbones import VGG
from jaxstyle.backbones.perceptual import Weights, random_weights
from jaxstyle.references import References
from jaxstyle.transfer.platform import spare_the_only_thread

spare_the_only_thread()
AS_SHIPPED = "JAXSTYLE_TEST_AS_SHIPPED" in os.environ
"""Whether programs are compiled as users' are: `scripts/test --as-shipped`."""
SHARED = Path(__file__).resolve().parents[2] / "shared"
# The same examples each time, and none too slow: machines that run tests are busy.
settings.register_profile("suite", deadline=None, max_examples=40, derandomize=True)
settings.load_profile("suite")

SLOW = frozenset({
    "test_backbones", "test_balance", "test_bands", "test_cli", "test_devices", "test_experiments",
    "test_host_devices", "test_judge", "test_memory", "test_ops_sharding", "test_recipes", "test_resume",
    "test_slim", "test_solvers", "test_stylize", "test_sweep", "test_tune", "test_verify", "test_fetch",
    "test_fast_apply", "test_fast_train", "test_video_cli", "test_video_make", "test_video_experiments",
    "test_ports", "test_automatic_maps", "test_cli_maps", "test_controls", "test_guided", "test_hostile",
    "test_learning", "test_literature", "test_losses", "test_losses_neighbours", "test_losses_patches",
    "test_losses_transport", "test_matting", "test_ops", "test_patch_parts", "test_together",
    "test_preview_runs", "test_trainings", "test_translation", "test_vote",
})
"""Files that `scripts/test --quick` leaves out: they compile whole searches, or start other processes."""
LONGEST = ("test_sweep", "test_experiments", "test_recipes", "test_fast_experiments", "test_tune",
           "test_fast_train", "test_trainings", "test_bands", "test_stylize", "test_balance")
"""Files that take half of the time; they come first, so that no worker begins one when the other is done."""
PLAIN = frozenset({
    "test_stylize", "test_cli", "test_resume", "test_losses", "test_losses_neighbours",
    "test_losses_transport", "test_canvas", "test_hostile", "test_vote", "test_repetition",
})
"""Files whose programs are made of plain operations, which compile faster; that the fast ones equal them is a
matter of `test_ops*`."""


def pytest_collection_modifyitems(items):
    """Mark the tests of slow files, and begin with the longest."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))
    for item in items:
        if item.path.stem in SLOW:
            item.add_marker("slow")


@pytest.fixture
def shared() -> Path:
    """Folder of development data beside the checkout; the test is skipped where there is none."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared, which is not part of the project")
    return SHARED


@pytest.fixture
def x64():
    """Double precision for one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def optimised(monkeypatch):
    """All optimisations and the fast operations for one test, whose programs run longer than they compile."""
    monkeypatch.delenv("JAXSTYLE_OPS", raising=False)
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Frees the programs that a file compiled: each takes memory maps, of which Linux gives a process 65,530,
    and then it crashes."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="module", autouse=True)
def plain_in_some_files(request):
    """See `PLAIN`."""
    if request.path.stem in PLAIN and not AS_SHIPPED:
        with fast_to_compile():
            yield
    else:
        yield


@pytest.fixture(scope="session", autouse=True)
def heed_interrupts():
    """Ctrl-C arrives, in children too, even where the suite was started in the background (ignoring it)."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def compiled_programs(tmp_path_factory) -> Path:
    """A cache folder that tests of the command line share, so that equal programs are compiled once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def network() -> Weights:
    """A VGG of 4 to 8 channels and few layers with random weights."""
    blocks = ((4, 4), (6, 6), (8,), (8, 8), (8,))
    return random_weights(seed=1, network=VGG(blocks=blocks, border="reflect"))


@pytest.fixture
def references() -> References:
    """A content and a style image of different shapes, smooth plus noise."""
    def picture(seed: int, height: int, width: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[:height, :width] / 8
        waves = np.stack([np.sin(x + seed), np.cos(y * 1.3), np.sin(x * y / 4)], -1) * 0.3 + 0.5
        return np.clip(waves + rng.normal(0, 0.1, waves.shape), 0, 1).astype(np.float32)

    return References(content=picture(0, 32, 40), styles=(picture(1, 36, 32),))


def looking(*seen):
    """What a term sees through, made from pairs of an image and its features (layer -> `[h, w, c]`)."""
    return lambda image, layers: next(features for known, features in seen if known is image)


def to64(tree):
    """Every array of a pytree in double precision."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64) if np.ndim(leaf) else leaf, tree)
