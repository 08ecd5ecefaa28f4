#!/usr/bin/env python
"""Trains and measures slim networks; the programs are in scripts/distill/.

    scripts/distill.py --teacher FILE --photos DIR … --out FILE     (see distill/train.py)
    scripts/distill.py evaluate features|styles|speed …             (see distill/evaluate.py)
"""

import sys
from importlib import import_module

from jaxstyle.errors import JaxstyleError

if __name__ == "__main__":
    name = sys.argv.pop(1) if sys.argv[1:2] == ["evaluate"] else "train"
    try:
        import_module(f"distill.{name}").main()
    except JaxstyleError as error:
        raise SystemExit(f"error: {error}") from None
