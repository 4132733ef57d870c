# exit: 2
# stderr: *--size: '128' is not WxH*
$reelm generate --size 128
