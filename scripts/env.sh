# Sourced by the scripts beside it: makes .venv with everything once, and again whenever pyproject.toml changes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
stamp=.venv/.installed
if [ ! -f "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
        || { echo "jaxstyle needs Python 3.11 or newer; set PYTHON=/path/to/python" >&2; exit 2; }
    echo "setting up .venv (once) ..." >&2
    if command -v uv >/dev/null 2>&1; then
        [ -d .venv ] || uv venv --quiet --python "$python" .venv
        uv pip install --quiet --python .venv/bin/python -e ".[test]"
    else
        [ -d .venv ] || "$python" -m venv .venv
        .venv/bin/python -m pip install --quiet --disable-pip-version-check -e ".[test]"
    fi
    touch "$stamp"
fi
