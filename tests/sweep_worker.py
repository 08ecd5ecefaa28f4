"""Processes of the sweep tests, run as `python tests/sweep_worker.py WHAT …`."""

import importlib
import os
import random
import shutil
import signal
import sys
import time
from collections import deque
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def lanes(inputs: str, steps: int = 9):
    from tiny import tiny_recipe

    from jaxstyle import replace
    from jaxstyle.runs.manifest import Files
    from jaxstyle.sweeps.plan import Lane

    folder = Path(inputs)
    files = Files(content=str(folder / "photo.png"), styles=(str(folder / "painting.png"),))
    return [Lane(labels={"weight": str(i), "kind": kind},
                 recipe=replace(tiny_recipe(steps, pooling=kind), {"terms.style.weight": 10.0**i, "seed": i}),
                 files=files, weights=str(folder / "tiny.safetensors"))
            for kind in ("max",) for i in range(3)]


def run(inputs: str, output: str, cache: str) -> None:
    """A sweep that saves its state at every opportunity."""
    from jaxstyle.sweeps.batches import Options
    from jaxstyle.sweeps.runner import run_sweep

    cached(cache)
    options = Options(width=2, save_seconds=0.0, snapshots=(4,))
    for _ in run_sweep(Path(output), lanes(inputs), options=options):
        pass


def cached(folder: str) -> None:
    """Keep compiled programs, which need not be fast, and leave no step between two snapshots."""
    import jax

    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_disable_most_optimizations", True)
    importlib.import_module("jaxstyle.transfer.loop").CHUNK_SECONDS = 0.0


def in_child(fun, *arguments) -> int:
    """The id of a process that calls a function."""
    pid = os.fork()
    if pid == 0:
        try:
            fun(*arguments)
            os._exit(0)
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
    return pid


def kill(inputs: str, whole: str, killed: str, cache: str) -> None:
    """The sweep in one go; then again, killed ten times at random moments, each time gone on with."""
    # Imported before forking, which is safe as long as no device was used.
    import jaxstyle.sweeps.runner  # noqa: F401

    def child(output: str) -> int:
        return in_child(run, inputs, output, cache)

    assert os.waitpid(child(whole), 0)[1] == 0
    rng, kills, began = random.Random(1), 0, time.monotonic()
    pid = child(killed + "-timing")
    assert os.waitpid(pid, 0)[1] == 0
    lasts = time.monotonic() - began
    while kills < 10:
        pid = child(killed)
        time.sleep(rng.uniform(0.2, 1.0) * lasts)
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status) or status == 0, status
        kills += os.WIFSIGNALED(status)
        if status == 0 and kills < 10:
            shutil.rmtree(killed)
    print("kills", kills, flush=True)
    assert os.waitpid(child(killed), 0)[1] == 0


def search(inputs: str, output: str, cache: str) -> None:
    """A search over eight candidates of two stages, which saves its state at every opportunity."""
    from tiny import tiny_recipe

    from jaxstyle import replace
    from jaxstyle.runs.manifest import Files
    from jaxstyle.solvers import Adam
    from jaxstyle.sweeps.batches import Options
    from jaxstyle.sweeps.plan import Lane
    from jaxstyle.sweeps.search.candidates import Tuning
    from jaxstyle.sweeps.search.halving import tune

    cached(cache)
    folder = Path(inputs)
    files = Files(content=str(folder / "photo.png"), styles=(str(folder / "painting.png"),))
    recipe = replace(tiny_recipe(4, (16, 24), solver=Adam()), {"start.noise": 0.3})
    lane = Lane({}, recipe, files, str(folder / "tiny.safetensors"))
    for _ in tune(Path(output), Tuning(lane, candidates=8), Options(width=3, save_seconds=0.0)):
        pass


def kill_search(inputs: str, whole: str, killed: str, cache: str) -> None:
    """The search in one go; then again, killed at three moments, each time gone on with."""
    import jaxstyle.sweeps.search.halving  # noqa: F401  (as above)

    def there(pattern: str, text: str, count: int = 1):
        def seen() -> bool:
            return sum(text in path.read_text() for path in Path(killed).glob(pattern)) >= count
        return seen

    assert os.waitpid(in_child(search, inputs, whole, cache), 0)[1] == 0
    begun, at_rung = there("lanes/*/manifest.json", "running", 5), there("manifest.json", '"step": 4')
    for moment in (begun, at_rung, there("manifest.json", '"step": 8')):
        pid, ended = in_child(search, inputs, killed, cache), 0
        while not moment() and not ended:
            time.sleep(0.001)
            ended, status = os.waitpid(pid, os.WNOHANG)
        if not ended:
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            print("killed", flush=True)
        assert os.WIFSIGNALED(status) or status == 0, status
    assert os.waitpid(in_child(search, inputs, killed, cache), 0)[1] == 0


def images(devices: str, inputs: str, output: str) -> None:
    """The final images and losses of eight lanes, in float64, on one device or on eight."""
    import jax
    import numpy as np
    from tiny import in_float64, tiny_references, tiny_weights

    from jaxstyle import replace
    from jaxstyle.sweeps.program import place, run_lanes
    from jaxstyle.transfer.layout import lane_mesh

    jax.config.update("jax_num_cpu_devices", int(devices))
    jax.config.update("jax_enable_x64", True)
    planned = lanes(inputs, steps=8)
    recipes = [replace(planned[i % 3].recipe, {"seed": i}) for i in range(8)]
    weights, references = in_float64(tiny_weights()), tiny_references(dtype=np.float64)
    mesh = lane_mesh()
    assert mesh.devices.size == int(devices)
    width = int(devices)
    batches = [place(weights, [references] * width, recipes[i : i + width], width, mesh)
               for i in range(0, 8, width)]
    ends = [deque(run_lanes(batch), maxlen=1)[0] for batch in batches]
    np.savez(output, images=np.concatenate([end.images for end in ends]),
             losses=np.concatenate([end.search.best.value for end in ends]))


if __name__ == "__main__":
    {"kill": kill, "kill_search": kill_search, "images": images, "run": run}[sys.argv[1]](*sys.argv[2:])
