#!/usr/bin/env bash
# RED-CT's example for the Ideological Books Corpus: label on all GPUs, DistilBERT, 10 % confidence-informed experts.
exec bash "$(dirname "${BASH_SOURCE[0]}")/label_train.sh" ibc IBC/train_ibc.csv IBC/test_ibc.csv \
    --model.encoder distilbert-base-cased --data.targets hard --data.experts.strategy margin "$@"
