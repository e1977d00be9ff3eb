#!/usr/bin/env bash
# RED-CT's example for headlines: GPT-3.5-turbo zero-shot, RoBERTa-large trained naively on its labels, no experts.
# Needs OPENAI_API_KEY; another endpoint with --labeler.init_args.base_url.
exec bash "$(dirname "${BASH_SOURCE[0]}")/label_train.sh" misinfo misinfo/test.tsv 0.2 \
    --labeler redct.hub.ApiLabeler --labeler.init_args.model gpt-3.5-turbo \
    --model.encoder roberta-large --data.targets hard --data.experts null "$@"
