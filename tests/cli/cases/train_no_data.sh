# exit: 2
# stderr: *--data DIR is missing
$reelm train video --out run
