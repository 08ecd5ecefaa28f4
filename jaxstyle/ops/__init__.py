"""Array operations that backbones and losses are made of; the only place that knows how they are computed."""

from jaxstyle.ops.reference import average_pool, conv, gram, max_pool, prepare

__all__ = ["average_pool", "conv", "gram", "max_pool", "prepare"]
