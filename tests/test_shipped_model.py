"""The fast network that comes with the package works offline at once, and is what its card says."""

import numpy as np
import pytest
from PIL import Image
from tiny import fast_to_compile

from jaxstyle.cli.main import main
from jaxstyle.fast.apply import Look, restyled
from jaxstyle.fast.model import read_model
from jaxstyle.fast.shelf import find_model
from jaxstyle.images.files import save
from jaxstyle.weights.store import bundled_dir

NAME = "paintings"


@pytest.fixture(scope="module")
def photo():
    y, x = np.mgrid[:40, :56] / 20
    return np.stack([np.sin(x + y), np.cos(y * 3), np.sin(x * y)], -1).astype(np.float32) * 0.4 + 0.5


def test_it_is_small_and_says_what_it_is():
    path = find_model(NAME)
    assert path.parent == bundled_dir() / "models"
    assert path.stat().st_size <= 4e6
    card = read_model(path).card
    assert len(card.styles) >= 6
    assert card.licence and "photos" in card.origin
    with Image.open(path.parent / card.sample) as sample:
        assert sample.width > 256
    assert card.losses["held_out"]["total"] > 0
    assert set(card.notes["equivalent L-BFGS steps"]) == set(card.styles)


def test_every_style_is_another_picture(photo):
    model = read_model(find_model(NAME))
    with fast_to_compile():
        results = [restyled(model, photo, Look(blend={style: 1.0}, regions={}))
                   for style in model.card.styles]
    for i, one in enumerate(results):
        assert one.shape == photo.shape and np.isfinite(one).all()
        # Neither the photo nor one grey: it has light and shade of its own.
        assert np.abs(one - photo).mean() > 0.03 and one.mean(-1).std() > 0.05
        assert all(np.abs(one - other).mean() > 0.01 for other in results[:i])


def test_it_is_applied_by_name(tmp_path, photo):
    save(tmp_path / "photo.png", photo)
    assert main(["apply", NAME, str(tmp_path / "photo.png"), "-o", str(tmp_path / "out"), "--blend",
                 "wave=0.5,starry=0.5"]) == 0
    with Image.open(tmp_path / "out" / "photo.png") as result:
        assert result.size == (56, 40)
