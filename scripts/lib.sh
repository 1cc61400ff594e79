# Sourced by the commands in scripts/, which set `set -euo pipefail`.
# shellcheck shell=bash

heading() {
    printf '\n== %s\n' "$*"
}

# Whether the program runs, is Python 3.11 or newer, and can make a virtual environment. A program
# on PATH may be a stub of a version manager, and some systems package venv apart.
usable_python() {
    "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' </dev/null &>/dev/null
}

# The version as digits that sort: 0311.
python_version() {
    "$1" -c 'import sys; print("%02d%02d" % sys.version_info[:2])' </dev/null
}

newest_python() {
    local name version newest='' newest_version=''
    for name in python3.14 python3.13 python3.12 python3.11 python3 python; do
        usable_python "$name" || continue
        version=$(python_version "$name")
        if [[ $version > $newest_version ]]; then
            newest=$name newest_version=$version
        fi
    done
    if [[ -z $newest ]]; then
        echo 'No Python 3.11 or newer with the venv module is on PATH. Install one, for example' \
            'as the packages python3 and python3-venv, and try again.' >&2
        return 1
    fi
    command -v "$newest"
}

# set_up [dev]: make .venv with the project and its command line; with dev also the tools for tests.
set_up() {
    if ! usable_python .venv/bin/python || [[ ! -x .venv/bin/pip ]]; then
        local python
        python=$(newest_python)
        heading 'Making .venv'
        rm -rf .venv
        "$python" -m venv .venv
    fi
    once_per_pyproject cli --editable '.[cli]'
    if [[ ${1-} == dev ]]; then
        once_per_pyproject dev --group dev
    fi
}

# once_per_pyproject NAME ARGUMENTS…: pip install, if pyproject.toml changed since the last time.
once_per_pyproject() {
    local stamp=".venv/installed-$1" wanted
    shift
    wanted=$(cksum <pyproject.toml)
    if [[ ! -f $stamp || $(<"$stamp") != "$wanted" ]]; then
        heading "Installing into .venv, since pyproject.toml changed: pip install $*"
        install_into .venv "$@"
        echo "$wanted" >"$stamp"
    fi
}

# install_into VENV ARGUMENTS…
install_into() {
    local pip=("$1/bin/python" -m pip install --quiet --disable-pip-version-check)
    shift
    "${pip[@]}" --upgrade 'pip>=25.1' # The first version with --group.
    "${pip[@]}" "$@"
}

# tool MODULE ARGUMENTS…: run a module of scripts/tooling with .venv, in the current directory.
tool() {
    local root
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    (cd "$root" && set_up dev >&2)
    # This tree's packages first: a bump runs in a copy of the tree with the .venv of the original.
    PYTHONPATH=$root/scripts:$root/overlay:$root/generated:$root/tests \
        exec "$root/.venv/bin/python" -m tooling "$@"
}
