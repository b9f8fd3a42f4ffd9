#!/usr/bin/env bash
# Makes the Python environments that hold the real Keras, outside the repository; does nothing when they are there.
#
#   scripts/oracle.sh [--list] [NAME...]     NAME: keras-2.3.1 tf-2.15 keras-3 (default: these three, which tests run), keras-2.2.4 tf-2.12
#
# KERAS_ORACLE_DIR   where they live (default ~/.cache/keras-oracle)
# KERAS_PYTHON36     a Python 3.6 for keras-2.3.1 and keras-2.2.4 (default: python3.6 on PATH, else one of pyenv's)
# KERAS_PYTHON311    a Python 3.11 for tf-2.15, tf-2.12 and keras-3 (likewise)
#
# Each is pinned to the last package by tests/oracle/requirements/NAME.txt; a change of that file rebuilds it.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
dir=${KERAS_ORACLE_DIR:-$HOME/.cache/keras-oracle}

# name  Python  download MB  on disk MB  import test
table="keras-2.3.1 3.6 175 680 keras
keras-2.2.4 3.6 140 570 keras
tf-2.15 3.11 295 1250 tensorflow
keras-3 3.11 160 690 keras
tf-2.12 3.11 290 1250 tensorflow"

row() {
    awk -v name="$1" '$1 == name' <<<"$table"
}

python_for() {
    local version=$1 given=$2 name
    if [[ -n $given ]]; then
        if "$given" -c "import sys; sys.exit(sys.version_info[:2] != tuple(map(int, '$version'.split('.'))))" 2>/dev/null; then
            echo "$given"
            return
        fi
        echo "error: looking for Python $version: expected it at $given, received another version or none" >&2
        return 1
    fi
    if "python$version" -c "" 2>/dev/null; then
        "python$version" -c "import sys; print(sys.executable)"
        return
    fi
    if command -v pyenv >/dev/null; then
        name=$(pyenv versions --bare | grep "^${version//./\\.}\." | tail -1 || true)
        if [[ -n $name ]]; then
            PYENV_VERSION=$name "python$version" -c "import sys; print(sys.executable)"
            return
        fi
    fi
    echo "error: looking for Python $version: expected python$version on PATH or among pyenv's versions, received" \
        "neither; install it (pyenv install $version) or set KERAS_PYTHON${version//./}" >&2
    return 1
}

make() {
    local name=$1 python version given requirements stamp
    requirements=$root/tests/oracle/requirements/$name.txt
    read -r _ version download disk module <<<"$(row "$name")"
    stamp=$(cksum <"$requirements")
    if [[ $(cat "$dir/$name/.ready" 2>/dev/null) == "$stamp" ]]; then
        echo "oracle $name: present at $dir/$name"
        return
    fi
    given=KERAS_PYTHON${version//./}
    python=$(python_for "$version" "${!given:-}")
    echo "oracle $name: downloading about $download MB into $dir/$name ($disk MB on disk), with $python"
    rm -rf "${dir:?}/$name"
    "$python" -m venv "$dir/$name"
    # pip as Python 3.6 brings it knows no manylinux2014 wheels and would build them from source.
    "$dir/$name/bin/python" -m pip install --quiet --disable-pip-version-check "pip==21.3.1" "wheel==0.37.1" 2>/dev/null
    "$dir/$name/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --requirement "$requirements"
    env $([[ $name == keras-3 ]] && echo KERAS_BACKEND=jax) "$dir/$name/bin/python" -W ignore -c "import $module, h5py" 2>/dev/null ||
        { echo "error: importing $module in $dir/$name failed; run $dir/$name/bin/python -c 'import $module'" >&2; return 1; }
    echo "$stamp" >"$dir/$name/.ready"
    echo "oracle $name: ready, $(du -sm "$dir/$name" | cut -f1) MB"
}

list=
names=()
for argument in "$@"; do
    case $argument in
    --list) list=yes ;;
    *)
        [[ -n $(row "$argument") ]] || { echo "error: expected keras-2.3.1, keras-2.2.4, tf-2.15, tf-2.12 or keras-3, received $argument" >&2; exit 2; }
        names+=("$argument")
        ;;
    esac
done
((${#names[@]})) || names=(keras-2.3.1 tf-2.15 keras-3)
if [[ -n $list ]]; then
    for name in "${names[@]}"; do
        read -r _ version download disk _ <<<"$(row "$name")"
        echo "$name: Python $version, downloads $download MB, $disk MB on disk, in $dir/$name"
    done
    exit 0
fi

mkdir -p "$dir"
# Two runs at once would install into each other's folder.
exec 9>"$dir/.lock"
flock 9
for name in "${names[@]}"; do
    make "$name"
done
