# stdout: *same*
# stderr: *weights are q4 already*
# The model card goes along, and what is of the wished type already stays byte for byte.
set -e
$reelm convert "$model" --weights q4 -q -o a
cmp "$model/README.md" a/README.md
$reelm convert a --weights q4 -o b/
cmp a/lm.safetensors b/lm.safetensors
cmp a/config.json b/config.json
[ "$(echo *)" = "a b" ]
$reelm info -m b >/dev/null
echo same
