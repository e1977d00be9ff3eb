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
echo "== 4. Export it: a folder that labels without torch and network"
$redct export --config $study
echo
echo "== 5. All evidence in one page: runs/quickstart/report.html"
$redct report --config $study
echo
echo "== 6. Three new posts, labeled by that folder"
$redct classify runs/quickstart/edge --format csv <<'POSTS'
target,text
car-free Market Street,"Walked the kids down it on Saturday without holding my breath once. Keep it this way!"
car-free Market Street,"My customers can't park, so they don't come. Open the road again before we all close."
car-free Market Street,"Does anybody know when the council votes on this?"
POSTS
echo
$redct status --config $study
cat <<'NEXT'

Everything lies under runs/quickstart:
  labels/            what the language model said, with probabilities
  experts.sqlite     which posts the experts were asked about, and what they answered
  targets.parquet    what the classifier was trained towards, and from whom
  checkpoints/best/  the classifier, for transformers.pipeline("text-classification")
  metrics.json       the table above
  report.html        the evidence: open it in a browser, no network needed; its numbers are in report.json
  edge/              the bundle; copy it anywhere, and see its README.md

Try next:
  .venv/bin/redct annotate --config configs/quickstart.yaml    be the expert: a page on this machine (--port, default free)
  .venv/bin/redct init YOUR.csv                    a codebook and a study for your own corpus
  mkdir -p runs/hard && cp -r runs/quickstart/labels runs/hard/     hard labels instead of soft ones:
  .venv/bin/redct fit --config configs/quickstart.yaml --data.targets hard --trainer.default_root_dir runs/hard
NEXT
