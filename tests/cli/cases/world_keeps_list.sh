# stdout: 000000.mp4 2 other.mp4 keep 000001.mp4 3 000002.mp4 3 000005.mp4 2
# What a list says of other clips in the folder stays, whether a later run succeeds or fails.
$reelm world -c 2 --size 16x16 --frames 2 --no-truth -q -o w || exit 99
printf '{"file_name":"other.mp4","text":"keep"}' >>w/metadata.jsonl
$reelm world -s 5 --size 16x16 --frames 2 --no-truth -q -o w || exit 98
cp w/metadata.jsonl before
$reelm world --format foo -q -o w 2>log
[ $? -eq 2 ] && grep -q '^reelm: --format: .*foo.*known are' log && cmp before w/metadata.jsonl || exit 97
$reelm world --format foo -q -o fresh 2>log
[ ! -e fresh ] || exit 96
$reelm world -s 1 -c 2 --size 16x16 --frames 3 --no-truth -q -o w || exit 95
[ "$(ls w | grep -c metadata)" -eq 1 ] || exit 94
python3 - <<'P' | xargs
import json
for line in open('w/metadata.jsonl'):
    o = json.loads(line)
    print(o['file_name'], o.get('frames', o['text']))
P
