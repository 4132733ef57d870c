#!/usr/bin/env bash
# world_shards.sh REELM MODEL FOLDER NUMBER clips|stills COUNT: scene after scene of the playground's
# training split that no other NUMBER renders, as codes, COUNT a dump, into FOLDER until it is ended.
# twin_train_lm.py --shards FOLDER takes them up while it trains; start one of these a processor.
set -euo pipefail
reelm=$1 model=$2 folder=$3 number=$4 kind=$5 count=$6
work=$(mktemp -d "$folder/.render-XXXXXX")
trap 'rm -rf "$work"' EXIT
clips=$count stills=0
[ "$kind" = clips ] || { clips=1 stills=$count; }
export OMP_NUM_THREADS=1
for ((k = 0; ; k++)); do
  cat >"$work/recipe.json" <<END
{"what": "lm", "network": {"preset": "default"}, "train": {"world_clips": $clips,
 "world_stills": $stills, "world_first": $((10000000 * (number + 1) + k * (count + 1)))}}
END
  rm -rf "$work/run"
  nice -n 5 "$reelm" train lm --config "$work/recipe.json" -m "$model" --playground 1 \
    --out "$work/run" --dump "$work/dump.st" -t 1 >"$work/log" 2>&1 || {
    tail -1 "$work/log" >&2
    exit 1
  }
  mv "$work/dump.st" "$folder/$kind-$number-$k.st" # whole or not at all
done
