#!/usr/bin/env bash
# Writes tests/fixtures again from the real Keras (scripts/oracle.sh makes the environments): tests/oracle/regenerate.sh [NAME...]
# A NAME is a generator without .py, such as layers_2_3_1. All of them take about ten minutes.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
dir=${KERAS_ORACLE_DIR:-$HOME/.cache/keras-oracle}
names=("$@")
((${#names[@]})) || names=(layers_2_3_1 layers_2_15 operations_2_15 golden_layers_2_3_1 golden_layers_2_2_4 golden_train_2_3_1 golden_train_2_2_4 training_2_3_1 summaries_2_3_1 plots_2_3_1 optimizers_2_2_4 functions_2_3_1 functions_2_2_4 k_2_3_1 recurrent_2_3_1 wrong_2_3_1 conversions_2_3_1 faq_2_3_1 matrix_2_15 hostile_2_15 archives_2_12 archives_2_15 keras_3)
for name in "${names[@]}"; do
    case $name in
    *_2_3_1) oracle=keras-2.3.1 ;;
    *_2_2_4) oracle=keras-2.2.4 ;;
    *_2_15) oracle=tf-2.15 ;;
    *_2_12) oracle=tf-2.12 ;;
    keras_3) oracle=keras-3 ;;
    *) echo "error: expected a generator's name that ends in _2_3_1, _2_2_4, _2_15, _2_12 or keras_3, received $name" >&2; exit 2 ;;
    esac
    "$root/scripts/oracle.sh" "$oracle" >&2
    PYTHONDONTWRITEBYTECODE=1 "$dir/$oracle/bin/python" "$root/tests/oracle/$name.py"
done
