# Sourced by the scripts beside it: makes .venv with everything once, and again whenever pyproject.toml changes.
# Prints a line or two of its own; what pip or uv say is in .venv/setup.log.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
stamp=.venv/.installed
log=.venv/setup.log

install() {
    if command -v uv >/dev/null 2>&1; then
        uv pip install --python .venv/bin/python -e ".[test]"
    else
        .venv/bin/python -m pip install --disable-pip-version-check -e ".[test]"
    fi
}

if [ ! -f "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
        || { echo "jaxstyle needs Python 3.11 or newer; set PYTHON=/path/to/python" >&2; exit 2; }
    echo "setting up .venv (once) ..." >&2
    if [ ! -x .venv/bin/python ]; then
        if command -v uv >/dev/null 2>&1; then
            uv venv --quiet --python "$python" .venv >&2
        else
            "$python" -m venv .venv >&2
        fi
    fi
    if ! install >"$log" 2>&1; then
        echo "setting up .venv failed; see $PWD/$log, which ends with:" >&2
        tail -n 5 "$log" >&2
        exit 2
    fi
    touch "$stamp"
fi
