#!/usr/bin/env bash
# Labels, trains and tests one of RED-CT's example runs; the three label_train_*.sh call it.
# Usage: label_train.sh STUDY TRAIN TEST [--offline] [redct options]
#   TRAIN and TEST lie under the folder REDCT_RAW (default: data); TEST may be a share of TRAIN.
#   --offline runs at small scale with the bundled language model and encoder, without GPU and network.
set -euo pipefail
study="$1" train="$2" test="$3"
shift 3
raw="$(realpath -m "${REDCT_RAW:-$(dirname "${BASH_SOURCE[0]}")/../data}")"
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ ! -e "$raw/$train" ]]; then
    echo "$raw/$train: no such file; get it with scripts/download_data.py or name its folder with REDCT_RAW" >&2
    exit 2
fi

[[ "$test" == 0.* ]] || test="$raw/$test"
options=(--config "configs/$study.yaml" --data.train "$raw/$train" --data.test "$test" --data.predict both)
root="runs/$study"
for option in "$@"; do
    if [[ "$option" == --offline ]]; then
        export HF_HUB_OFFLINE=1
        root="runs/$study-offline"
        options+=(--labeler.init_args.model tiny-mistral --model.encoder minilm --trainer.precision 32-true)
        options+=(--trainer.accelerator cpu --trainer.devices 1 --trainer.max_epochs 1 --trainer.limit_train_batches 20)
    else
        options+=("$option")
    fi
done

scripts/install.sh
for command in predict fit test; do
    echo "== redct $command"
    .venv/bin/redct "$command" "${options[@]}" --trainer.default_root_dir "$root"
done
