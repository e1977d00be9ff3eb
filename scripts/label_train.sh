#!/usr/bin/env bash
# Labels, trains and tests one of RED-CT's example runs; the three label_train_*.sh call it.
# Usage: label_train.sh STUDY TRAIN TEST [--offline] [--label_only] [redct options]
#   TRAIN and TEST lie under the folder REDCT_RAW (default: data); TEST may be a share of TRAIN.
#   --label_only leaves out training and testing.
#   --yes and --max_cost=DOLLARS are flags of the labeling, where that is done by an endpoint.
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
labeling=() commands=(predict fit test)
for option in "$@"; do
    if [[ "$option" == --offline ]]; then
        export HF_HUB_OFFLINE=1
        root="runs/$study-offline"
        options+=(--labeler redct.hub.LocalLabeler --labeler.init_args.model tiny-mistral)
        options+=(--task.prompt.rationale_tokens 20 --model.encoder minilm --trainer.precision 32-true)
        options+=(--trainer.accelerator cpu --trainer.devices 1 --trainer.max_epochs 1 --trainer.limit_train_batches 20)
    elif [[ "$option" == --label_only ]]; then
        commands=(predict)
    elif [[ "$option" == --yes || "$option" == --max_cost=* ]]; then
        labeling+=("$option")
    else
        options+=("$option")
    fi
done

scripts/install.sh
for command in "${commands[@]}"; do
    echo "== redct $command"
    flags=()
    [[ "$command" != predict ]] || flags=("${labeling[@]}")
    .venv/bin/redct "$command" --trainer.default_root_dir "$root" "${options[@]}" "${flags[@]}"
done
