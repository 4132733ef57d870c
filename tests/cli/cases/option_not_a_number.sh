# exit: 2
# stderr: *--frames: 'many' is not a number
$reelm generate --frames many
