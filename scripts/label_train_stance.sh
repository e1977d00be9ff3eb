#!/usr/bin/env bash
# RED-CT's example for SemEval-2016: GPT-4o with chain of thought, RoBERTa, 10 % confidence-informed experts, soft labels.
# Needs OPENAI_API_KEY; another endpoint with --labeler.init_args.base_url.
exec bash "$(dirname "${BASH_SOURCE[0]}")/label_train.sh" stance \
    SemEval2016/trainingdata-all-annotations.txt SemEval2016/testdata-taskA-all-annotations.txt \
    --labeler redct.hub.ApiLabeler --labeler.init_args.model gpt-4o --task.prompt.chain_of_thought true \
    --model.encoder roberta-base --data.targets soft --data.experts.strategy margin "$@"
