# exit: 2
# stderr: *none of video, audio, lm, text, judge
$reelm train images --data . --out run
