# exit: 2
# stderr: *stepps*
# stderr: one line
echo '{"train": {"stepps": 3}}' >c.json
mkdir d
$reelm train video --config c.json --data d --out run
