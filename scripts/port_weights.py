"""Turn a weights file of another program into this project's own, as `jaxstyle weights port` does.

    python scripts/port_weights.py vgg19.pth vgg19.safetensors --arch vgg19
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from jaxstyle.backbones import ARCHITECTURES
from jaxstyle.backbones.perceptual import CONVENTIONS
from jaxstyle.errors import JaxstyleError
from jaxstyle.weights.port import Provenance, port


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help=".h5, .pth, .mat, .npz, .npy or .caffemodel")
    parser.add_argument("target", type=Path, help="safetensors file to write")
    parser.add_argument("--arch", choices=ARCHITECTURES, help="default: found in the file")
    parser.add_argument("--convention", choices=sorted(CONVENTIONS), help="what the input must be")
    parser.add_argument("--border", choices=("zero", "reflect", "replicate"))
    parser.add_argument("--licence", default="", help="noted in the file")
    arguments = parser.parse_args()
    try:
        weights = port(
            arguments.source, arguments.target, arguments.arch, convention=arguments.convention,
            border=arguments.border, provenance=Provenance(licence=arguments.licence),
        )
    except JaxstyleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{arguments.target}: {len(weights.params)} layers, hash {weights.sha256}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
