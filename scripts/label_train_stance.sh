#!/usr/bin/env bash
# RED-CT's example for SemEval-2016: RoBERTa, 10 % confidence-informed experts, soft labels.
exec bash "$(dirname "${BASH_SOURCE[0]}")/label_train.sh" stance \
    SemEval2016/trainingdata-all-annotations.txt SemEval2016/testdata-taskA-all-annotations.txt \
    --model.encoder roberta-base --data.targets soft --data.experts.strategy margin "$@"
