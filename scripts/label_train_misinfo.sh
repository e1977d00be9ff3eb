#!/usr/bin/env bash
# RED-CT's example for headlines: RoBERTa-large trained naively on the language model's labels, no experts.
exec bash "$(dirname "${BASH_SOURCE[0]}")/label_train.sh" misinfo misinfo/test.tsv 0.2 \
    --model.encoder roberta-large --data.targets hard --data.experts null "$@"
