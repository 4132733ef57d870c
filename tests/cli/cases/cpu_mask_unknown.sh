# exit: 2
# stderr: *cpu mask*
# stderr: one line
$reelm info --cpu-mask mmx
