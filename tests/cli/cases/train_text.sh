# stderr: *30 playground scenes*
echo '{"text": {"pieces": 500, "scenes": 30}}' >c.json
$reelm train text --config c.json --out run || exit 1
[ -s run/text.model ] && grep -q ';' run/corpus.txt
