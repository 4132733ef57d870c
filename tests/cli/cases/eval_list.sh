# stdout: *controls-*
$reelm eval video --world 3 --controls --list
