# exit: 2
# stderr: *--style: 'oil' is none of photo, cartoon, pencil, neon
# stderr: one line
$reelm world --style oil -o x
