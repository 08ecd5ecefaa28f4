"""What a training is made of: terms, network, optimiser and photos' crops, all of it a frozen pytree."""

from __future__ import annotations

from typing import Any

from jaxstyle.errors import JaxstyleError, one_of
from jaxstyle.fast.network import StyleNetwork, checked
from jaxstyle.ops.reference import PRECISIONS
from jaxstyle.pytrees import pytree, static
from jaxstyle.transfer.objective import Terms

SCHEDULES = ("constant", "cosine")


@pytree
class Architecture:
    """Attributes of the `StyleNetwork` that a recipe asks for; how many styles it holds follows from the
    paintings."""

    width: int = static(default=32)
    depth: int = static(default=5)
    norm: str = static(default="conditional")
    upsample: str = static(default="nearest")
    padding: str = static(default="reflect")
    output: str = static(default="tanh")
    output_norm: bool = static(default=False)
    alignment: str = static(default="centred")
    epsilon: float = static(default=1e-5)

    def __post_init__(self) -> None:
        self.network(1)

    def network(self, styles: int) -> StyleNetwork:
        """The network for so many styles.

        Raises:
          JaxstyleError: an attribute that does not exist, or several styles without conditional norm.
        """
        return checked(StyleNetwork(
            styles=styles, width=self.width, depth=self.depth, norm=self.norm, upsample=self.upsample,
            padding=self.padding, output=self.output,
            output_norm=self.output_norm, alignment=self.alignment, epsilon=self.epsilon))


@pytree
class Training:
    """Everything that makes a network from paintings, photos and a perceptual network.

    Attributes:
      terms: name -> term, the same that `stylize` knows; the content image is the photo, the style image one
        painting at a time.
      style_weights: factor of the style term per painting; empty means 1 for each.
      palette: how far the photo is moved to the painting's colours (`ops.colors.palette`) before it is copied
        or compared with, 0 to 1, so that content does not pull back to the photo's colours.
      learning_rate: of Adam, with b1, b2; clip: greatest norm of the gradient; average: decay of the running
        average of the parameters, which is the result.
      stability: weight of mean (network(x + noise) − network(x))², against flicker in videos.
      seed: of parameters, crops, the order of photos and of styles.
      copying: at first, for so many steps but at most a tenth of all, the network learns to give the photo
        back (in colours as `palette` says): from there it keeps light and shade, where random parameters may
        end in blots or in relief.
      steps, warmup: of the schedule; schedule: "constant", or "cosine" down to a hundredth.
      batch, crop: photos per step and their side; least_scale: how far photos are reduced at random.
      style_size: longer side of the paintings: the scale of strokes.
      noise: deviation of the noise that `stability` adds, in units of white; 0 leaves that term out.
      pooling: of the perceptual network, None as its file says; precision: of products.
    """

    terms: Terms
    architecture: Architecture = Architecture()
    style_weights: tuple[Any, ...] = ()
    palette: Any = 0.0
    learning_rate: Any = 1e-3
    b1: Any = 0.9
    b2: Any = 0.999
    clip: Any = 1e3
    average: Any = 0.999
    stability: Any = 0.0
    seed: Any = 0
    steps: int = static(default=40_000)
    warmup: int = static(default=0)
    copying: int = static(default=0)
    schedule: str = static(default="constant")
    batch: int = static(default=4)
    crop: int = static(default=256)
    least_scale: float = static(default=0.5)
    style_size: int = static(default=256)
    noise: float = static(default=0.0)
    pooling: str | None = static(default=None)
    precision: str = static(default="float32")

    def __post_init__(self) -> None:
        one_of("precision", self.precision, PRECISIONS)
        one_of("schedule", self.schedule, SCHEDULES)
        for name, least in (("steps", 1), ("warmup", 0), ("copying", 0), ("batch", 1), ("crop", 16),
                            ("style_size", 16)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise JaxstyleError(f"{name} is {value!r}; a training takes a whole number of at least "
                                    f"{least}")
        if not 0 < self.least_scale <= 1:
            raise JaxstyleError(f"least_scale is {self.least_scale}; it lies above 0 and not above 1")
        if self.noise < 0:
            raise JaxstyleError(f"noise is {self.noise}; a deviation is not negative")

