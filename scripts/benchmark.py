#!/usr/bin/env python
"""Measures of speed and exactness; the programs are in scripts/benchmarks/.

    scripts/benchmark.py --quick                  seconds, compilation, memory (see benchmarks/driver.py)
    scripts/benchmark.py roofline --json TABLE    what the machine's peaks would allow
    scripts/benchmark.py accuracy 128 256         losses and gradients in each precision
    scripts/benchmark.py video CLIP               frames per second of a fast network, against PyTorch
    scripts/benchmark.py count-evaluations PHOTO PAINTING   what line searches cost, alone and in lock step
    scripts/benchmark.py canvases PHOTO PAINTING            evaluations on pixels and on pyramids
"""

import sys
from importlib import import_module

OTHERS = ("roofline", "accuracy", "count-evaluations", "canvases", "video")

if __name__ == "__main__":
    name = sys.argv.pop(1).replace("-", "_") if sys.argv[1:2] and sys.argv[1] in OTHERS else "driver"
    import_module(f"benchmarks.{name}").main()
