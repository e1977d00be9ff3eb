#!/usr/bin/env bash
# The main job on the bundled demo corpus, without network once installed: label, relabel, fit, test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/install.sh
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
redct=.venv/bin/redct
study=configs/quickstart.yaml

echo
echo "== 1. Label every post with the language model at the hub"
$redct predict --config $study
echo
echo "== 2. Experts relabel 10 %, then the edge classifier is trained on both"
$redct fit --config $study
echo
echo "== 3. Test it on held-out posts, beside the language model"
$redct test --config $study
echo
$redct status --config $study
cat <<'NEXT'

Everything lies under runs/quickstart:
  labels/            what the language model said, with probabilities
  experts.sqlite     which posts the experts were asked about, and what they answered
  targets.parquet    what the classifier was trained towards, and from whom
  checkpoints/best/  the classifier, for transformers.pipeline("text-classification")
  metrics.json       the table above

Try next:
  .venv/bin/redct init YOUR.csv                    a codebook and a study for your own corpus
  mkdir -p runs/hard && cp -r runs/quickstart/labels runs/hard/     hard labels instead of soft ones:
  .venv/bin/redct fit --config configs/quickstart.yaml --data.targets hard --trainer.default_root_dir runs/hard
NEXT
